"""Results: the files that other programs read."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from domaingap.errors import UserError


def read_results(folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Every run below a folder that has a result, with its ``result.json``.

    Raises:
        UserError: the folder isn't there, or a result can't be read.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give the --runs_dir of your runs")
    results = []
    for path in sorted(folder.rglob("result.json")):
        try:
            content = json.loads(path.read_text())
            content["recipe"], content["metrics"]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: not a result of this suite ({error!r}); run again, or move it away") from error
        results.append((path.parent, content))
    return results


def finite(value: float) -> float | None:
    """A number for JSON, which has no NaN."""
    return value if math.isfinite(value) else None
