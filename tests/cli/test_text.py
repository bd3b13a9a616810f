"""Tables and facts fit the terminal, and lose nothing where nobody looks at columns."""

from __future__ import annotations

import click
import pytest

from mainspring.cli import text

HEADERS = ["version", "rows", "made", "by", "note"]
ROWS = [
    ["flights/1", "336,776", "2026-11-21 08:04:13", "ada (local, unverified)", "the first of them, with a long note"],
    ["airports/12", "1,458", "2026-11-21 08:04:13", "ada (local, unverified)", ""],
]


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")


@pytest.mark.parametrize("width", [55, 60, 80, 100, 200])
def test_a_table_is_as_wide_as_the_terminal_and_keeps_its_first_column(width: int) -> None:
    shown = text.table(HEADERS, ROWS, drop=["by", "rows"], width=width).splitlines()
    assert max(map(len, shown)) <= width
    assert shown[1].startswith("flights/1")
    assert any(line.startswith("airports/12") for line in shown)


def test_columns_go_in_the_order_that_was_asked_for() -> None:
    assert text.table(HEADERS, ROWS, drop=["by", "rows"], width=80).splitlines()[0].split() == [
        "version", "rows", "made", "note",
    ]  # fmt: skip
    assert text.table(HEADERS, ROWS, drop=["by", "rows"], width=60).splitlines()[0].split() == [
        "version",
        "made",
        "note",
    ]


def test_nothing_is_lost_where_nobody_looks_at_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    shown = text.table(HEADERS, ROWS, drop=["by", "rows"])
    assert all(cell in shown for row in ROWS for cell in row)
    assert len(shown.splitlines()) == 3


@pytest.mark.usefixtures("wide")
def test_a_cell_that_is_wrapped_keeps_its_style() -> None:
    shown = text.table(["a", "b"], [["one", text.dim("word " * 20)]]).splitlines()
    assert all(line.count("\x1b[2m") == line.count("\x1b[0m") == 1 for line in shown[1:])
    assert [len(click.unstyle(line)) <= 60 for line in shown] == [True] * len(shown)


@pytest.mark.usefixtures("wide")
def test_facts_are_wrapped_or_cut() -> None:
    wrapped = click.unstyle(text.facts([("name", "word " * 20), ("n", "1"), ("nothing", "")]))
    assert [len(line) <= 60 for line in wrapped.splitlines()] == [True] * 3, wrapped
    assert wrapped.split().count("word") == 20
    cut = click.unstyle(text.facts([("name", "word " * 20), ("n", "1")], cut=True))
    assert [line[-1] for line in cut.splitlines()] == ["…", "1"]
