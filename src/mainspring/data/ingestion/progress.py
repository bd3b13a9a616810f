"""How far an ingest is."""

from __future__ import annotations

from collections.abc import Callable

import msgspec


class Progress(msgspec.Struct, frozen=True):
    """Rows and bytes read so far, those of an earlier, interrupted ingest included; `total_bytes` if that is known."""

    rows: int
    size_bytes: int
    total_bytes: int | None
    elapsed_s: float
    origin: str = ""
    fresh_bytes: int = 0

    @property
    def eta_s(self) -> float | None:
        """Seconds to the end at the speed so far; None while that can't be said.

        >>> Progress(10, 100, 300, 2.0, fresh_bytes=100).eta_s
        4.0
        """
        if self.total_bytes is None or not self.fresh_bytes or self.elapsed_s <= 0:
            return None
        return max(self.total_bytes - self.size_bytes, 0) * self.elapsed_s / self.fresh_bytes


Listener = Callable[[Progress], None]
