"""How far a batch prediction is: rows, rows a second, and the time left."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec


class BatchProgress(msgspec.Struct, frozen=True):
    """Rows that are done, those among them that stood ready, all there are (None: not known), and the seconds so far."""

    rows: int
    reused: int
    total: int | None
    elapsed_s: float

    @property
    def rows_per_s(self) -> float:
        """Rows predicted in a second; what stood ready doesn't count."""
        return (self.rows - self.reused) / self.elapsed_s if self.elapsed_s else 0.0

    @property
    def eta_s(self) -> float | None:
        """The seconds that the rest takes at this rate; None if that can't be told."""
        if self.total is None or not self.rows_per_s:
            return None
        return (self.total - self.rows) / self.rows_per_s


Listener = Callable[[BatchProgress], None]


class Meter:
    """Counts rows and tells a listener."""

    def __init__(self, total: int | None, listener: Listener | None) -> None:
        self.rows = self.reused = 0
        self._total, self._listener = total, listener
        self._began = time.monotonic()

    def add(self, rows: int, *, reused: bool) -> None:
        """So many rows more are done."""
        self.rows += rows
        self.reused += rows if reused else 0
        if self._listener is not None:
            self._listener(BatchProgress(self.rows, self.reused, self._total, time.monotonic() - self._began))
