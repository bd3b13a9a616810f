"""`mainspring data list`, `log`, `tag`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from mainspring.cli import text
from mainspring.cli.app import Command, Invocation
from mainspring.cli.datasets.options import as_of_option

if TYPE_CHECKING:
    from mainspring.data import Dataset, DatasetVersion
    from mainspring.workspace import Workspace


@click.command("list", cls=Command)
@click.argument("reference", default="", metavar="[DATASET[/REF]]")
@as_of_option
@click.pass_obj
def list_all(invocation: Invocation, reference: str, as_of: str | None) -> None:
    """List every dataset's newest version, or all versions of DATASET, up to REF if one is named."""
    from mainspring.data import list_datasets

    workspace = invocation.workspace
    found = _opened(reference, as_of, workspace).versions() if reference else list_datasets(workspace, as_of=as_of)
    invocation.show({"datasets": [msgspec.to_builtins(each) for each in found]}, lambda: _listed(found))


def _listed(found: list[DatasetVersion]) -> str:
    if not found:
        return "No datasets. `mainspring data add FOLDER` makes one of files, `ms.dataset(NAME).commit(frame)` one of rows."
    rows = [
        [
            str(each), each.amount, str(len(each.schema)) if each.kind == "table" else "", text.size(each.size_bytes),
            text.short(each.content_digest), text.moment(each.created_at), _note(each),
        ]
        for each in found
    ]  # fmt: skip
    return text.table(
        ["version", "holds", "columns", "size", "content", "made", "note"], rows, drop=["columns", "content", "size"]
    )


def _note(version: DatasetVersion) -> str:
    return version.note if version.removed_at is None else "(removed)"


@click.command(cls=Command)
@click.argument("reference", metavar="DATASET[/REF]")
@click.option("--limit", type=click.IntRange(min=1), default=30, show_default=True, help="How many versions to list.")
@as_of_option
@click.pass_obj
def log(invocation: Invocation, reference: str, limit: int, as_of: str | None) -> None:
    """List the versions of DATASET, newest first, up to REF if one is named: what changed, who made it, its tags."""
    handle = _opened(reference, as_of, invocation.workspace)
    handle.latest()  # an unknown name is an error, an empty list none
    versions, tags = handle.versions(), handle.tags()
    named = {version: [tag for tag, at in tags.items() if at == version] for version in tags.values()}
    shown = versions[:limit]
    document = [msgspec.to_builtins(each) | {"tags": named.get(each.id, [])} for each in shown]
    sizes = {each.id: each.rows if each.kind == "table" else each.files for each in versions}
    rows = [
        [
            str(each), ", ".join(named.get(each.id, [])), each.amount,
            f"{sizes[each.id] - sizes.get(each.parent or '', 0):+,}", text.short(each.content_digest),
            text.moment(each.created_at), _note(each),
        ]
        for each in shown
    ]  # fmt: skip
    heads = ["version", "tags", "holds", "change", "content", "made", "note"]
    invocation.show(
        {"dataset": handle.name, "versions": document},
        lambda: "\n".join(
            [
                text.table(heads, rows, drop=["content", "change"]),
                *([f"{len(versions) - limit:,} older ones: --limit"] if len(versions) > limit else []),
            ]
        ),
    )


def _opened(reference: str, as_of: str | None, workspace: Workspace) -> Dataset:
    """A dataset, as of the version that is named, looked up as of another if that is named, too."""
    from mainspring.data import dataset
    from mainspring.data.as_of import parted

    name, ref = parted(reference)
    if ref and as_of:
        return dataset(name, workspace, as_of=dataset(name, workspace, as_of=as_of).version(ref))
    return dataset(name, workspace, as_of=ref or as_of)


@click.command(cls=Command)
@click.argument("reference", metavar="DATASET[/REF]")
@click.argument("tag_name", metavar="TAG")
@click.option("--delete", is_flag=True, help="Take the tag away.")
@click.pass_obj
def tag(invocation: Invocation, reference: str, tag_name: str, delete: bool) -> None:
    """Point TAG at a version; REF is a number, another tag, an id or a time, left out the newest."""
    from mainspring.data import dataset
    from mainspring.data.as_of import parted

    name, ref = parted(reference)
    handle = dataset(name, invocation.workspace)
    if delete:
        handle.untag(tag_name)
        invocation.show({"dataset": name, "untagged": tag_name}, f"{name}/{tag_name} is no tag any more")
        return
    before = handle.version(tag_name) if tag_name in handle.tags() else None
    version = handle.tag(ref or "latest", tag_name)
    moved = str(before) if before is not None and before.id != version.id else None
    invocation.show(
        {"dataset": name, "tag": tag_name, "version": msgspec.to_builtins(version), "moved_from": moved},
        f"{name}/{tag_name} is {version}{f', moved from {moved}' if moved else ''}",
    )
