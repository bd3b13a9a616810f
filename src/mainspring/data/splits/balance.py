"""How even the classes of a target are, and what evens them: weights, and rows drawn fewer or more often.

Draws are by a hash of a row's position and the seed, not by a library's generator, so they are the same everywhere. Only
what is trained on may be resampled, behind the split: a row that is copied before it lands in several parts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from typing import Any, Literal

import msgspec
import numpy as np
import polars as pl

from mainspring.data.splits.keys import hash_positions
from mainspring.data.splits.parts import ranks_in, strata_of, table_with
from mainspring.errors import InvalidError, NotFoundError, close_names, counted, shorten

MOST_CLASSES = 1_000
Strategy = Literal["under", "over"]


class ClassShare(msgspec.Struct, frozen=True):
    """One class: its value, its rows, and their share of the rows that have a class (0–1)."""

    value: Any
    rows: int
    share: float


class ClassBalance(msgspec.Struct, frozen=True):
    """The classes of a target, the largest first; `nulls` are rows without one."""

    target: str
    rows: int
    nulls: int
    classes: tuple[ClassShare, ...]

    @property
    def ratio(self) -> float:
        """The rows of the largest class for each of the smallest; 1 means even, NaN that there is no class."""
        return self.classes[0].rows / self.classes[-1].rows if self.classes else math.nan

    @property
    def evenness(self) -> float:
        """The entropy of the shares over that of even ones (0–1); 1 for a single class."""
        if len(self.classes) < 2:
            return 1.0
        entropy = -sum(each.share * math.log(each.share) for each in self.classes)
        return entropy / math.log(len(self.classes))

    def __str__(self) -> str:
        empty = f", {counted(self.nulls, 'row')} without one" if self.nulls else ""
        head = f"{self.target}: {_classes(len(self.classes))} of {counted(self.rows, 'row')}{empty}"
        lines = [f"  {100 * each.share:5.1f} %  {each.rows:>9,}  {shorten(each.value, 40)}" for each in self.classes]
        tail = [f"  {self.ratio:.3g} to 1, evenness {self.evenness:.2f}"] if self.classes else []
        return "\n".join([head, *lines, *tail])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(str(each.value))}</td><td>{each.rows:,}</td><td>{100 * each.share:.1f} %</td></tr>"
            for each in self.classes
        )
        head = f"<b>{escape(self.target)}</b> {self.ratio:.3g} to 1, evenness {self.evenness:.2f}"
        return f"{head}<table><tr><th>class</th><th>rows</th><th>share</th></tr>{rows}</table>"


def class_balance(frame: Any, target: str) -> ClassBalance:
    """Count the classes of a target.

    Raises:
        NotFoundError: the table has no such column.
        InvalidError: it has more than 1,000 values, so it is no class.

    >>> print(class_balance(pl.DataFrame({"late": [True, False, False, False]}), "late"))
    late: 2 classes of 4 rows
       75.0 %          3  False
       25.0 %          1  True
      3 to 1, evenness 0.81
    """
    table = table_with(frame, [target])
    counts, nulls = _counts(table, target)
    total = sum(counts.values())
    ranked = sorted(counts.items(), key=lambda item: -item[1])  # stable: ties stay in the order of their values
    classes = tuple(ClassShare(value, rows, rows / total) for value, rows in ranked)
    return ClassBalance(target, table.height, nulls, classes)


def class_weights(frame: Any, target: str) -> dict[Any, float]:
    """A weight for each class that makes all classes count alike: rows / (classes × rows of the class).

    It is scikit-learn's "balanced" (King and Zeng, "Logistic Regression in Rare Events Data", 2001); over all rows
    the weights add up to the number of rows.

    Raises:
        NotFoundError: the table has no such column.
        InvalidError: a row has no class, or there are more than 1,000.

    >>> class_weights(pl.DataFrame({"late": [True, False, False, False]}), "late")
    {False: 0.6666666666666666, True: 2.0}
    """
    table = table_with(frame, [target])
    counts = _complete(table, target)
    return {value: table.height / (len(counts) * rows) for value, rows in counts.items()}


def sample_weights(frame: Any, target: str) -> pl.Series:
    """The weight of each row's class, as a column `weight`; raises as `class_weights` does.

    >>> sample_weights(pl.DataFrame({"late": [True, False]}), "late").to_list()
    [1.0, 1.0]
    """
    table = table_with(frame, [target])
    counts = _complete(table, target)
    weight = table.height / (max(len(counts), 1) * pl.len().over(target))
    return table.select(weight.cast(pl.Float64).alias("weight")).to_series()


def resample(
    frame: Any, target: str, strategy: Strategy | Mapping[Any, int] = "under", *, seed: int = 0
) -> pl.DataFrame:
    """Rows drawn so that classes are even: `under` cuts each down to the smallest, `over` copies each up to the largest.

    A mapping says how many rows each class shall have; one that it leaves out stays as it is. Nothing is drawn twice
    before everything is drawn once. Rows keep their order, and a copy stands beside its row.

    Raises:
        NotFoundError: the table has no such column, or no such class.
        InvalidError: a row has no class, or a class is to have less than no rows.

    >>> resample(pl.DataFrame({"late": [True, False, False]}), "late", "over")["late"].to_list()
    [True, True, False, False]
    """
    table = table_with(frame, [target])
    counts = _complete(table, target)
    if not counts:
        return table
    stratum, sizes = strata_of(table, [target])
    appearing = table.get_column(target).unique(maintain_order=True).to_list()
    wanted = np.array([_wanted(counts, strategy, target)[value] for value in appearing])
    drawn = ranks_in(stratum, hash_positions(table.height, f"resample {seed}"), sizes) < (wanted % sizes)[stratum]
    copies = (wanted // sizes)[stratum] + drawn
    return table[np.repeat(np.arange(table.height), copies)]


def _wanted(counts: Mapping[Any, int], strategy: Strategy | Mapping[Any, int], target: str) -> dict[Any, int]:
    if isinstance(strategy, Mapping):
        for value, rows in strategy.items():
            if value not in counts:
                raise NotFoundError("class", str(value), close_names(str(value), map(str, counts)), owner=f"`{target}`")
            if rows < 0:
                raise InvalidError(f"strategy[{value!r}]", rows, "a number of rows")
        return {value: strategy.get(value, rows) for value, rows in counts.items()}
    if strategy not in ("under", "over"):
        raise InvalidError("strategy", strategy, "`under`, `over`, or the rows of each class")
    size = min(counts.values()) if strategy == "under" else max(counts.values())
    return dict.fromkeys(counts, size)


def _counts(table: pl.DataFrame, target: str) -> tuple[dict[Any, int], int]:
    """The rows of each class in the order of their values, and the rows without one."""
    column = table.get_column(target)
    distinct = column.n_unique()
    if distinct > MOST_CLASSES:
        raise InvalidError(target, f"{distinct:,} values", f"a target of classes: {MOST_CLASSES:,} at most")
    counts = table.select(target).drop_nulls().group_by(target).len("\0rows").sort(target)
    return dict(counts.iter_rows()), column.null_count()


def _complete(table: pl.DataFrame, target: str) -> dict[Any, int]:
    counts, nulls = _counts(table, target)
    if nulls:
        raise InvalidError(target, counted(nulls, "null"), "a class in every row", "Drop these rows first.")
    return counts


def _classes(count: int) -> str:
    return f"{count:,} {'class' if count == 1 else 'classes'}"
