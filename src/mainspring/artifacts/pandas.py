"""The codecs of pandas frames and series: values as a table, and a description of index, labels and types.

pandas and NumPy are all it needs. NaN in a float column stays NaN, a missing value of a nullable type is a null; the storage
of text (Python or PyArrow) is not part of the meaning.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pandas as pd
import polars as pl

from mainspring.artifacts._compare import compare_trees
from mainspring.artifacts._frames import compare_frames, get_frame, preview_frame, put_frame
from mainspring.artifacts._pandas_columns import (
    Kind,
    read_cell,
    read_written,
    restore,
    store,
    write_cell,
    written,
)
from mainspring.artifacts._pandas_index import restore_index, store_index
from mainspring.artifacts._tree import Reader, Writer, to_text
from mainspring.artifacts.codec import EQUAL, BlobAccess, Comparison, Encoded, Preview, Tolerance, meaning_digest
from mainspring.artifacts.registry import content_digest
from mainspring.artifacts.table import sort_order, table_digest
from mainspring.errors import CodecError, shorten


class _Stored(msgspec.Struct):
    meta: Any
    table: str


class FrameCodec:
    """DataFrames with any index; subclasses are refused, since they would come back as plain frames."""

    name, recipe, immutable = "pandas.frame", 2, False
    types = ("pandas.DataFrame", "pandas.core.frame.DataFrame")

    def digest(self, value: Any) -> str:
        """Over values, types, labels and index."""
        return self._digest(*self._split(value))

    def encode(self, value: Any, blobs: BlobAccess) -> Encoded:
        """A blob for the description and one for the values."""
        return self.save(value, blobs)[1]

    def save(self, value: Any, blobs: BlobAccess) -> tuple[str, Encoded]:
        """Both from one conversion."""
        meta, table = self._split(value)
        blob, size = put_frame(table, blobs)
        data = to_text(_Stored(meta, blob))
        return self._digest(meta, table), Encoded(self.name, blobs.put(data), len(data) + size, (blob,))

    def _digest(self, meta: Any, table: pl.DataFrame) -> str:
        return meaning_digest("pandas", self.recipe, to_text(meta), table_digest(table).digest)

    def decode(self, encoded: Encoded, blobs: BlobAccess) -> Any:
        """A new frame."""
        try:
            stored = msgspec.json.decode(blobs.read(encoded.blob), type=_Stored)
            return self._join(stored.meta, get_frame(stored.table, blobs))
        except (msgspec.MsgspecError, UnicodeDecodeError, KeyError, IndexError) as error:
            raise CodecError(f"The blob `{encoded.blob[:12]}` is not a stored pandas value: {error}.") from error

    def preview(self, value: Any) -> Preview:
        """Shape, schema, first rows."""
        shown = preview_frame(_labelled(value.head(10).iloc[:, :200], self._split))
        rows, columns = value.shape
        summary = f"{rows:,} row{'s' * (rows != 1)} × {columns:,} column{'s' * (columns != 1)}"
        return Preview(shown.kind, summary, {**shown.detail, "rows": rows, "columns": columns})

    def compare(self, old: Any, new: Any, tolerance: Tolerance) -> Comparison:
        """By labels and types, then column by column."""
        if self.digest(old) == self.digest(new):
            return EQUAL
        before, after = _labelled(old, self._split), _labelled(new, self._split)
        kinds = [self._split(value)[0]["kinds"] for value in (old, new)]
        if before.columns == after.columns:
            for name, one, other in zip(before.columns, *kinds, strict=False):
                if _type_of(one) != _type_of(other):
                    return Comparison("schema", f"The column `{name}` has another type.")
        found = compare_frames(before, after, tolerance)
        if found.kind == "values":
            objects = [name for name, kind in zip(before.columns, kinds[0], strict=False) if kind == ["object"]]
            return _compare_cells(before, after, found, tolerance, objects)
        if found.kind != "equal":
            return found
        return Comparison("schema", "The values are equal; index, labels, attributes or flags differ.")

    def in_canonical_order(self, value: Any) -> Any:
        """The rows sorted by every column, then by the index; a RangeIndex is numbered anew."""
        _, table = self._split(value)
        try:
            ordered = value.iloc[sort_order(table).to_numpy()] if table.columns else value
        except ValueError as error:  # e.g. columns of foreign byte order
            raise CodecError(f"pandas can't sort the rows: {shorten(str(error), 200)}") from error
        return ordered.reset_index(drop=True) if isinstance(value.index, pd.RangeIndex) else ordered

    def _split(self, value: Any) -> tuple[Any, pl.DataFrame]:
        if type(value) is not pd.DataFrame:
            raise CodecError(_subclass(value, "pandas.DataFrame"))
        columns: dict[str, pl.Series] = {}
        kinds = []
        for i, label in enumerate(value.columns):
            columns[f"c{i}"], kind = store(value.iloc[:, i].array, f"Column `{label}`")
            kinds.append(kind)
        labels = store_index(value.columns, "The labels of the columns", written)
        return {**_described(value, columns), "kinds": kinds, "labels": labels}, pl.DataFrame(columns)

    def _join(self, meta: Any, table: pl.DataFrame) -> Any:
        index = _index(meta, table)
        # As series with types of their own, since pandas guesses at the type of an array of objects.
        arrays = [restore(table[f"c{i}"], kind) for i, kind in enumerate(meta["kinds"])]
        columns = {i: pd.Series(array, dtype=array.dtype, copy=False) for i, array in enumerate(arrays)}
        frame = pd.DataFrame(columns, index=pd.RangeIndex(len(index)), copy=False)
        frame.index = index
        frame.columns = restore_index(meta["labels"], read_written)
        return _finished(frame, meta)


class SeriesCodec(FrameCodec):
    """A Series is a frame of one column, under a name of its own."""

    name = "pandas.series"
    types = ("pandas.Series", "pandas.core.series.Series")

    def preview(self, value: Any) -> Preview:
        """Length, type, first values."""
        shown = preview_frame(_labelled(value.head(10), self._split), "series")
        return Preview("series", f"{len(value):,} values of {value.dtype}", {**shown.detail, "rows": len(value)})

    def _split(self, value: Any) -> tuple[Any, pl.DataFrame]:
        if type(value) is not pd.Series:
            raise CodecError(_subclass(value, "pandas.Series"))
        columns: dict[str, pl.Series] = {}
        columns["c0"], kind = store(value.array, "The series")
        name = _store_name(value.name)
        return {**_described(value, columns), "kinds": [kind], "name": name, "series": True}, pl.DataFrame(columns)

    def _join(self, meta: Any, table: pl.DataFrame) -> Any:
        array, name = restore(table["c0"], meta["kinds"][0]), _restore_name(meta["name"])
        return _finished(pd.Series(array, _index(meta, table), array.dtype, name, copy=False), meta)


def _type_of(kind: Kind) -> Any:
    """What of a column's description is its type; the categories of a category are rather its values."""
    return [kind[1], kind[3]] if kind[0] == "category" else kind


