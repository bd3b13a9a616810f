"""`mainspring features materialize` and `feed`: features into the online store."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
import msgspec

from mainspring.cli import text
from mainspring.cli.app import Command, Invocation
from mainspring.cli.following import until_stopped
from mainspring.errors import MainspringError

if TYPE_CHECKING:
    from mainspring.features import Fed, Materialized

_VIEWS = click.argument("views", nargs=-1, metavar="[VIEW]...")


@click.command("materialize", cls=Command)
@_VIEWS
@click.option(
    "--until", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"]), metavar="TIME",
    help="Rows that were true and known by then; UTC if it has no zone.  [default: now]",
)  # fmt: skip
@click.option(
    "--full", is_flag=True, help="Read everything, and remove what the source doesn't hold, also what was pushed."
)
@click.pass_obj
def materialize_views(invocation: Invocation, views: tuple[str, ...], until: datetime | None, full: bool) -> None:
    """Bring what is new in the datasets of VIEW (of all views) into the online store, for each version that models use.

    A view that can't be materialized holds up no other.

    Exit status: 0 if all is done, 1 if a view was not materialized.
    """
    from mainspring.features import iter_materialized

    workspace = invocation.start_in(invocation.project)
    if until is not None and until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    every: list[Materialized] = []

    def show() -> None:
        invocation.show({"views": [msgspec.to_builtins(each) for each in every]}, lambda: _materialized(every))

    try:
        for each in iter_materialized(views or None, until=until, full=full, workspace=workspace):
            every += (each, *each.others)
    except MainspringError:
        if every:
            show()
        raise
    show()


@click.command("feed", cls=Command)
@_VIEWS
@click.option("--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.pass_obj
def feed_views(invocation: Invocation, views: tuple[str, ...], follow: bool) -> None:
    """Bring the events of streams into the online store, for VIEW (all views over streams), each version that models use."""
    from mainspring.features import feed

    workspace = invocation.start_in(invocation.project)
    with until_stopped(follow=follow) as stop:
        found = feed(*views, follow=stop, workspace=workspace)
    invocation.show({"views": [msgspec.to_builtins(each) for each in found]}, lambda: _fed(found))


def _materialized(found: list[Materialized]) -> str:
    if not found:
        return "No views over datasets. `mainspring features feed` brings events of streams."
    rows = [
        [
            each.view, each.source, f"{each.rows:,}", f"{each.stored:,}", f"{each.removed:,}" if each.removed else "",
            f"{each.keyless:,}" if each.keyless else "",
            *("" if at is None else text.moment(at) for at in (each.newest_us, each.until_us)),
        ]
        for each in found
    ]  # fmt: skip
    return text.table(
        ["view", "source", "rows read", "stored", "removed", "without a key", "newest", "known up to"],
        rows,
        drop=["removed", "without a key"],
    )


def _fed(found: list[Fed]) -> str:
    if not found:
        return "No views over streams."
    rows = [
        [
            each.view, each.stream, f"{each.events:,}", f"{each.offset:,}", f"{each.late:,}" if each.late else "",
            f"{each.apart:,}" if each.apart else "",
        ]
        for each in found
    ]  # fmt: skip
    return text.table(
        ["view", "stream", "events", "up to", "too late", "left out"], rows, drop=["too late", "left out"]
    )
