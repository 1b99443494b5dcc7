"""Our own head: a parametric surface with eyes, mouth, ears and neck, and the fields that move it.

Proportions in mm are rounded adult means of facial anthropometry (Farkas, Anthropometry of the Head and Face, 1994):
outer eye corners 90, inner 32, head breadth 152, face breadth 136, eye line to chin 112, mouth width 50, nose width 34.
"""

from __future__ import annotations

from domaingap.data.generated.geometries.builtin.head import parametric_head

__all__ = ["parametric_head"]
