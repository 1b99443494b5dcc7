"""domaingap: how far synthetic training faces get on real ones, for 68-point facial landmarks.

The library never imports ``experiments``; heavy libraries (torch, timm, Lightning) are imported by
the modules that need them, so that ``import domaingap`` stays cheap.
"""

__version__ = "0.1.0"
