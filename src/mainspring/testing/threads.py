"""Threads for tests: several functions at once, none of whose failures is lost."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


def at_once(*works: Callable[[], object]) -> None:
    """Call each function in a thread of its own, and wait for all; raises what the first of them raised.

    >>> found = []
    >>> at_once(lambda: found.append(1), lambda: found.append(2))
    >>> sorted(found)
    [1, 2]
    """
    with ThreadPoolExecutor(len(works)) as pool:
        for call in [pool.submit(work) for work in works]:
            call.result()
