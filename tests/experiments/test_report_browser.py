"""The page that commands write, in a real browser; skipped where there is no Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser import CHROMIUM, DESK, PHONE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on this machine"),
]


def test_the_page_of_the_demo_is_whole(cli: Callable[..., Any], tmp_path: Path, request: pytest.FixtureRequest) -> None:
    runs = tmp_path / "demo"
    answer = cli("demo", "--quick", f"--runs_dir={runs}", f"--prepared_dir={tmp_path / 'prepared'}")
    assert answer.code == 0, answer.err
    page = tmp_path / "elsewhere" / "report.html"
    page.parent.mkdir()
    shutil.move(runs / "report.html", page)  # it needs nothing from where it was written
    shutil.rmtree(runs)
    opened = request.getfixturevalue("opened")  # after the runs: Playwright keeps an event loop running
    for size in (PHONE, DESK):
        window = opened(page, size)
        assert window.problems() == {}
        assert window.page.locator("figure.plot").count() >= 5
        assert window.page.locator(".face").count() >= 6
        # The words that answer are on the first screen.
        assert window.page.locator(".answer").first.bounding_box()["y"] < size[1] / 2
