"""A table's version in the making whose parts are written already: nothing is held in memory but one part at a time."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from mainspring.artifacts.table import schema_of
from mainspring.data.ingestion.staging import Staging
from mainspring.data.tables.draft import AppendDraft
from mainspring.data.tables.manifest import Part
from mainspring.data.tables.parts import write_parts
from mainspring.data.version import DatasetVersion
from mainspring.errors import InvalidError


class StagedDraft(AppendDraft):
    """Rows that were staged and settled, on their way to become a version, or the last rows of one."""

    def __init__(self, name: str, staging: Staging) -> None:
        super().__init__(name, staging.blobs)
        self.staging = staging
        self._types = dict(staging.alignment.types or {})

    def frames(self) -> Iterator[pl.DataFrame]:
        """The types, then each part's rows."""
        yield pl.DataFrame(schema=self._types)
        yield from self.staging.batches()

    def own_parts(self) -> tuple[Part, ...]:
        """The staged parts; without rows one that says the types."""
        parts = tuple(self.staging.parts)
        if not parts and self._base is None and self._types:
            return write_parts(pl.DataFrame(schema=self._types), self.blobs)
        return parts

    @property
    def size(self) -> tuple[int, int]:
        """Rows, and bytes as they are stored."""
        parts = self.staging.parts
        return sum(part.rows for part in parts), sum(part.size_bytes for part in parts)

    def fit(self, head: DatasetVersion | None) -> None:
        """The rows have the version's columns since they were read.

        Raises:
            InvalidError: the version has other columns by now.
        """
        if head is not None and head.schema != schema_of(pl.DataFrame(schema=self._types)):
            raise InvalidError(
                self.name, ", ".join(self._types), f"a table with the columns of {head}",
                "It was replaced while its rows were read; ingest again.",
            )  # fmt: skip
