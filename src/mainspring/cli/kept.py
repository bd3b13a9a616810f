"""`mainspring runs delete`, `restore` and `note`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mainspring.cli import text
from mainspring.cli.app import Command, Invocation
from mainspring.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mainspring.runs import Run, RunStore
    from mainspring.store import Transaction


@click.command(cls=Command)
@click.argument("names", metavar="RUN...", nargs=-1, required=True)
@click.pass_obj
def delete(invocation: Invocation, names: tuple[str, ...]) -> None:
    """Hide runs, and those of their steps, until they are restored. `runs list --deleted` lists them."""
    store = _store(invocation)
    found = [store.get(name) for name in names]
    for run in found:
        _expect_ended(invocation, store, run)
    _change(invocation, found, store.delete, "Deleted", "was deleted already")


@click.command(cls=Command)
@click.argument("names", metavar="RUN...", nargs=-1, required=True)
@click.pass_obj
def restore(invocation: Invocation, names: tuple[str, ...]) -> None:
    """Bring deleted runs back. `latest` is the one that was deleted last."""
    store = _store(invocation)
    found = [store.get(name, deleted=True) for name in names]
    _change(invocation, found, store.restore, "Restored", "is not deleted")


@click.command(cls=Command)
@click.argument("name", metavar="RUN")
@click.argument("note", metavar="TEXT")
@click.pass_obj
def write_note(invocation: Invocation, name: str, note: str) -> None:
    """Replace the note of a run."""
    store, workspace = _store(invocation), invocation.workspace
    run = store.get(name)
    with workspace.database.transaction() as tx:
        store.set_note(tx, run.id, note)
    kept = store.get(run.id).note
    invocation.show({"run": run.id, "note": kept}, f"{text.short(run.id)}  {kept}")


def _change(
    invocation: Invocation, found: list[Run], change: Callable[[Transaction, str], bool], told: str, otherwise: str
) -> None:
    """Change runs, and tell which were changed and of which it was so before."""
    runs = {run.id: run for run in found}
    with invocation.workspace.database.transaction() as tx:
        changed = {run_id: change(tx, run_id) for run_id in runs}
    new, old = ([run for run in runs.values() if changed[run.id] is is_new] for is_new in (True, False))
    lines = [f"{told} {', '.join(map(_named, new))}."] if new else []
    lines += [f"{_named(run)} {otherwise}." for run in old]
    document = {"runs": [run.id for run in new], "unchanged": [run.id for run in old]}
    invocation.show(document, "\n".join(lines))


def _expect_ended(invocation: Invocation, store: RunStore, run: Run) -> None:
    if store.goes_on(run, invocation.workspace.leases):
        pipelines = f" `mainspring cancel {text.short(run.id)}` stops it." if run.kind == "pipeline" else ""
        raise ConflictError(f"The run {_named(run)} is running; it can be deleted when it has ended.{pipelines}")


def _named(run: Run) -> str:
    return f"{run.name} {text.short(run.id)}"


def _store(invocation: Invocation) -> RunStore:
    from mainspring.cli.records import run_store

    return run_store(invocation.workspace)
