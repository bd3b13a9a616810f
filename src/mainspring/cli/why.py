"""`mainspring why`."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

import click

from mainspring.cli import text
from mainspring.cli.app import Command, Invocation

if TYPE_CHECKING:
    from mainspring.pipelines.why import Reason
    from mainspring.runs import Run

_SHORTEST_RUN = 4


@click.command(cls=Command)
@click.argument("words", nargs=-1, metavar="[RUN] [STEP]")
@click.pass_obj
def why(invocation: Invocation, words: tuple[str, ...]) -> None:
    """Say why the steps of RUN ran or were reused.

    Without RUN the present code and environment are held against the latest run: what would run now, and why.
    """
    from mainspring.pipelines.why import last_pipeline_run, present, recorded
    from mainspring.runs import RunStore

    if len(words) > 2:
        raise click.UsageError(f"`{words[2]}` is one word too many.")
    workspace = invocation.workspace
    name = words[0] if words and (len(words) == 2 or _is_run(words[0])) else ""
    step = words[-1] if words and not (name and len(words) == 1) else None
    if name:
        run = RunStore(workspace.database, workspace.ledger).get(name)
        reasons = recorded(workspace, run, step)
    else:
        run = last_pipeline_run(workspace)
        reasons = present(workspace, run, step)
    document = {"run": run.id, "present": not name, "tasks": reasons}
    invocation.show(document, lambda: _shown(run, reasons, now=not name))


def _is_run(word: str) -> bool:
    return word == "latest" or (len(word) >= _SHORTEST_RUN and set(word) <= set(string.hexdigits.lower()))


def _shown(run: Run, reasons: list[Reason], *, now: bool) -> str:
    counted = [reason for reason in reasons if not reason.items]  # a mapped step's items count, not the step
    running = sum(reason.runs for reason in counted)
    rest = len(counted) - running
    if now:
        head = f"Since run {text.bold(text.short(run.id))}: {running} would run, {rest} would be reused."
    else:
        head = f"In run {text.bold(text.short(run.id))}: {running} ran, {rest} reused."
    lines = [head, ""]
    width = max((len(reason.task) for reason in reasons), default=0)
    indent = "\n" + " " * (width + 2 + 8)
    for reason in reasons:
        mark = click.style("run".ljust(6), fg="yellow") if reason.runs else click.style("reuse".ljust(6), fg="cyan")
        told = indent.join(reason.lines) or ("nothing changed" if not reason.runs else reason.state)
        lines.append(f"{mark}  {reason.task.ljust(width)}  {told}")
    return "\n".join(lines)
