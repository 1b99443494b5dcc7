"""A short form of the stress test of the stores; ``python -m tests.stress_stores`` is the whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import write_300w, write_face_synthetics
from tests.stress_stores import interleaving, undisturbed


@pytest.mark.slow
def test_commands_at_once_end_as_if_each_were_alone(tmp_path: Path) -> None:
    write_300w(tmp_path / "data" / "300w")
    write_face_synthetics(tmp_path / "data" / "face_synthetics")
    expected, networks = undisturbed(tmp_path / "data", tmp_path / "alone")
    assert len(networks) == 6, "synthetic, adapted, mixed and tuned networks, and adapters for predictions and for labels"
    for seed in (0, 1, 2):
        interleaving(seed, tmp_path / "data", tmp_path / f"{seed}", expected, networks)
