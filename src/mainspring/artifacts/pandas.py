"""The codecs of pandas frames and series: values as a table, and a description of index, labels and types.

pandas and NumPy are all it needs. NaN in a float column stays NaN, a missing value of a nullable type is a null; the storage
of text (Python or PyArrow) is not part of the meaning.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pandas as pd
import polars as pl

from mainspring.artifacts._frames import compare_frames, get_frame, preview_frame, put_frame
from mainspring.artifacts._pandas_columns import restore, restore_index, store, store_index
from mainspring.artifacts._tree import Reader, Writer, to_text
from mainspring.artifacts.codec import BlobAccess, Comparison, Encoded, Preview, Tolerance, meaning_digest
from mainspring.artifacts.table import sort_order, table_digest
from mainspring.errors import CodecError


class _Stored(msgspec.Struct):
    meta: Any
    table: str


class FrameCodec:
    """DataFrames with any index; subclasses are refused, since they would come back as plain frames."""

    name, recipe, immutable = "pandas.frame", 1, False
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
        found = compare_frames(_labelled(old, self._split), _labelled(new, self._split), tolerance)
        if found.kind != "equal" or self.digest(old) == self.digest(new):
            return found
        return Comparison("schema", "The values are equal; index, labels or attributes differ.")

    def in_canonical_order(self, value: Any) -> Any:
        """The rows sorted by every column, then by the index; a RangeIndex is numbered anew."""
        _, table = self._split(value)
        ordered = value.iloc[sort_order(table).to_numpy()] if table.columns else value
        return ordered.reset_index(drop=True) if isinstance(value.index, pd.RangeIndex) else ordered

    def _split(self, value: Any) -> tuple[Any, pl.DataFrame]:
        if type(value) is not pd.DataFrame:
            raise CodecError(_subclass(value, "pandas.DataFrame"))
        columns: dict[str, pl.Series] = {}
        kinds = []
        for i, label in enumerate(value.columns):
            columns[f"c{i}"], kind = store(value.iloc[:, i].array, f"Column `{label}`")
            kinds.append(kind)
        labels = Writer(_refuse, canonical=True)
        meta = {
            "index": store_index(value.index, columns),
            "kinds": kinds,
            "labels": labels.write([tuple(x) if isinstance(x, tuple) else x for x in value.columns.tolist()]),
            "labels_type": "multi" if isinstance(value.columns, pd.MultiIndex) else str(value.columns.dtype),
            "labels_names": labels.write(list(value.columns.names)),
            "attrs": labels.write(dict(value.attrs)),
        }
        return meta, pl.DataFrame(columns)

    def _join(self, meta: Any, table: pl.DataFrame) -> Any:
        read = Reader(_refuse_leaf).read
        arrays = {i: restore(table[f"c{i}"], kind) for i, kind in enumerate(meta["kinds"])}
        frame = pd.DataFrame(arrays, index=restore_index(meta["index"], table))
        labels, names = read(meta["labels"]), read(meta["labels_names"])
        if meta["labels_type"] == "multi":
            frame.columns = pd.MultiIndex.from_tuples(labels, names=names)
        else:
            frame.columns = pd.Index(labels, dtype=meta["labels_type"], name=names[0], tupleize_cols=False)
        frame.attrs = read(meta["attrs"])
        return frame


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
        write = Writer(_refuse, canonical=True).write
        labels = {"labels": write([value.name]), "attrs": write(dict(value.attrs)), "series": True}
        return {"index": store_index(value.index, columns), "kinds": [kind], **labels}, pl.DataFrame(columns)

    def _join(self, meta: Any, table: pl.DataFrame) -> Any:
        read = Reader(_refuse_leaf).read
        array, index = restore(table["c0"], meta["kinds"][0]), restore_index(meta["index"], table)
        series = pd.Series(array, index=index, name=read(meta["labels"])[0], copy=False)
        series.attrs = read(meta["attrs"])
        return series


def _labelled(value: Any, split: Any) -> pl.DataFrame:
    """The stored table under the labels that a person knows."""
    meta, table = split(value)
    labels = list(value.columns) if hasattr(value, "columns") else [value.name]
    names: dict[str, str] = {}
    for i, label in enumerate(labels):
        name = str(label)
        names[f"c{i}"] = f"{name} ({i})" if name in names.values() or name in table.columns else name
    kinds = meta["kinds"]
    coded = {i: kind for i, kind in enumerate(kinds) if kind[0] == "category"}
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
