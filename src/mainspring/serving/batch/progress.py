"""How far a batch prediction is: what it is at, rows, rows a second, and the time left."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

import msgspec

BatchStep = Literal["reading", "predicting", "stopping", "committing"]


class BatchProgress(msgspec.Struct, frozen=True):
    """Rows that are done, those among them that stood ready, all there are (None: not known), and the seconds of predicting.

    `step` is what the job is at. Who interrupts it waits while it is `stopping`, until what was begun is done.
    """

    rows: int
    reused: int
    total: int | None
    elapsed_s: float
    step: BatchStep = "predicting"

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
    """Counts rows and tells a listener: at first that they are read."""

    def __init__(self, listener: Listener | None) -> None:
        self.rows = self.reused = 0
        self._total: int | None = None
        self._listener = listener
        self._began = time.monotonic()
        self.tell("reading")

    def begin(self, total: int) -> None:
        """So many rows were read, which are predicted from now on."""
        self._total, self._began = total, time.monotonic()
        self.tell("predicting")

    def leave_out(self, seconds: float) -> None:
        """So many seconds since the beginning were not of predicting, as those in which the model was loaded."""
        self._began += seconds

    def add(self, rows: int, *, reused: bool) -> None:
        """So many rows more are done."""
        self.rows += rows
        self.reused += rows if reused else 0
        self.tell("predicting")

    def tell(self, step: BatchStep) -> None:
        """Say what the job is at, and how far."""
        if self._listener is not None:
            elapsed_s = time.monotonic() - self._began
            self._listener(BatchProgress(self.rows, self.reused, self._total, elapsed_s, step))
