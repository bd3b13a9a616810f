"""How far an ingest is."""

from __future__ import annotations

from collections.abc import Callable

import msgspec


class Progress(msgspec.Struct, frozen=True):
    """Rows and bytes read so far, those of an earlier, interrupted ingest included; `total_bytes` or about how many rows there
    will be, if that is known.
    """

    rows: int
    size_bytes: int
    total_bytes: int | None
    elapsed_s: float
    origin: str = ""
    fresh_bytes: int = 0
    total_rows: int | None = None
    fresh_rows: int = 0

    @property
    def eta_s(self) -> float | None:
        """Seconds to the end at the speed so far; None while that can't be said.

        >>> Progress(10, 100, 300, 2.0, fresh_bytes=100).eta_s
        4.0
        """
        total, done, fresh = self.total_bytes, self.size_bytes, self.fresh_bytes
        if total is None:
            total, done, fresh = self.total_rows, self.rows, self.fresh_rows
        if total is None or not fresh or self.elapsed_s <= 0:
            return None
        return max(total - done, 0) * self.elapsed_s / fresh


Listener = Callable[[Progress], None]
