"""The short form of ``python -m tests.fuzz``, and whether the fuzzer would notice."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from domaingap.errors import UserError
from tests.fuzz import harness
from tests.fuzz.mutate import CANARY, YAML_PAYLOADS, Damage, Payload

SHORT = """
import json, sys
from pathlib import Path
from tests.fuzz.__main__ import fuzz
work, quiet = Path(sys.argv[1]), lambda line: None
damaged = fuzz(150, 11, work=work, say=quiet)
whole = fuzz(34, 11, work=work, whole=True, say=quiet)
(work / "figures.json").write_text(json.dumps([damaged["kinds"], whole["kinds"]]))
"""


@pytest.mark.slow
def test_malformed_inputs_are_taken_or_refused_in_one_line(tmp_path: Path) -> None:
    # In a process of its own: one that has trained, as this may have, can't fork.
    done = subprocess.run(
        [sys.executable, "-c", SHORT, str(tmp_path)],
        cwd=Path(__file__).parents[1], env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    damaged, whole = json.loads((tmp_path / "figures.json").read_text())
    assert {name: figures["examples"] for name, figures in damaged.items() if figures["faults"]} == {}
    assert sum(figures["counts"].get("refused", 0) for figures in damaged.values()) > 75, "most of the damage is noticed"
    # Without it each is taken; only some of the pictures are in formats that no release has.
    assert {name: figures["counts"] for name, figures in whole.items() if name != "picture"} == {
        name: {"taken": figures["inputs"]} for name, figures in whole.items() if name != "picture"
    }
    assert len(damaged) == len(whole) == 17


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CANARY, str(tmp_path / "canary"))
    monkeypatch.setenv("PATH", os.environ["PATH"])
    return tmp_path / "canary"


def _unpickle(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Payload()))


def _load_objects(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([Payload()], dtype=object), allow_pickle=True)
    np.load(tmp_path / "x.npy", allow_pickle=True)


def _load_yaml(tmp_path: Path) -> None:
    yaml.unsafe_load(YAML_PAYLOADS[0])


def _open_eps(tmp_path: Path) -> None:
    harness.pretend_ghostscript(tmp_path)
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png", "EPS")
    with contextlib.suppress(OSError), Image.open(tmp_path / "x.png") as image:
        image.load()


@pytest.mark.parametrize("unsafe", [_unpickle, _load_objects, _load_yaml, _open_eps])
def test_the_canary_sings_where_code_is_run(unsafe: Callable[[Path], None], canary: Path, tmp_path: Path) -> None:
    unsafe(tmp_path)
    assert canary.is_file(), "no input that runs code would be noticed"


def _refuse() -> None:
    raise UserError("b.txt: not what it should be")


def _of_no_file() -> None:
    raise UserError("something is wrong")


def _fill() -> None:
    bytearray(b"x" * (1 << 20)) * 300


WRONG: dict[str, Callable[[], object]] = {
    "taken": lambda: None,
    "refused": _refuse,
    "message": _of_no_file,
    "traceback": lambda: {}["x"],
    "hang": lambda: time.sleep(9),
    "executed": lambda: pickle.loads(pickle.dumps(Payload())),
    "crash": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "memory": _fill,
}


def test_whatever_goes_wrong_is_found_and_ends_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "SECONDS", 1.0)
    monkeypatch.setattr(harness, "MEMORY", 200 << 20)

    def make(rng: Damage, seeds: Path, folder: Path) -> harness.Case:
        name = list(WRONG)[int(rng.number)]
        (folder / "b.txt").write_text(name)
        return harness.Case(folder / "b.txt", WRONG[name])

    kind = harness.Kind("any", 1, make)
    plan = harness.Plan(0, tmp_path, tmp_path, tmp_path / "kept")
    found = [outcome.outcome for outcome in harness.outcomes(kind, list(range(len(WRONG))), plan)]
    assert found == list(WRONG)
    kept = sorted(path.parent.name for path in (tmp_path / "kept").rglob("b.txt"))
    assert kept == [f"any-{i}" for i, name in enumerate(WRONG) if name in harness.FAULTS and name != "crash"]
