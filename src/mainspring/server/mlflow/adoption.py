"""Which run the first one that a client starts becomes, where an engine runs the client."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Adoption:
    """A run that is there for a client to begin with, opened in the experiment that the client names first."""

    def __init__(self, opened: Callable[[str], str]) -> None:
        self._open = opened
        self._lock = threading.Lock()
        self.run: str | None = None
        self.runs: set[str] = set()  # all that the client began or went on with

    def take(self, experiment: str) -> str | None:
        """The run, for the first who asks; None for all later ones."""
        with self._lock:
            if self.run is not None:
                return None
            self.run = self._open(experiment)
            self.runs.add(self.run)
            return self.run
