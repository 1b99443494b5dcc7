"""A short form of the interruptions of a sweep; ``python -m tests.interruptions`` is the whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import write_300w, write_face_synthetics
from tests.interruptions import NoDisk, Sweep, Undisturbed, at_a_moment, at_a_point, full_at, goes_on, undisturbed


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Tiny data, one thread a process."""
    root = tmp_path_factory.mktemp("interruptions")
    write_300w(root / "data" / "300w")
    write_face_synthetics(root / "data" / "face_synthetics")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield root


@pytest.fixture(scope="module")
def alone(place: Path) -> Undisturbed:
    """What the sweep leaves behind when nothing happens to it."""
    found = undisturbed(place / "data", place / "alone", "short")
    assert sum(name.endswith("result.json") for name in found.found) == 3
    assert sum(name.endswith("manifest.json") for name in found.found) == 7 + 4 + 1 + 4, (
        "parts, networks, an adapter, pictures of val and of three test sets"
    )
    return found


def test_a_sweep_that_is_killed_between_two_stages(place: Path) -> None:
    alone = undisturbed(place / "data", place / "tiny", "tiny")
    sweep = Sweep(place / "data", place / "killed", "tiny")
    sweep.end(sweep.start(at={"kind": "stage", "count": 2, "when": "before"}), (-9,))
    assert goes_on(sweep, alone) == "0 validations again"
    assert alone.calls["stage"] == 2 and alone.calls["validation"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("number", range(5))
def test_a_sweep_that_is_killed_ends_as_if_it_had_not_been(place: Path, alone: Undisturbed, number: int) -> None:
    sweep = Sweep(place / "data", place / f"kill-{number}", "short")
    if number % 2:
        at_a_moment(f"test {number}", sweep, alone, cut=number == 3)
    else:
        at_a_point(f"test {number}", sweep, alone, 5 * number + 2, cut=number == 2)


@pytest.mark.slow
def test_a_sweep_in_two_processes_that_is_killed(place: Path, alone: Undisturbed) -> None:
    """Of which only the first is killed: the others end by themselves."""
    at_a_moment("test jobs", Sweep(place / "data", place / "jobs", "short", jobs=2), alone, "parent", cut=True)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "count"), [(".resume.ckpt", 5), (".result.json", 2)])
def test_a_sweep_goes_on_when_a_full_disk_has_room_again(place: Path, alone: Undisturbed, name: str, count: int) -> None:
    try:
        full_at(name, count, place / "data", place / name, alone, "short")
    except NoDisk as error:
        pytest.skip(str(error))
