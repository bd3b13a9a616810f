"""`mainspring features verify`: served vectors against the offline path."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from mainspring.cli import text
from mainspring.cli.app import Command, Invocation
from mainspring.cli.instants import found_instant
from mainspring.cli.progress_line import progress_line

if TYPE_CHECKING:
    from mainspring.features import ParityReport
    from mainspring.features.parity import Mismatch

_EXAMPLES = 5  # of each feature and cause


@click.command("verify", cls=Command)
@click.argument("service", default="", metavar="[SERVICE]")
@click.option(
    "--since", default="", metavar="TIME", help="Vectors served since then: a time, or how long ago, such as 24h or 7d."
)
@click.pass_obj
def verify_vectors(invocation: Invocation, service: str, since: str) -> int:
    """Recompute the logged vectors of SERVICE (name or NAME/N; of all services) offline, and compare them bit for bit;
    what functions of Python give, within rounding.

    Exit status: 0 if nothing differs, 1 if a vector does, or a service can't be verified.
    """
    from mainspring.features import verify

    workspace = invocation.workspace
    at = found_instant(since, "--since")
    with progress_line(invocation, _line) as progress:
        report = verify(service, since=at, progress=progress, workspace=workspace)
    document = msgspec.to_builtins(report) | {"passed": report.passed, **report.metrics}
    invocation.show(document, lambda: _told(report))
    return int(report.mismatched > 0 or bool(report.failed))


def _line(done: int) -> str:
    return text.counted(done, "vector")


def _told(report: ParityReport) -> str:
    first, *_ = str(report).splitlines()
    if not report.vectors:
        return f"{first} The setting vectors_share says how many are."
    rows = [
        [
            each.service, each.view + (f" ({each.prefix})" if each.prefix else ""), f"{each.verified:,}",
            f"{each.rounded:,}" if each.rounded else "", f"{each.mismatched:,}" if each.mismatched else "",
            f"{unjudged:,}" if (unjudged := each.vectors - each.verified - each.mismatched) else "",
            f"{each.stale:,}" if each.stale else "",
            text.duration(each.behind_us / 1e6) if each.behind_us else "", ", ".join(each.causes),
        ]
        for each in report.views
    ]  # fmt: skip
    headers = [
        "service",
        "view",
        "verified",
        "within rounding",
        "differ",
        "not judged",
        "stale",
        "behind by",
        "likely cause",
    ]
    lines = [first, "", text.table(headers, rows, drop=["behind by", "not judged", "within rounding"])]
    if report.mismatches:
        lines += ["", _examples(report.mismatches)]
    lines += [f"{text.bold(service)} can't be verified: {why}" for service, why in report.failed.items()]
    return "\n".join(lines)


def _examples(mismatches: tuple[Mismatch, ...]) -> str:
    shown: dict[tuple[str, str, str], list[Mismatch]] = {}
    for each in mismatches:
        shown.setdefault((each.service, each.feature, each.cause), []).append(each)
    rows: list[list[str]] = []
    for found in shown.values():
        told = [
            [
                each.feature, ", ".join(f"{name} {value}" for name, value in each.entity.items()),
                text.moment(each.at_us), _value(each.served), _value(each.expected),
                f"{each.cause}: {each.why}" if each.why else str(each.cause),
            ]
            for each in found
        ]  # fmt: skip
        rows += [list(row) for row in dict.fromkeys(map(tuple, told))][:_EXAMPLES]  # rows of one request differ alike
    return text.table(["feature", "entity", "served at", "served", "offline", "why"], rows, drop=["served at"])


def _value(value: object) -> str:
    return "null" if value is None else repr(value)
