"""The first answers of a model, to its own example: what it raises there is told as its own, whatever it is."""

from __future__ import annotations

import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from mainspring.errors import ModelError, StorageError
from mainspring.serving.failures import said_by, sendable

Answered = TypeVar("Answered")


def warmed_up(model: str, ask: Callable[[], Answered]) -> Answered:
    """What a model answers to its example; an interrupt by a signal goes on being one.

    Raises:
        ModelError: what the model raised, or what is wrong with its answer.
        StorageError: its own process is away.
    """
    with _interrupts() as interrupts:
        try:
            return ask()
        except (ModelError, StorageError):
            raise
        except BaseException as error:
            if interrupts and isinstance(error, KeyboardInterrupt):
                raise
            kind, trace = type(error).__name__, sendable(traceback.format_exc())
            raise ModelError(model, kind, said_by(error), trace, where="at its warm-up") from error


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """The signals by which somebody interrupts this process in the block, as they come: a model may raise the same error."""
    came: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield came
        return

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)
        before(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, before)
