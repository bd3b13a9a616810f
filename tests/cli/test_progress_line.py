"""The line of progress: on a terminal alone, after a quiet while, also while nothing more is told, and gone at the end."""

from __future__ import annotations

import io
import sys
import time

import pytest

from mainspring.cli import progress_line as module
from mainspring.cli.app import Invocation
from mainspring.cli.progress_line import progress_line


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def shows(self, text: str) -> bool:
        """Whether it shows so within some seconds."""
        until = time.monotonic() + 10
        while text not in self.getvalue() and time.monotonic() < until:
            time.sleep(0.005)
        return text in self.getvalue()


def terminal_of(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal where the errors of this process go, from the test's own begin on."""
    made = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", made)
    return made


def test_what_was_told_is_shown_while_nothing_more_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_of(monkeypatch)
    monkeypatch.setattr(module, "_QUIET_S", 0.05)
    with progress_line(Invocation(), str.upper) as tell:
        assert tell is not None
        tell("looking")
        assert terminal.shows("\r\x1b[2KLOOKING")
        tell("packing " + "x" * 500)
        assert terminal.shows("PACKING")
    assert terminal.getvalue().endswith("\r\x1b[2K")
    assert "X" * 400 not in terminal.getvalue()


def test_what_is_quick_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_of(monkeypatch)
    with progress_line(Invocation(), str) as tell:
        assert tell is not None
        tell("looking")
    assert "looking" not in terminal.getvalue()


def test_nothing_is_told_where_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_of(monkeypatch)
    asked = Invocation()
    asked.json = True
    with progress_line(asked, str) as tell:
        assert tell is None
    monkeypatch.setenv("TERM", "dumb")
    with progress_line(Invocation(), str) as tell:
        assert tell is None
    assert terminal.getvalue() == ""
