"""`mainspring data`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec

from mainspring.cli import text
from mainspring.cli.app import Group, Invocation

if TYPE_CHECKING:
    from mainspring.data import DatasetVersion
    from mainspring.data.version import Source

_MOST_ROWS = 200


_HOME = "mainspring.cli.datasets."
COMMANDS = {
    "add": (f"{_HOME}trees:add", "Make a version of a file or folder, and a pointer for Git."),
    "status": (f"{_HOME}trees:status", "Say what differs from the versions that pointers name."),
    "checkout": (f"{_HOME}trees:checkout", "Write a version's files into a folder."),
    "open": (f"{_HOME}trees:open_file", "Print one file of a version."),
    "log": (f"{_HOME}versions:log", "List the versions of a dataset, newest first, with their tags."),
    "tag": (f"{_HOME}versions:tag", "Point a tag at a version."),
}


@click.group(cls=Group, default="list", lazy=COMMANDS)
def data() -> None:
    """List datasets (the same as `data list`) and look into their versions."""


@data.command("list")
@click.argument("name", default="", metavar="[DATASET]")
@click.pass_obj
def list_all(invocation: Invocation, name: str) -> None:
    """List every dataset's newest version, or all versions of DATASET."""
    from mainspring.data import dataset, list_datasets

    workspace = invocation.workspace
    found = dataset(name, workspace).versions() if name else list_datasets(workspace)
    invocation.show({"datasets": [msgspec.to_builtins(each) for each in found]}, lambda: _listed(found))


@data.command("show")
@click.argument("reference", metavar="DATASET[/N]")
@click.option("--rows", type=click.IntRange(0, _MOST_ROWS), default=5, show_default=True, help="First rows to print.")
@click.pass_obj
def show_one(invocation: Invocation, reference: str, rows: int) -> None:
    """Show a version: its columns, where it came from, its first rows."""
    from mainspring.data import get_dataset_version

    workspace = invocation.workspace
    name = reference.replace("@", "/")
    version = get_dataset_version(name if "/" in name else f"{name}/latest", workspace)
    head = version.scan().head(rows).collect() if rows else None
    document: dict[str, Any] = msgspec.to_builtins(version)
    if head is not None:
        document["head"] = head.to_dicts()
    invocation.show({"dataset": document}, lambda: _shown(version, head))


def _listed(found: list[DatasetVersion]) -> str:
    if not found:
        return "No datasets. A step makes a version by ms.dataset(NAME).commit(frame)."
    rows = [
        [
            str(each), f"{each.rows:,}", str(len(each.schema)), text.size(each.size_bytes), text.short(each.content_digest),
            text.moment(each.created_at), each.note,
        ]
        for each in found
    ]  # fmt: skip
    return text.table(
        ["version", "rows", "columns", "size", "content", "made", "note"], rows, drop=["columns", "content", "size"]
    )


def _shown(version: DatasetVersion, head: Any) -> str:
    shown = text.facts(
        [
            ("version", text.bold(str(version))),
            ("content", text.short(version.content_digest)),
            ("rows", f"{version.rows:,} in {text.counted(version.parts, 'part')}, {text.size(version.size_bytes)}"),
            ("made", f"{text.moment(version.created_at)} by {version.actor}"),
            ("extracted", text.moment(version.extracted_at)),
            ("from", "\n".join(_source(source) for source in version.source)),
            ("columns", _columns(version)),
            ("note", version.note),
        ]
    )
    return shown if head is None else f"{shown}\n\n{_rows(head)}"


def _columns(version: DatasetVersion) -> str:
    width = max((len(name) for name, _ in version.schema), default=0)
    return "\n".join(f"{name.ljust(width)}  {text.dim(dtype)}" for name, dtype in version.schema)


def _rows(head: Any) -> str:
    """The first rows of a table, as many of its columns as the terminal has room for."""
    import polars as pl

    with pl.Config(
        tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True, tbl_rows=_MOST_ROWS,
        tbl_width_chars=text.columns() or 100,
    ):  # fmt: skip
        return str(head)


def _source(source: Source) -> str:
    known = [
        "" if source.kind == "record" else source.kind.removeprefix("source_"),
        text.size(source.size_bytes),
        f"bytes {text.short(source.digest)}" if source.digest else "",
    ]
    said = ", ".join(part for part in known if part)
    return f"{source.uri}  {text.dim(said)}" if said else source.uri
