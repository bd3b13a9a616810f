"""`mainspring experiments`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mainspring.cli import text
from mainspring.cli.app import Group, Invocation
from mainspring.cli.found import FILTER, ORDER

if TYPE_CHECKING:
    from mainspring.runs import Experiment, ExperimentStore


@click.group(cls=Group, default="list")
def experiments() -> None:
    """List experiments (the same as `experiments list`), make, rename, delete and restore them."""


@experiments.command("list")
@FILTER
@ORDER
@click.option(
    "--limit", type=click.IntRange(min=1), default=100, show_default=True, metavar="N", help="At most so many."
)
@click.option("--deleted", is_flag=True, help="Deleted ones instead.")
@click.pass_obj
def list_experiments(
    invocation: Invocation, *, where: str, order_by: tuple[str, ...], limit: int, deleted: bool
) -> None:
    """List experiments, newest first."""
    page = _store(invocation).search(where, order_by, limit, view="deleted" if deleted else "active")
    rows = [[str(each.number), each.name, text.moment(each.created_at) if each.created_at else ""] for each in page]
    invocation.show(
        {"experiments": [_document(each) for each in page], "cursor": page.cursor},
        lambda: text.table(["number", "name", "made"], rows) if rows else "No experiments match.",
    )


@experiments.command("create")
@click.argument("name")
@click.option("--tag", "tags", multiple=True, metavar="KEY=TEXT", help="A tag; may be given several times.")
@click.pass_obj
def create_experiment(invocation: Invocation, name: str, tags: tuple[str, ...]) -> None:
    """Make an experiment."""
    if any("=" not in tag for tag in tags):
        raise click.UsageError("A tag is given as KEY=TEXT.")
    _show(invocation, _store(invocation).create(name, dict(tag.split("=", 1) for tag in tags)), "Made {}.")


@experiments.command("rename")
@click.argument("experiment")
@click.argument("name")
@click.pass_obj
def rename_experiment(invocation: Invocation, experiment: str, name: str) -> None:
    """Give EXPERIMENT (a name, number or id) another NAME."""
    _show(invocation, _store(invocation).rename(experiment, name), "Renamed to {}.")


@experiments.command("delete")
@click.argument("experiment")
@click.pass_obj
def delete_experiment(invocation: Invocation, experiment: str) -> None:
    """Hide EXPERIMENT and its runs until it is restored."""
    store = _store(invocation)
    if (found := store.get(experiment)).deleted_at is not None:
        _show(invocation, found, "{} was deleted already.")
    else:
        _show(invocation, store.delete(experiment), "Deleted {}.")


@experiments.command("restore")
@click.argument("experiment")
@click.pass_obj
def restore_experiment(invocation: Invocation, experiment: str) -> None:
    """Bring a deleted EXPERIMENT back, with the runs that were deleted with it."""
    store = _store(invocation)
    if (found := store.get(experiment)).deleted_at is None:
        _show(invocation, found, "{} is not deleted.")
    else:
        _show(invocation, store.restore(experiment), "Restored {}.")


def _store(invocation: Invocation) -> ExperimentStore:
    from mainspring.runs import ExperimentStore

    return ExperimentStore(invocation.workspace.database, invocation.workspace.ledger)


def _document(experiment: Experiment) -> dict[str, object]:
    import msgspec

    document: dict[str, object] = msgspec.to_builtins(experiment)
    return document


def _show(invocation: Invocation, experiment: Experiment, told: str) -> None:
    invocation.show({"experiment": _document(experiment)}, told.format(f"{experiment.name} ({experiment.number})"))
