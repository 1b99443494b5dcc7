"""One table, four renderings."""

from __future__ import annotations

import csv
import io
import re

import pytest

from domaingap.statistics import Interval
from domaingap.study.tables import Column, Table, interval_column, metric, number, print_tables, render, with_interval

NAN = float("nan")


def table(title: str = "T [bold]a[/bold]") -> Table:
    columns = [
        Column("name [x]"),
        interval_column("NME %", metric("nme")),
        interval_column("change", number(1, sign=True), none=""),
    ]
    rows = [
        ["a|b [red] 5%_$", Interval(1.234, 1.0, 2.005), Interval(-0.5, -1.0, 0.25)],
        ["c", Interval(3.0, NAN, NAN), None],
        [None, Interval(NAN, NAN, NAN), Interval(2.0, 1.0, 3.0)],
    ]
    return Table(title, columns, rows, ["note [i] α < 1"])


def test_formats() -> None:
    assert metric("fr@8")(12.345) == "12.3" and metric("auc@10")(0.12345) == "0.123" and metric("nme_jaw")(1.005) == "1.00"
    assert metric("nme")(NAN) == "-" and with_interval(number(1))(Interval(1.0, NAN, NAN)) == "1.0"
    assert table().cells() == [
        ["a|b [red] 5%_$", "1.23 [1.00, 2.00]", "-0.5 [-1.0, +0.2]"],
        ["c", "3.00", ""],
        ["-", "-", "+2.0 [+1.0, +3.0]"],
    ]


def test_markup_in_names_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_tables([table(), Table("second", [Column("a")], [["b"]], ["note [i] α < 1", "own"])])
    out = capsys.readouterr().out
    for text in ("T [bold]a[/bold]", "name [x]", "a|b [red] 5%_$", "1.23 [1.00, 2.00]"):
        assert text in out
    assert out.count("note [i] α < 1") == 1 and "own" in out, "a note is said once"


def test_markdown() -> None:
    lines = render([table()], "markdown").splitlines()
    assert (
        lines[0] == "**T [bold]a[/bold]**" and lines[2] == "| name [x] | NME % | change |" and lines[3] == "|---|---:|---:|"
    )
    assert lines[4] == r"| a\|b [red] 5%\_$ | 1.23 [1.00, 2.00] | -0.5 [-1.0, +0.2] |"
    assert lines[-1] == "note [i] α < 1  "


def test_csv_has_raw_numbers_behind_the_text() -> None:
    first, second, third = csv.DictReader(io.StringIO(render([table()], "csv")))
    own = ["", ": mean", ": low", ": high"]
    assert list(first) == ["name [x]", *(f"{name}{part}" for name in ("NME %", "change") for part in own)]
    assert (first["NME %: mean"], first["NME %: high"], first["change: low"]) == ("1.234", "2.005", "-1.0")
    assert (second["NME %: mean"], second["NME %: low"], second["change: mean"]) == ("3.0", "", "")
    assert third["NME %"] == "-" and third["NME %: mean"] == ""
    several = list(csv.reader(io.StringIO(render([table("one"), table("two")], "csv"))))
    assert several[0][-1] == "table" and [row[-1] for row in several[1:]] == ["one"] * 3 + ["two"] * 3


def test_latex_is_escaped() -> None:
    text = render([table()], "latex")
    assert r"\begin{tabular}{lrr}" in text and text.count(r"\toprule") == text.count(r"\bottomrule") == 1
    assert r"a\textbar{}b [red] 5\%\_\$ & 1.23 [1.00, 2.00] & $-$0.5 [$-$1.0, +0.2] \\" in text
    assert r"note [i] $\alpha$ \textless{} 1" in text and r"\caption{T [bold]a[/bold]}" in text

    def row(name: str) -> str:
        return render([Table("", [Column("a")], [[name]])], "latex").splitlines()[6]

    assert row("[x]") == r"{}[x] \\", "not an option of the line break before it"
    assert row(r"\{}~^#&") == r"\textbackslash{}\{\}\textasciitilde{}\textasciicircum{}\#\& \\"
    assert row("a-1 2-3 -4") == r"a-1 2-3 $-$4 \\"


ODD = "[bold]x[/] | *a* _b_ a_b `c` <i> ~ [l](u) \x1b[31m\n# $5 ^"


def test_odd_text_stays_text_in_every_rendering(capsys: pytest.CaptureFixture[str]) -> None:
    cells = [[ODD], ["=cmd|' /C calc'!A0"], ["@x"], ["-cmd"], ["-0.5 [-1.0, +0.2]"], ["- item"], ['a,b "c"']]
    odd = Table(ODD, [Column(ODD)], cells, [ODD, "# own"])
    print_tables([odd])
    out = capsys.readouterr().out
    assert "[bold]x[/] | *a* _b_ a_b `c` <i> ~ [l](u) \\x1b[31m" in out and "\x1b" not in out
    lines = render([odd], "markdown").splitlines()
    assert len(lines) == 2 + 2 + len(cells) + 1 + 2, "a cell is one line"
    assert lines[4] == r"| [bold]x[/] \| \*a\* \_b\_ a_b \`c\` \<i> \~ [l]\(u) \\x1b[31m\\n# $5 ^ |"
    assert lines[9] == r"| \- item |" and lines[-1] == r"\# own  "
    rows = list(csv.reader(io.StringIO(render([odd], "csv"))))
    assert [row[0] for row in rows[2:]] == ["'=cmd|' /C calc'!A0", "'@x", "'-cmd", "-0.5 [-1.0, +0.2]", "'- item", 'a,b "c"']
    text = render([odd], "latex")
    for character in "_$^~#":
        assert not re.search(rf"(?<!\\){re.escape(character)}", re.sub(r"\$-\$", "", text)), character
    assert r"\textbackslash{}x1b[31m" in text and "\x1b" not in text
