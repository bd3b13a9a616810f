"""What every codec of tables shares: bytes, preview and comparison of a Polars frame."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from mainspring.artifacts.codec import EQUAL, BlobAccess, Comparison, Preview, Tolerance
from mainspring.artifacts.table import schema_of, table_digest, unordered_digest
from mainspring.errors import CodecError, shorten

_IN_MEMORY_BYTES = 32 * 2**20


def put_frame(frame: pl.DataFrame, blobs: BlobAccess) -> tuple[str, int]:
    """Write a frame as Parquet and return blob digest and size; Arrow IPC takes the few types that Parquet refuses."""
    if not frame.columns:
        data = msgspec.json.encode({"rows": frame.height})
        return blobs.put(data), len(data)
    if frame.estimated_size() <= _IN_MEMORY_BYTES:
        buffer = io.BytesIO()
        _write(frame, buffer)
        return blobs.put(buffer.getvalue()), buffer.tell()
    handle, name = tempfile.mkstemp(prefix="mainspring-", suffix=".parquet")
    try:
        with os.fdopen(handle, "wb") as file:
            _write(frame, file)
            size = file.tell()
        return blobs.put(Path(name)), size
    finally:
        os.unlink(name)


def _write(frame: pl.DataFrame, file: Any) -> None:
    try:
        frame.write_parquet(file, compression="zstd", compression_level=1, statistics=False)
    except pl.exceptions.InvalidOperationError:
        file.seek(0)
        file.truncate()
        frame.write_ipc(file)


def get_frame(digest: str, blobs: BlobAccess) -> pl.DataFrame:
    """A frame from its blob.

    Raises:
        CodecError: the blob is not a stored table.
    """
    path = blobs.path(digest)
    try:
        with path.open("rb") as file:
            magic = file.read(6)
            if magic.startswith(b"PAR1"):
                return pl.read_parquet(path, glob=False, hive_partitioning=False)
            if magic == b"ARROW1":
                return pl.read_ipc(path)
        return pl.DataFrame(height=int(msgspec.json.decode(path.read_bytes())["rows"]))
    except (
        pl.exceptions.PolarsError,
        msgspec.MsgspecError,
        UnicodeDecodeError,
        KeyError,
        TypeError,
        ValueError,
    ) as error:
        raise CodecError(f"The blob `{digest[:12]}` is not a stored table: {shorten(str(error))}") from error


def preview_frame(frame: pl.DataFrame, kind: str = "table") -> Preview:
    """Shape, columns and the first rows."""
    rows, columns = frame.shape
    schema = schema_of(frame)
    shown = frame.head(10).select(frame.columns[:50])
    detail = {
        "rows": rows,
        "columns": columns,
        "schema": [[shorten(name, 60), shorten(type_, 60)] for name, type_ in schema[:200]],
        "head": [[_cell(value) for value in row] for row in shown.rows()],
    }
    return Preview(kind, f"{rows:,} {_many('row', rows)} × {columns:,} {_many('column', columns)}", detail)


def _cell(value: Any) -> object:
    if value is None or (type(value) in (bool, int) and abs(value) < 2**53):
        return value
    text = value if isinstance(value, str) else repr(value) if isinstance(value, (bytes, float)) else str(value)
    return shorten(text, 40)


def _many(noun: str, count: int) -> str:
    return noun if count == 1 else noun + "s"


def compare_frames(old: pl.DataFrame, new: pl.DataFrame, tolerance: Tolerance) -> Comparison:
    """Schema, then values column by column; a mere change of order and mere float differences are told apart."""
    different = _compare_schemas(schema_of(old), schema_of(new))
    if different is not None:
        return different
    if table_digest(old).digest == table_digest(new).digest:
        return EQUAL
    if old.height != new.height:
        return Comparison("values", f"The number of rows differs: {old.height:,} → {new.height:,}.")
    columns = [found for name in old.columns if (found := _Column.compare(old[name], new[name], tolerance)) is not None]
    if columns and all(column.within for column in columns):
        return _verdict("within_tolerance", columns)
    if unordered_digest(old).digest == unordered_digest(new).digest:
        moved = max((column.count for column in columns), default=0)
        return Comparison(
            "row_order", f"The same {old.height:,} rows stand in another order ({moved:,} differ in place)."
        )
    kind = "floats" if columns and all(column.largest_error is not None for column in columns) else "values"
    return _verdict(kind, columns)


def _compare_schemas(old: tuple[tuple[str, str], ...], new: tuple[tuple[str, str], ...]) -> Comparison | None:
    if old == new:
        return None
    before, after = dict(old), dict(new)
    gone, added = [name for name in before if name not in after], [name for name in after if name not in before]
    changed = [name for name in before if name in after and before[name] != after[name]]
    if gone or added:
        parts = [f"{word} {shorten(', '.join(names))}" for word, names in (("without", gone), ("new", added)) if names]
        return Comparison("schema", f"The columns differ: {'; '.join(parts)}.")
    if changed:
        name = changed[0]
        return Comparison("schema", f"The column `{name}` has another type: {before[name]} → {after[name]}.")
    return Comparison("schema", "The columns stand in another order.")


def _verdict(kind: Any, columns: list[_Column]) -> Comparison:
    errors = [column.largest_error for column in columns if column.largest_error is not None]
    largest = max(errors, default=None)
    if not columns:
        return Comparison(kind, "The values differ.", largest)
    first = next((column for column in columns if column.largest_error is None), columns[0])
    more = f" {len(columns):,} columns differ." if len(columns) > 1 else ""
    return Comparison(kind, f"{first.text}{more}", largest)


class _Column:
    """How one column differs; `largest_error` is set only if nothing but finite floats does."""

    def __init__(self, count: int, text: str, largest_error: float | None = None, *, within: bool = False) -> None:
        self.count, self.text, self.largest_error, self.within = count, text, largest_error, within

    @classmethod
    def compare(cls, old: pl.Series, new: pl.Series, tolerance: Tolerance) -> _Column | None:
        if old.dtype.is_nested():
            return cls._nested(old, new, tolerance)
        differs = old.cast(pl.String).ne_missing(new.cast(pl.String)) if _is_coded(old) else old.ne_missing(new)
        count = int(differs.sum())
        if not count:
            return None
        at = differs.arg_max() or 0
        text = f"{count:,} of {len(old):,} rows differ in column `{old.name}`, first row {at:,}: {_change(old[at], new[at])}."
        return cls._measured(count, text, [(old, new)] if old.dtype.is_float() else None, tolerance)

    @classmethod
    def _nested(cls, old: pl.Series, new: pl.Series, tolerance: Tolerance) -> _Column | None:
        if table_digest(old.to_frame()) == table_digest(new.to_frame()):
            return None
        low, high = 0, len(old)  # the first differing row, by halves
        while high - low > 1:
            middle = (low + high) // 2
            same = table_digest(old[low:middle].to_frame()) == table_digest(new[low:middle].to_frame())
            low, high = (middle, high) if same else (low, middle)
        text = f"The column `{old.name}` differs, first row {low:,}: {_change(old[low], new[low])}."
        return cls._measured(1, text, _float_leaves(old, new), tolerance)

    @classmethod
    def _measured(cls, count: int, text: str, floats: _Pairs | None, tolerance: Tolerance) -> _Column:
        """With the largest error, if only finite floats differ; `floats` are all that could, `None` if more does."""
        largest, within = 0.0, True
        for old, new in floats or ():
            differs = old.ne_missing(new)
            a, b = old.filter(differs).cast(pl.Float64), new.filter(differs).cast(pl.Float64)
            error = (b - a).abs()
            if error.null_count() or not error.is_finite().all():
                return cls(count, text)
            within = within and bool((error <= a.abs() * tolerance.rtol + tolerance.atol).all())
            found: Any = error.max()
            largest = max(largest, found or 0.0)
        return cls(count, text, largest, within=within) if floats is not None else cls(count, text)


_Pairs = list[tuple[pl.Series, pl.Series]]


def _float_leaves(old: pl.Series, new: pl.Series) -> _Pairs | None:
    """The floats inside two columns of one type, place by place; `None` if anything but floats differs."""
    if len(old) != len(new) or not old.is_null().equals(new.is_null()):
        return None
    if not old.dtype.is_nested():
        if old.dtype.is_float():
            return [(old, new)]
        return [] if table_digest(pl.DataFrame([old])).leaves == table_digest(pl.DataFrame([new])).leaves else None
    a, b = old.drop_nulls(), new.drop_nulls()
    if isinstance(old.dtype, pl.Struct):
        parts = [(a.struct.field(name), b.struct.field(name)) for name in a.struct.fields]
    else:
        if isinstance(old.dtype, pl.Array):
            a, b = a.arr.to_list(), b.arr.to_list()
        if not a.list.len().equals(b.list.len()):
            return None
        filled = a.list.len() > 0
        parts = [(a.filter(filled).explode(), b.filter(filled).explode())]
    pairs: _Pairs = []
    for one, other in parts:
        found = _float_leaves(one, other)
        if found is None:
            return None
        pairs += found
    return pairs


def _change(old: object, new: object) -> str:
    return f"{shorten(repr(old), 40)} → {shorten(repr(new), 40)}"


def _is_coded(series: pl.Series) -> bool:
    return series.dtype.base_type() in (pl.Categorical, pl.Enum)
