"""`mainspring data diff`, `compact`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from mainspring.cli import text
from mainspring.cli.app import Command, Invocation
from mainspring.cli.datasets.options import columns_option

if TYPE_CHECKING:
    from mainspring.data.differences import TableDiff, TreeDiff
    from mainspring.data.version import DatasetVersion

_MOST = 20


@click.command(cls=Command)
@click.argument("old", metavar="DATASET[/REF]")
@click.argument("new", default="", metavar="[DATASET[/REF]]")
@columns_option("--key", help="Compare rows by this column")
@click.option("--exit-code", is_flag=True, help="End with 1 if they differ.")
@click.pass_context
def diff(context: click.Context, old: str, new: str, key: tuple[str, ...], exit_code: bool) -> None:
    """Show how a version differs from an older one: rows and columns of a table, files of a tree.

    With one version named, it is compared with the one before it.
    """
    from mainspring.data import get_dataset_version

    invocation: Invocation = context.obj
    workspace = invocation.workspace
    before, after = (get_dataset_version(ref, workspace) for ref in (old, new or old))
    if not new:
        if after.parent is None:
            raise click.UsageError(f"{after} has no version before it; name another one to compare it with.")
        before = get_dataset_version(after.parent, workspace)
    found = before.diff(after, key or None)
    document = {"old": str(before), "new": str(after), "equal": found.is_empty, "diff": msgspec.to_builtins(found)}
    invocation.show(document, lambda: "\n".join([text.bold(f"{before} → {after}"), *_told(found)]))
    if exit_code and not found.is_empty:
        context.exit(1)


@click.command(cls=Command)
@click.argument("name", default="", metavar="[DATASET]")
@click.pass_obj
def compact(invocation: Invocation, name: str) -> None:
    """Rewrite the newest version of DATASET, or of all, without what it no longer needs; no content changes.

    Small parts of tables, and those from which rows were deleted, become few. Small files of trees move out of packs that hold
    bytes of other files too. Older versions keep what they have until they are removed; `mainspring gc` then frees it.
    """
    from mainspring.data import dataset, list_datasets

    workspace = invocation.workspace
    heads = [dataset(name, workspace).latest()] if name else list_datasets(workspace)
    done = [(head, dataset(head.dataset, workspace).compact()) for head in heads]
    document = [
        {
            "version": str(now), "parts_before": head.parts, "parts": now.parts,
            "rewritten": head.manifest != now.manifest,
        }
        for head, now in done
    ]  # fmt: skip
    lines = [f"{now}: {text.counted(now.parts, 'part')}{_since(head, now)}" for head, now in done]
    invocation.show({"compacted": document}, "\n".join(lines) or "No datasets.")


def _since(head: DatasetVersion, now: DatasetVersion) -> str:
    if head.manifest == now.manifest:
        return " as before"
    return f", before {head.parts:,}" if head.parts != now.parts else ", rewritten"


def _told(found: TableDiff | TreeDiff) -> list[str]:
    from mainspring.data.differences import TableDiff

    if found.is_empty:
        return ["no difference"]
    return _table(found) if isinstance(found, TableDiff) else _tree(found)


def _table(found: TableDiff) -> list[str]:
    by = f" by {', '.join(found.key)}" if found.key else " as whole rows"
    counts = [
        _plus(f"{found.added:,} added"), _minus(f"{found.removed:,} removed"),
        *([_tilde(f"{found.changed:,} changed")] if found.key else []), f"{found.unchanged:,} the same",
    ]  # fmt: skip
    lines = [f"rows{by}: {', '.join(counts)}"]
    if found.reordered:
        lines.append("the same rows stand in another order")
    for change in found.schema:
        if change.old is None:
            lines.append(_plus(f"column {change.name}: {change.new}"))
        elif change.new is None:
            lines.append(_minus(f"column {change.name}: {change.old}"))
        else:
            lines.append(_tilde(f"column {change.name}: {change.old} → {change.new}"))
    for column in found.columns[:_MOST]:
        lines.append(_tilde(f"{column.name}: {text.counted(column.rows, 'row')}"))
        lines += [f"    {key}: {old} → {new}" for key, old, new in column.examples]
    if len(found.columns) > _MOST:
        lines.append(f"{len(found.columns) - _MOST:,} more columns differ")
    lines += [_plus(_row(row)) for row in found.added_examples] + [_minus(_row(row)) for row in found.removed_examples]
    return lines


def _row(row: dict[str, str]) -> str:
    return text.fitted(", ".join(f"{name}={value}" for name, value in row.items()), (text.columns() or 160) - 4)


def _tree(found: TreeDiff) -> list[str]:
    counts = (
        f"{len(found.added):,} added, {len(found.removed):,} removed, {len(found.changed):,} changed,"
        f" {len(found.renamed):,} renamed, {found.unchanged:,} the same"
    )
    files = [
        *(_plus(f"{file.path}  {text.dim(text.size(file.size_bytes))}") for file in found.added),
        *(_minus(file.path) for file in found.removed),
        *(
            _tilde(
                f"{each.new.path}  {text.dim(f'{text.size(each.old.size_bytes)} → {text.size(each.new.size_bytes)}')}"
            )
            for each in found.changed
        ),
        *(_tilde(f"{each.old.path} → {each.new.path}") for each in found.renamed),
    ]
    more = [f"{len(files) - _MOST:,} more: --json lists them"] if len(files) > _MOST else []
    return [f"files: {counts}", *files[:_MOST], *more]


def _plus(line: str) -> str:
    return click.style(f"+ {line}", fg="green")


def _minus(line: str) -> str:
    return click.style(f"- {line}", fg="red")


def _tilde(line: str) -> str:
    return click.style(f"~ {line}", fg="yellow")
