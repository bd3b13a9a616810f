"""What a table holds, column by column: computed once for each content and kept in the database.

Counts, extremes, mean and deviation are of all rows, the number of distinct values is an estimate (HyperLogLog, about 1 %).
Quantiles and frequent values come from rows taken at equal distances, at most 262,144 of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import msgspec
import polars as pl

from mainspring.artifacts.table import schema_of
from mainspring.data._store import DatasetStore
from mainspring.data.profiles import ColumnProfile, Scalar, TableProfile
from mainspring.data.tables.manifest import Part, read_listing
from mainspring.data.tables.parts import rows_from
from mainspring.data.version import DatasetVersion
from mainspring.errors import shorten
from mainspring.store import BlobStore
from mainspring.workspace import Workspace, current_workspace, using

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_SAMPLE_ROWS = 1 << 18
_TOP = 5
_COLUMNS_AT_ONCE = 500  # a plan of a hundred thousand expressions takes minutes


def profile_version(version: DatasetVersion, workspace: Workspace | None = None) -> TableProfile:
    """The profile of a version; the first call for a content computes it.

    Raises:
        InvalidError: it is a tree.
    """
    version.expect("table")
    workspace = workspace or current_workspace()
    store = DatasetStore(workspace.database, workspace.ledger)
    kept = store.profile(version.content_digest)
    if kept is not None:
        return msgspec.json.decode(kept, type=TableProfile)
    with using(workspace):
        profile = compute_profile(workspace.blobs, version)
    store.keep_profile(version.content_digest, msgspec.json.encode(profile).decode())
    return profile


def compute_profile(blobs: BlobStore, version: DatasetVersion) -> TableProfile:
    """The same from the rows, whatever is kept."""
    if not version.schema:
        return TableProfile(version.rows, 0, ())
    scan, step = version.scan(), -(-version.rows // _SAMPLE_ROWS) or 1
    sampled = [] if version.pinned else list(_every(blobs, read_listing(blobs, version.manifest).parts, step))
    sample = pl.concat(sampled) if sampled else scan.gather_every(step).collect(engine="streaming")
    return profile_frame(scan, sample, version.rows)


def profile_frame(scan: pl.LazyFrame, sample: pl.DataFrame, rows: int) -> TableProfile:
    """The profile of so many rows, with quantiles and frequent values of a sample of them."""
    columns: list[ColumnProfile] = []
    names = sample.columns
    for start in range(0, len(names), _COLUMNS_AT_ONCE):
        batch = sample.select(names[start : start + _COLUMNS_AT_ONCE])
        figures = [each for number, series in enumerate(batch) for each in _figures(number, series)]
        found = scan.select(figures).collect(engine="streaming").row(0, named=True)
        columns += [_column(number, series, found) for number, series in enumerate(batch)]
    return TableProfile(rows, sample.height, tuple(columns))


def _every(blobs: BlobStore, parts: tuple[Part, ...], step: int) -> Iterator[pl.DataFrame]:
    offset = 0
    for frame in rows_from(blobs, parts, 0):
        yield frame.gather_every(step, -offset % step)
        offset += frame.height


def _figures(number: int, series: pl.Series) -> Iterator[pl.Expr]:
    """What is computed of a column, each under a name of its own."""
    column, dtype = pl.col(series.name), series.dtype
    yield column.null_count().alias(f"nulls {number}")
    if dtype.is_float():
        yield column.is_nan().sum().alias(f"nan {number}")
        column = column.fill_nan(None)
    if dtype.is_numeric() or dtype == pl.Boolean:
        yield column.mean().cast(pl.Float64).alias(f"mean {number}")
    if dtype.is_numeric():
        yield column.std().cast(pl.Float64).alias(f"std {number}")
    if _has_order(dtype):
        yield column.min().alias(f"min {number}")
        yield column.max().alias(f"max {number}")
    if _is_counted(dtype):
        yield column.approx_n_unique().alias(f"distinct {number}")


def _has_order(dtype: pl.DataType) -> bool:
    return dtype.is_numeric() or dtype.is_temporal() or dtype in (pl.String, pl.Boolean)


def _is_counted(dtype: pl.DataType) -> bool:
    return dtype.is_integer() or dtype.is_float() or dtype.is_temporal() or dtype in (pl.String, pl.Binary, pl.Boolean)


def _column(number: int, series: pl.Series, found: dict[str, Any]) -> ColumnProfile:
    def get(name: str) -> Any:
        return found.get(f"{name} {number}")

    distinct = get("distinct")
    if distinct is not None and get("nulls"):
        distinct = max(distinct - 1, 0)  # the estimate counts null as a value
    return ColumnProfile(
        name=series.name, type=schema_of(series.to_frame())[0][1], nulls=get("nulls"), nan=get("nan") or 0,
        distinct=distinct, min=_scalar(get("min")), max=_scalar(get("max")), mean=_finite(get("mean")),
        std=_finite(get("std")), quantiles=_quantiles(series), top=_top(series),
    )  # fmt: skip


def _quantiles(series: pl.Series) -> tuple[float, ...]:
    if not series.dtype.is_numeric():
        return ()
    values = series.cast(pl.Float64).drop_nulls().drop_nans().sort()
    if not len(values):
        return ()
    at = [values[math.floor(share * (len(values) - 1) + 0.5)] for share in QUANTILES]
    return tuple(at) if all(map(math.isfinite, at)) else ()


def _top(series: pl.Series) -> tuple[tuple[Scalar, int], ...]:
    """The most frequent values, those that stand there more than once; of equally frequent ones the smallest."""
    if series.dtype.is_nested() or series.dtype == pl.Null:
        return ()
    if series.dtype == pl.Categorical or series.dtype == pl.Enum:
        series = series.cast(pl.String)
    counts = series.drop_nulls().value_counts(name="times of it")
    counts = counts.filter(pl.col("times of it") > 1).top_k(4 * _TOP, by="times of it")
    counts = counts.sort("times of it", counts.columns[0], descending=[True, False])
    return tuple((_scalar(value), count) for value, count in counts.head(_TOP).rows())


def _scalar(value: Any) -> Scalar:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return shorten(value if isinstance(value, str) else repr(value) if isinstance(value, bytes) else str(value), 60)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
