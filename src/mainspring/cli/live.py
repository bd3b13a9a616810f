"""The live tree of a run on a terminal. A run that ends at once is only told at its end, and loads no Rich."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TextIO

import click

from mainspring.cli.progress import Progress
from mainspring.cli.text import bold, counted, dim, duration, size
from mainspring.pipelines.task import DONE, UNFINISHED, Task, TaskState
from mainspring.runs import Run
from mainspring.store import BlobStore

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

    from mainspring.cli.live_metrics import LiveMetrics

_PATIENCE_S = 0.15  # loading Rich takes half of that
_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_FRAMES_PER_S = 10
_GLYPHS = {
    TaskState.SUCCEEDED: ("✓", "green"),
    TaskState.REUSED: ("↺", "cyan"),
    TaskState.FAILED: ("✗", "red"),
    TaskState.SKIPPED: ("–", "yellow"),
    TaskState.CANCELLED: ("■", "yellow"),
    TaskState.WAITING: ("·", "bright_black"),
}
_ROWS_AT_END = 40


class LiveTree(Progress):
    """Steps in order with their state; sub-pipelines as branches, mapped steps as one row each."""

    def __init__(
        self, stream: TextIO, command: str, blobs: BlobStore, metrics: Callable[[], LiveMetrics] | None = None
    ) -> None:
        super().__init__(stream, command, blobs)
        self._metrics = metrics
        self._over = threading.Event()
        self._drawing = threading.Thread(target=self._draw, name="progress", daemon=True)
        self._live: Live | None = None
        self._note = ""

    def started(self, run: Run, tasks: Sequence[Task]) -> None:
        """Take in the plan and begin to draw."""
        super().started(run, tasks)
        self._drawing.start()

    def retrying(self, task: Task, wait_s: float) -> None:
        """Show it where the step's output is shown."""
        self.printed(task.name, f"{' '.join((task.error or 'it failed').split())}; tried again in {duration(wait_s)}")

    def stopping(self) -> None:
        """Say how to end at once."""
        self._note = "stopping; press Ctrl-C again to end at once"

    def ended(self, run: Run, tasks: Sequence[Task]) -> None:
        """Put the tree as it is in the place of the live one, and sum up."""
        self._over.set()
        if self._drawing.is_alive():
            self._drawing.join()
        for task in tasks:
            self._add(task)
        self.say(*shown_tree(self, at_most=_ROWS_AT_END))
        super().ended(run, tasks)

    def _draw(self) -> None:
        if self._over.wait(_PATIENCE_S):
            return
        from rich.console import Console
        from rich.live import Live

        look = self._metrics() if self._metrics else None
        console = Console(file=self.stream)
        with Live(
            console=console, get_renderable=lambda: self._view(console.height, look), refresh_per_second=_FRAMES_PER_S,
            transient=True, redirect_stdout=False, redirect_stderr=False,
        ):  # fmt: skip
            self._over.wait()

    def _view(self, height: int, look: LiveMetrics | None) -> RenderableType:
        from rich.text import Text

        if look is not None:
            self.numbers = look(list(self.tasks.values()))
        lines = shown_tree(self, at_most=max(3, height - 3), output=True)
        if self._note:
            lines.append(click.style(self._note, fg="yellow"))
        text = Text.from_ansi("\n".join(lines))
        text.no_wrap, text.overflow = True, "ellipsis"
        return text


def shown_tree(progress: Progress, *, at_most: int, output: bool = False) -> list[str]:
    """The lines of a run: its head, and a row for each step, branches for sub-pipelines.

    If there are more than `at_most` below the head, steps that are over give way first, then those that wait.
    """
    tasks = [task for task in list(progress.tasks.values()) if not task.map_of]
    rows = [row for task in tasks for row in _rows(progress, task, output=output)]
    run = progress.run
    head = "" if run is None else f"{bold(run.name)} {dim(run.id[:12])}"
    count = at_most
    while len(lines := _lines(rows, count)) > at_most and count > 1:
        count = max(1, min(count, len(rows)) - (len(lines) - at_most))
    return [head, *lines]


def _lines(rows: list[_Row], at_most: int) -> list[str]:
    """The lines of so many rows: some have two, and a branch has one of its own."""
    kept = _fitting(rows, at_most)
    width = max((len(row.name) + 2 * row.depth for row in kept), default=0)
    lines, scope = [], ""
    for row in kept:
        if row.scope != scope and row.scope:
            lines.append(f"{'  ' * row.depth}{dim(row.scope)}")
        scope = row.scope
        lines += row.text(width).split("\n")
    hidden = len(rows) - len(kept)
    return [*lines, dim(f"  … {counted(hidden, 'more step')}")] if hidden else lines


