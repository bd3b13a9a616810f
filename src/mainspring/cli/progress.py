"""What is shown of a run while it goes on, and the summary when it is over; plain lines are here."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from typing import TextIO

import click

from mainspring.cli.app import redraws, uses_colour
from mainspring.cli.text import bold, counted, dim, duration, fitted, one_line, short, size, state
from mainspring.errors import NotFoundError, StorageError
from mainspring.pipelines.progress import Listener
from mainspring.pipelines.task import Task, TaskState, leaves
from mainspring.runs import Run, RunState
from mainspring.store import BlobStore

LINES_KEPT = 20
_FAILURES_SHOWN = 5
_MANY_ITEMS = 20  # a map of more is told in tenths
_LONGEST_ERROR = 200  # characters, where it is told again below
_LONGEST_MODULE = 200  # a traceback names an error with its module
SHOWN_AS_ENDED = {
    TaskState.SUCCEEDED: "ran",
    TaskState.REUSED: "reused",
    TaskState.FAILED: "failed",
    TaskState.SKIPPED: "skipped",
    TaskState.CANCELLED: "cancelled",
}


class Progress(Listener):
    """Remembers what every way of showing a run needs, and says how it ended.

    `command` is how Mainspring is called; `blobs` hold the logs of steps that failed.
    """

    def __init__(self, stream: TextIO, command: str, blobs: BlobStore) -> None:
        self.stream = stream
        self.command = command
        self.blobs = blobs
        self._plain = not (redraws(stream) and uses_colour())
        self.run: Run | None = None
        self.tasks: dict[str, Task] = {}
        self.children: dict[str, list[Task]] = {}
        self.tails: dict[str, deque[str]] = {}
        self.numbers: dict[str, str] = {}  # what running tasks logged last, by task, where it is looked for
        self.notes: list[str] = []

    def noted(self, line: str) -> None:
        """Keep a note and say it."""
        self.notes.append(line)
        self.say(click.style(line, fg="yellow"))

    def started(self, run: Run, tasks: Sequence[Task]) -> None:
        """Take in the plan."""
        self.run = run
        for task in tasks:
            self._add(task)

    def expanded(self, task: Task, children: Sequence[Task]) -> None:  # noqa: ARG002  # the listener's signature
        """Take in the tasks of a mapped one."""
        for child in children:
            self._add(child)

    def printed(self, task_name: str, line: str) -> None:
        """Keep a step's last lines."""
        self.tails.setdefault(task_name, deque(maxlen=LINES_KEPT)).append(line)

    def ended(self, run: Run, tasks: Sequence[Task]) -> None:
        """Say what failed, how the run ended, and how to look closer."""
        self.run = run
        for task in tasks:
            self._add(task)
        self.say_failures()
        self.say(self._summary(run), *self._look_closer(run))

    def say_failures(self) -> None:
        """Each step that failed with the end of its log; of a mapped step's items the first few."""
        told: dict[str, int] = {}
        for task in self.leaves():
            if task.state is TaskState.FAILED:
                step = task.map_of or task.id
                told[step] = told.get(step, 0) + 1
                if told[step] <= _FAILURES_SHOWN:
                    self.say(*self._failure(task))
        for step, count in told.items():
            if count > _FAILURES_SHOWN:
                name = _mapped_name(self.children[step][0])
                self.say(
                    f"{click.style('✗', fg='red')} {bold(name)}: {counted(count - _FAILURES_SHOWN, 'more item')} failed"
                )

    def leaves(self) -> list[Task]:
        """Those of the run's tasks that have ends of their own."""
        return leaves(list(self.tasks.values()))

    def _has(self, task: Task) -> bool:
        return bool(self.children.get(task.id))

    def say(self, *lines: str) -> None:
        """Write lines, colours as the stream takes them."""
        text = "\n".join(lines)
        # Not `click.echo`, which looks at the stream anew for every line.
        try:
            self.stream.write((click.unstyle(text) if self._plain and "\x1b" in text else text) + "\n")
            self.stream.flush()
        except BrokenPipeError:  # nobody reads on, as behind `| head`, which is no reason to stop the run
            self.stream = open(os.devnull, "w")  # noqa: SIM115  # it takes the place of stderr until the process ends

    def _add(self, task: Task) -> None:
        self.tasks[task.name] = task
        if task.map_of:
            siblings = self.children.setdefault(task.map_of, [])
            if all(sibling.id != task.id for sibling in siblings[task.map_index or 0 :]):
                siblings.append(task)

    def _failure(self, task: Task) -> list[str]:
        note = " (the run goes on without it)" if task.options.may_fail else ""
        said = one_line(task.error or "it failed")
        lines = [f"{click.style('✗', fg='red')} {bold(task.name)}{note}: {said}"]
        return [*lines, *(dim("  │ ") + line for line in _before(said, self._tail(task)))]

    def _tail(self, task: Task) -> list[str]:
        """The lines of a failed step's log that are shown."""
        return (self._log(task) or list(self.tails.get(task.name, ())))[-LINES_KEPT:]

    def _log(self, task: Task) -> list[str]:
        """A step's whole log, the traceback at its end; empty if it can't be read."""
        try:
            return self.blobs.read(task.log).decode("utf-8", "replace").splitlines() if task.log else []
        except (NotFoundError, StorageError):
            return []

    def _summary(self, run: Run) -> str:
        counts: dict[str, int] = {}
        for task in self.leaves():
            what = SHOWN_AS_ENDED.get(task.state, str(task.state))
            counts[what] = counts.get(what, 0) + 1
        told = ", ".join(f"{counts[what]:,} {what}" for what in SHOWN_AS_ENDED.values() if what in counts)
        told += self._not_reusable(run)
        took = f" in {duration(run.duration_s)}" if run.duration_s is not None else ""
        kind = "replay" if run.replay_of else "run"
        return f"{kind} {bold(short(run.id))} {state(run.state)}{took}: {told or 'nothing ran'}"

    def _not_reusable(self, run: Run) -> str:
        """How many of the steps that ran will run again, because of what they didn't declare or what can't be recorded."""
        if run.replay_of:
            return ""
        ran = [task for task in self.leaves() if task.state is TaskState.SUCCEEDED and task.options.cache]
        count = sum(not task.is_reusable for task in ran)
        if not count:
            return ""
        because = "undeclared inputs, which a worker may not have; " if any(task.seen for task in ran) else ""
        return f", {count:,} not reusable ({because}see `{self.command} why {short(run.id)}`)"

    def _look_closer(self, run: Run) -> list[str]:
        name = short(run.id)
        ways = [("look closer", f"runs show {name}")]
        if run.replay_of:
            return []
        if run.state is RunState.SUCCEEDED:
            ways += [("what ran, and why", f"why {name}")]
        else:
            failed = next((task.name for task in self.leaves() if _stops(task)), "")
            ways += [("what it printed", f"logs {name} {failed}".rstrip()), ("go on from here", f"resume {name}")]
        return [f"  {dim(f'{about}:'.ljust(18))} {self.command} {way}" for about, way in ways]


