"""Files wherever they lie, as a source: which of them are new or changed, and their rows with the state behind each batch.

The state knows each file that was read by its names, each part of it (a sheet, or the whole) by stamp, digest and how many
rows it had, and how far the file at work was read. A part without rows, as of a header alone, was not read.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import msgspec
import polars as pl

from mainspring.data.ingestion.conversion import Naming
from mainspring.data.ingestion.delimited import Delimited
from mainspring.data.ingestion.formats import Options, options_of, part_of
from mainspring.data.ingestion.jsonlines import json_frames
from mainspring.data.ingestion.kinds import ERRORS_OF_POLARS
from mainspring.data.ingestion.places import Parts, Place, files_in, known_by, path_of, place_of
from mainspring.data.ingestion.source import Batch, Interrupted, Reading, StaleState, State
from mainspring.data.ingestion.streams import Blocks, DigestedStream, Prefix, decompressed
from mainspring.data.version import Source
from mainspring.errors import ConflictError, InvalidError, shorten
from mainspring.store import blob_digest

_PARQUET_ROWS = 1 << 18
_OF_NULLS = "null_values=['…'] names texts that mean null."
Stamp = list[Any]
Rows = Iterator[tuple[pl.DataFrame, dict[str, Any], int, Naming]]
"""A batch, where reading goes on behind it, the bytes read, and where each row stood."""


class Item(Protocol):
    """One file, by the first of the `names` that lead to it. `stamp` is JSON that changes when the file does."""

    name: str
    names: tuple[str, ...]
    uri: str
    stamp: Stamp
    size_bytes: int

    def fits(self, stamp: Stamp) -> bool:
        """Whether an earlier stamp is the present one."""
        ...

    def is_known(self, stamp: Stamp) -> bool:
        """Whether it is, and can be trusted to say that the bytes are unchanged."""
        ...

    def open(self) -> BinaryIO:
        """Its bytes."""
        ...

    def local(self) -> AbstractContextManager[Path]:
        """A file with its bytes, for the block."""
        ...

    def present_stamp(self) -> Stamp:
        """The stamp that it has now."""
        ...

    def lineage(self, digest: str) -> Source:
        """What it is in the lineage."""
        ...


class ItemSource(Options, frozen=True):
    """What reads files, wherever they lie: a source of its own says which there are."""

    @abstractmethod
    def items(self) -> list[Item]:
        """The files, by name; raises `NotFoundError` if there is none."""

    def total_bytes(self, state: State | None, reading: Reading) -> int:
        """How many bytes of new and changed files there are, but for what was read of the one at work."""
        known, partial = _Known(state, reading), (state or {}).get("partial") or {}
        total = sum(item.size_bytes for item in self.items() if not known.is_unchanged(item, part_of(self, item.name)))
        return total - int(partial.get("size_bytes", 0))

    def still_holds(self, state: State) -> bool:
        """Whether each file that was read is there and holds the same bytes; the one at work is looked at later."""
        there = {name: item for item in self.items() for name in item.names}
        return all(
            name in there and _is_as_read(there[name], parts.values()) for name, parts in state.get("files", {}).items()
        )

    def batches(self, state: State | None, reading: Reading) -> Iterator[Batch]:
        """The rows of new and changed files."""
        return read_items(self.items(), self, state, reading)


def read_items(items: Iterable[Item], options: Options, state: State | None, reading: Reading) -> Iterator[Batch]:
    """The rows of new and changed files, one file after the other.

    Raises:
        InvalidError: a file that was read before is another one now, and its rows can't be told from those read then.
        StaleState: the file that was being read is another one now.
    """
    known, partial = _Known(state, reading), (state or {}).get("partial")
    found = list(items)
    seen = dict(reading.known)
    is_told = known.is_any
    if partial is not None and not any(partial["name"] in item.names for item in found):
        raise StaleState
    for item in found:
        here = partial if partial is not None and partial["name"] in item.names else None
        if here is None and known.is_unchanged(item, part_of(options, item.name)):
            continue
        for batch in _ItemReading(item, options_of(options, item.name), known, seen, reading).batches(here):
            told = "" if is_told or batch.frame is None else _told_of_folders(item, batch.frame.columns, reading)
            is_told = is_told or batch.frame is not None
            yield (
                msgspec.structs.replace(batch, warning=" ".join(filter(None, (batch.warning, told)))) if told else batch
            )


def _is_as_read(item: Item, parts: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a file is as it was when parts of it were read, by its stamp or else by its bytes."""
    unsure = [part for part in parts if not item.is_known(part["stamp"])]
    if not unsure:
        return True
    with item.local() as path:
        digest = blob_digest(path)
    return all(part["digest"] == digest for part in unsure)


