"""The codec of PyArrow tables: the exact schema counts, chunks and the codes of unordered dictionaries are only layout.

Bytes are an Arrow stream, not Parquet, which changes types (seconds become milliseconds, date64 becomes date32). Values are
digested as the table digest of plain columns: times as integers, decimals as text, dictionaries decoded.
"""

from __future__ import annotations

import io
import json
from typing import Any

import polars as pl
import pyarrow as pa

from mainspring.artifacts._frames import compare_frames, preview_frame
from mainspring.artifacts.codec import EQUAL, BlobAccess, Comparison, Encoded, Preview, Tolerance, meaning_digest
from mainspring.artifacts.table import sort_order, table_digest
from mainspring.errors import CodecError, shorten

_is = pa.types


class TableCodec:
    """Takes tables of every type but views of lists, unions, run-end encodings, intervals and foreign extensions."""

    name, recipe, immutable = "arrow.table", 1, True
    types = ("pyarrow.lib.Table",)

    def digest(self, value: Any) -> str:
        """Over schema (types, nullability, metadata), values, and the categories of ordered dictionaries in their order."""
        fields = [_field(field, field.name) for field in value.schema]
        head = json.dumps([fields, _metadata(value.schema.metadata)])
        return meaning_digest(self.name, self.recipe, head, table_digest(_plain(value)).digest, *_categories(value))

    def encode(self, value: Any, blobs: BlobAccess) -> Encoded:
        """One blob: a compressed Arrow stream."""
        buffer = io.BytesIO()
        try:
            options = pa.ipc.IpcWriteOptions(compression="zstd")
            with pa.ipc.new_stream(buffer, value.schema, options=options) as stream:
                stream.write_table(value)
        except (pa.ArrowException, OSError) as error:
            raise CodecError(f"PyArrow can't write the table: {shorten(str(error), 200)}") from error
        data = buffer.getvalue()
        return Encoded(self.name, blobs.put(data), len(data))

    def decode(self, encoded: Encoded, blobs: BlobAccess) -> Any:
        """A table with the very schema that was saved."""
        try:
            table = pa.ipc.open_stream(pa.BufferReader(blobs.read(encoded.blob))).read_all()
            table.validate()
        except (pa.ArrowException, OSError, ValueError) as error:
            raise CodecError(f"The blob `{encoded.blob[:12]}` is not a stored table: {shorten(str(error))}") from error
        return table

    def preview(self, value: Any) -> Preview:
        """Shape, schema, first rows."""
        shown = preview_frame(_shown(value.slice(0, 10)))
        rows, columns = value.num_rows, value.num_columns
        summary = f"{rows:,} row{'s' * (rows != 1)} × {columns:,} column{'s' * (columns != 1)}"
        schema = [[shorten(field.name, 60), shorten(str(field.type), 60)] for field in list(value.schema)[:200]]
        return Preview(shown.kind, summary, {**shown.detail, "rows": rows, "schema": schema})

    def compare(self, old: Any, new: Any, tolerance: Tolerance) -> Comparison:
        """By schema, then column by column."""
        if self.digest(old) == self.digest(new):
            return EQUAL
        if old.schema.names == new.schema.names:
            for before, after in zip(old.schema, new.schema, strict=True):
                if _field(before, before.name) != _field(after, after.name):
                    types = f"{shorten(str(before), 80)} → {shorten(str(after), 80)}"
                    return Comparison("schema", f"The column `{before.name}` has another type: {types}.")
        found = compare_frames(_shown(old), _shown(new), tolerance)
        if found.kind != "equal":
            return found
        return Comparison("schema", "The values are equal; the schema's metadata or a dictionary's order differ.")

    def in_canonical_order(self, value: Any) -> Any:
        """The rows sorted by every column in turn."""
        if not value.num_columns or value.num_rows < 2:
            return value
        try:
            return value.take(sort_order(_plain(value)).to_numpy())
        except pa.ArrowException as error:
            raise CodecError(f"PyArrow can't sort the table's rows: {shorten(str(error), 200)}") from error


def _field(field: Any, column: str) -> list[Any]:
    return [field.name, field.nullable, _metadata(field.metadata), _reduced(field.type, column)[0]]


def _metadata(metadata: dict[bytes, bytes] | None) -> list[list[str]]:
    found = dict(metadata or {})
    if b"pandas" in found:
        found[b"pandas"] = _without_versions(found[b"pandas"])
    return sorted([key.decode("latin-1"), value.decode("latin-1")] for key, value in found.items())


def _without_versions(text: bytes) -> bytes:
    # Which versions made the table is provenance; the rest says which columns pandas takes for an index.
    try:
        described = json.loads(text)
        return json.dumps({k: v for k, v in described.items() if k not in ("creator", "pandas_version")}).encode()
    except (ValueError, AttributeError):
        return text


