"""How far values of functions of Python may be off: clean ones agree whatever kernels and blocks they came by, others don't."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from mainspring.features.parity.bits import Served, Told, rounded
from mainspring.features.parity.rounding import DOUBLE, MOVES, WITHIN, moved

Numbers = npt.NDArray[Any]
ROWS = 500
WEIGHTS = np.random.default_rng(1).normal(size=(64, 4))


def weights(rows: Numbers, columns: slice) -> Numbers:
    found: Numbers = WEIGHTS[:, columns].astype(np.float32 if rows.dtype == np.float32 else np.float64)
    return found


def probability(rows: Numbers) -> Numbers:
    found: Numbers = 0.5 + 0.5 * np.tanh(rows @ weights(rows, slice(1)).ravel() / 9)
    return found


FUNCTIONS: dict[str, Callable[[Numbers], Numbers]] = {
    "a vector's product": lambda rows: rows @ weights(rows, slice(1)).ravel(),
    "a matrix's product": lambda rows: (rows @ weights(rows, slice(2)))[:, 1],
    "a cosine": lambda rows: rows @ weights(rows, slice(1)).ravel() / np.linalg.norm(rows, axis=1),
    "a component": lambda rows: ((rows - weights(rows, slice(3, 4)).ravel()) @ weights(rows, slice(2)))[:, 0],
    "a probability": probability,
}


def given(dtype: Any) -> pl.DataFrame:
    numbers = np.random.default_rng(2).normal(size=(ROWS, 64))
    # Sums that cancel: the rest is small beside what is added up.
    numbers[::2, 32:] = -numbers[::2, :32] * (WEIGHTS[:32, 0] / WEIGHTS[32:, 0])
    made = np.round(9 * numbers) if dtype == np.int64 else numbers
    return pl.DataFrame({"e": made.astype(dtype)})


def called(function: Callable[[Numbers], Numbers], frame: pl.DataFrame) -> pl.DataFrame:
    return pl.DataFrame({"x": function(frame["e"].to_numpy())})


def in_blocks(function: Callable[[Numbers], Numbers], frame: pl.DataFrame) -> list[float]:
    """What is made of blocks of one to five rows."""
    made, first = [], 0
    while first < frame.height:
        size = first % 5 + 1
        made.append(called(function, frame[first : first + size]))
        first += size
    return pl.concat(made)["x"].to_list()


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_of_clean_values_none_differs_and_of_others_all_do(name: str, dtype: Any) -> None:
    function, frame = FUNCTIONS[name], given(dtype)
    expected = called(function, frame)
    off = moved(MOVES, lambda move: called(function, move.of(frame)))
    told = in_blocks(function, frame)

    def differing(values: list[Any]) -> Numbers:
        found: Numbers = Served([("x", Told(values))], may_round=True).differs(expected, off)
        return found

    assert not differing(told).any()
    known, clean = expected["x"].to_numpy(), np.array(told)
    skew, smallest = (1e-3, 1e-2) if expected["x"].dtype == pl.Float32 else (1e-6, 1e-9)
    for skewed in (clean * (1 + skew), np.roll(clean, 1)):
        is_other = np.abs(skewed - known) > smallest * np.abs(known).max() * skew
        assert is_other.sum() > ROWS / 3
        assert differing(skewed.tolist())[is_other].all()


def in_single(function: Callable[[Numbers], Numbers], dtype: Any) -> Callable[[Numbers], Numbers]:
    """The same in 32 bits, given as floats of another type."""

    def found(rows: Numbers) -> Numbers:
        made: Numbers = function(rows.astype(np.float32)).astype(dtype)
        return made

    return found


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_of_a_function_that_computes_in_32_bits_clean_values_are_rounded_and_others_differ(
    name: str, dtype: Any
) -> None:
    function, frame = in_single(FUNCTIONS[name], dtype), given(np.float64)
    expected = called(function, frame)
    off = moved(MOVES, lambda move: called(function, move.of(frame)))
    assert expected.equals(off(DOUBLE)[0][1])  # 64 bits show nothing
    told = np.array(in_blocks(function, frame))
    assert (told != expected["x"].to_numpy()).any()

    def differing(values: Numbers) -> Numbers:
        found: Numbers = Served([("x", Told(values.tolist()))], may_round=True).differs(expected, off)
        return found

    assert not differing(told).any()
    known = expected["x"].to_numpy()
    for skewed in ((told * (1 + 1e-3)).astype(np.float32).astype(dtype), np.roll(told, 1)):
        is_other = np.abs(skewed - known) > 1e-5 * np.abs(known).max()
        assert is_other.sum() > ROWS / 3
        assert differing(skewed)[is_other].all()
    if dtype == np.float64:  # of more digits than 32 bits have
        assert differing(told * (1 + 1e-7)).mean() > 0.99


def test_a_default_of_64_bits_is_held_to_64_bits_beside_what_is_computed_in_32() -> None:
    frame = given(np.float64).with_row_index("row")

    def scored(rows: pl.DataFrame) -> pl.DataFrame:
        score = called(in_single(FUNCTIONS["a matrix's product"], np.float64), rows)["x"]
        return pl.DataFrame({"x": pl.select(pl.when(rows["row"] % 3 == 0).then(0.1).otherwise(score)).to_series()})

    expected = scored(frame)
    off = moved(MOVES, lambda move: scored(move.of(frame.drop("row")).with_columns(frame["row"])))
    values = expected["x"].to_numpy() * (1 + 2.0**-22)
    served = Served([("x", Told(values.astype(np.float32).astype(np.float64).tolist()))], may_round=True)
    assert served.differs(expected, off).tolist() == [row % 3 == 0 for row in range(ROWS)]


@pytest.mark.parametrize("dtype", [pl.Float64(), pl.Float32(), pl.Float16()])
def test_many_are_judged_as_each_alone(dtype: pl.DataType) -> None:
    chance = np.random.default_rng(5)
    odd = [None, 0.0, -0.0, 1.0, -1.0, 5e-8, 3e4, -3e4, math.inf, -math.inf, math.nan]
    pairs = [(one, other) for one in odd for other in odd]
    pairs += [(7 * (1 + sign * 10.0**-digits), 7.0) for sign in (1, -1) for digits in range(1, 17)]
    told, expected = (pl.Series("x", each, dtype) for each in zip(*pairs, strict=True))
    factors = (1.1, 1 + 1e-4, 1 + 1e-9, 1.0, math.nan, None)
    tries = [
        pl.Series([factors[place] for place in chance.integers(0, 6, len(pairs))], dtype=pl.Float64) for _ in range(5)
    ]
    moves = [*zip(*((expected * each).cast(dtype).to_list() for each in tries), strict=True)]
    alone = [
        place for place, (one, other) in enumerate(zip(told, expected, strict=True))
        if not rounded(one, other, dtype, moves[place], 1.0)
    ]  # fmt: skip
    assert Told(told.to_list())._apart(expected, np.arange(len(pairs)), moves, 1.0).tolist() == alone
    assert len(odd) ** 2 / 2 < len(alone) < len(pairs) - len(odd) - 8


@pytest.mark.parametrize("dtype", [pl.Int64, pl.Float64])
@pytest.mark.parametrize("days", [30, 1_825])
def test_what_is_computed_in_64_bits_and_told_in_32_is_held_to_64(dtype: Any, days: int) -> None:
    now, chance = 1_767_225_600, np.random.default_rng(4)
    seconds = {"now": now + np.arange(ROWS), "signup": now - chance.integers(0, days * 86_400, ROWS)}
    frame = pl.DataFrame(seconds, schema_overrides={"now": dtype, "signup": dtype})

    def age(given: pl.DataFrame, off_hours: float = 0) -> pl.DataFrame:
        hours = (pl.col("now") - pl.col("signup")) / 3_600 + off_hours
        return given.select(hours.cast(pl.Float32).alias("hours"))

    off = moved(MOVES, lambda move: age(move.of(frame)))
    for hours in (0.1, 0.5, 1, 5):
        served = Served([("hours", Told(age(frame, hours)["hours"].to_list()))], may_round=True)
        assert served.differs(age(frame), off).all()


def test_a_threshold_beside_what_is_computed_in_32_bits_takes_nothing_from_its_rounding() -> None:
    numbers = given(np.float64)
    frame = numbers.with_columns(limit=pl.int_range(pl.len()).cast(pl.Float64) % 3 + 1)

    def scored(rows: pl.DataFrame) -> pl.DataFrame:
        score = called(in_single(FUNCTIONS["a matrix's product"], np.float32), rows)["x"]
        return pl.DataFrame({"x": pl.select(pl.when(rows["limit"] >= 2).then(score).otherwise(score + 50)).to_series()})

    expected, off = scored(frame), moved(MOVES, lambda move: scored(move.of(frame)))
    clean = in_blocks(in_single(FUNCTIONS["a matrix's product"], np.float32), numbers)
    told = np.where(frame["limit"].to_numpy() >= 2, np.array(clean), np.array(clean, np.float32) + np.float32(50))
    assert (told != expected["x"].to_numpy()).any()
    assert not Served([("x", Told(told.tolist()))], may_round=True).differs(expected, off).any()


def test_moves_within_32_bits_show_in_64_only() -> None:
    numbers = np.concatenate([np.random.default_rng(5).normal(size=ROWS) * 1e6, 2.0 ** np.arange(-20, 40)])
    frame = pl.DataFrame({"x": numbers, "n": np.arange(len(numbers)) + 1})
    for move in MOVES:
        if move.unit == WITHIN:
            found = move.of(frame)
            assert found.cast(pl.Float32).equals(frame.cast(pl.Float32))
            assert (found["x"] != frame["x"]).to_numpy().mean() > 0.9
            assert ((found["n"] != frame["n"]).to_numpy().mean() > 0.5) == move.with_whole


def test_numbers_of_64_bits_that_would_fit_in_32_excuse_nothing() -> None:
    frame = pl.DataFrame({"x": np.random.default_rng(3).integers(0, 900_000, 200) / 4})

    def half(given: pl.DataFrame) -> pl.DataFrame:
        return given.select("x", y=pl.col("x").round(0), z=pl.col("x") / 3)

    off = moved(MOVES, lambda move: half(move.of(frame)))
    for name, least in (("x", 0.25), ("y", 1.0), ("z", 1e-6)):
        values = (half(frame)[name] + least).to_list()
        assert Served([(name, Told(values))], may_round=True).differs(half(frame), off).all()


def test_a_threshold_at_a_value_and_a_row_that_is_gone_excuse_nothing() -> None:
    frame = pl.DataFrame({"x": [10.0, 10.0, 3.0]})

    def priced(given: pl.DataFrame) -> pl.DataFrame:
        return given.select(x=pl.when(pl.col("x") >= 10).then(2.5).otherwise(0.5))

    off = moved(MOVES, lambda move: priced(move.of(frame)))
    assert any(each["x"].to_list() != [2.5, 2.5, 0.5] for _, each in off(DOUBLE))
    served = Served([("x", Told([0.5, 2.5, 0.5]))], may_round=True)
    assert served.differs(priced(frame), off).tolist() == [True, False, False]


def test_every_number_of_a_frame_is_moved_a_little_and_nothing_else() -> None:
    frame = pl.DataFrame(
        {
            "k": [1, 2, 3], "f": [1.0, None, float("inf")], "text": ["a", None, "c"], "flag": [True, False, None],
            "short": pl.Series([1.5, 2.5, None], dtype=pl.Float32), "lists": [[1.0, None], [], None],
            "arrays": pl.Series([[1.0, 2.0], None, [3.0, 4.0]], dtype=pl.Array(pl.Float64, 2)),
            "pair": [{"p": 1.0, "q": "x"}, None, {"p": None, "q": "y"}], "deep": [[[1], None], [[2, 3]], []],
        }
    )  # fmt: skip
    for move in MOVES:
        found = move.of(frame, {"k"})
        assert move.of(frame.clear(), {"k"}).schema == found.schema
        assert found.select("k", "text", "flag").equals(frame.select("k", "text", "flag"))
        assert not found.equals(frame)
        for name in ("f", "short"):
            assert found[name].is_null().equals(frame[name].is_null())
            assert np.allclose(found[name].drop_nulls(), frame[name].drop_nulls(), rtol=1e-5, atol=0)
        assert repr(found.select(pl.col("lists", "arrays", "pair", "deep")).rows()).count("None") == 6
        assert found["lists"].list.len().to_list() == [2, 0, None]
        assert [len(each) for each in found["deep"].to_list()] == [2, 1, 0]
