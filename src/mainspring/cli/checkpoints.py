"""`mainspring runs checkpoints`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec

from mainspring.cli import text
from mainspring.cli.app import Command, Invocation

if TYPE_CHECKING:
    from mainspring.runs import Checkpoint


@click.command(cls=Command)
@click.argument("name", metavar="RUN")
@click.pass_obj
def checkpoints(invocation: Invocation, name: str) -> None:
    """List the checkpoints that RUN and its steps keep, oldest first."""
    from mainspring.cli.records import iso, run_store, task_store
    from mainspring.runs import CheckpointStore, named_numbers

    workspace = invocation.workspace
    run, store = run_store(workspace).get(name), CheckpointStore(workspace.database, workspace.ledger)
    owners = {run.id: ""} | {task.id: task.name for task in task_store(workspace).of_run(run.id)}
    found = [(step, each) for owner, step in owners.items() for each in store.of(owner)]
    records: list[dict[str, Any]] = [
        named_numbers(msgspec.to_builtins(each)) | {"task": step, "size_bytes": each.size_bytes, "at": iso(each.at)}
        for step, each in found
    ]
    invocation.show({"run": run.id, "checkpoints": records}, lambda: _listed(found))


def _listed(found: list[tuple[str, Checkpoint]]) -> str:
    if not found:
        return "No checkpoints. `mainspring.checkpoints()` keeps them, in a step or a script's run."
    rows = [
        [
            task, each.name, str(each.step), ", ".join(f"{name} {value:.6g}" for name, value in each.metrics.items()),
            text.size(each.size_bytes), text.moment(each.at), text.short(each.content_digest),
        ]
        for task, each in found
    ]  # fmt: skip
    return text.table(["of", "name", "step", "metrics", "size", "kept", "content"], rows, drop=["content"])
