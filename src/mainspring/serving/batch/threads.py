"""Work on one item after another by threads, of which few are in memory: ahead of who needs the next, or several at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from contextvars import copy_context
from itertools import islice, repeat
from typing import TypeVar

_LISTENS_S = 0.2
Item = TypeVar("Item")
Made = TypeVar("Made")


def read_ahead(items: Iterator[Made], stack: ExitStack) -> Iterator[Made]:
    """The same, each read in a thread while the one before is dealt with; raises what reading does.

    >>> with ExitStack() as stack:
    ...     list(read_ahead(iter("abc"), stack))
    ['a', 'b', 'c']
    """
    for item in _by_threads(lambda _: next(items, None), repeat(None), 1, stack):
        if item is None:
            return
        yield item


def at_once(call: Callable[[Item], Made], items: Iterator[Item], jobs: int, stack: ExitStack) -> Iterator[Made]:
    """What a call makes of the items, in the order in which it is made: by so many threads, one job by this thread.

    Of several problems that is raised which is the first by the order of the items, as one job raises it; calls that were
    begun are done then. The stack waits for them, too, when the caller is interrupted, and begins no other.

    >>> with ExitStack() as stack:
    ...     sorted(at_once(str.upper, iter("abc"), 2, stack))
    ['A', 'B', 'C']
    """
    # Who interrupts one job interrupts the call itself, which no thread but the main one lets happen.
    return map(call, items) if jobs == 1 else _by_threads(call, items, jobs, stack)


def _by_threads(call: Callable[[Item], Made], items: Iterator[Item], threads: int, stack: ExitStack) -> Iterator[Made]:
    """What a call makes of the items, as many of which are under way as there are threads, also while one is dealt with."""
    pool = ThreadPoolExecutor(threads, "batch")
    stack.callback(pool.shutdown, cancel_futures=True)
    begun: list[Future[Made]] = []  # in the order of the items

    def begin() -> None:
        for item in islice(items, threads - len(begun)):  # one by one: those before a problem of reading are known
            begun.append(pool.submit(copy_context().run, call, item))

    try:
        begin()
        while begun:
            # Polars has a wait go on after a signal, so that Ctrl-C is heard only where one ends.
            while not (done := wait(begun, _LISTENS_S, FIRST_COMPLETED).done):
                pass
            made = [each.result() for each in done]
            begun = [each for each in begun if each not in done]
            begin()
            yield from made
    except Exception:
        for each in begun:
            each.result()
        raise
