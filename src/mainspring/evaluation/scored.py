"""Rows with their truth and scores, checked once: what every metric, comparison and report is computed from."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from mainspring.errors import InvalidError, NotFoundError, close_names
from mainspring.evaluation._classes import named_classes, order_of
from mainspring.evaluation.given import array_of, names_of, several

if TYPE_CHECKING:
    import polars as pl

Array = NDArray[Any]
_SUMS_WITHIN = float(np.finfo(np.float32).eps) ** 0.5  # as scikit-learn allows scores of single precision
Shape = Literal["column", "classes", "queries"]


class Scale(msgspec.Struct, frozen=True):
    """What a naive forecast errs by on the training part: mean absolute and mean squared, one for all rows or one for each."""

    absolute: Any
    squared: Any


class Scored(msgspec.Struct, frozen=True):
    """Rows that were scored.

    `truth` is a number for each row (with `classes`: the class's place), `scores` one for each row or one column for each
    class or end of an interval; `queries` are codes of the queries that rows belong to.
    """

    truth: Array
    scores: Array
    classes: tuple[Any, ...] = ()
    queries: Array | None = None
    scale: Scale | None = None

    @property
    def rows(self) -> int:
        """How many there are."""
        return int(self.truth.size)

    @property
    def shape(self) -> Shape:
        """What the scores are, which decides the metrics that apply."""
        return "queries" if self.queries is not None else "classes" if self.scores.ndim > 1 else "column"

    def take(self, rows: Array) -> Scored:
        """Only these rows."""
        scale = self.scale
        if scale is not None and np.ndim(scale.absolute):
            scale = Scale(scale.absolute[rows], scale.squared[rows])
        queries = None if self.queries is None else np.unique(self.queries[rows], return_inverse=True)[1]
        return Scored(self.truth[rows], self.scores[rows], self.classes, queries, scale)


def scored(
    y_true: Any,
    y_score: Any,
    *,
    query: Any = None,
    classes: Iterable[Any] = (),
    scale: Scale | None = None,
    frame: pl.DataFrame | None = None,
) -> Scored:
    """Check and convert columns, whose rows go by position. `query` is a column or, with `frame`, the name of one.

    Raises:
        InvalidError: lengths differ, a value is missing, or a label is none of the classes.
    """
    scores = _numbers("y_score", y_score, dimensions=(1, 2))
    labels, wanted = array_of("y_true", y_true), named_classes(classes)
    known: tuple[Any, ...] = ()
    if scores.ndim > 1 and (wanted or labels.dtype.kind in "OUSb" or scores.shape[1] > 2):
        truth, known, order = _codes(labels, wanted, scores.shape[1], names_of(y_score))
        scores = scores if order == sorted(order) else scores[:, order]
    else:
        truth = _numbers("y_true", y_true)
    if truth.size != scores.shape[0]:
        raise InvalidError("y_score", f"{scores.shape[0]} rows", f"the {truth.size} rows of y_true")
    queries = None
    if query is not None:
        queries = np.unique(column_of(frame, query, truth.size), return_inverse=True)[1]
    return Scored(truth, scores, known, queries, scale)


def probabilities(data: Scored) -> Array:
    """The scores, if they are probabilities.

    Raises:
        InvalidError: one lies outside of 0 to 1, or those of a row don't sum to 1 within the root of a single's precision.
    """
    scores = data.scores
    outside = (scores < 0) | (scores > 1)
    if outside.any():
        told = "Use the model's `predict_proba`, or apply a sigmoid (softmax for several classes) to its scores."
        raise InvalidError("y_score", float(scores[outside][0]), "a probability, from 0 to 1", told)
    if scores.ndim > 1:
        off = np.abs(scores.sum(axis=1) - 1) > _SUMS_WITHIN
        if off.any():
            row = scores[off][0]
            told = f"They sum to {row.sum():.6g} in row {off.argmax()}. Use the model's `predict_proba`, or apply a softmax."
            raise InvalidError("y_score", row.tolist(), "probabilities of all classes, which sum to 1", told)
    return scores


def column_of(frame: pl.DataFrame | None, given: Any, rows: int) -> Array:
    """A column by its name in `frame`, or as it is.

    Raises:
        NotFoundError: the table has no such column.
        InvalidError: it hasn't a value for each row.
    """
    if isinstance(given, str):
        names = [] if frame is None else frame.columns
        if frame is None or given not in names:
            raise NotFoundError("column", given, close_names(given, names), "" if names else "There is no `frame`.")
        given = frame.get_column(given)
    values: Array = array_of("column", given)
    if values.shape != (rows,):
        raise InvalidError("column", f"shape {values.shape}", f"a value for each of the {rows} rows")
    return values


def naive_scale(history: Any, *, season: int = 1, series: Any = None) -> Scale:
    """What repeating the value of a season ago errs by on the training part (Hyndman and Koehler 2006), for MASE and RMSSE.

    `history` is one series in order of time, or a mapping from a series' name to its values; `series` then names the
    series of each row that is evaluated.

    Raises:
        InvalidError: a season is no whole number of at least one, a series isn't longer than it, or it never varies.

    >>> naive_scale([1, 3, 2, 6]).absolute
    2.3333333333333335
    """
    if type(season) is not int or season < 1:
        raise InvalidError("season", season, "a whole number of rows, at least 1")
    if not isinstance(history, Mapping):
        return _scale("history", history, season)
    known = {name: _scale(f"history of {name}", values, season) for name, values in history.items()}
    labels = [] if series is None else several("series", series)
    if missing := [str(name) for name in labels if name not in known]:
        raise NotFoundError("series", missing[0], close_names(missing[0], map(str, known)))
    return Scale(
        np.array([known[name].absolute for name in labels]), np.array([known[name].squared for name in labels])
    )


def _scale(name: str, history: Any, season: int) -> Scale:
    values = _numbers(name, history)
    if values.size <= season:
        raise InvalidError(name, f"{values.size} values", f"more than the {season} of a season")
    steps = values[season:] - values[:-season]
    if not steps.any():
        raise InvalidError(name, "a series that never varies", "one on which a naive forecast errs")
    return Scale(float(np.abs(steps).mean()), float(np.square(steps).mean()))


def _numbers(name: str, values: Any, dimensions: Iterable[int] = (1,)) -> Array:
    array: Array = array_of(name, values)
    if array.ndim not in dimensions:
        raise InvalidError(
            name, f"shape {array.shape}", "a column of numbers", "For probabilities take the class: p[:, 1]."
        )
    try:
        numbers = array.astype(np.float64, copy=False)
    except (TypeError, ValueError) as error:
        raise InvalidError(name, array.dtype, "a column of numbers") from error
    if missing := int(np.isnan(numbers).sum()):
        raise InvalidError(name, f"{missing} missing values", "a value in every row")
    return numbers


def _codes(
    labels: Array, classes: list[Any], columns: int, names: list[Any] | None
) -> tuple[Array, tuple[Any, ...], list[int]]:
    """The place of each label among the classes, these, and the column of each."""
    if labels.ndim != 1:
        raise InvalidError("y_true", f"shape {labels.shape}", "a column of labels")
    known, order = order_of(_different(labels), classes, columns, names)
    places = {label: place for place, label in enumerate(known)}
    values, codes = np.unique(labels, return_inverse=True)
    if unknown := [value for value in values.tolist() if value not in places]:
        raise InvalidError("y_true", unknown[0], f"one of the classes {known}")
    return np.array([places[value] for value in values.tolist()], np.int64)[codes], tuple(known), order


def _different(labels: Array) -> Collection[Any]:
    """The labels that there are, sorted."""
    try:
        found = set(labels.tolist())
        if any(label is None or label != label for label in found):
            raise InvalidError("y_true", "a missing value", "a value in every row")
        return sorted(found)
    except TypeError as error:  # pandas' missing value can't be compared either
        raise InvalidError("y_true", str(error), "labels of one type, a value in every row") from error
