"""What an ingest reads from: a source gives batches, each with the state from which reading can go on behind it.

A state is JSON that only its source understands. It is committed with the rows that it stands behind, so that no row is
lost or taken twice, whenever the process is killed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import msgspec

from mainspring.data.ingestion.retry import Retry
from mainspring.data.version import Source
from mainspring.errors import InvalidError, MainspringError

if TYPE_CHECKING:
    import polars as pl

State = dict[str, Any]
IngestMode = Literal["append", "replace", "upsert"]


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Some rows, and the state behind them; None if reading can't go on from there but must begin anew.

    `origin` names where they stood, for errors, and `named` each row by its place in the frame, else its number in the
    ingest does; `size_bytes` is what was read for them; `sources` what was read to its end with them, for the lineage. In
    `sparse` ones a column may be absent, which means null. `warning` is told to people, `hint` beside a text that doesn't fit.
    """

    frame: pl.DataFrame | None
    state: State | None
    origin: str = ""
    named: Callable[[int], str] | None = None
    size_bytes: int = 0
    sources: tuple[Source, ...] = ()
    sparse: bool = False
    warning: str = ""
    hint: str = ""


class Reading(msgspec.Struct, frozen=True):
    """What a source is told: how its rows will be used, the column types that are decided already, whether the state is that
    of an unfinished reading, to go on with, rather than of one that came to its end, and the types of the rows before it.

    `identity` is what its state is kept under; `others` are the states of the dataset's other sources by theirs; `retry` is how
    what it asks for besides its batches is asked for again.
    """

    mode: IngestMode
    types: Mapping[str, pl.DataType]
    is_resumed: bool = False
    known: Mapping[str, pl.DataType] = {}  # a Struct copies its defaults
    identity: str = ""
    others: Mapping[str, State] = {}
    retry: Retry = Retry()


class BatchSource(Protocol):
    """Something that rows come from, batch by batch, in bounded memory.

    Transient failures leave it as a transient error of ours, or as `Interrupted`: it is then asked again, with the state
    of the last batch.
    """

    @property
    def identity(self) -> str:
        """What its state is kept under: the same next month and on another machine, and without secrets."""
        ...

    def batches(self, state: State | None, reading: Reading) -> Iterator[Batch]:
        """The rows behind a state, None being the beginning.

        Raises:
            StaleState: what was read for that state has changed since.
        """
        ...


@runtime_checkable
class KnowsItsSize(Protocol):
    """A source that can say beforehand how much it will read, so that progress has an end."""

    def total_bytes(self, state: State | None, reading: Reading) -> int:
        """The bytes to read from that state on."""
        ...


@runtime_checkable
class KnowsItsRows(Protocol):
    """A source that can say beforehand about how many rows it will give."""

    def total_rows(self, state: State | None, reading: Reading) -> int | None:
        """The rows to read from that state on; None if counting would cost as much as reading."""
        ...


@runtime_checkable
class KnowsWhatChanged(Protocol):
    """A source that can say whether rows that were read are there still. To replace all rows by those that others are read
    anew: what an interrupted ingest has read of them may be another by now.
    """

    def still_holds(self, state: State) -> bool:
        """Whether what was read for that state is what there is now."""
        ...


@runtime_checkable
class ReadInOneGo(Protocol):
    """A source whose places may be others when an interrupted ingest goes on, so that it is read anew, but for an upsert."""

    is_of_one_go: bool


@runtime_checkable
class ReadByCursor(Protocol):
    """A source of which only what is new is read, if the column is named that tells."""

    cursor: str


@runtime_checkable
class Placed(Protocol):
    """A source that lies in folders of this machine, so that its place is told from the root of the project that reads it."""

    def identity_from(self, root: Path) -> str:
        """Its identity, in which what lies below that folder is named from there."""
        ...


def told_of_repetition(identity: str) -> str:
    """That a source was appended whose state doesn't say how far it was read."""
    told = f"{identity} was read before and has no cursor: its rows were appended once more."
    return f"{told} A cursor, mode='replace' or mode='upsert' takes each once."


def identity_in(source: BatchSource, root: Path) -> str:
    """What the state of a source is kept under in the project at that folder."""
    return source.identity_from(root) if isinstance(source, Placed) else source.identity


def name_from(root: Path, path: Path) -> str:
    """A path without links and detours: from the root if it lies there, so that a project can be moved, else absolute.

    >>> name_from(Path("/flights"), Path("/flights/plans/../raw/a.csv")), name_from(Path("/flights"), Path("/srv/raw"))
    ('raw/a.csv', '/srv/raw')
    """
    found, root = path.resolve(), root.resolve()
    return (found.relative_to(root) if found.is_relative_to(root) else found).as_posix()


def behind_cursor(state: State | None, cursor: str, origin: str, mode: IngestMode) -> State | None:
    """The state to go on from by a column; None if reading begins anew, as an upsert may where rows were read without one.

    Raises:
        InvalidError: reading came to its state by another column, or by none: that says nothing about this one.
    """
    if state is None or (before := state.get("cursor", "")) == cursor:
        return state
    if mode == "upsert" and not before:
        return None
    was = f"`{before}`, by which it was read so far" if before else "what it was read by so far: it had no cursor"
    raise InvalidError(
        f"{origin}: cursor", cursor, was,
        "To read it from its beginning, by this column, use mode='replace', or forget_cursor() and so append it all once more.",
    )  # fmt: skip


class Interrupted(Exception):  # noqa: N818  # it is no error of its own: it carries one
    """A transient failure of a source, with how long it asks to be left alone."""

    def __init__(self, error: MainspringError, retry_after_s: float | None = None) -> None:
        super().__init__(str(error))
        self.error, self.retry_after_s = error, retry_after_s


class StaleState(Exception):  # noqa: N818  # it is answered by beginning anew, and shown to nobody
    """What a state stands behind has changed, so that reading can't go on from it."""