def _reduced(kind: Any, column: str) -> tuple[Any, Any]:
    """The exact name of a type, and the plain type that holds the same values one to one."""
    if _is.is_dictionary(kind):
        name, plain = _reduced(kind.value_type, column)
        return ["dictionary", str(kind.index_type), name, kind.ordered], plain
    if _is.is_struct(kind):
        fields = [kind.field(i) for i in range(kind.num_fields)]
        if len({field.name for field in fields}) < len(fields):
            raise _refused(kind, column)
        plain = pa.struct([(field.name, _reduced(field.type, column)[1]) for field in fields])
        return ["struct", [_field(field, column) for field in fields]], plain
    if _is.is_map(kind):
        pair = [kind.key_field, kind.item_field]
        plain = pa.struct(
            [(name, _reduced(field.type, column)[1]) for name, field in zip(("key", "value"), pair, strict=True)]
        )
        return ["map", kind.keys_sorted, [_field(field, column) for field in pair]], pa.large_list(plain)
    if _is.is_list(kind) or _is.is_large_list(kind) or _is.is_fixed_size_list(kind):
        size = kind.list_size if _is.is_fixed_size_list(kind) else None
        name = "large_list" if _is.is_large_list(kind) else "list"
        plain = pa.large_list(_reduced(kind.value_type, column)[1])
        return [name, size, _field(kind.value_field, column)], plain
    if isinstance(kind, pa.BaseExtensionType) and kind.extension_name.startswith("arrow."):
        name, plain = _reduced(kind.storage_type, column)
        return ["extension", str(kind), name], plain
    return str(kind), _plain_scalar(kind, column)


def _plain_scalar(kind: Any, column: str) -> Any:
    if (
        _is.is_integer(kind)
        or _is.is_boolean(kind)
        or _is.is_null(kind)
        or _is.is_float32(kind)
        or _is.is_float64(kind)
    ):
        return kind
    if _is.is_float16(kind):
        return pa.float32()
    if _is.is_date32(kind) or _is.is_time32(kind):
        return pa.int32()
    if _is.is_temporal(kind) and not _is.is_interval(kind):
        return pa.int64()
    if _is.is_string(kind) or _is.is_large_string(kind) or _is.is_string_view(kind) or _is.is_decimal(kind):
        return pa.large_string()
    if _is.is_binary(kind) or _is.is_large_binary(kind) or _is.is_binary_view(kind) or _is.is_fixed_size_binary(kind):
        return pa.large_binary()
    raise _refused(kind, column)


def _refused(kind: Any, column: str) -> CodecError:
    return CodecError(
        f"The column `{column}` is of type `{shorten(str(kind), 100)}`, which is not kept. Cast it to a plain type, or drop it."
    )


def _categories(table: Any) -> list[str]:
    """A digest of each ordered dictionary, wherever it stands; dictionaries of chunks are joined in order."""
    digests = []
    for name, column in zip(table.schema.names, table.columns, strict=True):
        found: dict[str, list[Any]] = {}
        for chunk in column.chunks:
            if len(chunk):
                _collect(chunk, "$", found)
        for path, arrays in found.items():
            listed = pa.chunked_array(arrays).unique()
            series = _series(listed, _reduced(listed.type, name)[1], name)
            digests.append(meaning_digest(path, 1, table_digest(series.alias("c").to_frame()).digest))
    return digests


def _collect(array: Any, path: str, found: dict[str, list[Any]]) -> None:
    kind = array.type
    if _is.is_dictionary(kind):
        if kind.ordered:
            found.setdefault(path, []).append(array.dictionary)
    elif _is.is_struct(kind):
        for i in range(kind.num_fields):
            _collect(array.field(i), f"{path}.{i}", found)
    elif _is.is_map(kind):
        _collect(array.keys, f"{path}.k", found)
        _collect(array.items, f"{path}.v", found)
    elif _is.is_list(kind) or _is.is_large_list(kind) or _is.is_fixed_size_list(kind):
        _collect(array.values, f"{path}[]", found)
    elif isinstance(kind, pa.BaseExtensionType):
        _collect(array.storage, path, found)


def _plain(table: Any) -> pl.DataFrame:
    columns = {
        f"c{i}": _series(column, _reduced(column.type, name)[1], name)
        for i, (name, column) in enumerate(zip(table.schema.names, table.columns, strict=True))
    }
    return pl.DataFrame(columns) if columns else pl.DataFrame(height=table.num_rows)


def _shown(table: Any) -> pl.DataFrame:
    """As `_plain`, under the names that a person knows, and with times as times."""
    columns: dict[str, pl.Series] = {}
    for i, (name, column) in enumerate(zip(table.schema.names, table.columns, strict=True)):
        kind = column.type
        is_time = _is.is_date32(kind) or _is.is_time64(kind) or _is.is_timestamp(kind) or _is.is_duration(kind)
        keep = is_time and getattr(kind, "unit", "") != "s"
        shown = f"{name} ({i})" if name in columns else name
        columns[shown] = _series(column, kind if keep else _reduced(kind, name)[1], name)
    return pl.DataFrame(columns) if columns else pl.DataFrame(height=table.num_rows)


def _series(column: Any, plain: Any, name: str) -> pl.Series:
    try:
        series = pl.from_arrow(column if column.type == plain else column.cast(plain))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, pa.ArrowException, TypeError, ValueError) as error:
        raise CodecError(
            f"The column `{name}` of type `{shorten(str(column.type), 100)}` can't be digested: {shorten(str(error), 200)}. "
            "Cast it to a plain type, or drop it."
        ) from error
    assert isinstance(series, pl.Series)
    return series