def _mapped_name(task: Task) -> str:
    """The name of the step whose item a task is."""
    return task.name.rpartition("[")[0]


def _before(error: str, lines: list[str]) -> list[str]:
    """The lines of a log without the last ones if they only repeat the error, and without a traceback's empty head.

    >>> _before("ValueError: no good", ["Traceback (most recent call last):", "  File …", "ValueError: no", "  good"])
    ['Traceback (most recent call last):', '  File …']
    >>> _before("ValueError: no good", ["Traceback (most recent call last):", "ValueError: no good"])
    []
    """
    for start in range(len(lines) - 1, -1, -1):
        last = one_line(" ".join(lines[start:]))
        if last == error or last.endswith(f".{error}") or (error.endswith("...") and last.startswith(error[:-3])):
            kept = lines[:start]
            return kept[:-1] if kept and kept[-1].startswith("Traceback (") else kept
        if len(last) > len(error) + _LONGEST_MODULE:
            break
    return lines


def _stops(task: Task) -> bool:
    return task.state is TaskState.FAILED and not task.options.may_fail


class Quiet(Progress):
    """Only how the run ended."""

    def _look_closer(self, run: Run) -> list[str]:
        """Where to look is said only of what went wrong."""
        return [] if run.state is RunState.SUCCEEDED else super()._look_closer(run)


