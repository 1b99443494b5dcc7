"""A page in a real browser: what it asks for, says, draws, and how it can be used; skipped where there is no Chromium."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from domaingap.study.page.html import to_html
from domaingap.study.tables import to_csv
from tests.browser import DESK, NARROWEST, PHONE, Opened, drawn_in
from tests.study.pages import PLOTS, STRATEGIES, awkward_page, strategies_table

Open = Callable[..., Opened]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def html() -> str:
    return to_html(awkward_page())


@pytest.mark.parametrize("size", [NARROWEST, PHONE, DESK], ids=["narrowest", "phone", "desk"])
def test_the_page_is_whole(opened: Open, html: str, size: tuple[int, int]) -> None:
    window = opened(html, size)
    assert window.problems() == {}
    assert window.page.title().startswith("A study of faces </script>")
    assert window.page.locator(".main-svg").count() >= PLOTS
    # With all that can be opened.
    window.page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert window.outside() == [] and window.overlapping() == [] and window.inaccessible() == []
    window.page.locator(".face").first.click()
    assert window.page.locator("dialog").is_visible() and window.inaccessible() == []


def _before(mark: str, added: str) -> Callable[[str], str]:
    return lambda html: html.replace(mark, added + mark, 1)


def _in_main(added: str) -> Callable[[str], str]:
    return _before("</main>", added)


def _without_policy(html: str) -> str:
    return re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html)


SPOILT: dict[str, tuple[str, Callable[[str], str]]] = {
    "a picture from elsewhere": (
        "asked", lambda html: _in_main('<img src="http://127.0.0.1:9/a.png" alt="a">')(_without_policy(html)),
    ),
    "a picture that the policy forbids": ("said", _in_main('<img src="http://127.0.0.1:9/a.png" alt="a">')),
    "a script that nobody knows": ("said", _in_main("<script>document.title = 'mine'</script>")),
    "an error in a script": (
        "said", lambda html: _without_policy(html).replace('"use strict";', '"use strict"; nothing();'),
    ),
    "a figure that can't be read": ("undrawn", lambda html: html.replace('class="figure">{', 'class="figure">{{', 1)),
    "something wide": ("outside", _in_main('<div style="width:2000px">wide</div>')),
    "something that reaches out": ("outside", _in_main('<div style="position:relative;left:95vw;width:20vw">out</div>')),
    "something over something else": ("overlapping", _in_main('<div style="margin-top:-300px">over</div>')),
    "a button without a name": ("inaccessible", _in_main("<button></button>")),
    "pale text": ("inaccessible", _in_main('<p style="color:#bbb">pale</p>')),
    "a picture without words": ("inaccessible", _in_main('<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">')),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILT)
def test_what_is_wrong_is_seen(opened: Open, html: str, name: str) -> None:
    check, spoil = SPOILT[name]
    spoilt = spoil(html)
    assert spoilt != html
    window = opened(spoilt)
    window.page.wait_for_timeout(300)
    found = getattr(window, check)
    assert found if check == "said" else found()


def hears(page: Any, text: str) -> None:
    """What a screen reader is told."""
    page.locator("#said", has_text=re.compile(f"^{re.escape(text)}$")).wait_for(state="attached")


def test_a_table_is_sorted_and_copied_by_keyboard(opened: Open, html: str) -> None:
    window = opened(html)
    page = window.page
    table = page.locator("#runs .table")
    head = table.locator("th", has_text="NME %")
    head.locator("button").focus()

    def column() -> list[str]:
        return [text.strip() for text in table.locator("tbody tr td:nth-child(2)").all_text_contents()]

    as_given = column()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    numbers = [float(text) for text in as_given if text != "-"]
    dashes = ["-"] * as_given.count("-")
    assert [float(text) for text in column() if text != "-"] == sorted(numbers) != numbers
    assert column()[-len(dashes) :] == dashes
    page.keyboard.press("Space")
    assert head.get_attribute("aria-sort") == "descending"
    assert [float(text) for text in column() if text != "-"] == sorted(numbers, reverse=True)
    assert column()[-len(dashes) :] == dashes
    hears(page, "sorted by NME %, descending")
    # Back over the header's first button and CSV to Copy.
    for _ in range(4):
        page.keyboard.press("Shift+Tab")
    assert page.evaluate("document.activeElement.className") == "copy"
    page.keyboard.press("Enter")
    hears(page, "table copied")
    lines = page.evaluate("navigator.clipboard.readText()").splitlines()
    assert lines[0].split("\t") == ["name", "NME %", "steps", "folder"]
    assert len(lines) == 201 and [line.split("\t")[1] for line in lines[1:]] == column()


def test_intervals_are_sorted_by_their_mean(opened: Open, html: str) -> None:
    page = opened(html).page
    table = page.locator("#strategies .table").first
    names = table.locator("tbody th")
    assert names.all_text_contents() == list(STRATEGIES)
    table.locator("th", has_text="100 real").first.locator("button").click()
    assert names.all_text_contents() == [*reversed([*STRATEGIES[:1], *STRATEGIES[2:]]), "synthetic_only"]


def test_a_table_is_saved_as_csv(opened: Open, html: str) -> None:
    page = opened(html).page
    with page.expect_download() as waiting:
        page.locator("#strategies .csv").first.click()
    assert Path(waiting.value.path()).read_bytes().decode() == to_csv([strategies_table()])
    assert waiting.value.suggested_filename.endswith(".csv")


def test_a_plot_is_saved_as_a_picture(opened: Open, html: str) -> None:
    window = opened(html)
    with window.page.expect_download() as waiting:
        window.page.locator("#regions .picture").click()
    picture = Path(waiting.value.path()).read_text(encoding="utf-8")
    assert picture.startswith("<svg") and "mouth" in picture
    assert window.asked() == [] and window.said == []


def test_keys_reach_everything(opened: Open, html: str) -> None:
    page = opened(html).page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    box = page.evaluate("document.activeElement.getBoundingClientRect().x")
    assert box >= 0  # it can be seen
    for _ in range(3):
        page.keyboard.press("Tab")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
    seen = page.evaluate(
        """() => {
          const can = "a[href], button, summary, input, [tabindex='0']";
          const shown = [...document.querySelectorAll(can)].filter((e) => e.checkVisibility() && !e.disabled);
          const reached = (e) => { e.focus({ preventScroll: true }); return document.activeElement === e; };
          return shown.filter((e) => !reached(e)).map((e) => e.outerHTML);
        }"""
    )
    assert seen == []


def test_faces_are_enlarged_and_their_points_hidden(opened: Open, html: str) -> None:
    page = opened(html).page
    first = page.locator("#same .face").first
    first.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("dialog")
    assert dialog.is_visible() and "real_only, NME 1.0%" in dialog.inner_text()
    assert page.locator("dialog svg").bounding_box()["width"] > 400
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert page.evaluate("document.activeElement.className") == "face"
    shown = page.locator("#same .faces .prediction").first
    assert shown.is_visible()
    page.locator("#same input[data-layer=prediction]").uncheck()
    assert not shown.is_visible() and page.locator("#own .faces .prediction").first.is_visible()


def test_a_printed_page_has_its_plots(opened: Open, html: str) -> None:
    window = opened(html)
    printed = window.page.pdf(format="A4", print_background=False, prefer_css_page_size=True)
    assert printed.startswith(b"%PDF")
    pages = len(re.findall(rb"/Type\s*/Page\b", printed))
    assert 8 <= pages <= 60
    drawn = drawn_in(printed)
    assert drawn >= PLOTS
    # Without having been in sight; and on screen again as it was.
    assert window.page.locator("figure.plot .main-svg").count() >= PLOTS
    assert window.page.locator("details.notes[open]").count() == 0
    spoilt = opened(
        html.replace('addEventListener("beforeprint", () => { printing', 'addEventListener("never", () => { printing')
    )
    assert drawn_in(spoilt.page.pdf(format="A4")) < drawn / 2
