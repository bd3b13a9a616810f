"""Splits by hash: a row's part is its key's alone, whatever stands beside it, eager or lazy."""

from __future__ import annotations

from pathlib import Path

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.artifacts import content_digest
from mainspring.data import HashSplit
from mainspring.data.splits.keys import hash_keys
from mainspring.errors import InvalidError, NotFoundError, WrongTypeError

KEYS = st.lists(st.integers(0, 30), max_size=60)
THREE = {"train": 0.6, "validation": 0.3, "test": 0.1}


@given(KEYS)
def test_every_row_lies_in_one_part_in_order_and_keys_stay_whole(keys: list[int]) -> None:
    frame = pl.DataFrame({"k": keys, "row": range(len(keys))}, schema={"k": pl.Int64, "row": pl.Int64})
    parts = HashSplit("k", THREE).apply(frame)
    assert list(parts) == list(THREE)
    assert sorted(row for part in parts.values() for row in part["row"]) == list(range(len(keys)))
    assert all(part["row"].is_sorted() for part in parts.values())
    homes = [(key, name) for name, part in parts.items() for key in set(part["k"])]
    assert len(homes) == len(set(keys))


@given(KEYS, KEYS, st.randoms())
def test_a_row_stays_when_others_come_go_and_change_places(keys: list[int], more: list[int], random: object) -> None:
    def homes(values: list[int]) -> dict[int, str]:
        parts = HashSplit(("k",), THREE, "s").apply(pl.DataFrame({"k": values}, schema={"k": pl.Int64}))
        return {key: name for name, part in parts.items() for key in part["k"]}

    mixed = [*more, *keys]
    random.shuffle(mixed)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    later = homes(mixed)
    assert all(later[key] == name for key, name in homes(keys).items())


@given(KEYS, st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_a_part_is_where_the_number_lies_among_the_shares(keys: list[int], weights: list[int]) -> None:
    shares = {f"p{n}": weight / sum(weights) for n, weight in enumerate(weights)}
    frame = pl.DataFrame({"k": keys}, schema={"k": pl.Int64})
    parts = HashSplit("k", shares).apply(frame)
    numbers = dict(zip(keys, hash_keys([frame["k"]]).tolist(), strict=True))
    for name, part in parts.items():
        place = list(shares).index(name)
        low, high = (sum(list(shares.values())[:end]) for end in (place, place + 1))
        for key in part["k"]:
            assert low - 1e-9 <= numbers[key] / 2**64 <= high + 1e-9


def test_shares_are_met_and_salts_are_independent() -> None:
    frame = pl.DataFrame({"k": range(100_000)})
    first, second = (HashSplit("k", THREE, salt).apply(frame) for salt in ("", "again"))
    for name, share in THREE.items():
        assert abs(first[name].height / 100_000 - share) < 0.006  # four standard deviations
        both = first[name].join(second[name], on="k", how="semi").height / 100_000
        assert abs(both - share**2) < 0.006


@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
def test_lazy_parts_are_the_eager_ones(engine: str, tmp_path: Path) -> None:
    frame = pl.DataFrame({"k": range(200_000), "name": [f"user {n % 977}" for n in range(200_000)]})
    frame.write_parquet(tmp_path / "t.parquet", row_group_size=10_000)
    rule = HashSplit(("name", "k"), THREE)
    lazy = rule.apply_lazily(pl.scan_parquet(tmp_path / "t.parquet"))
    for name, part in rule.apply(frame).items():
        assert lazy[name].collect(engine=engine).equals(part)  # type: ignore[call-overload]  # a parameter of the test


def test_lazy_rows_without_a_key_are_refused() -> None:
    """They failed when a part was collected, with an error of Polars."""
    with pytest.raises(InvalidError, match="k: `1 null` is not a key in every row"):
        HashSplit("k").apply_lazily(pl.LazyFrame({"k": [1, None]}))
    with pytest.raises(InvalidError, match="is not a key's type"):
        HashSplit("k").apply_lazily(pl.LazyFrame({"k": [[1]]}))


def test_the_rule_is_a_record_whose_form_does_not_matter() -> None:
    rules = [HashSplit("k", {"a": 0.5, "b": 0.5}), HashSplit(("k",), (("a", 0.5), ("b", 0.5)))]
    assert rules[0] == rules[1]
    assert content_digest(rules[0]) == content_digest(rules[1])
    assert msgspec.json.decode(msgspec.json.encode(rules[0]), type=HashSplit) == rules[0]
    assert rules[0].names == ("a", "b")


@pytest.mark.parametrize(
    ("shares", "error", "message"),
    [
        ({"a": 0.5, "b": 0.6}, InvalidError, "shares whose sum is 1. It is 1.1"),
        ({"a": 1.0, "b": 0.0}, InvalidError, "above 0"),
        ({}, InvalidError, "sum is 1"),
        ((("a", 0.5), ("a", 0.5)), InvalidError, "different names"),
        ({"a": float("nan")}, InvalidError, "above 0"),
        (0.8, WrongTypeError, "share of each part"),
        ({"a": "much"}, WrongTypeError, "share of each part"),
    ],
)
def test_wrong_shares_are_refused(shares: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        HashSplit("k", shares)  # type: ignore[arg-type]  # what is tested


@pytest.mark.parametrize("key", ["", (), ("a", "a"), ("a", "")])
def test_a_wrong_key_is_refused(key: object) -> None:
    with pytest.raises(InvalidError, match="the name of a column"):
        HashSplit(key)  # type: ignore[arg-type]  # what is tested


def test_unknown_columns_are_named() -> None:
    with pytest.raises(NotFoundError, match="Nearest: user"):
        HashSplit("usr").apply(pl.DataFrame({"user": [1]}))
    with pytest.raises(NotFoundError, match="Nearest: user"):
        HashSplit("usr").apply_lazily(pl.LazyFrame({"user": [1]}))
    with pytest.raises(WrongTypeError, match="the name of a column"):
        HashSplit((1,))  # type: ignore[arg-type]  # what is tested


def test_an_empty_table_has_empty_parts() -> None:
    parts = HashSplit("k", THREE).apply(pl.DataFrame(schema={"k": pl.String}))
    assert {name: part.height for name, part in parts.items()} == dict.fromkeys(THREE, 0)
