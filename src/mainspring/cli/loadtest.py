"""`mainspring loadtest`."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from mainspring.cli import text
from mainspring.cli.app import Command, Invocation
from mainspring.cli.instants import found_instant

if TYPE_CHECKING:
    from mainspring.serving.loadtest import LoadReport, Step, Target
    from mainspring.serving.loadtest.requests import Protocol, Records

_RATE = click.FloatRange(0, min_open=True)


@click.command(cls=Command)
@click.argument("target", metavar="ENDPOINT|URL")
@click.option("--rate", type=_RATE, metavar="R", help="Requests a second, at one rate; 100 if nothing is said.")
@click.option("--ramp", metavar="A:B", help="Rates from A to B, until a limit breaks.")
@click.option("--steps", type=click.IntRange(2, 1_000), default=10, show_default=True, metavar="N", help="Of the ramp.")
@click.option(
    "--duration", type=_RATE, default=10.0, show_default=True, metavar="SECONDS", help="Of all steps together."
)
@click.option(
    "--limit", "limits", multiple=True, metavar="NAME=MOST", help="p50, p90, p99, p99.9, max, e.g. p99=50ms; errors=1%."
)
@click.option("--data", type=click.Path(dir_okay=False), metavar="FILE", help="Send these records, JSON lines.")
@click.option("--dataset", default="", metavar="NAME[@VERSION]", help="Send rows of this dataset.")
@click.option(
    "--logged", is_flag=True, help="Send again what callers sent to the endpoint, by the log of its predictions."
)
@click.option(
    "--since", default="", metavar="TIME", help="Of --logged: since then, a time, or how long ago, such as 1h."
)
@click.option("--until", default="", metavar="TIME", help="Of --logged: before that.")
@click.option(
    "--rows", type=click.IntRange(1, 100_000), metavar="N", help="In each request; 1, or as logged, if nothing is said."
)
@click.option(
    "--protocol",
    type=click.Choice(["records", "oip"]),
    default="records",
    show_default=True,
    help="JSON, or binary tensors.",
)
@click.option(
    "--connections", type=click.IntRange(1, 900), default=64, show_default=True, metavar="N", help="Kept open."
)
@click.option(
    "--timeout",
    type=_RATE,
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="After which a request is given up.",
)
@click.option("--endpoint", default="", metavar="NAME", help="The endpoint at the URL; its first one if not said.")
@click.option("--workers", type=click.IntRange(1), metavar="N", help="How many processes the server of ENDPOINT has.")
@click.option("--token", default="", metavar="secret:…", help="A reference to the token of the server at the URL.")
@click.option("--for", "wanted", type=_RATE, metavar="RATE", help="Say how many servers this rate needs.")
@click.option(
    "--headroom",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.3,
    show_default=True,
    metavar="SHARE",
    help="Of a server's capacity, left free.",
)
@click.option("--html", "page", type=click.Path(dir_okay=False), metavar="FILE", help="Write a page with the chart.")
@click.option("--history", is_flag=True, help="Show the tests that the version of ENDPOINT was put to.")
@click.pass_context
def loadtest(
    context: click.Context, target: str, ramp: str | None, rate: float | None, steps: int, duration: float,
    limits: tuple[str, ...], data: str | None, dataset: str, logged: bool, since: str, until: str, rows: int | None,
    protocol: Protocol, connections: int, timeout: float, endpoint: str, token: str, wanted: float | None, headroom: float,
    page: str | None, history: bool, workers: int | None,
) -> None:  # fmt: skip
    """Ask a server at given rates, and say what it answers within limits and how many servers a rate needs.

    A server of ENDPOINT is started for that; URL is one that runs. Latency counts from the instant at which a request was
    due, whether or not the server was ready for it. The exit status is 1 if the first step breaks a limit.
    """
    from mainspring.serving.loadtest import keep_load_test, limit_of, load_test, posts, records_of

    invocation: Invocation = context.obj
    if history:
        _show_history(invocation, target)
        return
    if sum(map(bool, (data, dataset, logged))) > 1:
        raise click.UsageError("Say one of --data, --dataset and --logged.")
    if (since or until) and not logged:
        raise click.UsageError("--since and --until are times of --logged.")
    begin, end = found_instant(since, "--since"), found_instant(until, "--until")
    planned, held = _steps(rate, ramp, steps, duration), [limit_of(each) for each in limits]
    is_own = "://" not in target
    with ExitStack() as stack:
        asked = _own(invocation, target, workers, stack) if is_own else _other(target, endpoint, token)
        workspace = invocation.workspace if is_own or dataset or logged else None
        records = records_of(
            asked, file=data, dataset=dataset, logged=logged, since=begin, until=end, workspace=workspace
        )
        requests = posts(asked, records, protocol=protocol, rows=rows)
        report = load_test(
            asked, requests, planned, limits=held, rows=rows or records.rows, protocol="" if asked.path else protocol,
            connections=connections, timeout_s=timeout,
        )  # fmt: skip
    kept = keep_load_test(report, invocation.workspace) if is_own else None
    if page:
        report.write_html(page, rate=wanted, headroom=headroom)
    document = report.document(rate=wanted, headroom=headroom) | {"id": kept, "page": page}
    document["records"] = {"used": len(records), "of": records.total}
    invocation.show(
        document, lambda: "\n".join([*_used(records, data or dataset), _shown(report, wanted, headroom, page)])
    )
    if report.best is None:
        context.exit(1)


def _own(invocation: Invocation, name: str, workers: int | None, stack: ExitStack) -> Target:
    from mainspring.serving import get_endpoint
    from mainspring.serving.loadtest import served

    get_endpoint(name, invocation.workspace)
    options = [] if workers is None else ["--workers", str(workers)]
    return stack.enter_context(served(name, invocation.workspace, *options))


def _other(url: str, endpoint: str, token: str) -> Target:
    from mainspring.secrets import is_reference, resolve
    from mainspring.serving.loadtest import server_at

    if token and not is_reference(token):
        raise click.BadParameter(
            "it takes a reference, e.g. secret:env/NAME, never the token itself", param_hint="--token"
        )
    return server_at(url, endpoint=endpoint, token=resolve(token))


def _steps(rate: float | None, given: str | None, steps: int, duration_s: float) -> list[Step]:
    from mainspring.serving.loadtest import ramp

    if given is None:
        return ramp(rate or 100.0, rate or 100.0, steps=1, duration_s=duration_s)
    low, colon, high = given.partition(":")
    try:
        ends = float(low), float(high)
    except ValueError:
        colon = ""
    if not colon or rate is not None:
        raise click.UsageError("Say --rate R, or --ramp A:B with two rates.")
    return ramp(*ends, steps=steps, duration_s=duration_s)


def _used(records: Records, source: str) -> list[str]:
    """How many records are sent of those that a source has, if it has a number of them."""
    if records.total is None:
        return [f"Requests hold {text.counted(len(records), 'logged record')}."] if records.requests else []
    total = f"{text.counted(records.total, 'record')} of {source}"
    return [
        f"Requests hold the first {len(records):,} of {total}."
        if records.total > len(records)
        else f"Requests hold {total}."
    ]


def _shown(report: LoadReport, wanted: float | None, headroom: float, page: str | None) -> str:
    said = [_table(report), *report.advice(rate=wanted, headroom=headroom)]
    return "\n".join([*said, *([f"The chart is in {page}."] if page else [])])


def _table(report: LoadReport) -> str:
    head, *rows = report.cells()
    return text.table(head, rows, drop=["server cores"])


def _show_history(invocation: Invocation, name: str) -> None:
    from mainspring.serving import get_endpoint
    from mainspring.serving.loadtest import list_load_tests

    version = get_endpoint(name, invocation.workspace).version
    found = list_load_tests(version, invocation.workspace)
    documents: dict[str, Any] = {"load_tests": [each.document() for each in found]}
    parts = [f"{text.moment(each.at)}, {each.version}: {each.conditions}\n{_table(each)}" for each in found]
    invocation.show(documents, "\n\n".join(parts) or "None was made of the version that it serves now.")
