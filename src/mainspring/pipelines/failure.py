"""What is kept of an error that a step raised: a message of one line, and a traceback for its log.

Invariant: no secret is in them, no character that a database refuses or a terminal obeys, and no more than people read.
"""

from __future__ import annotations

import contextlib
import os
import re
import traceback
from pathlib import Path

from mainspring.errors import MainspringError, shorten
from mainspring.secrets import redact

_OURS = str(Path(__file__).parents[1]) + os.sep
_PASSED_THROUGH = (_OURS, contextlib.__file__)
_SHOWN_TRACE = 30  # frames
_LONGEST_MESSAGE = 500  # characters
_LONGEST_PART = 65_536  # characters of a part of a traceback: an error may quote megabytes
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}


def message_of(error: BaseException, root: Path | None) -> str:
    """The error's class and what it says. Files below `root`, the recorded code, have their names in the project."""
    name, said = type(error).__name__, _in_project(root, _readable(_text(error)).strip())
    return shorten(redact(f"{name}: {said}" if said else name), _LONGEST_MESSAGE)


def trace_of(error: BaseException, root: Path | None) -> str:
    """The traceback from the step's own frame on. One of ours shows the user's frames only, and says itself what is wrong."""
    return redact(_in_project(root, "".join(map(_readable, _parts(error)))))


def _parts(error: BaseException) -> list[str]:
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_OURS):
        frames = frames.tb_next
    if not isinstance(error, MainspringError):
        return traceback.format_exception(type(error), error, frames or error.__traceback__, limit=-_SHOWN_TRACE)
    shown = [frame for frame in traceback.extract_tb(frames) if not frame.filename.startswith(_PASSED_THROUGH)]
    head = ["Traceback (most recent call last):\n"] if shown else []
    return [*head, *traceback.format_list(shown[-_SHOWN_TRACE:]), f"{type(error).__name__}: {_text(error)}\n"]


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001  # a step's error class may do anything
        return "(its text can't be made)"


def _readable(text: str) -> str:
    """A text without its colours, and other control characters as escapes; of a long one the start."""
    if len(text) > _LONGEST_PART:
        text = f"{text[:_LONGEST_PART]}… ({len(text) - _LONGEST_PART:,} more characters)\n"
    plain = _COLOUR.sub("", text.replace("\r\n", "\n")).translate(_CONTROLS)
    return plain.encode("utf-8", "backslashreplace").decode()


def _in_project(root: Path | None, text: str) -> str:
    return text if root is None else text.replace(f"{root}{os.sep}", "")
