"""Faces that can be drawn: each a module or package that makes a FaceGeometry."""