def _told_of_folders(item: Item, columns: list[str], reading: Reading) -> str:
    """That names of folders say what the files don't."""
    folders = place_of(reading.identity, item.name)[1:-1]
    absent = [name for name, equals, _ in (each.partition("=") for each in folders) if equals and name not in columns]
    told = f"`{', '.join(absent)}` is in the names of folders alone, of which an ingest makes no columns"
    return f"{item.uri}: {told}; of Parquet, `mainspring data import` of the folder does." if absent else ""


class _Known:
    """What was read: stamp and digest of each part of each file. Its dicts are never changed, so states may hold them.

    Files that another source of the dataset has read are known, too; they become this one's with what it reads of them.
    """

    def __init__(self, state: State | None, reading: Reading) -> None:
        self.files: dict[str, Parts] = (state or {}).get("files", {})
        self._identity = reading.identity
        self._elsewhere: dict[Place, Parts] = known_by(reading.identity, reading.others)
        states = {
            **{source: files_in(source, each) for source, each in reading.others.items()},
            self._identity: self.files,
        }
        self._homes = {
            part["digest"]: (source, name)
            for source, files in states.items()
            for name, parts in files.items()
            for part in parts.values()
            if part["rows"]
        }

    @property
    def is_any(self) -> bool:
        """Whether the dataset has rows of any file."""
        return bool(self._homes)

    def parts(self, name: str) -> Parts:
        """What was read of a file by a name: stamp, digest and rows of each part."""
        own = self.files.get(name, {})
        return {**self._elsewhere.get(place_of(self._identity, name), {}), **own} if self._elsewhere else own

    def is_unchanged(self, item: Item, part: str) -> bool:
        """Whether that part of a file was read by each of its names, and its stamp says that the file is as it was."""
        before = [self.parts(name).get(part) for name in item.names]
        return all(each is not None and item.is_known(each["stamp"]) for each in before)

    def learn(self, item: Item, parts: Iterable[str], digest: str, rows: int) -> None:
        """Parts of a file were read to their end."""
        read = {part: {"stamp": item.stamp, "digest": digest, "rows": rows} for part in parts}
        self.files = {**self.files, **{name: {**self.parts(name), **read} for name in item.names}}
        if rows:
            self._homes.setdefault(digest, (self._identity, item.name))

    def same_as(self, item: Item, digest: str) -> str:
        """The name of another file that was read and held these bytes; empty if there is none."""
        source, name = self._homes.get(digest, (self._identity, item.name))
        if source == self._identity:
            return "" if name in item.names else name
        place = place_of(source, name)
        return "" if place == place_of(self._identity, item.name) else path_of(place)

    def state(self, partial: dict[str, Any] | None) -> State:
        """As JSON, with how far the file at work was read."""
        return {"files": self.files, "partial": partial}


