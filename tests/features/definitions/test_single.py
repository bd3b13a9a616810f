"""What a function over columns makes of a single row has the bits that it makes of that row in a table."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import polars as pl
import pytest

from mainspring.errors import InvalidError
from mainspring.features.definitions.single import of_one_row

c = pl.col
ROWS = 40
Function = Callable[[pl.DataFrame], pl.DataFrame]


def drawn() -> pl.DataFrame:
    draw = Random(3)
    numbers = {name: [draw.gauss(0, 50) for _ in range(ROWS)] for name in "ab"}
    lists = [[draw.gauss(0, 9) for _ in range(place % 4)] for place in range(ROWS)]
    return pl.DataFrame({"id": range(ROWS), **numbers, "k": [draw.choice("xy") for _ in range(ROWS)], "l": lists})


EXPRESSIONS = {
    "quotient": c("a") / 3,
    "cancelled": c("a") / 3 - (c("a") + 0.1) / 3,
    "across": pl.sum_horizontal(c("a", "b") / 3),
    "mean": pl.mean_horizontal("a", "b") / 3,
    "sine": (c("a") / 7).sin(),
    "logarithm": (c("a").abs() / 7).log1p(),
    "power": c("a").abs() ** 0.3,
    "floor": c("a") // 0.7,
    "rest": c("a") % 0.7,
    "case": pl.when(c("a") / 3 > 0).then(c("a") / 7).otherwise(c("b") / 7),
    "lists": pl.concat_list(c("a") / 3, c("b") / 7),
    "pair": pl.struct(p=c("a") / c("b"), q=c("b") / 3),
    "short": (c("a") / 7).cast(pl.Float32),
    "text": c("k").str.to_uppercase(),
}


def lazily(function: Callable[[pl.LazyFrame], pl.LazyFrame]) -> Function:
    return lambda frame: function(frame.lazy()).collect(engine="in-memory")


def of_rows(function: Function, frame: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([of_one_row(function, frame[place : place + 1]) for place in range(frame.height)])


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_an_expression_has_the_same_bits_of_a_row_as_in_a_table(name: str) -> None:
    frame, expression = drawn(), EXPRESSIONS[name]
    for function in (lazily(lambda rows: rows.select(x=expression)), lambda rows: rows.select("id", x=expression)):
        assert repr(of_rows(function, frame).rows()) == repr(function(frame).rows())


def test_polars_alone_gives_others() -> None:
    frame, third = drawn(), EXPRESSIONS["quotient"]
    assert not pl.concat([frame[at : at + 1].select(third) for at in range(ROWS)]).equals(frame.select(third))


@pytest.mark.parametrize(
    "function",
    [
        lambda rows: rows.filter(c("k") == "x").with_columns(x=c("a") / 3),
        lambda rows: rows.explode("l", empty_as_null=True).with_columns(x=c("l") / 3),
        lambda rows: rows.explode("l", empty_as_null=True).sort("id", "l").with_columns(x=c("l") / 3),
        lambda rows: rows.filter(c("a") > 1e9),
    ],
)
def test_a_function_may_give_no_row_or_several(function: Callable[[pl.LazyFrame], pl.LazyFrame]) -> None:
    frame = drawn()
    assert of_rows(lazily(function), frame).equals(lazily(function)(frame))


@pytest.mark.parametrize(
    "function",
    [
        lambda rows: rows.with_columns(x=pl.len().over("k"), y=c("a").sum()),
        lambda rows: rows.select(x=c("a").sum() / 3),
        lambda rows: rows.select(x=c("a").sum().over("k")),
        lambda rows: rows.select(x=c("a").std()),
        lambda rows: rows.with_columns(x=c("a").shift(1).over("k")),
        lambda rows: rows.with_columns(x=c("id").is_unique()),
        lambda rows: rows.with_columns(x=c("a").rank()),
        lambda rows: rows.unique("id"),
        lambda rows: rows.group_by("k").agg(c("a").sum()),
        lambda rows: rows.join(rows.select("id", z="a"), on="id"),
    ],
)
def test_a_function_that_looks_at_several_rows_gives_what_it_gives_of_the_one(
    function: Callable[[pl.LazyFrame], pl.LazyFrame],
) -> None:
    row = drawn()[:1]
    assert of_one_row(lazily(function), row).equals(lazily(function)(row))


def test_a_function_that_refuses_equal_rows_gets_the_row_alone_and_its_own_refusal_is_told() -> None:
    def of_unique(rows: pl.DataFrame) -> pl.DataFrame:
        if rows["id"].is_duplicated().any():
            raise InvalidError("id", "twice", "each once")
        return rows

    row = drawn()[:1]
    assert of_one_row(of_unique, row).equals(row)

    def refuses(_: pl.DataFrame) -> pl.DataFrame:
        raise InvalidError("id", "any", "none")

    with pytest.raises(InvalidError, match="none"):
        of_one_row(refuses, row)


def test_a_row_alone_is_computed_as_in_a_whole_block_of_a_table() -> None:
    def in_blocks(rows: pl.DataFrame) -> pl.DataFrame:  # as OpenBLAS does: what is left of eights is added up otherwise
        whole = rows.height // 8 * 8
        parts = [c("a") + c("b") + 0.1, c("a") + (c("b") + 0.1)]
        return pl.concat([rows[:whole].select(x=parts[0]), rows[whole:].select(x=parts[1])])

    frame = drawn()
    assert of_rows(in_blocks, frame).equals(in_blocks(frame))
    assert not pl.concat([in_blocks(frame[at : at + 1]) for at in range(ROWS)]).equals(in_blocks(frame))