class Lines(Progress):
    """Plain lines for logs, pipes and terminals without colours; each is complete in itself."""

    def __init__(self, stream: TextIO, command: str, blobs: BlobStore) -> None:
        super().__init__(stream, command, blobs)
        self._numbers: dict[str, int] = {}
        self._told: dict[str, int] = {}
        self._open: set[str] = set()
        self._ended: dict[str, dict[str, str]] = {}  # of mapped steps with many items: how each item ended

    def started(self, run: Run, tasks: Sequence[Task]) -> None:
        """Take in the plan; of a run that is resumed, lists may be known."""
        super().started(run, tasks)
        for step, children in self.children.items():
            self._fold(step, children)

    def ended(self, run: Run, tasks: Sequence[Task]) -> None:
        """Each step that was said to run gets its end, then the summary."""
        for task in tasks:
            if task.name in self._open and task.state is not TaskState.RUNNING:
                self.changed(task)
        super().ended(run, tasks)

    def expanded(self, task: Task, children: Sequence[Task]) -> None:
        """Take in the tasks of a mapped one, and count those that are done already."""
        super().expanded(task, children)
        self._fold(task.id, children)

    def _fold(self, step: str, children: Sequence[Task]) -> None:
        if len(children) > _MANY_ITEMS:
            self._ended[step] = {}
            for child in children:
                self._count(child)

    def changed(self, task: Task) -> None:
        """A line for each step that starts or ends; of a long list, for each tenth of its items and each failure."""
        if task.is_mapped and (task.state is not TaskState.FAILED or self._has(task)):
            return
        ended = self._ended.get(task.map_of or "")
        if ended is None:
            self._tell(task)
            return
        tenths = self._tenths(task)
        self._count(task)
        if task.state is TaskState.FAILED:
            self._told.setdefault(task.name, 0)
            self.say(f"{task.name}  {state(task.state)}{self._after(task)}")
        if self._tenths(task) > tenths:
            self._tell_items(task)

    def _tell(self, task: Task) -> None:
        """The line of a step of its own."""
        if task.state is TaskState.RUNNING:
            self._told[task.name] = 0
            self._open.add(task.name)
        else:
            self._open.discard(task.name)
        self.say(f"{self._mark(task.name)} {task.name}  {state(task.state)}{self._after(task)}")

    def _tell_items(self, task: Task) -> None:
        """How far the mapped step is whose item just ended."""
        ended, siblings = self._ended[task.map_of or ""], self.children[task.map_of or ""]
        words = list(ended.values())
        told = ", ".join(f"{words.count(word):,} {word}" for word in SHOWN_AS_ENDED.values() if word in words)
        name = _mapped_name(task)
        self.say(f"{self._mark(name)} {name}  {len(ended):,} of {len(siblings):,} items: {told}")

    def _count(self, task: Task) -> None:
        if task.state in SHOWN_AS_ENDED:
            self._ended[task.map_of or ""][task.name] = SHOWN_AS_ENDED[task.state]

    def _tenths(self, task: Task) -> int:
        return 10 * len(self._ended[task.map_of or ""]) // len(self.children[task.map_of or ""])

    def _mark(self, name: str) -> str:
        """The number of a step among all that have lines: a mapped step is one until its list is known, or if it is long."""
        number = self._numbers.setdefault(name, len(self._numbers) + 1)
        total = sum(
            task.id not in self.children or task.id in self._ended if task.is_mapped else task.map_of not in self._ended
            for task in list(self.tasks.values())
        )
        return f"[{number:>{len(str(total))}}/{total}]"

    def retrying(self, task: Task, wait_s: float) -> None:
        """Say that a step is tried again."""
        self.say(f"{task.name}  failed: {fitted(task.error or '', _LONGEST_ERROR)}; tried again in {duration(wait_s)}")

    def printed(self, task_name: str, line: str) -> None:
        """The line behind its step's name."""
        self._told[task_name] = self._told.get(task_name, 0) + 1
        self.say(f"{dim(task_name + ' |')} {line}")

    def stopping(self) -> None:
        """Say how to end at once."""
        self.say("stopping; press Ctrl-C again to end at once")

    def _tail(self, task: Task) -> list[str]:
        """What stands in the log and was not printed as it came: the traceback."""
        return self._log(task)[self._told.get(task.name, 0) :][-LINES_KEPT:]

    @staticmethod
    def _after(task: Task) -> str:
        if task.state is TaskState.SUCCEEDED:
            return "  " + ", ".join(part for part in (duration(task.wall_s), size(task.peak_bytes)) if part)
        if task.state in (TaskState.FAILED, TaskState.SKIPPED) and task.error:
            return f"  {fitted(task.error, _LONGEST_ERROR)}"
        return ""