class _ItemReading:
    """The reading of one file; `known` is moved when it has come to its end, `seen` are the types of CSV columns so far."""

    def __init__(
        self, item: Item, options: Options, known: _Known, seen: dict[str, pl.DataType], reading: Reading
    ) -> None:
        self.item, self.options, self.known, self.seen, self.reading = item, options, known, seen, reading
        self.parts = {part_of(options, item.name)}
        self._rows, self._warning = 0, ""

    def batches(self, partial: dict[str, Any] | None) -> Iterator[Batch]:
        """Its rows, then a batch without rows that tells its digest."""
        item = self.item
        if partial is not None and not item.fits(partial["stamp"]):
            raise StaleState
        self._rows = int(partial["rows"]) if partial else 0
        if digest := self._digest_as_before():
            yield Batch(frame=None, state=self._ended(digest), origin=item.uri)
            return
        read_bytes = int(partial["size_bytes"]) if partial else 0
        rows = self._rows_of_text(partial) if self.options.format in ("csv", "ndjson") else self._rows_of_file(partial)
        for frame, position, total, named in rows:
            warning = ""
            self._rows += frame.height
            digest = position.pop("whole", "")
            if not digest:
                at = {"name": item.name, "stamp": item.stamp, "size_bytes": total, "rows": self._rows}
                state = self.known.state({**at, **position})
            else:
                self._expect_unchanged()
                warning = " ".join(filter(None, (self._warning, self._told_of_same_bytes(digest))))
                state = self._ended(digest)
            is_any = bool(frame.columns or frame.height)
            yield Batch(
                frame=frame if is_any else None, state=state, origin=item.uri, named=named,
                size_bytes=total - read_bytes, sources=(item.lineage(digest),) if digest else (),
                sparse=self.options.format == "ndjson", warning=warning, hint=_OF_NULLS if self.options.format == "csv" else "",
            )  # fmt: skip
            read_bytes = total

    def _told_of_same_bytes(self, digest: str) -> str:
        other = self.known.same_as(self.item, digest) if self._rows and self.reading.mode != "upsert" else ""
        return (
            other
            and f"{self.item.uri} holds the same bytes as `{other}`, which was read, too: its rows are there twice."
        )

    def _ended(self, digest: str) -> State:
        self.known.learn(self.item, self.parts, digest, self._rows)
        return self.known.state(None)

    def _digest_as_before(self) -> str:
        """The digest of a file that was read before and holds the same bytes; another one may not be appended."""
        before = [parts for name in self.item.names if (parts := self.known.parts(name))]
        if not before:
            return ""
        with self.item.local() as path:
            if self.options.format == "excel" and not self.options.sheet:
                from mainspring.data.ingestion.excel import first_sheet

                self.parts.add(first_sheet(path, self.item.uri))
            read = {each[part]["digest"]: each[part]["rows"] for each in before for part in self.parts if part in each}
            if not read:
                return ""
            digest = blob_digest(path)
        if digest in read:
            self._rows = read[digest]
            return digest
        if not any(read.values()):
            return ""
        if self.reading.is_resumed:
            raise StaleState  # the rows of it may be staged only; begin from what is committed
        if self.reading.mode != "append" or self.options.changed == "again":
            return ""
        raise InvalidError(
            self.item.uri, f"changed since it was read ({min(read)[:12]})", "a file as it was",
            "To append its rows would repeat those read before. mode='upsert' with a key takes what changed,"
            " changed='again' appends all of it once more.",
        )  # fmt: skip

    def _expect_unchanged(self) -> None:
        if not self.item.fits(self.item.present_stamp()):
            error = ConflictError(f"{self.item.uri} changed while it was read; nothing of it was committed.")
            raise Interrupted(error)

    def _row_of(self, start: int) -> Naming:
        return lambda row: f"{self.item.uri}, row {start + row + 1}"

    def _rows_of_text(self, partial: dict[str, Any] | None) -> Rows:
        item, options = self.item, self.options
        with item.open() as raw:
            stream = DigestedStream(raw, Prefix(*partial["prefix"]) if partial else None)
            blocks = Blocks(
                decompressed(stream, item.uri), item.uri, encoding=options.encoding,
                quote=options.quote.encode() if options.format == "csv" else b"",
                skip=partial["text_bytes"] if partial else 0, line=partial["line"] if partial else 0,
            )  # fmt: skip
            header = partial["header"] if partial else None
            lines = Delimited(blocks, options, self.reading, self.seen, header) if options.format == "csv" else None
            frames: Iterator[tuple[pl.DataFrame, Any, Naming]]
            frames = lines.frames() if lines else json_frames(blocks, self.reading)
            for frame, position, named in frames:
                yield frame, {**position._asdict(), "prefix": list(stream.prefix)}, stream.size_bytes, named
            self._warning = lines.warning if lines else ""
            prefix = stream.drain()
            yield pl.DataFrame(), {"whole": prefix.digest}, prefix.size_bytes, self._row_of(0)

    def _rows_of_file(self, partial: dict[str, Any] | None) -> Rows:
        item = self.item
        with item.local() as path:
            digest = blob_digest(path)
            if partial is not None and partial["digest"] != digest:
                raise StaleState
            if self.options.format == "excel":
                from mainspring.data.ingestion.excel import read_sheet

                frame, sheet = read_sheet(path, item.uri, self.options, self.reading.types)
                self.parts.add(sheet)
                # Where a sheet begins isn't told, but rows that are empty there count.
                yield (
                    frame,
                    {"whole": digest},
                    item.size_bytes,
                    lambda row: f"{item.uri}, row {row + 1} below the header",
                )
                return
            yield from self._rows_of_parquet(path, digest, partial["row"] if partial else 0)

    def _rows_of_parquet(self, path: Path, digest: str, start: int) -> Rows:
        try:
            table = pl.scan_parquet(path, glob=False, hive_partitioning=False)
            rows = int(table.select(pl.len()).collect().item())
            for row in range(start, max(rows, 1), _PARQUET_ROWS):
                frame = table.slice(row, _PARQUET_ROWS).collect()
                end = min(row + _PARQUET_ROWS, rows)
                position = {"whole": digest} if end == rows else {"row": end, "digest": digest}
                size_bytes = self.item.size_bytes * end // rows if rows else self.item.size_bytes
                yield frame, position, size_bytes, self._row_of(row)
        except (*ERRORS_OF_POLARS, OSError) as error:
            raise InvalidError(self.item.uri, shorten(str(error)), "a whole Parquet file") from error
