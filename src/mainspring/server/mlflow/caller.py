"""Who asks by a step's client: the step's code, or MLflow itself, which looks models up before it changes or fetches them.
And which threads of MLflow's are at it still when the step's code is done.

The requests are the same. But the client runs in the step's process, and the thread that asked waits for the answer.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from types import FrameType

_LIBRARY = "mlflow"


def is_asked_by_code(call: str) -> bool:
    """Whether code outside of MLflow called its function `call`, by the threads that are in MLflow now.

    If none is, the client is another process's, and the answer is yes.
    """
    entries = [entry for frame in sys._current_frames().values() if (entry := _entry(frame))]
    return not entries or call in entries


def threads_inside() -> list[threading.Thread]:
    """The threads that are in MLflow now, but for the main one and the one that asks: those that MLflow began, mostly."""
    frames = sys._current_frames()
    asks = (threading.main_thread(), threading.current_thread())
    return [
        each
        for each in threading.enumerate()
        if each not in asks and any(map(_is_inside, _stack(frames.get(each.ident or 0))))
    ]


def _stack(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is_inside(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] == _LIBRARY


def _entry(frame: FrameType | None) -> str:
    """The function by which the innermost calls of MLflow in a stack came into it, empty if there are none.

    What wraps a function, as MLflow wraps its own, is defined inside another, and doesn't count.
    """
    found = ""
    for each in _stack(frame):
        is_inside = _is_inside(each)
        if is_inside and "<locals>" not in each.f_code.co_qualname:
            found = each.f_code.co_name
        elif found and not is_inside:
            break
    return found
