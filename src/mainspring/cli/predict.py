"""`mainspring predict`."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from mainspring.cli import text
from mainspring.cli.app import Command, Invocation
from mainspring.cli.progress_line import progress_line

if TYPE_CHECKING:
    from mainspring.serving import Runtime
    from mainspring.serving.batch import BatchPrediction, BatchProgress


@click.command("predict", cls=Command)
@click.argument("model", metavar="ENDPOINT|MODEL/VERSION")
@click.option(
    "--data", default="", metavar="DATASET|FILE", help="A dataset, e.g. flights/3, or a Parquet, CSV or JSONL file."
)
@click.option("--query", default="", metavar="SQL", help="Predict the rows of a query over the datasets of --from.")
@click.option(
    "--from",
    "tables",
    multiple=True,
    metavar="DATASET",
    help="A dataset that --query names; NAME=DATASET/3 names it so.",
)
@click.option("--to", required=True, metavar="DATASET", help="The dataset that gets the predictions as a version.")
@click.option(
    "--keep",
    default=None,
    metavar="A,B",
    help="Columns kept beside the predictions; at first what the model doesn't take.",
)
@click.option("--column", default="prediction", show_default=True, metavar="NAME", help="The column of predictions.")
@click.option(
    "--runtime",
    type=click.Choice(["native", "onnx"]),
    help="Whether the model answers or its graph; at first as the endpoint, of a version what is faster in large batches.",
)
@click.option(
    "--time", default="", metavar="COLUMN", help="Join features as they were known at this instant; at first as of now."
)
@click.option("--quarantine", default="", metavar="DATASET", help="Set rows that don't fit apart instead of stopping.")
@click.option("--note", default="", metavar="TEXT", help="Kept with the version.")
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="How many parts are answered at once; for a model that uses one core.",
)
@click.pass_obj
def predict(
    invocation: Invocation, model: str, data: str, query: str, tables: tuple[str, ...], to: str, keep: str | None,
    column: str, runtime: Runtime | None, time: str, quarantine: str, note: str, jobs: int,
) -> None:  # fmt: skip
    """Predict all rows of a dataset, a file or a query, as a version of another dataset.

    A job that was interrupted goes on where it was when it is called again, and a dataset that grew has only its new rows
    predicted.
    """
    from mainspring.serving.batch import BatchProgress, predict_batch

    if bool(data) == bool(query):
        raise click.UsageError("Name the rows by --data or by --query.")
    with progress_line(invocation, partial(_line, data or "what the query gives")) as progress:
        if progress is not None:
            progress(BatchProgress(0, 0, None, 0.0, "reading"))  # a query is run here
        given, source = _queried(invocation, query, tables) if query else (_given(data), ())
        done = predict_batch(
            model, given, to=to, keep=None if keep is None else [name for name in keep.split(",") if name], column=column,
            runtime=runtime, time=time, quarantine=quarantine, source=source, note=note, jobs=jobs,
            progress=progress, workspace=invocation.workspace,
        )  # fmt: skip
    invocation.show({"prediction": msgspec.to_builtins(done)}, lambda: _said(done))


def _given(data: str) -> str | Path:
    """A dataset's name, or the path of a file."""
    from mainspring.serving.batch.files import is_file_name

    return Path(data) if is_file_name(data) else data


def _queried(invocation: Invocation, query: str, tables: tuple[str, ...]) -> tuple[Any, Any]:
    from mainspring.data import get_dataset_version, scan_query
    from mainspring.errors import InvalidError

    pairs = [(name, ref or name) for name, _, ref in (table.partition("=") for table in tables)]
    versions = {name: get_dataset_version(ref, invocation.workspace) for name, ref in pairs}
    try:
        return scan_query(query, versions), list(versions.values())
    except InvalidError as error:
        unknown = re.search(r"Table with name (\S+) does not exist", str(error))
        if unknown is None:
            raise
        hint = f"Name the datasets of the query with `--from {unknown[1]}`."
        raise InvalidError("--query", unknown[1], "a table that it has", hint) from error


def _said(done: BatchPrediction) -> str:
    lines = [
        f"{text.bold(str(done.version))}  {text.counted(done.rows, 'row')} predicted by {done.model} ({done.runtime})"
    ]
    if not done.rows + done.apart:
        lines.append("no row came, so the version has its columns alone")
    if done.runtime_reason and done.runtime == "onnx":
        lines.append(f"{done.runtime} is proposed: {done.runtime_reason}")
    if done.reused:
        lines.append(f"{text.counted(done.reused, 'row')} stood ready from an earlier job")
    if done.quarantined is not None:
        lines.append(f"{text.counted(done.apart, 'row')} set apart in {done.quarantined}")
    return "\n".join(lines)


def _line(data: str, progress: BatchProgress) -> str:
    if progress.step == "reading":
        return f"reading {data}"
    rows = f"{progress.rows:,}{f' of {progress.total:,}' if progress.total is not None else ''} rows"
    if progress.step == "stopping":
        return f"stopping when the parts that were begun are done, {rows} so far"
    if progress.step == "committing":
        return f"committing {rows}"
    rate = f", {progress.rows_per_s:,.0f} rows/s" if progress.rows_per_s else ""
    eta = f", {text.duration(progress.eta_s)} left" if progress.eta_s is not None else ""
    return f"{rows}{rate}{eta}"
