"""`mainspring import` and `mainspring export`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mainspring.cli import text
from mainspring.cli.app import Group, Invocation, redraws

if TYPE_CHECKING:
    from mainspring.runs import Mirrored
    from mainspring.server.migration import Exported, Imported


@click.group("import", cls=Group)
def import_() -> None:
    """Bring what another tool tracked into the workspace."""


@click.group(cls=Group)
def export() -> None:
    """Write the workspace, or runs of it, in the form of another tool."""


@import_.command("mlflow")
@click.argument("uri")
@click.option(
    "--artifacts", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="DIR",
    help="The folder that stands behind a server's mlflow-artifacts:/.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.pass_obj
def import_mlflow(invocation: Invocation, uri: str, artifacts: Path | None, dry_run: bool) -> None:
    """Bring the store at URI (sqlite:///mlflow.db, or a path) into the workspace, ids and times kept.

    Again, it changes nothing; killed, it goes on where it was.
    """
    import msgspec

    from mainspring.server import migration

    invocation.start_in(invocation.project)
    done = migration.import_mlflow(uri, artifacts=artifacts, dry_run=dry_run, on_progress=_told)
    invocation.show({"dry_run": dry_run, **msgspec.to_builtins(done)}, lambda: _imported(done, dry_run=dry_run))


@export.command("mlflow")
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--schema", "version", metavar="VERSION", help="The version of MLflow whose tables are written.")
@click.pass_obj
def export_mlflow(invocation: Invocation, folder: Path, version: str | None) -> None:
    """Write the workspace as a store of MLflow's client into DIR, which is empty or not there."""
    import msgspec

    from mainspring.server import migration

    workspace = invocation.workspace
    given = {"version": version} if version else {}
    done = migration.export_mlflow(folder, on_progress=_told, workspace=workspace, **given)
    invocation.show(msgspec.to_builtins(done), lambda: _exported(done))


@export.command("wandb")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), metavar="DIR")
@click.pass_obj
def export_wandb(invocation: Invocation, runs: tuple[str, ...], folder: Path) -> None:
    """Mirror ended runs into DIR/wandb, in W&B's offline format; `wandb sync` uploads them.

    A mirror that is there is replaced.
    """
    import msgspec

    from mainspring.runs import mirror_to_wandb

    done = [mirror_to_wandb(run, folder, workspace=invocation.workspace) for run in runs]
    invocation.show({"mirrored": msgspec.to_builtins(done)}, lambda: "\n".join(map(_mirrored, done)))


def _told(kind: str, done: int, total: int) -> None:
    """Show how far it is, where that can be drawn over."""
    if redraws(sys.stderr):
        click.echo(f"\r{kind}: {done:,} of {total:,}", err=True, nl=done == total)


def _imported(done: Imported, *, dry_run: bool) -> str:
    rows = [
        [kind, f"{tally.new:,}", f"{tally.changed:,}", f"{tally.same:,}"]
        for kind, tally in (
            ("experiments", done.experiments), ("runs", done.runs), ("logged models", done.logged_models),
            ("models", done.models),
        )
    ]  # fmt: skip
    lines = [text.table(["", "new", "changed", "here already"], rows)]
    would = "would be " if dry_run else ""
    lines.append(
        f"{text.counted(done.points, 'metric point')} and {text.counted(done.files, 'file')} {would}brought in."
    )
    lines += [f"The experiment {name} has the number {number} here." for name, number in done.renumbered.items()]
    lines += [f"Left out: {count:,} {name}." for name, count in done.left_out.items()]
    return "\n".join(lines + done.notes)


def _mirrored(done: Mirrored) -> str:
    counts = f"{text.counted(done.points, 'metric point')}, {text.counted(done.files, 'file')}"
    return "\n".join([f"{counts}: {done.folder}", *(f"  Left out: {each}." for each in done.left_out)])


def _exported(done: Exported) -> str:
    counts = [
        text.counted(count, noun)
        for count, noun in (
            (done.experiments, "experiment"), (done.runs, "run"), (done.points, "metric point"), (done.files, "file"),
            (done.logged_models, "logged model"), (done.models, "model"), (done.versions, "version"),
        )
    ]  # fmt: skip
    lines = [f"{', '.join(counts)}: {done.uri} (tables of MLflow {done.schema})"]
    if done.without_files:
        lines.append(f"Without files, as they are no folders of MLflow: {', '.join(done.without_files)}.")
    return "\n".join(lines)
