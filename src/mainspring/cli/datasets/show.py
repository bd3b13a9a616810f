"""`mainspring data show`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec

from mainspring.cli import text
from mainspring.cli.app import Command, Invocation
from mainspring.cli.datasets.options import as_of_option

if TYPE_CHECKING:
    from mainspring.data import DatasetVersion
    from mainspring.data.files import TreeProfile
    from mainspring.data.profiles import ColumnProfile, TableProfile
    from mainspring.data.version import Source
    from mainspring.workspace import Workspace

_MOST_ROWS = 200
_MOST_NAMED = 10


@click.command(cls=Command)
@click.argument("reference", metavar="DATASET[/REF]")
@click.option(
    "--rows", type=click.IntRange(0, _MOST_ROWS), default=5, show_default=True, help="First rows, or files, to print."
)
@click.option("--profile", is_flag=True, help="Look into the content: columns' values, or files' types and sizes.")
@click.option(
    "--sheet", type=click.Path(dir_okay=False), metavar="FILE", help="Write a tree's thumbnails to a PNG file."
)
@as_of_option
@click.pass_obj
def show(
    invocation: Invocation, reference: str, rows: int, profile: bool, sheet: str | None, as_of: str | None
) -> None:  # fmt: skip
    """Show a version: what it holds, where it came from, its first rows or files.

    REF is a number, a tag, an id or a time; left out, it is the newest.
    """
    from mainspring.data import get_dataset_version

    workspace = invocation.workspace
    version = get_dataset_version(reference, workspace, as_of=as_of)
    rows = rows if version.removed_at is None else 0
    found = version.profile() if profile or sheet else None
    tags = _tags(version, workspace, as_of)
    told = _told(version, tags, workspace)
    document: dict[str, Any] = msgspec.to_builtins(version) | {"tags": tags}
    if found is not None:
        document["profile"] = msgspec.to_builtins(found)
        if sheet:
            _write_sheet(found, sheet)
    if version.kind == "tree":
        files = version.list_files()[:rows] if rows else []
        document["files_shown"] = [msgspec.to_builtins(file) for file in files]
        body = [*([_files(files, version.files)] if files else []), *_collisions(version)]
    else:
        head = version.scan().head(rows).collect() if rows else None
        document |= {} if head is None else {"head": head.to_dicts()}
        body = [] if head is None else [_rows(head)]
    shown = [told, *([_profiled(found)] if profile else []), *body]
    invocation.show({"dataset": document}, lambda: "\n\n".join(shown))


def _told(version: DatasetVersion, tags: list[str], workspace: Workspace) -> str:
    parts = f" in {text.counted(version.parts, 'part')}" if version.kind == "table" else ""
    return text.facts(
        [
            ("version", text.bold(str(version))),
            ("tags", ", ".join(tags)),
            ("content", text.short(version.content_digest)),
            ("holds", f"{version.amount}{parts}, {text.size(version.size_bytes)}"),
            ("removed", text.moment(version.removed_at) if version.removed_at is not None else ""),
            ("made", f"{text.moment(version.created_at)} by {version.actor}"),
            ("in", _maker(version, workspace)),
            ("extracted", text.moment(version.extracted_at)),
            ("from", "\n".join(_source(source) for source in version.source)),
            ("follows", _parent(version, workspace)),
            ("columns", _columns(version)),
            ("checks", _checks(version, workspace)),
            ("note", version.note),
        ]
    )


def _tags(version: DatasetVersion, workspace: Workspace, as_of: str | None) -> list[str]:
    from mainspring.data import dataset

    tags = dataset(version.dataset, workspace, as_of=as_of).tags()
    return [tag for tag, at in tags.items() if at == version.id]


def _maker(version: DatasetVersion, workspace: Workspace) -> str:
    """The run or task that committed it, by name."""
    if version.made_by is None:
        return ""
    node = workspace.ledger.nodes([version.made_by]).get(version.made_by)
    return "" if node is None else f"{node.kind} {node.label} {text.dim(text.short(node.id))}"


def _parent(version: DatasetVersion, workspace: Workspace) -> str:
    if version.parent is None:
        return ""
    node = workspace.ledger.nodes([version.parent]).get(version.parent)
    return node.label if node else ""


def _checks(version: DatasetVersion, workspace: Workspace) -> str:
    """What the checks found that it was committed with."""
    from mainspring.data import find_report

    report = find_report(version, workspace)
    if report is None:
        return ""
    failed = "".join(f"\n{result}" for result in report.failed)
    passed = len(report.results) - len(report.failed)
    return f"{report.verdict}: {passed} of {text.counted(len(report.results), 'check')} passed{failed}"


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


def _collisions(version: DatasetVersion) -> list[str]:
    """A warning of files whose names are one where the file system folds case."""
    from mainspring.data.trees.writing import case_collisions

    groups = case_collisions(file.path for file in version.list_files()) if version.removed_at is None else []
    if not groups:
        return []
    named = "; ".join(" and ".join(group) for group in groups[:3])
    said = f"names that differ only in case: {named}{' …' if len(groups) > 3 else ''}"
    return [click.style(f"{said}. A checkout on macOS or Windows can't hold them all.", fg="yellow")]


def _files(files: list[Any], count: int) -> str:
    rows = [
        [
            file.path,
            text.size(file.size_bytes),
            file.media_type if not file.link else f"→ {file.link}",
            file.digest[:12],
        ]
        for file in files
    ]
    table = text.table(["file", "size", "type", "digest"], rows, drop=["digest", "type"])
    return table if count <= len(files) else f"{table}\n… {count - len(files):,} more"


def _profiled(profile: TableProfile | TreeProfile | None) -> str:
    if profile is None:
        return ""
    if hasattr(profile, "columns"):
        rows = [_column(column) for column in profile.columns]
        heads = ["column", "type", "nulls", "distinct", "min", "mean", "max", "most frequent"]
        return text.table(heads, rows, drop=["mean", "distinct"])
    return _tree(profile)


def _column(column: ColumnProfile) -> list[str]:
    top = ", ".join(f"{value} ({count:,})" for value, count in column.top[:3])
    distinct = "" if column.distinct is None else f"{column.distinct:,}"
    numbers = [_number(column.min), _number(column.mean), _number(column.max)]
    return [column.name, column.type, f"{column.nulls:,}", distinct, *numbers, top]


def _number(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else text.one_line(str(value))[:24]


def _tree(profile: Any) -> str:
    media = [[each.media_type, f"{each.files:,}", text.size(each.size_bytes)] for each in profile.media]
    lines = [text.table(["type", "files", "size"], media)]
    if profile.image_sizes:
        sizes = ", ".join(f"{size} ({count:,})" for size, count in list(profile.image_sizes.items())[:_MOST_NAMED])
        lines.append(f"images: {sizes}")
    if not profile.images_checked and any(each.media_type.startswith("image/") for each in profile.media):
        lines.append("images were not looked into: install mainspring[images]")
    shown = profile.broken_images[:_MOST_NAMED]
    lines += [click.style(f"broken: {broken.path}: {broken.problem}", fg="red") for broken in shown]
    left = len(profile.broken_images) - _MOST_NAMED
    return "\n".join([*lines, *([f"… {left:,} more broken images"] if left > 0 else [])])


def _write_sheet(profile: Any, file: str) -> None:
    from mainspring.errors import InvalidError
    from mainspring.store.named_file import write_named

    data = getattr(profile, "contact_sheet", b"")
    if not data:
        raise InvalidError("--sheet", file, "a tree with images", "Thumbnails need the extra mainspring[images].")
    write_named(file, data)


def _source(source: Source) -> str:
    known = [
        "" if source.kind == "record" else source.kind.removeprefix("source_"),
        text.size(source.size_bytes),
        f"{'content' if source.kind == 'source_folder' else 'bytes'} {text.short(source.digest)}"
        if source.digest
        else "",
    ]
    said = ", ".join(part for part in known if part)
    return f"{source.uri}  {text.dim(said)}" if said else source.uri
