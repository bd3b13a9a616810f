"""What a run tells whoever watches it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from mainspring.pipelines.task import Task
from mainspring.runs import Run


class Listener:
    """Hears of a run while it goes on; does nothing unless overridden. Called from the thread that drives the run."""

    def noted(self, line: str) -> None:
        """Something that whoever started the run should know, in one line; may come before `started`."""

    def started(self, run: Run, tasks: Sequence[Task]) -> None:
        """The run has its plan; the tasks may be done already if it is resumed."""

    def expanded(self, task: Task, children: Sequence[Task]) -> None:
        """A mapped task knows its list."""

    def changed(self, task: Task) -> None:
        """A task has a new state."""

    def retrying(self, task: Task, wait_s: float) -> None:
        """An attempt failed and the next one comes after a wait."""

    def printed(self, task_name: str, line: str) -> None:
        """A step printed a line. May be called from another thread."""

    def stopping(self) -> None:
        """The run was asked to stop."""

    def ended(self, run: Run, tasks: Sequence[Task]) -> None:
        """The run is over."""


class Shown(Listener):
    """Shows what steps print, for scripts and notebooks."""

    def noted(self, line: str) -> None:
        """The line, as it is."""
        sys.stdout.write(f"{line}\n")

    def printed(self, task_name: str, line: str) -> None:
        """The line behind its step's name."""
        sys.stdout.write(f"{task_name} | {line}\n")
