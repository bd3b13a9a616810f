"""A schema proposed from data: types, nulls, ranges with slack, small sets, shapes of texts, keys. A person edits it."""

from __future__ import annotations

import math
import re
from itertools import groupby
from typing import Any

import polars as pl

from mainspring.artifacts.table import schema_of
from mainspring.data.validation.checks import Check, check
from mainspring.data.validation.rows import Rows
from mainspring.data.validation.schema import Column, Schema
from mainspring.data.version import DatasetVersion

_MOST_CATEGORIES = 20
_FEWEST_ROWS_EACH = 5  # per category, on average: fewer are no set yet
_FEWEST_ROWS_OF_A_KEY = 20
_SLACK = 0.1
_MOST_SHAPES = 3
_LOOKED_AT = 50_000  # distinct texts that shapes are read from


def propose_schema(table: Any, *, name: str = "") -> Schema:
    """A schema that the table passes, as a start for a person's own.

    `table` is a frame or a dataset version; a large one is judged by its first batches, up to two million rows. Numbers
    get the range seen with a tenth of slack (rounded outward, never past zero), unless they never repeat or never fall, as
    ids and counters whose next values are outside; texts with few distinct values their set,
    others their shape if they have one in common; whole numbers and texts that never repeat are proposed as unique.

    >>> frame = pl.DataFrame({"id": range(100), "carrier": ["UA", "AA"] * 50, "tail": [f"N{n}" for n in range(100, 200)]})
    >>> [one.name for one in propose_schema(frame).all_checks() if one.kind not in ("dtype", "not_null")]
    ['no columns but id, carrier, tail', 'id unique', 'carrier in [AA, UA]', 'tail matches ^[A-Z][0-9]{3}$', 'tail unique']
    """
    frame = _seen(table)
    words = dict(schema_of(frame))
    columns = tuple(_column(frame[column], words[column]) for column in frame.columns)
    if isinstance(table, DatasetVersion) and not name:
        name = table.dataset
    return Schema(name=name, columns=columns, other_columns=False)


def _seen(table: Any) -> pl.DataFrame:
    """The rows that are judged."""
    rows = Rows(table)
    if rows.is_whole:
        (frame,) = rows.batches()
        return frame
    taken: list[pl.DataFrame] = []
    for batch in rows.batches():
        taken.append(batch)
        if sum(each.height for each in taken) >= 2_000_000:
            break
    return pl.concat(taken)


def _column(values: pl.Series, dtype: str) -> Column:
    has_nulls = values.null_count() > 0
    is_key = _is_key(values)
    ranged = None if is_key or _is_monotone(values) else _range(values)
    checks = [one for one in (ranged, *_texts(values)) if one is not None]
    if is_key:
        checks.append(check.unique(values.name))
    # Of a column without rows nothing is known: nulls are as likely as not.
    return Column(name=values.name, dtype=dtype, nullable=has_nulls or not len(values), checks=tuple(checks))


def _is_key(values: pl.Series) -> bool:
    kind = values.dtype
    if not (kind.is_integer() or kind == pl.String) or values.null_count() or len(values) < _FEWEST_ROWS_OF_A_KEY:
        return False
    return values.n_unique() == len(values)


def _is_monotone(values: pl.Series) -> bool:
    present = values.drop_nulls()
    if len(present) < _FEWEST_ROWS_OF_A_KEY or not present.dtype.is_numeric():
        return False
    return present.is_sorted() or present.is_sorted(descending=True)


def _range(values: pl.Series) -> Check | None:
    """The range of numbers, with slack."""
    if not (values.dtype.is_integer() or values.dtype.is_float()):
        return None
    present = values.drop_nulls()
    if values.dtype.is_float():
        present = present.filter(present.is_finite())
        if len(present) < len(values) - values.null_count():
            return None  # NaN and infinities are in no range
    low: Any = present.min()
    high: Any = present.max()
    if low is None or high is None or low == high:
        return None
    slack = _SLACK * (high - low)
    outer = [float(low) - slack, float(high) + slack]
    if low >= 0:
        outer[0] = max(outer[0], 0.0)
    if high <= 0:
        outer[1] = min(outer[1], 0.0)
    bounds = _rounded(outer[0], outer[1], whole=values.dtype.is_integer())
    return check.between(values.name, *bounds)


def _rounded(low: float, high: float, *, whole: bool) -> tuple[float, float]:
    """Bounds rounded outward to two digits of their width."""
    unit = 10.0 ** (math.floor(math.log10(high - low)) - 1)
    if whole:
        step = max(int(unit), 1)
        return math.floor(low / step) * step, math.ceil(high / step) * step
    digits = max(0, -math.floor(math.log10(unit)))
    return round(math.floor(low / unit) * unit, digits), round(math.ceil(high / unit) * unit, digits)


def _texts(values: pl.Series) -> list[Check]:
    """The set of values where they are few, else their shape."""
    if values.dtype != pl.String and not isinstance(values.dtype, pl.Categorical):
        return []
    present = values.drop_nulls().cast(pl.String)
    distinct = present.unique().sort()
    if not len(distinct):
        return []
    if len(distinct) <= _MOST_CATEGORIES and len(present) >= _FEWEST_ROWS_EACH * len(distinct):
        return [check.is_in(values.name, distinct.to_list())]
    pattern = _pattern(distinct.gather_every(max(1, len(distinct) // _LOOKED_AT)).to_list())
    if pattern is None or (~present.str.contains(pattern)).any():
        return []
    return [check.matches(values.name, pattern)]


def _pattern(texts: list[str]) -> str | None:
    """What all texts look like: runs of letters, digits and signs with their lengths; None if they have too many shapes."""
    shapes: dict[tuple[str, ...], list[tuple[int, int]]] = {}
    for text in texts:
        runs = [(kind, len(list(run))) for kind, run in groupby(text, _class)]
        shape = tuple(kind for kind, _ in runs)
        before = shapes.get(shape, [(length, length) for _, length in runs])
        shapes[shape] = [(min(low, n), max(high, n)) for (low, high), (_, n) in zip(before, runs, strict=True)]
        if len(shapes) > _MOST_SHAPES:
            return None
    # Letters alone say little of free text: a shape is worth a check if there is a digit, a sign or one length in it.
    if all("[0-9]" not in shape and all(low != high for low, high in runs) for shape, runs in shapes.items()):
        return None
    parts = ["".join(map(_run, shape, lengths)) for shape, lengths in sorted(shapes.items())]
    return f"^{parts[0]}$" if len(parts) == 1 else f"^(?:{'|'.join(parts)})$"


def _class(letter: str) -> str:
    if "0" <= letter <= "9":
        return "[0-9]"
    if "A" <= letter <= "Z":
        return "[A-Z]"
    if "a" <= letter <= "z":
        return "[a-z]"
    return re.escape(letter) if letter.isascii() else letter


def _run(kind: str, lengths: tuple[int, int]) -> str:
    low, high = lengths
    return kind if low == high == 1 else f"{kind}{{{low}}}" if low == high else f"{kind}{{{low},{high}}}"
