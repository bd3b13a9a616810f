"""Rows that a command is given: a dataset version, or a file that holds them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mainspring.cli.app import Invocation
from mainspring.errors import InvalidError, NotFoundError, shorten

if TYPE_CHECKING:
    import polars as pl

_READERS = {".parquet": "scan_parquet", ".csv": "scan_csv", ".jsonl": "scan_ndjson", ".ndjson": "scan_ndjson"}


def scan_rows(invocation: Invocation, given: str, texts: Sequence[str] = ()) -> tuple[Any, Path | None]:
    """A dataset version, or a file's rows as a lazy table and where it is. Of a CSV file `texts` are columns of text.

    Raises:
        NotFoundError: there is neither.
    """
    from mainspring.data import get_dataset_version

    path = Path(given)
    reader = _READERS.get(path.suffix)
    if reader is None:
        return get_dataset_version(given, invocation.workspace), None
    _expect_file(path)
    import polars as pl

    told = {"schema_overrides": dict.fromkeys(texts, pl.String)} if texts and path.suffix == ".csv" else {}
    return getattr(pl, reader)(path, **told), path


def first_rows(invocation: Invocation, given: str, *, count: int, texts: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The first records of what `scan_rows` takes, or of a JSON file that is a list of them.

    Raises:
        NotFoundError: there is no such file or version.
        InvalidError: the file holds no records.
    """
    if Path(given).suffix == ".json":
        return _listed(Path(given))[:count]
    from polars.exceptions import PolarsError

    rows, path = scan_rows(invocation, given, texts)
    table: pl.LazyFrame = rows.scan() if path is None else rows
    try:
        return table.head(count).collect().to_dicts()
    except PolarsError as error:
        raise InvalidError("file", given, "a table", shorten(str(error), 200)) from error


def _listed(path: Path) -> list[dict[str, Any]]:
    import msgspec

    from mainspring.foreign import read_foreign

    _expect_file(path)
    try:
        return read_foreign(path.read_bytes(), msgspec.json.Decoder(list[dict[str, Any]]).decode)  # type: ignore[no-any-return]  # the decoder says what it gives
    except ValueError as error:
        expected = '[{"column": value, ...}, ...]'
        raise InvalidError("file", str(path), expected, shorten(str(error), 200)) from error


def _expect_file(path: Path) -> None:
    if not path.is_file():
        raise NotFoundError("file", str(path))
