"""Rules that look at all rows read the columns that decide, and cut lazily as they cut a table at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mainspring.data import GroupKFold, GroupSplit, KFold, StratifiedKFold, StratifiedSplit
from mainspring.errors import InvalidError, NotFoundError

RULES: list[Any] = [
    GroupSplit(("user", "day"), {"a": 0.3, "b": 0.3, "c": 0.4}, seed=3),
    StratifiedSplit("day", key="n"),
    StratifiedSplit(("user", "day")),
    KFold(3),
    KFold(3, "user"),
    GroupKFold(3, "user"),
    StratifiedKFold(3, by="user", seed=1),
]
FRAME = pl.DataFrame({"user": [n % 977 for n in range(50_000)], "n": range(50_000)}).with_columns(day=pl.col("n") % 7)


@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
def test_lazy_parts_are_the_eager_ones(rule: Any, engine: Any, tmp_path: Path) -> None:
    FRAME.write_parquet(tmp_path / "t.parquet", row_group_size=10_000)
    lazy = rule.apply_lazily(pl.scan_parquet(tmp_path / "t.parquet"))
    assert tuple(lazy) == rule.names
    for name, part in rule.apply(FRAME).items():
        assert lazy[name].collect(engine=engine).equals(part)


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_columns_that_do_not_decide_are_not_read_to_cut(rule: Any) -> None:
    def read(_: pl.Series) -> pl.Series:
        raise AssertionError("it was read")

    rule.apply_lazily(FRAME.lazy().with_columns(text=pl.col("n").map_batches(read, return_dtype=pl.String)))


def test_lazy_tables_that_a_rule_can_not_cut_are_refused() -> None:
    with pytest.raises(NotFoundError, match="Nearest: user"):
        GroupSplit("usr").apply_lazily(FRAME.lazy())
    with pytest.raises(InvalidError, match="a group for each of 2 parts"):
        GroupSplit("user").apply_lazily(FRAME.head(1).lazy())
    assert [part.collect().height for part in KFold(2).apply_lazily(FRAME.clear().lazy()).values()] == [0, 0]
