"""`mainspring runs search`, `compare`, `best`, and the options of a search."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mainspring.cli import text
from mainspring.cli.app import Command, Invocation

if TYPE_CHECKING:
    from mainspring.runs import Comparison

FILTER = click.option(
    "--filter", "where", default="", metavar="FILTER",
    help="Only what matches, as `metrics.auc > 0.9 AND params.depth = '3'`.",
)  # fmt: skip
ORDER = click.option(
    "--order-by", multiple=True, metavar="ORDER", help="As `metrics.auc DESC`; may be given several times."
)
_MOST_METRICS = 6  # columns


@click.command(cls=Command)
@click.argument("where", default="", metavar="[FILTER]")
@ORDER
@click.option("--experiment", "experiments", multiple=True, metavar="NAME", help="Only runs of these experiments.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, metavar="N", help="At most so many."
)
@click.option("--cursor", metavar="TEXT", help="What the page before named.")
@click.option("--deleted", is_flag=True, help="Deleted runs instead.")
@click.pass_obj
def search(
    invocation: Invocation, *, where: str, order_by: tuple[str, ...], experiments: tuple[str, ...], limit: int,
    cursor: str | None, deleted: bool,
) -> None:  # fmt: skip
    """Search runs, also those inside others, by `metrics.`, `params.`, `tags.`, `datasets.` and attributes."""
    show_search(
        invocation, where, order_by, experiments=experiments or None, limit=limit, cursor=cursor,
        view="deleted" if deleted else "active",
    )  # fmt: skip


def show_search(invocation: Invocation, where: str, order_by: tuple[str, ...], **options: Any) -> None:
    """Print a page of a search, with the metrics that it names."""
    from mainspring.cli.records import run_record
    from mainspring.runs import Metrics, named_numbers, search_runs

    workspace = invocation.workspace
    page = search_runs(where, order_by=order_by, workspace=workspace, **options)
    latest = Metrics(workspace.metrics).latest_of(run.series for run in page)
    values = [{key: point.value for key, point in latest.get(run.series, {}).items()} for run in page]
    records = [
        run_record(workspace, run) | {"metrics": named_numbers(found)}
        for run, found in zip(page, values, strict=True)
    ]  # fmt: skip
    named = " ".join((where, *order_by))
    names = sorted({key for found in values for key in found}, key=lambda key: (key not in named, key))[:_MOST_METRICS]
    rows = [
        [text.short(run.id), run.name, text.state(record["state"]), *(_number(found.get(name)) for name in names)]
        for run, record, found in zip(page, records, values, strict=True)
    ]
    invocation.show(
        {"runs": records, "cursor": page.cursor},
        lambda: text.table(["run", "name", "state", *names], rows) if rows else "No runs match.",
    )


@click.command(cls=Command)
@click.argument("names", metavar="RUN...", nargs=-1, required=True)
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write a page with curves."
)
@click.option("--max", "more", multiple=True, metavar="METRIC", help="More of this metric is better.")
@click.option("--min", "less", multiple=True, metavar="METRIC", help="Less of this metric is better.")
@click.pass_obj
def compare(
    invocation: Invocation, *, names: tuple[str, ...], html: Path | None, more: tuple[str, ...], less: tuple[str, ...]
) -> None:
    """Put runs side by side: parameters that differ, metrics with the best marked."""
    import msgspec

    from mainspring.runs import compare_runs, named_numbers

    found = compare_runs(
        names, directions={**dict.fromkeys(more, "max"), **dict.fromkeys(less, "min")}, workspace=invocation.workspace
    )
    if html is not None:
        from mainspring.store.named_file import write_named

        write_named(html, found.to_html())
    document = {
        "runs": [{"id": run.id, "name": run.name} for run in found.runs], "params": found.params,
        "metrics": found.metrics, "best": found.best, "html": str(html) if html else None,
    }  # fmt: skip
    invocation.show(msgspec.to_builtins(named_numbers(document)), lambda: _compared(found))


@click.command(cls=Command)
@click.argument("metric")
@click.option("--max", "way", flag_value="max", help="More is better.")
@click.option("--min", "way", flag_value="min", help="Less is better.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=10, show_default=True, metavar="N", help="At most so many."
)
@click.pass_obj
def best(invocation: Invocation, *, metric: str, way: Any, limit: int) -> None:
    """The best runs by METRIC; whether more or less is better its name tells, or an option."""
    from mainspring.runs import best_order

    where, order = best_order(metric, way)
    show_search(invocation, where, (order,), limit=limit)


def _compared(found: Comparison) -> str:
    heads = ["", *(f"{run.name} {text.short(run.id)}" for run in found.runs)]
    params = [[name, *(str(values.get(run.id, "")) for run in found.runs)] for name, values in found.params.items()]
    metrics = [
        [name, *(_marked(values.get(run.id), is_best=found.best.get(name) == run.id) for run in found.runs)]
        for name, values in found.metrics.items()
    ]
    parts = [text.table(["parameter", *heads[1:]], params)] if params else ["No parameter differs."]
    return "\n\n".join([*parts, *([text.table(["metric", *heads[1:]], metrics)] if metrics else [])])


def _marked(value: float | None, *, is_best: bool) -> str:
    return text.bold(f"{_number(value)} *") if is_best else _number(value)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
