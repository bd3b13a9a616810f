"""`mainspring data ingest`, `sources`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec

from mainspring.cli import text
from mainspring.cli.app import Command, Invocation
from mainspring.cli.datasets.options import columns_option
from mainspring.cli.hints import in_options
from mainspring.cli.progress_line import progress_line

if TYPE_CHECKING:
    from mainspring.data.ingestion import Ingested, Progress


@click.command(cls=Command)
@click.argument("source", metavar="PATH|GLOB|URL")
@click.option("--to", "name", required=True, metavar="DATASET", help="The table that rows go into.")
@click.option("--mode", type=click.Choice(["append", "replace", "upsert"]), help="[default: append; upsert with --key]")
@columns_option("--key", help="The key of an upsert")
@click.option(
    "--type", "types", multiple=True, metavar="COLUMN=TYPE", help="A column's type: str, i64, f64, bool, date, …"
)
@click.option(
    "--cursor", default="", metavar="COLUMN", help="SQL, HTTP: a column that only grows; what is new is read."
)
@click.option("--table", default="", help="SQL: the table to read.")
@click.option("--query", default="", help="SQL: the query to read instead of a table.")
@click.option("--records", default="", metavar="PATH", help="HTTP: where a page has its records, e.g. data.items.")
@click.option(
    "--since", default="", metavar="PARAMETER", help="HTTP: the parameter that takes the cursor's last value."
)
@click.option("--token", default="", metavar="secret:env/NAME", help="HTTP: a bearer token.")
@click.option(
    "--format", "format_", type=click.Choice(["csv", "ndjson", "parquet", "excel"]), help="If names don't say it."
)
@click.option("--encoding", help="Of text files, e.g. cp1252.  [default: UTF-8, or what a file's mark says]")
@click.option("--separator", help="Of CSV.  [default: a comma]")
@click.option("--quote", metavar="CHARACTER", help="Of CSV; '' if quotes are plain text.  [default: \"]")
@click.option(
    "--null",
    "null_values",
    multiple=True,
    metavar="TEXT",
    help="Of CSV: a text that means null; may be given several times.",
)
@click.option("--pad", is_flag=True, help="Fill short lines of CSV with nulls instead of refusing them.")
@click.option(
    "--changed",
    type=click.Choice(["again"]),
    help="Append all rows of a file that changed since it was read once more.",
)
@click.option("--sheet", default="", help="Of Excel.  [default: the first]")
@click.option(
    "--schema",
    "schema_file",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Hold what was read to it: it stops the ingest, or sets rows apart.",
)
@click.option("--quarantine", default="", metavar="DATASET", help="Where rows go that checks set apart.")
@click.option("--note", default="", help="Why, for people.")
@click.option("--from-the-beginning", is_flag=True, help="Forget what was read before.")
@click.pass_obj
def ingest(
    invocation: Invocation, /, source: str, name: str, mode: str | None, key: tuple[str, ...], types: tuple[str, ...],
    format_: str | None, encoding: str | None, separator: str | None, quote: str | None, null_values: tuple[str, ...],
    pad: bool, schema_file: str | None, quarantine: str, note: str, from_the_beginning: bool, **given: str | None,
) -> None:  # fmt: skip
    """Read what is new in files, a database, an API or a bucket, and make it a version of a table.

    PATH or GLOB: CSV, JSON lines, Parquet, Excel; gzip, bzip2, xz and Zstandard are undone. URL: sqlite:///…,
    postgresql://…, http(s)://…, s3://…; passwords are references, such as secret:env/NAME. Over HTTP the pages are read that
    `Link` headers name; an API that pages otherwise (by number, offset, token) gives its first page alone here, and all by
    `Http(…, paging=…)` in Python. If it is interrupted, the next call goes on where it was.
    """
    from mainspring.data import Schema
    from mainspring.data.ingestion import forget_cursor
    from mainspring.data.ingestion import ingest as ingest_into
    from mainspring.errors import NotFoundError

    if quarantine and not schema_file:
        raise click.UsageError("--quarantine needs --schema, whose checks say which rows are set apart there.")
    workspace = invocation.start_in(invocation.project)
    options: dict[str, Any] = {option: value for option, value in given.items() if value}
    options |= {"format": format_} if format_ else {}
    said = {"encoding": encoding, "separator": separator, "quote": quote}  # empty ones are said, too
    options |= {option: value for option, value in said.items() if value is not None}
    options |= {"null_values": null_values} if null_values else {}
    options |= {"ragged": "pad"} if pad else {}
    checks = Schema.load(schema_file) if schema_file else None
    if from_the_beginning:
        try:
            forget_cursor(name, source, workspace, **options)
        except NotFoundError:
            click.echo(f"{source} was never read into {name}.", err=True)
    wanted: Any = mode or ("upsert" if key else "append")
    with progress_line(invocation, _line) as progress:
        done = ingest_into(
            source, to=name, mode=wanted, key=key, types=column_types(types), checks=checks, quarantine=quarantine, note=note,
            workspace=workspace, progress=progress, **options,
        )  # fmt: skip
    invocation.show(_document(done), lambda: _said(done, name, wanted))


@click.command(cls=Command)
@click.argument("name", metavar="[DATASET]", default="")
@click.pass_obj
def sources(invocation: Invocation, name: str) -> None:
    """List what was ingested into DATASET, or into any, and how far each source was read.

    Also what was read and isn't committed: that ingest runs, or was interrupted, and
    the next one with the same source and options goes on behind it.
    """
    from mainspring.data.ingestion import list_cursors, list_uncommitted

    found, staged = list_cursors(name, invocation.workspace), list_uncommitted(name, invocation.workspace)
    rows = [
        [each.dataset, each.source, text.moment(each.moved_at), _behind(each.state)][bool(name) :] for each in found
    ]
    rows += [
        [each.dataset, each.source, text.moment(each.staged_at), f"{text.counted(each.rows, 'row')}, not committed"][
            bool(name) :
        ]
        for each in staged
    ]
    head = ["dataset", "source", "read", "up to"][bool(name) :]
    invocation.show(
        {"dataset": name, "sources": msgspec.to_builtins(found), "uncommitted": msgspec.to_builtins(staged)},
        lambda: text.table(head, rows) if rows else f"Nothing was ingested{f' into {name}' if name else ''}.",
    )


def column_types(given: tuple[str, ...], option: str = "--type") -> dict[str, str]:
    """What was given as COLUMN=TYPE, several times."""
    types = {}
    for each in given:
        column, equals, kind = each.partition("=")
        if not (column and equals and kind):
            raise click.BadParameter(f"`{each}` is not COLUMN=TYPE, e.g. delay=f64", param_hint=option)
        types[column] = kind
    return types


def _document(done: Ingested) -> dict[str, Any]:
    return {
        "dataset": msgspec.to_builtins(done.version), "rows": done.rows, "size_bytes": done.size_bytes,
        "resumed_rows": done.resumed_rows, "retries": done.retries, "widened": done.widened,
        "warnings": done.warnings,
        "report": done.report and msgspec.to_builtins(done.report, enc_hook=str) | {"verdict": done.report.verdict},
    }  # fmt: skip


def _said(done: Ingested, name: str, mode: str) -> str:
    version = done.version
    if version is None:
        return f"There was nothing to read; {name} has no version yet."
    told = f"{text.counted(done.rows, 'row') if done.rows else 'no rows'} read, {text.size(done.size_bytes)}"
    read = told if done.rows or done.size_bytes or mode == "replace" else "nothing new"
    lines = [f"{text.bold(str(version))}  {read}; holds {version.amount}, content {text.short(version.content_digest)}"]
    if done.resumed_rows:
        lines.append(
            f"{text.counted(done.resumed_rows, 'row')} of them stood ready from an ingest that was interrupted"
        )
    if done.retries:
        lines.append(f"asked again {text.counted(done.retries, 'time')}")
    lines += [f"{column}: {change}" for column, change in done.widened.items()]
    lines += [
        f"warning: {in_options(warning, click.get_current_context().command.params)}" for warning in done.warnings
    ]
    return "\n".join(lines + (str(done.report).splitlines() if done.report and done.report.failed else []))


def _behind(state: dict[str, Any]) -> str:
    """What a state says to people."""
    if "files" in state:
        return text.counted(len(state["files"]), "file")
    if "offset" in state:
        return f"offset {state['offset']:,}"
    last = state.get("last", state.get("high"))
    return "" if last is None else str(last)


def _line(progress: Progress) -> str:
    total = f" of {text.size(progress.total_bytes)}" if progress.total_bytes is not None else ""
    eta = f", {text.duration(progress.eta_s)} left" if progress.eta_s is not None else ""
    rows = f" of {progress.total_rows:,}" if progress.total_rows is not None else ""
    return f"{progress.rows:,}{rows} rows, {text.size(progress.size_bytes)}{total}{eta}"