class _Row:
    """One row: a step's glyph, name and figures, or the last line that it printed."""

    def __init__(self, task: Task, glyph: str, figures: str, line: str = "") -> None:
        self.task = task
        self.scope, _, self.name = task.name.rpartition("/")
        self.depth = self.scope.count("/") + 1 if self.scope else 0
        self._glyph = glyph
        self._figures = figures
        self._line = line

    def text(self, width: int) -> str:
        """The row, its name filled up to a width that the rows share."""
        indent = "  " * (self.depth + 1)
        name = self.name.ljust(width - 2 * self.depth)
        shown = f"{indent}{self._glyph} {name}  {self._figures}".rstrip()
        return f"{shown}\n{indent}  {dim(f'│ {self._line}')}" if self._line else shown


def _rows(progress: Progress, task: Task, *, output: bool) -> list[_Row]:
    if task.is_mapped:
        return [_mapped_row(progress, task, output=output)]
    line = ""
    if output and task.state is TaskState.RUNNING and progress.tails.get(task.name):
        line = progress.tails[task.name][-1]
    numbers = progress.numbers.get(task.id, "") if output and task.state is TaskState.RUNNING else ""
    figures = [_figures(task), *([dim(numbers)] if numbers else [])]
    return [_Row(task, _glyph(task.state), "  ".join(figures), line)]


def _mapped_row(progress: Progress, task: Task, *, output: bool) -> _Row:
    """One row for all tasks of a mapped step: how many are done, and when the rest will be."""
    children = list(progress.children.get(task.id, ()))
    done = [child for child in children if child.state in (*DONE, TaskState.FAILED)]
    failed = sum(child.state is TaskState.FAILED for child in done)
    reused = sum(child.state is TaskState.REUSED for child in done)
    running = [child for child in children if child.state is TaskState.RUNNING]
    state = task.state
    if state is TaskState.MAPPED:
        state = TaskState.RUNNING if running or len(done) < len(children) else TaskState.SUCCEEDED
    parts = [f"{len(done)}/{len(children)}" if children else ""]
    parts += [dim(f"{reused} reused")] if reused else []
    parts += [click.style(f"{failed} failed", fg="red")] if failed else []
    times = [child.wall_s for child in done if child.wall_s is not None and child.state is TaskState.SUCCEEDED]
    if times and state is TaskState.RUNNING:
        left_s = sum(times) / len(times) * (len(children) - len(done)) / max(1, len(running))
        parts.append(dim(f"about {duration(left_s)} left"))
    elif times and state not in UNFINISHED:
        parts.append(dim(f"{duration(sum(times))} of work"))
    line = ""
    if output and running and progress.tails.get(running[-1].name):
        line = f"[{running[-1].map_index}] {progress.tails[running[-1].name][-1]}"
    return _Row(task, _glyph(state), "  ".join(part for part in parts if part), line)


def _figures(task: Task) -> str:
    if task.state is TaskState.RUNNING and task.started_at:
        return duration(max(0.0, _now_us() - task.started_at) / 1e6)
    if task.state is TaskState.SUCCEEDED:
        return "  ".join(part for part in (duration(task.wall_s).rjust(7), dim(size(task.peak_bytes))) if part)
    return "" if task.state is TaskState.WAITING else click.style(task.state.value, fg=_GLYPHS[task.state][1])


def _glyph(state: TaskState) -> str:
    if state in _GLYPHS:
        glyph, colour = _GLYPHS[state]
        return click.style(glyph, fg=colour)
    return click.style(_FRAMES[int(time.monotonic() * _FRAMES_PER_S) % len(_FRAMES)], fg="blue")


def _now_us() -> int:
    from mainspring import clock

    return clock.now_us()


def _fitting(rows: list[_Row], at_most: int) -> list[_Row]:
    """At most so many rows: what goes on and what failed stays, then what waits, what is over goes first."""
    if len(rows) <= at_most:
        return rows
    order = {TaskState.RUNNING: 0, TaskState.MAPPED: 0, TaskState.FAILED: 1, TaskState.WAITING: 2}
    ranked = sorted(rows, key=lambda row: order.get(row.task.state, 4 if row.task.state in DONE else 3))
    kept = {id(row) for row in ranked[:at_most]}
    return [row for row in rows if id(row) in kept]
