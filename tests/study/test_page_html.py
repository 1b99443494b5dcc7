"""A page as HTML: escaped, whole, asking for nothing."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources

import numpy as np
import plotly.graph_objects as go
import pytest

from domaingap.study.page.blocks import FaceRow, Gallery, Listing, Page, Plot, Section, Words
from domaingap.study.page.html import crosses, dots, to_html, whiskers
from domaingap.study.tables import Column, Table, number_column, to_csv
from tests.study.pages import AWKWARD, PLOTS, STRATEGIES, awkward_page, face, jpeg, runs_table, strategies_table

VOID = {"meta", "br", "img", "input", "link", "hr", "source"}
RAW = {"script", "style"}
LOADS = {"src", "href", "srcset", "poster", "action", "data", "background", "xlink:href", "formaction", "ping"}
SHAPES = {"path", "use", "image"}  # of SVG, which close themselves


class Read(HTMLParser):
    """Elements with their attributes and own text, as a tree's walk; wrong nesting is an error."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str], list[str]]] = []
        self._open: list[tuple[str, dict[str, str], list[str]]] = []
        self.feed(html)
        self.close()
        assert not self._open, [tag for tag, _, _ in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({key for key, _ in attrs}) == len(attrs), f"an attribute twice: {attrs}"
        element = (tag, {key: value or "" for key, value in attrs}, [])
        self.elements.append(element)
        if tag not in VOID and tag not in SHAPES:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag in SHAPES:
            return
        assert self._open and self._open[-1][0] == tag, f"</{tag}> closes {self._open[-1][0]}"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element[2].append(data)

    def all(self, tag: str, **wanted: str) -> list[tuple[dict[str, str], str]]:
        """Attributes and text of elements."""
        return [
            (attributes, "".join(text))
            for found, attributes, text in self.elements
            if found == tag and all(attributes.get(key.strip("_")) == value for key, value in wanted.items())
        ]

    def having(self, tag: str, name: str) -> list[tuple[dict[str, str], str]]:
        """Elements of a class."""
        return [(attributes, text) for attributes, text in self.all(tag) if name in attributes.get("class", "").split()]


@pytest.fixture(scope="module")
def text() -> str:
    return to_html(awkward_page())


@pytest.fixture(scope="module")
def page(text: str) -> Read:
    return Read(text)


def of(*blocks: object) -> Read:
    """A page of these blocks alone."""
    return Read(to_html(Page("A page", "facts", [Section("one", "One", blocks)])))  # type: ignore[arg-type]


def test_text_stands_on_the_page_as_it_was_given(page: Read) -> None:
    assert page.all("title")[0][1] == page.all("h1")[0][1] == f"A study of faces {AWKWARD}"
    assert page.all("b") == []
    assert any(AWKWARD in text for _, text in page.having("p", "words"))
    assert AWKWARD in page.all("figcaption")[0][1]
    assert any(AWKWARD in text for _, text in page.all("pre"))
    # Nothing but our own scripts runs: plotly.js and the page's.
    assert len([attributes for attributes, _ in page.all("script") if "type" not in attributes]) == 2


def test_headings_are_in_order(page: Read) -> None:
    levels = [int(tag[1]) for tag, _, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert len(page.all("h2")) == 6
    assert page.all("html")[0][0]["lang"] == "en"


def test_ids_are_unique_and_links_lead_somewhere(page: Read) -> None:
    ids = [attributes["id"] for _, attributes, _ in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = [attributes[key] for _, attributes, _ in page.elements for key in ("aria-labelledby",) if key in attributes]
    links = [a["href"][1:] for tag, a, _ in page.elements if "href" in a and a["href"].startswith("#")]
    assert len(links) > 100 and set(links) | set(named) <= set(ids)
    assert [text.strip() for _, text in page.all("a") if text in {"The answer", "Curves", "Faces"}] == [
        "The answer",
        "Curves",
        "Faces",
    ]


def test_nothing_is_asked_for(page: Read) -> None:
    asked = [
        value for _, attributes, _ in page.elements for key, value in attributes.items()
        if key in LOADS and not value.startswith(("#", "data:image/jpeg;base64,"))
    ]  # fmt: skip
    assert asked == []
    assert not re.search(r"url\(|@import", page.all("style")[0][1])
    assert not [tag for tag, _, _ in page.elements if tag in {"link", "iframe", "object", "embed", "base"}]


def test_the_policy_allows_the_pages_own_scripts_alone(page: Read) -> None:
    (policy,) = (a["content"] for a, _ in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    rules = {name: values for name, *values in (rule.split() for rule in policy.split("; "))}
    assert rules["default-src"] == ["'none'"]
    scripts = [text for attributes, text in page.all("script") if "type" not in attributes]
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in scripts]
    assert rules["script-src"] == hashes
    assert not [key for _, attributes, _ in page.elements for key in attributes if key.startswith("on")]


def test_figures_are_what_was_given(page: Read) -> None:
    figures = page.all("figure", class_="plot")
    blocks = page.all("script", class_="figure")
    assert len(figures) == len(blocks) == PLOTS
    bars = next(json.loads(text) for _, text in blocks if '"bar"' in text)
    assert bars["data"][0]["name"] == AWKWARD and bars["data"][0]["x"][-1] == "</script>"
    assert "template" not in bars["layout"]
    named = go.Figure([go.Scatter(y=[1])], {"template": "plotly_dark"})
    kept = of(Plot("p", "P", named, "words")).all("script", class_="figure")[0][1]
    assert "template" in json.loads(kept)["layout"]


def test_a_page_without_plots_is_without_plotly() -> None:
    assert len(to_html(Page("A page", "facts", [Section("one", "One", [Words("words")])]))) < 60_000


def test_each_picture_is_there_once(page: Read) -> None:
    pictures = page.all("image")
    assert [a["href"].partition(",")[2] for a, _ in pictures] == [base64.b64encode(jpeg(i)).decode() for i in range(3)]
    shown = page.having("button", "face")
    assert len(shown) == 3 * len(STRATEGIES) + 2 * 3
    assert "mixing α=0.5, NME 1.8%, face helen/testset/300_1" in shown[4][0]["aria-label"]


def test_points_are_drawn_where_they_are() -> None:
    truth, prediction = np.array([[1.0, 2.0], [3.25, np.nan]]), np.array([[4.0, 6.0], [1e9, 2]])
    assert dots(truth) == "M1 2h0M3.2 -9999h0"
    assert crosses(prediction[:1], 1.5) == "M2.5 4.5l3 3m0-3l-3 3"
    assert whiskers(truth, prediction) == "M1 2L4 6M3.2 -9999L9999 2"


def test_tables_say_what_was_given(page: Read) -> None:
    cells = strategies_table().cells()
    flat = [re.sub(r"\s+", " ", text).strip() for _, text in (*page.having("td", "n"), *page.all("th"))]
    assert {re.sub(r"\s+", " ", text).strip() for row in cells for text in row if text.startswith(("mixing", "8."))} <= set(
        flat
    )
    texts = [json.loads(text) for _, text in page.all("script", class_="csv-text")]
    assert to_csv([runs_table()]) in texts and to_csv([strategies_table()]) in texts
    assert "No rows." in [text for _, text in page.having("td", "none")]
    assert "More notes (5)" in [text for _, text in page.all("summary")]


@pytest.mark.parametrize(
    ("column", "values", "order"),
    [
        (number_column("n"), [10, 9, None, float("nan"), -1], [4, 1, 0]),
        (Column("name"), ["run 10", "run 9", "Run 1", "α"], [2, 1, 0, 3]),
        (number_column("steps", str), [(2, 1), (1, 9), (1, 10)], [1, 2, 0]),
        (Column("share", str, raw={"value": lambda v: v}), [0.5, None, 0.25], [2, 0]),
        (Column("flag"), [True, False], [1, 0]),
        (Column("count", str), [np.float64(2.5), np.int64(1)], [1, 0]),
    ],
)
def test_columns_are_sorted_by_value(column: Column, values: list[object], order: list[int]) -> None:
    read = of(Table("T", [Column("row"), column], [[str(i), value] for i, value in enumerate(values)]))
    ranks = {i: int(a["data-r"]) for i, (a, _) in enumerate(read.all("td")) if "data-r" in a}
    assert sorted(ranks, key=ranks.__getitem__) == order


def test_intervals_are_sorted_by_their_mean(page: Read) -> None:
    table = strategies_table()
    read = of(table)
    rows = [read.all("td")[i : i + 9] for i in range(0, 6 * 9, 9)]
    first = [int(row[2][0]["data-r"]) for row in rows]
    assert first == sorted(first, reverse=True)
    assert "data-r" not in rows[1][3][0]  # no figure there


def test_two_parts_of_one_id_are_refused() -> None:
    with pytest.raises(ValueError, match="the id 'p'"):
        of(Plot("p", "P", go.Figure(), "words"), Gallery("p", "G", [], "words"))


def test_listings(page: Read) -> None:
    assert [text for _, text in of(Listing("a.yaml", "a: 1\n")).all("summary")] == ["Contents", "a.yaml"]
    assert [text for _, text in of(Listing("a.yaml", "a: 1\n", folded=False)).all("summary")] == ["Contents"]


def test_one_picture_with_two_truths_is_there_once() -> None:
    one = face(0, 1)
    read = of(Gallery("g", "G", [FaceRow("r", [("a", one), ("b", replace(one, truth=one.truth + 1))])], "words"))
    assert len(read.all("image")) == 1
    assert [a["id"] for a, _ in read.all("path") if a.get("id", "").startswith("truth")] == ["truth-0", "truth-1"]


def test_its_parts_are_in_the_package() -> None:
    names = {item.name for item in resources.files("domaingap.study.page").iterdir()}
    assert {"page.html.j2", "page.css", "page.js"} <= names
