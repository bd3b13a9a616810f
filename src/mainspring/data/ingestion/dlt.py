"""Resources of dlt, whatever they read from. dlt keeps its incremental state in ours, which moves with the rows.

A resource may meet the greatest value of its cursor first, so its state counts at its end only: one that was interrupted is
read anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import polars as pl

from mainspring.data._sources import source_of_address
from mainspring.data.ingestion.records import frame_of
from mainspring.data.ingestion.source import Batch, Reading, State, told_of_repetition
from mainspring.data.tables.frames import as_polars
from mainspring.errors import MainspringError, MissingExtraError, StorageError, UnavailableError, shorten
from mainspring.secrets import redact

try:
    from dlt.common.configuration.container import Container
    from dlt.common.json import json
    from dlt.common.pipeline import StateInjectableContext
    from dlt.extract.exceptions import ResourceExtractionError
except ImportError as error:
    raise MissingExtraError("dlt", "dlt", "Reading a dlt resource") from error

_ROWS = 10_000


class Dlt(msgspec.Struct, frozen=True):
    """A resource of dlt, e.g. `Dlt(rest_api_source(…).resources["issues"])`, with `dlt.sources.incremental` as it has it.

    It gives dicts, lists of them, Arrow tables, or pandas or Polars frames. Nested values stay as they are.
    """

    resource: Any
    name: str = ""

    @property
    def identity(self) -> str:
        """The resource's name, behind that of its section."""
        section = getattr(self.resource, "section", "") or ""
        return f"dlt {self.name or '.'.join(filter(None, (section, self.resource.name)))}"

    def __repr__(self) -> str:
        return f"Dlt({self.identity!r})"

    def batches(self, state: State | None, reading: Reading) -> Iterator[Batch]:
        """What the resource gives behind its state."""
        if reading.is_resumed:
            return  # it came to its end
        kept: dict[str, Any] = json.typed_loads(state["dlt"]) if state and "dlt" in state else {}
        has_none = state is not None and not kept and reading.mode == "append"
        records: list[dict[str, Any]] = []
        for item in self._items(kept):
            if isinstance(item, dict):
                records.append(item)
                if len(records) >= _ROWS:
                    yield self._batch(frame_of(records, self.identity, reading))
                    records = []
            else:
                yield self._batch(as_polars(item))
        if records:
            yield self._batch(frame_of(records, self.identity, reading))
        source = source_of_address(self.identity.replace(" ", "://"))
        yield Batch(
            frame=None, state={"dlt": json.typed_dumps(kept)}, origin=self.identity, sources=(source,),
            warning=told_of_repetition(self.identity) if has_none else "",
        )  # fmt: skip

    def _batch(self, frame: pl.DataFrame) -> Batch:
        return Batch(frame=frame, state=None, origin=self.identity, size_bytes=int(frame.estimated_size()), sparse=True)

    def _items(self, state: dict[str, Any]) -> Iterator[Any]:
        """What it gives; `state` becomes dlt's behind the last of it."""
        nothing = object()
        try:
            # dlt takes the state over when the first item is asked for; the rest of this process doesn't see it.
            with Container().injectable_context(StateInjectableContext(state=state)):  # type: ignore[arg-type]  # dlt takes a dict and declares its own
                found = iter(self.resource)
                item = next(found, nothing)
            while item is not nothing:
                yield item
                item = next(found, nothing)
        except ResourceExtractionError as error:
            cause = error.__cause__ or error
            if isinstance(cause, MainspringError):
                raise cause from error
            reason = shorten(redact(f"{type(cause).__name__}: {cause}"))
            if isinstance(cause, OSError):  # connections and time-outs; those of requests are such, too
                raise UnavailableError(self.identity, f"it failed ({reason})") from error
            raise StorageError(self.identity, f"it failed ({reason})") from error
