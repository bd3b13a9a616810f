"""`mainspring data export`, `import`, `copy`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from mainspring.cli import text
from mainspring.cli.app import Command, Invocation
from mainspring.cli.datasets.bar import progress_bar
from mainspring.errors import InvalidError

if TYPE_CHECKING:
    from mainspring.data import DatasetVersion, Exported
    from mainspring.workspace import Workspace

_OTHERS = (
    ".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".xlsx", ".arrow", ".feather", ".avro", ".orc", ".duckdb", ".db",
    ".sqlite", ".gz", ".zst", ".zip",
)  # fmt: skip
_PARQUET = (".parquet", ".pq")
_FORMATS = click.Choice(["parquet", "delta", "dvc"])


@click.command(cls=Command)
@click.argument("reference", metavar="DATASET[/REF]")
@click.argument("place", metavar="PATH|URL")
@click.option(
    "--format", "form", type=_FORMATS, help="Else by the end of PATH: `.parquet`, `.dvc`; any other is Delta."
)
@click.option(
    "--partition-by", multiple=True, metavar="COLUMN", help="Parquet: folders by its values; several with commas."
)
@click.option("--append", is_flag=True, help="Delta: add the rows to the table that is there.")
@click.option("--force", is_flag=True, help="Write in place of what is there; of a Delta table, as its next version.")
@click.option(
    "--cache", type=click.Path(path_type=Path), metavar="DIR", help="DVC: its cache, if not the repository's."
)
@click.pass_obj
def export(
    invocation: Invocation, reference: str, place: str, form: str | None, partition_by: tuple[str, ...], append: bool,
    force: bool, cache: Path | None,
) -> None:  # fmt: skip
    """Write a version for other tools.

    As one Parquet file or a folder of partitions, as a commit of a Delta table, or into the cache of a DVC repository
    with a `.dvc` file, from which `dvc checkout` writes it.
    """
    from mainspring.data import export_delta, export_dvc, export_parquet, get_dataset_version

    version = get_dataset_version(reference, invocation.workspace)
    form = form or _format_of(place, is_partitioned=bool(partition_by))
    _expect(form, parquet=bool(partition_by), delta=append, dvc=cache is not None)
    if version.kind == "tree" and form != "dvc":
        hint = f"`mainspring data checkout {version} {place}` writes its files, `--format dvc` gives them to DVC."
        raise InvalidError("dataset", str(version), "a table", hint)
    columns = [each for given in partition_by for each in ([given] if given in version.columns else given.split(","))]
    with progress_bar("exporting", invocation) as progress:
        if form == "parquet":
            written = export_parquet(version, place, partition_by=columns, overwrite=force)
        elif form == "delta":
            written = export_delta(version, place, mode="append" if append else "overwrite" if force else "error")
        else:
            written = export_dvc(version, place, cache=cache, overwrite=force, progress=progress)
    document = {"version": msgspec.to_builtins(version), "exported": msgspec.to_builtins(written)}
    invocation.show(document, lambda: _told(version, written, appended=append))


@click.command("import", cls=Command)
@click.argument("source", metavar="PATH|URL")
@click.option("--to", "name", required=True, metavar="NAME", help="The dataset to make a version of.")
@click.option("--format", "form", type=_FORMATS, help="Else by what is there.")
@click.option(
    "--pin", is_flag=True, help="Delta: leave the rows there, and record their digest and the table's version."
)
@click.option(
    "--delta-version", type=click.IntRange(min=0), metavar="N", help="Delta: that version instead of the newest."
)
@click.option("--append", is_flag=True, help="Put the rows behind those of the newest version.")
@click.option("--out", default="", metavar="PATH", help="DVC: one of several outputs.")
@click.option(
    "--cache", type=click.Path(path_type=Path), metavar="DIR", help="DVC: its cache, if not the repository's."
)
@click.option("--note", default="", help="Why, for people.")
@click.pass_obj
def import_from(
    invocation: Invocation, source: str, name: str, form: str | None, pin: bool, delta_version: int | None, append: bool,
    out: str, cache: Path | None, note: str,
) -> None:  # fmt: skip
    """Make a version of what other tools keep.

    PATH is a Parquet file, glob or folder, a Delta table (also by its URL), or a `.dvc` file, whose objects are in DVC's
    cache.
    """
    from mainspring.data import import_delta, import_dvc, import_parquet, pin_delta

    workspace = invocation.start_in(invocation.project)
    form = form or _kind_of(source)
    _expect(form, delta=pin or delta_version is not None, dvc=bool(out) or cache is not None)
    if append and (pin or form == "dvc"):
        raise click.UsageError("`--append` is for rows that are copied, from Parquet or Delta Lake.")
    with progress_bar("importing", invocation) as progress:
        if form == "parquet":
            version = import_parquet(
                name, source, mode="append" if append else "replace", note=note, workspace=workspace
            )
        elif form == "dvc":
            version = import_dvc(
                name, source, cache=cache, out=out, note=note, workspace=workspace, progress=progress
            )  # fmt: skip
        elif pin:
            version = pin_delta(name, source, version=delta_version, note=note, workspace=workspace)
        else:
            mode: Any = "append" if append else "replace"
            version = import_delta(name, source, version=delta_version, mode=mode, note=note, workspace=workspace)
    where = f", pinned to {version.pinned.uri}" if version.pinned else ""
    invocation.show(
        {"version": msgspec.to_builtins(version)}, lambda: f"{text.bold(str(version))} holds {version.amount}{where}"
    )


@click.command(cls=Command)
@click.argument("reference", metavar="DATASET[/REF]")
@click.option(
    "--to", "target", required=True, metavar="DIR|PROFILE", help="A project's folder, or a profile of this one."
)
@click.option("--name", default="", metavar="NAME", help="What the dataset is called there, if not the same.")
@click.option("--note", help="In place of the version's own note.")
@click.pass_obj
def copy(invocation: Invocation, reference: str, target: str, name: str, note: str | None) -> None:
    """Copy a version to another workspace.

    What is there already is not sent again. The content is read over there and held to its digest before the version
    counts; its lineage leads to the version here.
    """
    from mainspring.data import copy_version, get_dataset_version

    version = get_dataset_version(reference, invocation.workspace)
    with _opened(invocation, target) as to, progress_bar("copying", invocation) as progress:
        copied = copy_version(version, to, name=name, note=note, progress=progress)
        place = str(to.project.root)
    document = {"from": msgspec.to_builtins(version), "version": msgspec.to_builtins(copied), "project": place}
    invocation.show(document, lambda: f"{version} is {text.bold(str(copied))} in {target}, {copied.amount}")


def _opened(invocation: Invocation, target: str) -> Workspace:
    from mainspring.workspace import Workspace, find_project

    if Path(target).expanduser().is_dir():
        project = find_project(Path(target).expanduser())
    else:
        project = find_project(invocation.start, profile=target, file=invocation.file)
    return Workspace.open(project=project)


def _format_of(place: str, *, is_partitioned: bool) -> str:
    if not place.strip() or Path(place).suffix.lower() in _OTHERS:
        raise InvalidError(
            "place", place, "a file that ends in .parquet or .dvc, or a folder for a Delta table",
            "Say another form with --format. For CSV: `dataset(…).to_polars().write_csv(…)`.",
        )  # fmt: skip
    if place.endswith(".dvc"):
        return "dvc"
    return "parquet" if is_partitioned or Path(place).suffix.lower() in _PARQUET else "delta"


def _kind_of(source: str) -> str:
    if source.endswith(".dvc"):
        return "dvc"
    return "delta" if "://" in source or (Path(source) / "_delta_log").is_dir() else "parquet"


def _expect(form: str, **given: bool) -> None:
    """Refuse options of other formats than the one at hand."""
    options = {
        "parquet": "`--partition-by`", "delta": "`--append`, `--pin` and `--delta-version`", "dvc": "`--cache` and `--out`",
    }  # fmt: skip
    for name, is_given in given.items():
        if is_given and name != form:
            raise click.UsageError(f"{options[name]} go with `--format {name}`; this is {form}.")


def _told(version: DatasetVersion, written: Exported, *, appended: bool) -> str:
    files = f" in {text.counted(written.files, 'file')}" if version.kind == "table" else ""
    held = f"{version.amount}{files}, {text.size(written.size_bytes)}"
    place = f"{written.path} ({written.format})"
    told = f"{text.bold(str(version))} is {place}: {held}"
    if appended:
        told = f"{text.bold(str(version))} was added to {place}: {held}"
    if written.table_rows is not None:
        told = f"{told}; the table has {text.counted(written.table_rows, 'row')} now"
    cast = ", ".join(f"{name} to {kind}" for name, kind in written.cast)
    return f"{told}\nCast: {cast}." if cast else told