def _store_name(name: Any) -> list[Any]:
    if isinstance(name, (pd.Timestamp, pd.Timedelta, pd.Interval)):  # as the columns of a frame are called
        values, kind = store(pd.array([name]), "The name of the series")
        return [written(values), kind]
    return [write_cell(name, "The name of the series")]


def _restore_name(stored: list[Any]) -> Any:
    if len(stored) == 1:
        return read_cell(stored[0])
    return restore(read_written(*stored), stored[1])[0]


def _compare_cells(
    before: pl.DataFrame, after: pl.DataFrame, found: Comparison, tolerance: Tolerance, names: list[str]
) -> Comparison:
    """The comparison of two tables whose values differ, if nothing but floats inside cells of object columns does."""
    rest = compare_frames(before.drop(names), after.drop(names), tolerance)
    results = [rest]
    for name in names:
        cells = [[read_cell(text) for text in table[name]] for table in (before, after)]
        result = compare_trees(cells[0], cells[1], tolerance, _other_cell)
        if result.kind != "equal":
            result = msgspec.structs.replace(result, detail=f"In column `{name}`: {result.detail}")
        results.append(result)
    ranks = ("equal", "within_tolerance", "floats")
    if any(result.kind not in ranks for result in results):
        return found
    worst = max(results, key=lambda result: ranks.index(result.kind))
    return msgspec.structs.replace(worst, largest_error=max(result.largest_error or 0.0 for result in results))


def _other_cell(old: Any, new: Any, tolerance: Tolerance) -> Comparison:  # noqa: ARG001  # nothing here is a float
    # By their stored text, in which every NaN is the same and a missing mark is itself.
    same = old is new or (type(old) is type(new) and content_digest(old) == content_digest(new))
    return EQUAL if same else Comparison("values", f"{shorten(old)} → {shorten(new)}.")


def _described(value: Any, columns: dict[str, pl.Series]) -> dict[str, Any]:
    """What a frame and a series have in common; the index's values join the columns as `i0`, `i1`, …"""
    first = len(columns)

    def keep(series: pl.Series) -> str:
        name = f"i{len(columns) - first}"
        columns[name] = series
        return name

    attrs = Writer(_refuse).write(dict(value.attrs))
    return {
        "index": store_index(value.index, "The index", keep),
        "attrs": attrs,
        "unique_labels": not value.flags.allows_duplicate_labels,
    }


def _index(meta: Any, table: pl.DataFrame) -> Any:
    def take(name: str, _kind: Kind) -> pl.Series:
        return table[name]

    return restore_index(meta["index"], take)


def _finished(value: Any, meta: Any) -> Any:
    value.attrs = Reader(_refuse_leaf).read(meta["attrs"])
    return value.set_flags(allows_duplicate_labels=False) if meta["unique_labels"] else value


def _labelled(value: Any, split: Any) -> pl.DataFrame:
    """The stored table under the labels that a person knows."""
    meta, table = split(value)
    codes = [level["codes"] for level in meta["index"].get("multi", ())]
    table = table.drop(codes)
    labels = list(value.columns) if hasattr(value, "columns") else [value.name]
    names: dict[str, str] = {}
    for i, label in enumerate(labels):
        name = str(label)
        names[f"c{i}"] = f"{name} ({i})" if name in names.values() or name in table.columns else name
    coded = {i: kind for i, kind in enumerate(meta["kinds"]) if kind[0] == "category"}
    shown: pl.DataFrame = table.with_columns(
        pl.Series(f"c{i}", [None if v is None else str(v) for v in restore(table[f"c{i}"], kind).tolist()], pl.String)
        for i, kind in coded.items()
    )
    return shown.rename(names)


def _refuse(value: object, path: str) -> int:
    kind = type(value).__qualname__
    raise CodecError(f"A pandas label, cell or attribute at {path} is of type `{kind}`, which has no stored form.")


def _refuse_leaf(number: int) -> Any:
    raise CodecError(f"A stored pandas value refers to a leaf {number}, which it must not.")


def _subclass(value: object, base: str) -> str:
    from mainspring.artifacts.polars import subclass_refused

    return subclass_refused(value, base)
