"""When an endpoint is tried again whose next version can't be loaded, and what of that is worth a line in the log."""

from __future__ import annotations

import time

LONGEST_PAUSE_S = 60.0
"""Between two loads of what an endpoint moved to, once that has failed several times."""


class Staying:
    """What keeps one endpoint from where it moved to: it is said once, and again as the pause before the next try grows.

    The first pause is `first_s`, and each is twice as long as the one before. Where the endpoint moves again, all begins anew.
    """

    def __init__(self, first_s: float) -> None:
        self._first_s = self.pause_s = first_s
        self._until = 0.0
        self._generation: int | None = None
        self._said: tuple[str, float] | None = None
        self._unread: str | None = None

    def is_due(self, generation: int) -> bool:
        """Whether what the endpoint serves, which could be looked up, is to be loaded now; the generation counts its moves."""
        self._unread = None
        if generation != self._generation:
            self._generation, self._said, self._until = generation, None, 0.0
        return time.monotonic() >= self._until

    def failed(self, said: str) -> bool:
        """Note that it can't be loaded; whether that is news. `pause_s` is how long it isn't tried from now on."""
        self.pause_s = self._first_s if self._said is None else min(2 * self.pause_s, LONGEST_PAUSE_S)
        self._until = time.monotonic() + self.pause_s
        before, self._said = self._said, (said, self.pause_s)
        return before != self._said

    def is_unread(self, said: str) -> bool:
        """Note that nobody can tell what it serves; whether that is news."""
        before, self._unread = self._unread, said
        return before != said
