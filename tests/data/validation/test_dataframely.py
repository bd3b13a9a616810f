"""Schemas of dataframely: rows fail here as they do there."""

from __future__ import annotations

from datetime import date

import dataframely as dy
import polars as pl
import pytest

from mainspring.data import validate
from mainspring.data.validation.dataframely import schema_from
from mainspring.errors import WrongTypeError


class Flights(dy.Schema):
    """Keys, bounds, a rule of rows and one of groups."""

    id = dy.Int64(primary_key=True)
    leg = dy.Int64(primary_key=True, min=1)
    carrier = dy.String(regex="^[A-Z0-9]{2}$", max_length=2)
    delay = dy.Float64(nullable=True, min=-120, max_exclusive=1440)
    day = dy.Date(min=date(2013, 1, 1))
    ticket = dy.String(nullable=True, unique=True, check=lambda column: column.str.starts_with("T"))

    @dy.rule()
    def late_flights_have_a_delay(cls) -> pl.Expr:  # dataframely's form
        return (pl.col("carrier") != "UA") | pl.col("delay").is_not_null()

    @dy.rule()
    def few_legs(cls) -> pl.Expr:  # dataframely's form
        return pl.len().over("id") <= 2


FRAME = pl.DataFrame(
    {
        "id": [1, 1, 1, 2, 3, 4],
        "leg": [1, 2, 2, 0, 1, None],
        "carrier": ["AA", "UA", "aa", "UA", "B612", None],
        "delay": [1440.0, None, 5.0, float("nan"), float("inf"), -121.0],
        "day": [date(2013, 1, 1), date(2012, 12, 31), None, *[date(2013, 5, 1)] * 3],
        "ticket": ["T1", "T1", "x", None, None, "T2"],
    }
)


def test_rules_count_what_dataframely_counts() -> None:
    _, failure = Flights.filter(FRAME, cast=False)
    expected = {name.replace("|", " "): count for name, count in failure.counts().items()}
    words = {"id, leg unique": "primary_key"}
    given = {}
    for result in validate(FRAME, Flights).failed:
        name = result.check.name.replace(" is not null", " nullability")
        given[words.get(name, name)] = result.failing
    assert given == expected
    assert len(given) > 8


def test_over_batches_a_rule_of_groups_sees_the_whole() -> None:
    whole, lazily = validate(FRAME, Flights), validate(FRAME.lazy(), Flights, batch_rows=1)
    assert [(result.check, result.failing) for result in lazily.results] == [
        (result.check, result.failing) for result in whole.results
    ]


def test_a_frame_that_fits_passes() -> None:
    good = Flights.create_empty()
    assert validate(good, Flights).passed
    assert schema_from(Flights).name == "Flights"


def test_types_and_columns_are_part_of_it() -> None:
    (result, *_) = validate(FRAME.with_columns(pl.col("id").cast(pl.String)), Flights).failed
    assert result.message == "the column is str"
    assert not validate(FRAME.drop("day"), Flights).passed


def test_a_function_of_python_is_named() -> None:
    def looked_up(values: pl.Series) -> pl.Series:
        return values > 1

    class Mine(dy.Schema):
        """A rule that Polars can't write down."""

        a = dy.Int64(check=lambda column: column.map_batches(looked_up, return_dtype=pl.Boolean))

    assert [note.partition(":")[0] for note in schema_from(Mine).notes] == ["a check"]


def test_what_is_no_schema_is_refused() -> None:
    with pytest.raises(WrongTypeError, match="Schema class"):
        schema_from(dy.Int64())
