"""Who asks by a step's client: the step's code, or MLflow itself, which looks models up before it changes or fetches them.

The requests are the same. But the client runs in the step's process, and the thread that asked waits for the answer.
"""

from __future__ import annotations

import sys
from types import FrameType

_LIBRARY = "mlflow"


def is_asked_by_code(call: str) -> bool:
    """Whether code outside of MLflow called its function `call`, by the threads that are in MLflow now.

    If none is, the client is another process's, and the answer is yes.
    """
    entries = [entry for frame in sys._current_frames().values() if (entry := _entry(frame))]
    return not entries or call in entries


def _entry(frame: FrameType | None) -> str:
    """The function by which the innermost calls of MLflow in a stack came into it, empty if there are none.

    What wraps a function, as MLflow wraps its own, is defined inside another, and doesn't count.
    """
    found = ""
    while frame is not None:
        is_inside = str(frame.f_globals.get("__name__", "")).partition(".")[0] == _LIBRARY
        if is_inside and "<locals>" not in frame.f_code.co_qualname:
            found = frame.f_code.co_name
        elif found and not is_inside:
            break
        frame = frame.f_back
    return found
