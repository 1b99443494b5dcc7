"""Faces of our own: a parametric head, rendered, with exact labels in two conventions. Needs no download."""

from __future__ import annotations

from domaingap.data.generated.face import Dials, FaceGenerator, GeneratedFace

__all__ = ["Dials", "FaceGenerator", "GeneratedFace"]
