"""The commands of ``domaingap``; thin: what they do lies in the library."""
