"""A result is read whole, or named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from domaingap.errors import UserError
from domaingap.study.record import RunRecord, read_record
from tests.study.records import run_record


def written(folder: Path, change: Any = None) -> Path:
    record = run_record("mixing", alpha=0.5)
    object.__setattr__(record, "folder", folder)
    record.write()
    path = folder / "result.json"
    content = json.loads(path.read_text())
    if change is not None:
        change(content)
    path.write_text(json.dumps(content))
    return path


def test_a_whole_one_is_read(tmp_path: Path) -> None:
    record = read_record(written(tmp_path))
    assert isinstance(record, RunRecord) and record.comparable_with(record)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda c: c["identity"].pop("crop"), "identity.crop"),
        (lambda c: c["identity"].update(model=["resnet18"]), "identity.model"),
        (lambda c: c["identity"]["model"].pop("backbone"), "identity.model.backbone"),
        (lambda c: c["identity"]["crop"].update(size="32"), "identity.crop.size"),
        (lambda c: c["identity"].pop("synthetic"), "identity.synthetic"),
        (lambda c: c["identity"].update(fit=None), "identity.fit"),
        (lambda c: c["data"].pop("real"), "data.real"),
        (lambda c: c.update(stages=[]), "stages"),
        (lambda c: c["stages"][0]["fit"].pop("lr"), "stages.0.fit.lr"),
        (lambda c: c["stages"][0]["fit"].update(batch_size=0), "stages.0.fit.batch_size"),
    ],
)  # fmt: skip
def test_what_tables_ask_for_is_looked_at(tmp_path: Path, change: Any, place: str) -> None:
    path = written(tmp_path, change)
    with pytest.raises(UserError, match=f"{path}: {place}: not as a result of this suite has it; move it away"):
        read_record(path)
