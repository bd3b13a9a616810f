"""What takes a model too long, whether it is asked for the answers to a batch or for one part of an answer.

A thread that hangs in a model can't be stopped: it is left to itself, others answer what comes, and the server's end waits for
none. A model's own process is ended.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor, Future
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any

from mainspring.serving.failures import RaisedError

_log = logging.getLogger("mainspring.serving")
_MOST_STUCK = 3  # threads that may hang in a model before the server calls itself unhealthy
_GIVEN_UP = "given up"
ANSWERED = float("inf")
"""When a model is asked that has answered."""
_TAKEN = StopIteration | StopAsyncIteration | CancelledError
"""Exceptions by which the event loop stops and cancels, beside all that are no `Exception`."""


def tellable(error: BaseException) -> Exception:
    """What a model raised as one that the event loop makes nothing else of: it ends, cancels and stops by some of them."""
    if isinstance(error, Exception) and not isinstance(error, _TAKEN):
        return error
    told = RaisedError(error)
    told.__cause__ = error
    return told


def _nothing() -> None:
    """What there is to do where nobody waits, or needs the thread."""


class Question:
    """What a thread asks a model, since `asked_at`; `is_left` says that it hung.

    If it took too long, `late` tells who waits for the answer, and if it hangs, `leave` does without the thread from then on.
    """

    def __init__(
        self, asked_at: float, late: Callable[[], None] = _nothing, leave: Callable[[], None] = _nothing
    ) -> None:
        self.asked_at, self.late, self.leave = asked_at, late, leave
        self.is_left = False


class Hanging:
    """The questions that a model, called `name`, is asked now, and how many of them hang. Used from one event loop.

    A question hangs if it takes `timeout_s`. `give_up` is told this time, ends what has taken the model so long, and tells
    whether that is all that keeps the threads, which then go on. Otherwise the thread is left. `stuck` threads hang now.
    """

    def __init__(self, name: str, timeout_s: float, give_up: Callable[[float], bool] | None = None) -> None:
        self.timeout_s, self.stuck = timeout_s, 0
        self._name, self._give_up = name, give_up
        self._asked: set[Question] = set()
        self._counts: Counter[str] = Counter()

    @property
    def given_up(self) -> int:
        """How many threads were left, by those also for which this one goes on."""
        return self._counts[_GIVEN_UP]

    @property
    def is_healthy(self) -> bool:
        """Whether the model still answers: not if it hangs in several threads."""
        return self.stuck < _MOST_STUCK

    def go_on(self, before: Hanging) -> None:
        """Count with another, from where that is."""
        self._counts = before._counts

    def begin(self, question: Question) -> None:
        """Note that a thread asks."""
        self._asked.add(question)

    def end(self, question: Question) -> None:
        """Note that the thread is back."""
        self._asked.discard(question)
        self.stuck -= question.is_left

    def end_overdue(self, now: float) -> None:
        """Give up what took too long. To be called now and then."""
        for question in [each for each in self._asked if each.asked_at + self.timeout_s < now and not each.is_left]:
            question.late()
            if self._give_up is not None and self._give_up(self.timeout_s):
                continue  # the thread is told when the model's process ends, and goes on
            _log.warning("%s hangs: it has not answered for %g s, and its thread is left", self._name, self.timeout_s)
            question.is_left = True
            self.stuck += 1
            self._counts[_GIVEN_UP] += 1
            question.leave()


class OwnThread(Executor):
    """A thread of its own in which a model is asked one thing after another; if it hangs, the process ends all the same."""

    def __init__(self, name: str) -> None:
        self._asked: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        Thread(target=self._answer, name=name, daemon=True).start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Ask something; the future tells what came of it."""
        future: Future[Any] = Future()
        self._asked.put((future, partial(fn, *args, **kwargs)))
        return future

    def end(self) -> None:
        """End the thread, once it has answered what it was asked."""
        self._asked.put(None)

    def _answer(self) -> None:
        while (asked := self._asked.get()) is not None:
            future, ask = asked
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(ask())
            except BaseException as error:  # noqa: BLE001  # it is told to who asked
                future.set_exception(tellable(error))
            del asked, future, ask  # what was asked is held by nobody while the thread waits
