"""What a function of Python computes of rows has the same bits alone, in parts and in a table, and after a filter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from math import fsum
from random import Random
from typing import Any

import polars as pl
import polars.selectors as cs
import pytest

from mainspring.features.definitions.handed import HandedFrame, HandedLazyFrame, plain

c = pl.col
ROWS = 16
Function = Callable[[Any], Any]


def drawn() -> pl.DataFrame:
    draw = Random(3)

    def floats(count: int) -> list[float]:
        return [draw.gauss(0, 50) for _ in range(count)]

    return pl.DataFrame(
        {
            "id": range(ROWS), "a": floats(ROWS), "b": [draw.choice((0.5, 2.0, 3.0, 1 / 3)) for _ in range(ROWS)],
            "k": [draw.choice("xyyy") for _ in range(ROWS)], "i": range(5, 5 + ROWS),
            "l": [floats(draw.choice((0, 0, 1, 1, 3))) for _ in range(ROWS)],
            "r": pl.Series([floats(4) for _ in range(ROWS)], dtype=pl.Array(pl.Float64, 4)),
            "s": pl.Series(floats(ROWS), dtype=pl.Float32),
        }
    )  # fmt: skip


def expressions() -> Iterator[pl.Expr]:
    """Arithmetic of columns, several at once, lists and arrays, with constants that have no short form in base two."""
    for one in (c("a"), c("s"), c("i"), c("a", "b"), cs.float(), cs.numeric() - cs.by_name("id")):
        for constant in (7, 0.7):
            yield from (one / constant, one // constant, one % constant, (one - 1.5) / constant)
        yield from (one.abs() ** 0.3, one.abs() ** c("b"), (one / 7).sqrt(), pl.when(one / 3 > 2).then(one / 7))
    for one, constant in product((c("a"), c("s"), c("i")), (3, 0.7, 1 / 3)):
        yield from ((constant / one).alias("of"), (constant // one).alias("floor"), (constant % one).alias("rest"))
    for lists in (c("l"), c("r"), c("l", "r")):
        yield from (lists / 7, lists / c("b"), lists * (1 / 3))
    for item in (pl.element() / 7, pl.element() ** 0.3, pl.element() // 0.7, pl.element() / pl.element().sum()):
        yield c("l").list.eval(item)
    yield from (
        c("l").list.sum(),
        c("l").list.mean() / 7,
        c("r").arr.sum() / 3,
        c("r").arr.mean(),
        pl.struct(c("a") / 3),
    )


def functions() -> dict[str, Function]:
    """Expressions as new columns, of the rows that a filter leaves, and of a frame that was collected before."""
    made = [each.name.suffix(f"_{at}") for at, each in enumerate(expressions())]
    return {
        "one": lambda rows: rows.with_columns(made),
        "left": lambda rows: rows.filter(c("k") == "x").with_columns(*made[::5], x=c("a") / 7),
        "filtering": filtering, "eager": eager, "exploded": exploded, "joined": joined,
    }  # fmt: skip


def filtering(rows: Any) -> Any:
    return rows.filter(c("a") / 3 > 0.1, k="y").with_columns(x=c("a") / 7)


def eager(rows: Any) -> Any:
    found = rows.lazy().collect().filter(c("k") == "x")
    return found.with_columns(x=c("a") / 3).filter(c("x") / 7 > 0.1).select("id", y=c("x") / 7)


def exploded(rows: Any) -> Any:
    return rows.explode("l").with_columns(x=c("l") / 3)


def joined(rows: Any) -> Any:
    return rows.join(rows.select("id", z=c("a") / 3), on="id", maintain_order="left").with_columns(x=c("z") / 7)


def shown(found: Any) -> tuple[pl.Schema, list[str]]:
    frame = plain(found).lazy().collect(engine="in-memory")
    assert type(frame) is pl.DataFrame
    return frame.schema, [repr(row) for row in frame.rows()]


def in_parts(function: Function, frame: pl.DataFrame, size: int, of: Callable[[pl.DataFrame], Any]) -> list[str]:
    return [row for at in range(0, frame.height, size) for row in shown(function(of(frame[at : at + size])))[1]]


def lazy(frame: pl.DataFrame) -> HandedLazyFrame:
    return HandedLazyFrame.of(frame.lazy())


@pytest.mark.parametrize("name", functions())
def test_a_row_has_the_same_bits_alone_in_parts_and_in_a_table(name: str) -> None:
    function, frame = functions()[name], drawn()
    schema, whole = shown(function(lazy(frame)))
    assert shown(function(HandedFrame.of(frame))) == (schema, whole)
    assert schema == shown(function(frame.lazy()))[0]
    for size, of in ((1, lazy), (1, HandedFrame.of), (7, lazy)):
        assert in_parts(function, frame, size, of) == whole


def test_polars_alone_gives_others() -> None:
    """Where it doesn't any more the frames that are handed are superfluous."""
    frame = drawn()
    whole = shown(frame.lazy().with_columns(x=c("a") / 3))[1]
    assert in_parts(lambda rows: rows.lazy().with_columns(x=c("a") / 3), frame, 1, lambda part: part) != whole


def test_what_is_no_expression_of_single_rows_is_as_polars_has_it() -> None:
    frame = drawn()
    for function in (
        lambda rows: rows.with_columns(c("a").sum() / 3, n=5, t=pl.lit("x"), z="a"),
        lambda rows: rows.with_columns(c("a").map_elements(lambda value: fsum((value, 1)), return_dtype=pl.Float64)),
        lambda rows: rows.select([c("id"), "a", pl.Series("x", range(ROWS))]),
        lambda rows: rows.filter(pl.Series([True] * ROWS)).filter([True] * ROWS),
        lambda rows: rows.group_by("k", maintain_order=True).agg(c("a").mean() / 3),
    ):
        assert shown(function(lazy(frame))) == shown(function(frame.lazy()))
    for rows in (frame.lazy(), lazy(frame)):
        with pytest.raises(pl.exceptions.ColumnNotFoundError, match="nope"):
            rows.with_columns(c("nope") / 3).collect()
