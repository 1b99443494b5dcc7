"""What surrounds a command before it does anything."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments import process
from experiments.__main__ import TRAINS, build_parser
from experiments.process import use_huge_pages

Started = list[tuple[str, list[str], str | None]]


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Started:
    """What would be started in this program's place, on a machine that offers huge pages."""
    programs: Started = []
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.setattr(
        os, "execv", lambda program, words: programs.append((program, words, os.environ.get("GLIBC_TUNABLES")))
    )
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "experiments", "run", "real_only"])
    monkeypatch.setattr(os, "confstr", lambda name: "glibc 2.35")
    (tmp_path / "enabled").write_text("always [madvise] never\n")
    monkeypatch.setattr(process, "OFFERED", tmp_path / "enabled")
    return programs


def test_the_program_starts_anew_once(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    use_huge_pages()
    assert started == [(sys.executable, [sys.executable, "-m", "experiments", "run", "real_only"], "glibc.malloc.hugetlb=1")]
    use_huge_pages()
    assert len(started) == 1, "it has what it wants"
    monkeypatch.setenv("GLIBC_TUNABLES", "")
    use_huge_pages()
    assert len(started) == 1, "the user has another wish"


CHANGES: dict[str, Callable[[pytest.MonkeyPatch, Path], None]] = {
    "always": lambda patch, path: (path / "enabled").write_text("[always] madvise never\n") and None,
    "never": lambda patch, path: (path / "enabled").write_text("always madvise [never]\n") and None,
    "not told": lambda patch, path: (path / "enabled").unlink(),
    "old": lambda patch, path: patch.setattr(os, "confstr", lambda name: "glibc 2.34"),
    "another library": lambda patch, path: patch.setattr(os, "confstr", lambda name: None),
    "another system": lambda patch, path: patch.delattr(os, "confstr"),
    "no program": lambda patch, path: patch.setattr(sys, "executable", ""),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_other_machines_are_left_as_they_are(
    change: Callable[[pytest.MonkeyPatch, Path], None], started: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(monkeypatch, tmp_path)
    use_huge_pages()
    assert not started and "GLIBC_TUNABLES" not in os.environ


def test_a_program_that_cannot_start_anew_goes_on(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(program: str, words: list[str]) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "execv", refuse)
    use_huge_pages()


def test_arguments_streams_and_exit_codes_stay(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    words = [sys.executable, "-m", "experiments", "run", "real_only", "--data_root", "an odd 'name'"]
    done = subprocess.run(words, env=environment, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "an odd 'name'" in done.stderr and not done.stdout
    assert len(done.stderr.splitlines()) == 1


def test_commands_that_train_are_commands() -> None:
    text = " ".join(build_parser().format_help().split())
    assert all(f" {name} " in text for name in TRAINS)
