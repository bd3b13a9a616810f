"""Where the rows of a batch prediction come from: a dataset version, a file, a lazy frame, a table; and their names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from mainspring.artifacts.spool import Spool
from mainspring.artifacts.table import LEAF_ROWS
from mainspring.data import DatasetVersion, as_polars, get_dataset_version
from mainspring.errors import InvalidError, shorten
from mainspring.models import Field
from mainspring.serving.batch.files import ragged_row, read_texts, scan_file
from mainspring.workspace import Workspace

BLOCK_ROWS = LEAF_ROWS
_LONGEST = 200  # characters of what Polars says


class Input(NamedTuple):
    """A table that is read block by block: a few of its rows, how many it has, its columns, its version, if it is one.

    The columns of `texts` are texts in the blocks, and to be read as what those fields are.
    """

    blocks: Iterator[pl.DataFrame]
    sample: pl.DataFrame
    columns: list[str]
    rows: int
    version: DatasetVersion | None
    texts: Sequence[Field] = ()

    def __str__(self) -> str:
        return str(self.version) if self.version is not None else "the table"


def read_input(
    data: Any, workspace: Workspace, stack: ExitStack, source: Any = (), fields: Sequence[Field] = ()
) -> Input:  # fmt: skip
    """Blocks of 65,536 rows in order, the last one fewer; one empty block if there are no rows. `fields` are what is taken.

    A file and a lazy frame are computed once, to a temporary file that the stack removes.

    Raises:
        NotFoundError: there is no such file or dataset.
        InvalidError: a file can't be read, or a lazy frame not computed; the `source` is named if it is a path.
    """
    if isinstance(data, str):
        data = get_dataset_version(data, workspace)
    if isinstance(data, DatasetVersion):
        data.expect("table")
        return Input(data.batches(BLOCK_ROWS), next(data.batches(1)), list(data.columns), data.rows, data)
    if isinstance(data, pl.LazyFrame | Path):
        try:
            frame, texts = scan_file(data, fields) if isinstance(data, Path) else (data, [])
            spool = stack.enter_context(Spool(frame))
        except pl.exceptions.PolarsError as error:
            given = next((each for each in (data, source) if isinstance(each, Path)), "the table")
            said = shorten(str(error), _LONGEST)
            ragged = ragged_row(data) if isinstance(data, Path) and data.suffix == ".csv" else ""
            hint = ragged or f"{said[:1].upper()}{said[1:]}."
            raise InvalidError("data", given, "a table that can be read", hint) from error
        sample, _ = read_texts(next(spool.batches(1)), texts)
        return Input(spool.batches(BLOCK_ROWS), sample, spool.schema.names(), spool.rows, None, texts)
    table = as_polars(data, drop_index=True)
    blocks = table.iter_slices(BLOCK_ROWS) if table.height else iter([table])
    return Input(blocks, table.head(1), table.columns, table.height, None)
