"""`mainspring runs delete`, `restore` and `note`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mainspring.cli import text
from mainspring.cli.app import Command, Invocation

if TYPE_CHECKING:
    from mainspring.runs import Run


@click.command(cls=Command)
@click.argument("names", metavar="RUN...", nargs=-1, required=True)
@click.pass_obj
def delete(invocation: Invocation, names: tuple[str, ...]) -> None:
    """Hide runs, and those of their steps, until they are restored."""
    _change(invocation, names, "delete", "Deleted")


@click.command(cls=Command)
@click.argument("names", metavar="RUN...", nargs=-1, required=True)
@click.pass_obj
def restore(invocation: Invocation, names: tuple[str, ...]) -> None:
    """Bring deleted runs back."""
    _change(invocation, names, "restore", "Restored")


@click.command(cls=Command)
@click.argument("name", metavar="RUN")
@click.argument("note", metavar="TEXT")
@click.pass_obj
def write_note(invocation: Invocation, name: str, note: str) -> None:
    """Replace the note of a run."""
    from mainspring.cli.records import run_store

    store, workspace = run_store(invocation.workspace), invocation.workspace
    run = store.get(name)
    with workspace.database.transaction() as tx:
        store.set_note(tx, run.id, note)
    kept = store.get(run.id).note
    invocation.show({"run": run.id, "note": kept}, f"{text.short(run.id)}  {kept}")


def _change(invocation: Invocation, names: tuple[str, ...], verb: str, told: str) -> None:
    from mainspring.cli.records import run_store

    store = run_store(invocation.workspace)
    found: list[Run] = [store.get(name) for name in names]
    with invocation.workspace.database.transaction() as tx:
        for run in found:
            (store.delete if verb == "delete" else store.restore)(tx, run.id)
    shown = ", ".join(f"{run.name} {text.short(run.id)}" for run in found)
    invocation.show({"runs": [run.id for run in found]}, f"{told} {shown}.")
