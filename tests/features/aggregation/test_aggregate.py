"""Aggregates are declared strictly, keep their wire form, and are held to the types of their columns."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from mainspring.errors import ExistsError, InvalidError, NotFoundError, WrongTypeError
from mainspring.features.aggregation import Aggregate, agg, aggregation, duration_text, parse_duration


@pytest.mark.parametrize(
    ("text", "length_us"),
    [("1us", 1), ("90s", 90_000_000), ("90m", 5_400_000_000), ("6h", 21_600_000_000), ("2w", 1_209_600_000_000)],
)
def test_lengths_of_time_are_read(text: str, length_us: int) -> None:
    assert parse_duration(text, "window") == length_us == parse_duration(timedelta(microseconds=length_us), "window")
    assert parse_duration(duration_text(length_us), "window") == length_us


@pytest.mark.parametrize(
    "text", ["", "6", "h", "6 h", "1.5h", "-1h", "0h", "6H", "1mo", "٦h", "6h ", "1h30m", "9" * 18 + "w"]
)
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="a length of time"):
        agg.count(windows=text)


def test_a_number_is_no_length_of_time() -> None:
    with pytest.raises(WrongTypeError, match="window: `3600` is an int"):
        agg.sum("x", [3600])  # type: ignore[list-item]  # what a caller may get wrong


def test_each_window_is_a_feature_with_a_name() -> None:
    made = [agg.mean("delay", ["1h", "6h", "7d"]), agg.count(windows="90m"), agg.max("delay", "6h").named("worst")]
    names = [feature.name for aggregate in made for feature in aggregate.features()]
    assert names == ["delay_mean_1h", "delay_mean_6h", "delay_mean_7d", "count_90m", "worst"]
    assert [feature.name for feature in agg.std("x", ["1h", "2h"]).named("y").features()] == ["y_1h", "y_2h"]


def test_the_hop_follows_the_window() -> None:
    hops = [
        duration_text(feature.hop_us) for feature in agg.sum("x", ["1h", "6h", "12h", "7d", "12d", "60d"]).features()
    ]
    assert hops == ["5m", "5m", "1h", "1h", "1d", "1d"]


def test_the_wire_form_gives_the_same_aggregate() -> None:
    made = [
        agg.top_k("x", ["1h", "2h"], k=3, by="value", hop="30m"),
        agg.last("x", "1h", n=2, skip_nulls=False).named("y"),
    ]
    assert msgspec.json.decode(msgspec.json.encode(made), type=list[Aggregate]) == made


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: agg.sum("x", "90m", hop="1h"), "a multiple of its hop of 1h"),
        (lambda: agg.sum("x", "7m"), "a multiple of its hop of 5m"),
        (lambda: agg.sum("x", []), "one window or several"),
        (lambda: agg.count(), "one window or several"),
        (lambda: agg.sum("x", ["1h", "60m"]), "one window or several"),
        (lambda: agg.sum("", "1h"), "the name of a column"),
        (lambda: agg.top_k("x", "1h", k=0), "a number of values"),
        (lambda: agg.last("x", "1h", n=0), "a number of values"),
        (lambda: agg.top_k("x", "1h", k=1, by="size"), "`count` or `value`"),  # type: ignore[arg-type]  # a mistake
        (lambda: agg.sum("x", "1h").named(""), "a name"),
        (lambda: Aggregate("sum", "x", (3_600_000_000,), k=2), "that `sum` lists"),
        (lambda: Aggregate("men", "x", (3_600_000_000,)), "Nearest: mean"),  # type: ignore[arg-type]  # a mistake
        (lambda: Aggregate("sum", "x", (-3_600_000_000,)), "a multiple of its hop"),
    ],
)
def test_what_makes_no_sense_is_refused(make: Any, told: str) -> None:
    with pytest.raises(InvalidError, match=told):
        make()


def test_a_column_that_is_missing_is_named_with_the_one_that_may_be_it() -> None:
    with pytest.raises(NotFoundError, match=r"delays_sum_1h has no column `delays`\. Nearest: delay\."):
        aggregation([agg.sum("delays", "1h")], {"delay": "f64"})


def test_two_features_have_two_names() -> None:
    with pytest.raises(ExistsError, match="feature `x_sum_1h`"):
        aggregation([agg.sum("x", "1h"), agg.sum("x", "1h", hop="1m")], {"x": "i64"})


@pytest.mark.parametrize(
    ("aggregate", "kind"),
    [
        (agg.sum("x", "1h"), "str"), (agg.mean("x", "1h"), "duration[us]"), (agg.std("x", "1h"), "date"),
        (agg.max("x", "1h"), "list[i64]"), (agg.sum("x", "1h"), "datetime[us, UTC]"), (agg.last("x", "1h"), "time"),
        (agg.sum("x", "1h"), "i128"), (agg.sum("x", "1h"), "decimal[38, 20]"),
    ],
)  # fmt: skip
def test_a_column_of_the_wrong_type_is_named(aggregate: Aggregate, kind: str) -> None:
    with pytest.raises(InvalidError, match="the type of `x`"):
        aggregation([aggregate], {"x": kind})


def test_results_have_types_by_those_of_their_columns() -> None:
    types = {"i": "i32", "f": "f32", "b": "bool", "d": "decimal[10, 2]", "c": "cat", "l": "list[i64]"}
    types |= {"t": "datetime[ns, UTC]", "w": "duration[ms]"}
    made = [
        agg.sum("i", "1h"), agg.sum("f", "1h"), agg.sum("b", "1h"), agg.sum("d", "1h"), agg.sum("w", "1h"),
        agg.mean("i", "1h"), agg.std("d", "1h"), agg.min("i", "1h"), agg.max("f", "1h"), agg.max("t", "1h"),
        agg.count("l", "1h"), agg.distinct("c", "1h"), agg.last("c", "1h"), agg.last("t", "1h", n=2).named("seen"),
        agg.top_k("i", "1h", k=2),
    ]  # fmt: skip
    assert list(aggregation(made, types).result_types.values()) == [
        "i64", "f64", "i64", "decimal[38, 2]", "duration[us]", "f64", "f64", "i32", "f32", "datetime[us, UTC]", "i64",
        "i64", "str", "list[datetime[us, UTC]]", "list[i32]",
    ]  # fmt: skip
