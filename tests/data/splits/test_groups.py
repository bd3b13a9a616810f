"""Groups never cross and strata are cut alike, against slow counts."""

from __future__ import annotations

import math
from collections import Counter

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.data import GroupSplit, StratifiedSplit
from mainspring.data.splits.keys import hash_keys
from mainspring.errors import InvalidError, NotFoundError

GROUPS = st.lists(st.integers(0, 12), max_size=80)
SHARES = st.lists(st.integers(1, 9), min_size=2, max_size=4).map(
    lambda weights: {f"p{n}": weight / sum(weights) for n, weight in enumerate(weights)}
)


def framed(values: list[int]) -> pl.DataFrame:
    return pl.DataFrame({"g": values, "row": range(len(values))}, schema={"g": pl.Int64, "row": pl.Int64}).with_columns(
        stratum=pl.col("g") % 3
    )


@given(GROUPS, SHARES, st.integers(0, 5))
def test_groups_stay_whole_and_no_part_is_empty(values: list[int], shares: dict[str, float], seed: int) -> None:
    frame, rule = framed(values), GroupSplit("g", shares, seed)
    if 0 < len(set(values)) < len(shares):
        with pytest.raises(InvalidError, match=f"a group for each of {len(shares)} parts"):
            rule.apply(frame)
        return
    parts = rule.apply(frame)
    assert sorted(row for part in parts.values() for row in part["row"]) == list(range(len(values)))
    assert all(part["row"].is_sorted() for part in parts.values())
    homes = [group for part in parts.values() for group in set(part["g"])]
    assert len(homes) == len(set(values))
    assert all(part.height for part in parts.values()) or not values


@given(st.lists(st.integers(0, 12), min_size=2, max_size=80), st.integers(5, 95), st.integers(0, 5))
def test_the_border_is_the_nearest_of_all_borders(values: list[int], percent: int, seed: int) -> None:
    if len(set(values)) < 2:
        return
    shares = {"train": percent / 100, "test": 1 - percent / 100}
    train = GroupSplit("g", shares, seed).apply(framed(values))["train"]
    numbers = hash_keys([pl.Series(values)], f"groups {seed}").tolist()
    by_number = sorted(dict(zip(values, numbers, strict=True)).items(), key=lambda item: item[1])
    sizes = Counter(values)
    sums = [sum(sizes[group] for group, _ in by_number[:end]) for end in range(1, len(by_number))]
    wanted = percent / 100 * len(values)
    assert abs(train.height - wanted) <= min(abs(total - wanted) for total in sums) + 1e-9


def test_shares_of_rows_are_met_with_many_groups() -> None:
    frame = framed([n % 1009 for n in range(20_000)])
    parts = GroupSplit("g", {"train": 0.7, "validation": 0.2, "test": 0.1}).apply(frame)
    assert [round(part.height / 20_000, 2) for part in parts.values()] == [0.7, 0.2, 0.1]
    assert not GroupSplit("g", seed=1).apply(frame)["test"].equals(GroupSplit("g").apply(frame)["test"])


@given(GROUPS, SHARES, st.integers(0, 5), st.booleans())
def test_every_stratum_is_cut_by_the_shares(
    values: list[int], shares: dict[str, float], seed: int, keyed: bool
) -> None:
    frame = framed(values)
    if 0 < len(values) < len(shares):
        with pytest.raises(InvalidError, match=f"a row for each of {len(shares)} parts"):
            StratifiedSplit("stratum", shares).apply(frame)
        return
    parts = StratifiedSplit("stratum", shares, "row" if keyed else (), seed).apply(frame)
    assert sorted(row for part in parts.values() for row in part["row"]) == list(range(len(values)))
    assert all(part["row"].is_sorted() for part in parts.values())
    sizes = Counter(frame["stratum"])
    for name, part in parts.items():
        counts = Counter(part["stratum"])
        for stratum, size in sizes.items():
            exact = shares[name] * size
            assert math.floor(exact - 1e-5) <= counts[stratum] <= math.ceil(exact + 1e-5)


def test_many_small_strata_keep_the_shares_together() -> None:
    frame = pl.DataFrame({"s": [n // 2 for n in range(20_000)]})
    parts = StratifiedSplit("s", {"train": 0.8, "test": 0.2}).apply(frame)
    assert abs(parts["test"].height / 20_000 - 0.2) < 0.01


def test_null_and_nan_are_strata_of_their_own() -> None:
    frame = pl.DataFrame({"s": [None, 1.0, float("nan")] * 10, "t": ["a"] * 30})
    parts = StratifiedSplit(("s", "t"), {"a": 0.5, "b": 0.5}).apply(frame)
    for part in parts.values():
        assert (part["s"].null_count(), int(part["s"].is_nan().sum()), part.height) == (5, 5, 15)


def test_with_a_key_few_rows_move_when_others_are_appended() -> None:
    frame = pl.DataFrame({"id": range(10_100), "s": [n % 5 for n in range(10_100)]})
    rule = StratifiedSplit("s", key="id")
    before, after = (set(rule.apply(part)["test"]["id"]) for part in (frame[:10_000], frame))
    assert len({key for key in after if key < 10_000} ^ before) < 60


def test_a_key_of_several_rows_is_refused() -> None:
    frame = pl.DataFrame({"id": [1, 1], "s": [0, 0]})
    with pytest.raises(InvalidError, match=r"a key of single rows\. GroupSplit keeps rows of one key together"):
        StratifiedSplit("s", key="id").apply(frame)


def test_unknown_columns_and_rows_without_a_group_are_named() -> None:
    with pytest.raises(InvalidError, match="g: `1 null` is not a key in every row"):
        GroupSplit("g").apply(pl.DataFrame({"g": [1, None]}))
    for rule in (GroupSplit("gr"), StratifiedSplit("gr"), StratifiedSplit("grp", key="gr")):
        with pytest.raises(NotFoundError, match="Nearest: grp"):
            rule.apply(pl.DataFrame({"grp": [1]}))
