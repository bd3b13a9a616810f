"""How often, and after how long, a source that failed is asked again."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count
from typing import TypeVar

import msgspec

from mainspring.errors import MainspringError

Answer = TypeVar("Answer")


class Retry(msgspec.Struct, frozen=True):
    """Attempts without getting further than ever, and the waits between: doubled each time, or what the source asks for.

    >>> [Retry().wait_s(failures, None) for failures in (1, 2, 9)], Retry().wait_s(1, 7.0)
    ([0.5, 1.0, 60.0], 7.0)
    """

    attempts: int = 5
    first_wait_s: float = 0.5
    most_wait_s: float = 60.0
    sleep: Callable[[float], None] = time.sleep

    def ask(self, question: Callable[[], Answer]) -> Answer:
        """What a question gives that is asked again after transient failures."""
        for failures in count(1):
            try:
                return question()
            except MainspringError as error:
                if not error.transient or failures >= self.attempts:
                    raise
            self.sleep(self.wait_s(failures, None))
        raise AssertionError

    def wait_s(self, failures: int, asked_s: float | None) -> float:
        """How long to wait after so many failures."""
        wanted = self.first_wait_s * 2 ** (failures - 1) if asked_s is None else asked_s
        return min(wanted, self.most_wait_s)
