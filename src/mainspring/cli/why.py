"""`mainspring why`."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

import click

from mainspring.cli import text
from mainspring.cli.app import Command, Invocation
from mainspring.errors import InvalidError

if TYPE_CHECKING:
    from mainspring.pipelines.why import Present, Reason
    from mainspring.runs import Run

_SHORTEST_RUN = 4
# For each state of a task: how it is counted, the colour of the word, and the order of the counts.
_STATES = {
    "succeeded": ("ran", "yellow"), "reused": ("reused", "cyan"), "failed": ("failed", "red"),
    "skipped": ("skipped", "yellow"), "cancelled": ("cancelled", "yellow"), "running": ("running", "blue"),
    "mapped": ("running", "blue"), "waiting": ("waiting", "bright_black"),
}  # fmt: skip
_ALWAYS_TOLD = ("ran", "reused")


@click.command(cls=Command)
@click.argument("words", nargs=-1, metavar="[RUN] [STEP]")
@click.pass_obj
def why(invocation: Invocation, words: tuple[str, ...]) -> None:
    """Say why the steps of RUN ran or were reused; of items with the same reason, all with STEP.

    Without RUN: what would run now, and why, as `mainspring run --dry-run` says it of the pipeline of the latest run, with
    the parameters that this run was given.
    """
    from mainspring.pipelines.launch import pipeline_run
    from mainspring.runs import RunStore

    if len(words) > 2:
        raise click.UsageError(f"`{words[2]}` is one word too many.")
    if words and words[0].partition(":")[0].endswith(".py"):
        hint = f"`mainspring run {words[0]} --dry-run` says why the steps of a file would run."
        raise InvalidError("run or step", words[0], "the name of one, or the id of a run", hint)
    name = words[0] if words and (len(words) == 2 or _is_run(words[0])) else ""
    step = words[-1] if words and not (name and len(words) == 1) else None
    workspace = invocation.workspace
    run = pipeline_run(RunStore(workspace.database, workspace.ledger), name or "latest")
    if not name:
        _show_present(invocation, run, step)
        return
    from mainspring.pipelines.why import recorded

    reasons = recorded(workspace, run, step)
    document = {"run": run.id, "present": False, "tasks": reasons}
    invocation.show(document, lambda: _shown(run, reasons, every_item=step is not None))


def _show_present(invocation: Invocation, run: Run, step: str | None) -> None:
    from mainspring.cli.target import pipeline_of
    from mainspring.pipelines.why import present

    pipeline = pipeline_of(invocation.project, run.module, run.target.rpartition(":")[2])
    found = present(invocation.workspace, run, pipeline, step)
    document = {"run": run.id, "present": True, "tasks": found.tasks, "gone": found.gone}
    invocation.show(document, lambda: _shown_present(found, every_item=step is not None))


def _is_run(word: str) -> bool:
    return word == "latest" or (len(word) >= _SHORTEST_RUN and set(word) <= set(string.hexdigits.lower()))


def _shown_present(found: Present, *, every_item: bool) -> str:
    from mainspring.cli.forecast import Row, counts_of, rows_of, shown_rows

    rows = rows_of(found.tasks)
    rows += [Row(name, "gone", "bright_black", ("the pipeline has it no more",)) for name in found.gone]
    head = f"Since run {text.bold(text.short(found.run))}: {counts_of(found.tasks)}."
    return "\n".join([head, "", *shown_rows(rows, every_item=every_item)])


def _shown(run: Run, reasons: list[Reason], *, every_item: bool) -> str:
    from mainspring.cli.forecast import Row, shown_rows

    counted = [_STATES[reason.state][0] for reason in reasons if not reason.items]  # items count, not what they are of
    words = dict.fromkeys(word for word, _ in _STATES.values())
    told = ", ".join(f"{counted.count(word)} {word}" for word in words if word in counted or word in _ALWAYS_TOLD)
    rows = [Row(reason.task, *_STATES[reason.state], tuple(reason.lines)) for reason in reasons]
    lines = [f"In run {text.bold(text.short(run.id))}: {told}.", "", *shown_rows(rows, every_item=every_item)]
    return "\n".join(lines)
