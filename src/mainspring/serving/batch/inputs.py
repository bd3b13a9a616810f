"""Where the rows of a batch prediction come from: a dataset version, a lazy frame, a table; and what they are called."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from mainspring.artifacts.spool import Spool
from mainspring.artifacts.table import LEAF_ROWS
from mainspring.data import DatasetVersion, as_polars, get_dataset_version
from mainspring.errors import InvalidError, shorten
from mainspring.workspace import Workspace

BLOCK_ROWS = LEAF_ROWS
_LONGEST = 200  # characters of what Polars says


class Input(NamedTuple):
    """A table that is read block by block: a few of its rows, how many it has, its columns, its version, if it is one."""

    blocks: Iterator[pl.DataFrame]
    sample: pl.DataFrame
    columns: list[str]
    rows: int
    version: DatasetVersion | None

    def __str__(self) -> str:
        return str(self.version) if self.version is not None else "the table"


def read_input(data: Any, workspace: Workspace, stack: ExitStack, source: Any = ()) -> Input:
    """Blocks of 65,536 rows in order, the last one fewer; one empty block if there are no rows.

    A lazy frame is computed once, to a temporary file that the stack removes.

    Raises:
        InvalidError: a lazy frame can't be computed; the `source` is named if it is a path.
    """
    if isinstance(data, str):
        data = get_dataset_version(data, workspace)
    if isinstance(data, DatasetVersion):
        data.expect("table")
        return Input(data.batches(BLOCK_ROWS), next(data.batches(1)), list(data.columns), data.rows, data)
    if isinstance(data, pl.LazyFrame):
        try:
            spool = stack.enter_context(Spool(data))
        except pl.exceptions.PolarsError as error:
            given = source if isinstance(source, Path) else "the table"
            said = shorten(str(error), _LONGEST)
            raise InvalidError("data", given, "a table that can be read", f"{said[:1].upper()}{said[1:]}.") from error
        return Input(spool.batches(BLOCK_ROWS), next(spool.batches(1)), spool.schema.names(), spool.rows, None)
    frame = as_polars(data, drop_index=True)
    blocks = frame.iter_slices(BLOCK_ROWS) if frame.height else iter([frame])
    return Input(blocks, frame.head(1), frame.columns, frame.height, None)
