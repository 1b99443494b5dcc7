"""Faces of our own: a parametric head, rendered, with exact labels in two conventions. Needs no download."""

from __future__ import annotations

from domaingap.data.generated.face import Dials, FaceGenerator, GeneratedFace
from domaingap.data.generated.geometry import FaceGeometry
from domaingap.data.generated.mesh import Mesh

__all__ = ["Dials", "FaceGenerator", "FaceGeometry", "GeneratedFace", "Mesh"]
