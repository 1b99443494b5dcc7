"""What a recipe returns; light, so that a recipe's signature can be read without importing torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Result:
    """A finished run: its folder, the content of its ``result.json``, and whether it had been finished before."""

    folder: Path
    content: dict[str, Any]
    reused: bool
