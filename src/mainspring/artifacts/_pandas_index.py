"""pandas indexes, of rows and of columns, as Polars series with a description from which the very index comes back.

The levels of a MultiIndex keep their order; values of a level that no row uses are not kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl

from mainspring.artifacts._pandas_columns import Kind, as_index, restore, store
from mainspring.artifacts._tree import Reader, Writer
from mainspring.errors import CodecError


def store_index(index: Any, where: str, keep: Callable[[pl.Series], Any]) -> Any:
    """The description of an index; `keep` takes its values and says where they are.

    Raises:
        CodecError: a type or a name is not kept.
    """
    names = Writer(_refuse(where)).write(list(index.names))
    if isinstance(index, pd.RangeIndex):
        return {"names": names, "range": [index.start, index.stop, index.step]}
    if isinstance(index, pd.MultiIndex):
        return {"names": names, "multi": [_store_level(index, i, where, keep) for i in range(index.nlevels)]}
    values, kind = store(index.array, where)
    return {"names": names, "kind": kind, "at": keep(values), "frequency": getattr(index, "freqstr", None)}


def restore_index(stored: Any, take: Callable[[Any, Kind], pl.Series]) -> Any:
    """The index of a description; `take` gives the values from where they are."""
    names = Reader(_no_leaf).read(stored["names"])
    if "range" in stored:
        return pd.RangeIndex(*stored["range"], name=names[0])
    if "multi" in stored:
        parts = [_restore_level(level, take) for level in stored["multi"]]
        return pd.MultiIndex(
            levels=[level for level, _ in parts],
            codes=[codes for _, codes in parts],
            names=names,
            verify_integrity=False,
        )
    index = as_index(restore(take(stored["at"], stored["kind"]), stored["kind"]), names[0])
    if stored["frequency"] is not None:
        index.freq = stored["frequency"]
    return index


def _store_level(index: Any, number: int, where: str, keep: Callable[[pl.Series], Any]) -> Any:
    level, codes = _used(index.levels[number], np.asarray(index.codes[number]))
    # Each row's value, and which one of the level's it is: the order of a level shows when it is unstacked.
    values, kind = store(level.take(np.maximum(codes, 0)).array if len(level) else level.array, where)
    if not len(level):
        values = pl.repeat(None, len(codes), dtype=values.dtype, eager=True)
    return {"kind": kind, "at": keep(values), "codes": keep(pl.Series(codes))}


def _used(level: Any, codes: Any) -> tuple[Any, Any]:
    """The values of a level that rows use, in the level's order, and the codes by them; missing ones are −1."""
    places = np.full(len(level) + 1, -1)  # the last is where −1 points
    seen = np.unique(codes[codes >= 0])
    seen = seen[~np.asarray(level.isna())[seen]]
    places[seen] = np.arange(len(seen))
    return level.take(seen), places[codes]


def _restore_level(stored: Any, take: Callable[[Any, Kind], pl.Series]) -> tuple[Any, Any]:
    codes = take(stored["codes"], ["numpy", "<i8"]).to_numpy()
    present, first = np.unique(codes, return_index=True)
    values = take(stored["at"], stored["kind"])[first[present >= 0]]
    return as_index(restore(values, stored["kind"])), codes


def _refuse(where: str) -> Any:
    def leaf(value: object, _path: str) -> int:
        raise CodecError(f"The name of {where} holds a `{type(value).__qualname__}`, which has no stored form.")

    return leaf


def _no_leaf(number: int) -> Any:
    raise CodecError(f"A stored pandas index refers to a leaf {number}, which it must not.")
