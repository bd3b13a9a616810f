"""What callers hand in: columns as arrays, collections as lists, numbers as numbers, whatever library they come from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any

from mainspring.errors import InvalidError, WrongTypeError

_WAYS = ("tolist", "to_list", "to_pylist")  # of arrays and pandas, of Polars, of Arrow


def several(path: str, given: Any, *alone: type) -> list[Any]:
    """What was given one by one, in order: a collection of any library; what is of the types `alone` is one by itself.

    Raises:
        WrongTypeError: it is no collection, or a text, whose letters nobody means.

    >>> several("metrics", "brier", str), several("metrics", ("brier", "mae"), str)
    (['brier'], ['brier', 'mae'])
    """
    if alone and isinstance(given, alone):
        return [given]
    way = next((way for way in _WAYS if hasattr(given, way)), None)
    found = given if way is None else getattr(given, way)()
    if isinstance(found, str | bytes) or not isinstance(found, Iterable):
        raise WrongTypeError(path, given, "a list")
    return list(found)


def array_of(path: str, values: Any) -> Any:
    """As a NumPy array; a table becomes a matrix, a tensor loses its gradient.

    Raises:
        InvalidError: it can't be, such as rows of different lengths.
    """
    import numpy as np

    try:
        if hasattr(values, "detach"):
            values = values.detach().cpu()
            values = values.float() if "bfloat16" in str(values.dtype) else values  # which NumPy has not
        elif hasattr(values, "collect_schema") and hasattr(values, "collect"):
            values = values.collect()
        elif not _is_arrow(values) and hasattr(values, "to_numpy"):
            values = values.to_numpy()
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidError(path, type(values).__name__, "what NumPy makes an array of", str(error)) from error


def names_of(values: Any) -> list[Any] | None:
    """The names of a table's columns; None of what is no table, whose columns have none."""
    if _is_arrow(values):
        return list(values.schema.names) if hasattr(values, "schema") else None
    if hasattr(values, "collect_schema"):
        return list(values.collect_schema().names())
    columns = getattr(values, "columns", None)
    return None if columns is None or isinstance(values, Mapping) else list(columns)


def number_of(path: str, given: Any) -> float:
    """A finite number.

    Raises:
        WrongTypeError: it is no number.
        InvalidError: it is infinite, or not a number.
    """
    if isinstance(given, bool) or not isinstance(given, Real):
        raise WrongTypeError(path, given, "a number")
    if not math.isfinite(given):
        raise InvalidError(path, given, "a finite number")
    return float(given)


def count_of(path: str, given: Any, at_least: int = 1) -> int:
    """A whole number.

    Raises:
        WrongTypeError: it is none.
        InvalidError: it is too small.
    """
    if isinstance(given, bool) or not isinstance(given, Integral):
        raise WrongTypeError(path, given, "a whole number")
    if given < at_least:
        raise InvalidError(path, given, f"a whole number, at least {at_least}")
    return int(given)


def expect_text(path: str, given: Any) -> str:
    """A text; raises `WrongTypeError` for what is none."""
    if not isinstance(given, str):
        raise WrongTypeError(path, given, "a text")
    return given


def label_of(value: object) -> str:
    """A value of a column, or a class, as text: whole floats as whole numbers."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "null" if value is None else str(value)


def _is_arrow(values: Any) -> bool:
    return type(values).__module__.partition(".")[0] == "pyarrow"


def expect_function(predict: object) -> None:
    """Go on only with a function of a table.

    Raises:
        WrongTypeError: it is none; of a model the text says how to give one.
    """
    if callable(predict):
        return
    hint = ""
    if hasattr(predict, "predict"):
        has_scores = hasattr(predict, "predict_proba")
        hint = f"Give `lambda rows: {'model.predict_proba(rows)[:, 1]' if has_scores else 'model.predict(rows)'}`."
    raise WrongTypeError("predict", predict, "a function that takes a table and gives scores", hint)
