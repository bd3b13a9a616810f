"""`mainspring data remove`, `gc`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import click
import msgspec

from mainspring.cli import text
from mainspring.cli.app import Command, Invocation

if TYPE_CHECKING:
    from mainspring.data.retention import Removal

_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
_NEXT = "Their bytes are freed by `mainspring gc`, after its grace period."


def _age(_context: click.Context, _option: click.Parameter, value: str | None) -> timedelta | None:
    if value is None:
        return None
    found = re.fullmatch(r"(\d+)([hdw])", value)
    if found is None:
        raise click.BadParameter(f"`{value}` is not a number of hours, days or weeks, such as 12h, 30d or 8w.")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


@click.command(cls=Command)
@click.argument("reference", metavar="DATASET[/REF]")
@click.option("--force", is_flag=True, help="Also what registered models came from.")
@click.option("--yes", is_flag=True, help="Needed to remove a whole dataset.")
@click.pass_obj
def remove(invocation: Invocation, reference: str, force: bool, yes: bool) -> None:
    """Remove the data of a version, or a whole DATASET with its name.

    The record of a version stays and says so; those of a removed DATASET are found by their ids alone. The newest version
    and tagged ones are kept, and those that registered models came from. Rows and small files that share a part or pack
    with those of the newest version are freed once that is compacted, too.
    """
    from mainspring.data.retention import remove_dataset, remove_version

    workspace, reference = invocation.workspace, reference.replace("@", "/")
    if "/" in reference:
        done = remove_version(reference, force=force, workspace=workspace)
    else:
        if not yes:
            raise click.UsageError(
                f"{reference} is a whole dataset: say --yes, or name a version, such as {reference}/1."
            )
        done = remove_dataset(reference, force=force, workspace=workspace)
    invocation.show(msgspec.to_builtins(done), lambda: _told(done, "removed"))


@click.command(cls=Command)
@click.argument("name", default="", metavar="[DATASET]")
@click.option(
    "--keep-last", type=click.IntRange(min=1), metavar="N", help="Keep the newest N versions of each dataset."
)
@click.option("--older-than", callback=_age, metavar="AGE", help="Remove only what is older: 12h, 30d, 8w.")
@click.option("--keep-used", is_flag=True, help="Also keep what runs used.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.pass_obj
def gc(
    invocation: Invocation, name: str, keep_last: int | None, older_than: timedelta | None, keep_used: bool, dry_run: bool
) -> None:  # fmt: skip
    """Remove old versions of DATASET, or of all.

    Kept are the newest N, those younger than an age, and in any case the newest one, tagged ones, and those that registered
    models came from.
    """
    from mainspring.data import list_datasets
    from mainspring.data.retention import expire_versions

    if keep_last is None and older_than is None:
        raise click.UsageError("Say what to keep: --keep-last N, --older-than AGE, or both.")
    workspace = invocation.workspace
    names = [name] if name else [version.dataset for version in list_datasets(workspace)]
    done = {
        each: expire_versions(
            each, keep_last=keep_last, older_than=older_than, keep_used=keep_used, dry_run=dry_run, workspace=workspace
        )
        for each in names
    }
    word = "would be removed" if dry_run else "removed"
    invocation.show(
        {"dry_run": dry_run, "datasets": msgspec.to_builtins(done)},
        lambda: "\n".join([f"{each}: {_told(removal, word)}" for each, removal in done.items()]) or "No datasets.",
    )


def _told(removal: Removal, word: str) -> str:
    names = ", ".join(removal.removed[:8])
    more = f" and {len(removal.removed) - 8:,} more" if len(removal.removed) > 8 else ""
    lines = [f"nothing {word}" if not removal.removed else f"{names}{more} {word}"]
    if removal.blobs:
        lines[0] += f"; {text.counted(removal.blobs, 'blob')} no longer named. {_NEXT}"
    lines += [f"  {kept.version} stays: {kept.why}" for kept in removal.kept[:8]]
    lines += [f"  {len(removal.kept) - 8:,} more stay"] if len(removal.kept) > 8 else []
    return "\n".join(lines)
