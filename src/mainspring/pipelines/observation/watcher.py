"""Which task is being watched here, and what a watcher can be told.

The task is found by a ContextVar; in a thread that the step started, by the thread; in a thread of unknown origin that
runs project code, by being the only task of the process.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, Protocol

from mainspring.pipelines.code.reads import Kind
from mainspring.pipelines.observation.uncounted import project_frame
from mainspring.store.own_work import is_own_work


class Watcher(Protocol):
    """What is told of each sight. Paths are as the program gave them; a watcher decides what counts."""

    root: str

    def read(self, path: object) -> None:
        """A file or folder is opened for reading."""

    def write(self, path: object, *, replaces: bool) -> None:
        """A file is opened for writing; `replaces` if its former content is lost."""

    def make(self, path: object) -> None:
        """A folder is made."""

    def move(self, source: object, target: object) -> None:
        """A file or folder gets another name."""

    def link(self, source: object, target: object) -> None:
        """A file or folder gets a second name."""

    def listing(self, path: object) -> None:
        """A folder is listed."""

    def connect(self, address: object) -> None:
        """A socket is connected, or a datagram sent, to a (host, port) pair or a path."""

    def look_up(self, host: object, port: object) -> None:
        """A host name is looked up."""

    def url(self, url: str) -> None:
        """Something remote is read."""

    def process(self, arguments: object, *, program: object = None) -> None:
        """A program is started, or the process forks."""

    def variable(self, name: str) -> None:
        """An environment variable is read; `*` if all are."""

    def set_variable(self, name: str) -> None:
        """An environment variable is set."""

    def adopt(self, kind: Kind, name: str, by: str) -> None:
        """Another process that works for the task saw this, told as an observation is."""


Current = Callable[[], Watcher | None]

watching: ContextVar[Watcher | None] = ContextVar("watching", default=None)

# The tasks being watched in this process. An audit hook is process-wide and can't be removed, so that this is too.
_active: list[Watcher] = []
_ON_THREAD = "_mainspring_watcher"
_NOBODY: Any = object()  # is never among the active


def current() -> Watcher | None:
    """The watcher of the task that this code belongs to."""
    if not _active or is_own_work():
        return None
    watcher, active = watching.get() or _of_thread(), _active.copy()  # another thread may end one meanwhile
    if watcher is not None:
        return watcher if watcher in active else None
    if len(active) == 1 and project_frame(sys._getframe(1), active[0].root) is not None:
        return active[0]
    return None


def begin(watcher: Watcher) -> None:
    """Count a watcher among the active ones."""
    _active.append(watcher)


def end(watcher: Watcher) -> None:
    """Forget a watcher; what its threads still do is not seen any more."""
    _active.remove(watcher)


@contextmanager
def unwatched() -> Iterator[None]:
    """What the block does is nobody's sight: it is our own work for the task."""
    token = watching.set(_NOBODY)
    try:
        yield
    finally:
        watching.reset(token)


def _of_thread() -> Watcher | None:
    # threading.current_thread() would make a record for a thread that is none of Python's.
    threads: dict[int, threading.Thread] = getattr(threading, "_active", {})
    thread = threads.get(threading.get_ident())
    watcher: Watcher | None = getattr(thread, _ON_THREAD, None)
    return watcher


def follow_threads() -> None:
    """Mark every thread started from now on with the task that starts it. Called once per process."""
    start = threading.Thread.start

    @wraps(start)
    def marked(self: threading.Thread) -> None:
        watcher = current()
        if watcher is not None:
            setattr(self, _ON_THREAD, watcher)
        start(self)

    threading.Thread.start = marked  # type: ignore[method-assign]  # threads inherit no context, so the start is marked


def carried(function: Callable[..., object]) -> Callable[..., object]:
    """The function, run for the task that is current now, whatever thread takes it up later."""
    watcher = current()
    if watcher is None:
        return function

    def run(*args: object, **kwargs: object) -> object:
        token = watching.set(watcher)
        try:
            return function(*args, **kwargs)
        finally:
            watching.reset(token)

    return run
