"""Which tables a report has, by name: of its own, so that the command line knows them without loading a report."""

from __future__ import annotations

from typing import Literal, get_args

Style = Literal[
    "gap",
    "strategies",
    "tails",
    "calibration",
    "curves",
    "saved",
    "pairs",
    "gap_parts",
    "adapters",
    "runs",
    "conditions",
    "original_study",
]
STYLES: tuple[Style, ...] = get_args(Style)
