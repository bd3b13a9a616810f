"""Target leakage: how well single columns tell the target. Each is learned in bins on one part and scored on the other.

Scored on rows that it did not learn, an identifier tells nothing however many values it has. Classes are scored by the area
under the ROC curve (0.5 is chance), numbers by the share of their order's variance that is explained (0 is chance). A missing
value is a bin of its own: often it is what leaks the target. Of texts with many values the first and last word count, too:
`POS-0017` tells by its beginning what it doesn't tell as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import polars as pl

SAMPLED_ROWS = 200_000
MOST_CLASSES = 20  # of a target of whole numbers; with more it counts as a number
_BINS, _CATEGORIES = 64, 1_000
_WORDS = (r"^\p{L}+", r"^[\p{L}\p{N}]+", r"[\p{L}\p{N}]+$")
Array = np.ndarray[Any, np.dtype[Any]]


class Strength(NamedTuple):
    """How well a column tells the target: `measure` is `AUC` or `R²`, NaN if the parts can't tell."""

    column: str
    measure: str
    value: float


def strengths(train: pl.DataFrame, test: pl.DataFrame, target: str, features: list[str]) -> list[Strength]:
    """The strength of each feature that has a plain type, the strongest first; every row has its target."""
    if not train.height or not test.height:  # of rows that have a target
        return []
    measure, known, asked = _targets(train.get_column(target), test.get_column(target))
    found = []
    for name in features:
        if train.schema[name].is_nested() or train.schema[name] in (pl.Binary, pl.Object):
            continue
        scores = []
        for ours, theirs in _readings(train.get_column(name), test.get_column(name)):
            bins, there, count = _bins(ours, theirs)
            told = _learned(bins, known, count)[there]
            scores.append(_area(told, asked) if measure == "AUC" else _explained(told[:, 0], asked[:, 0]))
        found.append(Strength(name, measure, max(scores)))
    return sorted(found, key=lambda each: -each.value if each.value == each.value else np.inf)


def _readings(train: pl.Series, test: pl.Series) -> Iterator[tuple[pl.Series, pl.Series]]:
    """A column of both parts as it is; of texts with many values also their leading letters, first word and last word."""
    yield train, test
    if train.dtype == pl.String and train.n_unique() > _BINS:
        for word in _WORDS:
            yield train.str.extract(word, 0), test.str.extract(word, 0)


def _targets(train: pl.Series, test: pl.Series) -> tuple[str, Array, Array]:
    """Classes as a column of 0 and 1 each (one of two is enough), numbers as their place among those of `train`."""
    dtype = train.dtype
    is_number = dtype.is_numeric() or dtype.is_temporal()
    if not is_number or (dtype.is_integer() and train.n_unique() <= MOST_CLASSES):
        names = train.cast(pl.String).value_counts(sort=True).head(MOST_CLASSES).sort(train.name).get_column(train.name)
        wanted = names.to_list() if len(names) != 2 else names.to_list()[1:]
        columns = [[(part.cast(pl.String) == name).to_numpy() for name in wanted] for part in (train, test)]
        known, asked = (np.array(each, np.float64).T.reshape(-1, len(wanted)) for each in columns)
        return "AUC", known, asked
    ordered = np.sort(_numbers(train))
    known, asked = (np.searchsorted(ordered, _numbers(part))[:, None] / len(ordered) for part in (train, test))
    return "R²", known, asked


def _numbers(column: pl.Series) -> Array:
    plain = column.to_physical() if column.dtype.is_temporal() else column
    values: Array = plain.cast(pl.Float64).to_numpy()
    return values


def _bins(train: pl.Series, test: pl.Series) -> tuple[Array, Array, int]:
    """The bin of each row in both parts, and how many there are; the last is for missing values."""
    if train.dtype.is_numeric() or train.dtype.is_temporal():
        values = _numbers(train)
        present = values[~np.isnan(values)]
        edges = (
            np.unique(np.quantile(present, np.linspace(0, 1, _BINS + 1)[1:-1], method="lower"))
            if len(present)
            else present
        )
        bins = [_binned(each, edges) for each in (values, _numbers(test))]
        return bins[0], bins[1], len(edges) + 2
    names = train.cast(pl.String).drop_nulls().value_counts(sort=True).head(_CATEGORIES).get_column(train.name)
    numbers = pl.Series(range(len(names)), dtype=pl.UInt32)
    coded = [_coded(part.cast(pl.String), names, numbers) for part in (train, test)]
    return coded[0], coded[1], len(names) + 2


def _binned(values: Array, edges: Array) -> Array:
    places = np.searchsorted(edges, values, side="left")
    return np.where(np.isnan(values), len(edges) + 1, places)


def _coded(column: pl.Series, names: pl.Series, numbers: pl.Series) -> Array:
    """Each known name's number, one for all unknown ones, and one for missing values."""
    if not len(names):
        return np.where(column.is_null().to_numpy(), 1, 0)
    coded = column.replace_strict(names, numbers, default=len(names), return_dtype=pl.UInt32).to_numpy()
    return np.where(column.is_null().to_numpy(), len(names) + 1, coded)


def _learned(bins: Array, known: Array, count: int) -> Array:
    """The mean of the target in each bin, drawn towards the mean of all as by one row more."""
    sizes = np.bincount(bins, minlength=count)[:, None]
    sums = np.stack([np.bincount(bins, column, count) for column in known.T], axis=1)
    learned: Array = (sums + known.mean(axis=0)) / (sizes + 1)
    return learned


def _area(told: Array, asked: Array) -> float:
    """The mean over classes of the probability that a row of the class is told higher than another; ties count half."""
    areas = []
    for scores, truth in zip(told.T, asked.T, strict=True):
        _, place = np.unique(scores, return_inverse=True)
        yes, no = np.bincount(place, truth), np.bincount(place, 1 - truth)
        if yes.sum() and no.sum():
            below = np.cumsum(no) - no
            areas.append(float((yes * (below + no / 2)).sum() / (yes.sum() * no.sum())))
    return float(np.mean(areas)) if areas else float("nan")


def _explained(told: Array, asked: Array) -> float:
    total = float(((asked - asked.mean()) ** 2).sum())
    return 1 - float(((asked - told) ** 2).sum()) / total if total else float("nan")
