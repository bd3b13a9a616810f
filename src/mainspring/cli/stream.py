"""`mainspring stream`."""

from __future__ import annotations

from contextlib import suppress
from typing import IO, TYPE_CHECKING

import click
import msgspec

from mainspring.cli import text
from mainspring.cli.app import Group, Invocation

if TYPE_CHECKING:
    from mainspring.data.ingestion import StreamIngested
    from mainspring.streams import Appended, Event, EventLog, Stream
    from mainspring.workspace import Workspace

_WAIT_S = 3600.0
_AT_ONCE = 1000


@click.group(cls=Group, default="list")
def stream() -> None:
    """List streams (the same as `stream list`), send events, read them, keep them in a dataset, and take them over HTTP."""


@stream.command("list")
@click.pass_obj
def list_all(invocation: Invocation) -> None:
    """List streams with their last offset, and who has applied them how far."""
    from mainspring.streams import open_log

    found = open_log(invocation.workspace).streams()
    applied = {each.name: _applied(each.name, invocation.workspace) for each in found}
    invocation.show(
        {"streams": [msgspec.to_builtins(each) | {"consumers": applied[each.name]} for each in found]},
        lambda: _listed(found, applied),
    )


def _applied(stream: str, workspace: Workspace) -> dict[str, int]:
    """How far whom has applied a stream: its dataset, views, and consumers of one's own."""
    from mainspring.data.ingestion import ingested_to
    from mainspring.features import fed_to
    from mainspring.streams import OffsetStore

    own = {each.consumer: each.offset for each in OffsetStore(workspace.database).list() if each.stream == stream}
    offset = ingested_to(stream, workspace=workspace)
    return ({"dataset": offset} if offset else {}) | fed_to(stream, workspace) | own


@stream.command("send")
@click.argument("name", metavar="STREAM")
@click.argument("file", type=click.File("rb"), default="-", metavar="[FILE]")
@click.option("--rows", is_flag=True, help="Each object is the data of an event, without anything around it.")
@click.option(
    "--id", "id_field", default="", metavar="FIELD", help="With --rows: the field that says which event it is."
)
@click.option(
    "--time", "time_field", default="", metavar="FIELD", help="With --rows: the field that says when it happened."
)
@click.pass_obj
def send_to(invocation: Invocation, name: str, file: IO[bytes], rows: bool, id_field: str, time_field: str) -> None:
    """Append the events in FILE (or stdin) to STREAM, all or none: JSON or JSON lines, of
    {"id": …, "time": …, "data": {…}}, of which only data is needed, or of CloudEvents.

    An id that the stream has already has no effect, so the same file may be sent again.
    """
    from mainspring.streams import open_log, send
    from mainspring.streams.wire import read_events, read_records

    if (id_field or time_field) and not rows:
        raise click.UsageError("--id and --time name fields of rows; say --rows, too.")
    workspace = invocation.start_in(invocation.project)
    body = file.read()
    if rows:
        appended = send(name, read_records(body), id=id_field, time=time_field, workspace=workspace)
    else:
        appended = open_log(workspace).append(name, read_events(body))
    invocation.show(
        {"stream": name, "events": [msgspec.to_builtins(each) for each in appended]}, lambda: _sent(name, appended)
    )


@stream.command("read")
@click.argument("name", metavar="STREAM")
@click.option(
    "--after",
    type=click.IntRange(0),
    metavar="OFFSET",
    help="Begin behind this offset.  [default: the oldest]",
)
@click.option(
    "--limit", type=click.IntRange(1), metavar="N", help="At most so many.  [default: 1000; none with --follow]"
)
@click.option("--follow", is_flag=True, help="Wait for more until Ctrl-C; with --json a document on each line.")
@click.pass_obj
def read_from(invocation: Invocation, name: str, after: int | None, limit: int | None, follow: bool) -> None:
    """Print the events of STREAM in the order of their offsets."""
    from mainspring.streams import open_log
    from mainspring.streams.wire import shown

    log = open_log(invocation.workspace)
    if follow:
        with suppress(KeyboardInterrupt):
            _follow(invocation, log, name, after, limit)
        return
    found = log.read(name, after, limit or _AT_ONCE)
    invocation.show(
        {"stream": name, "events": [shown(each) for each in found]},
        lambda: "\n".join(map(_line, found)) or f"No events in {name}{f' behind {after}' if after else ''}.",
    )


@stream.command("ingest")
@click.argument("name", metavar="STREAM")
@click.option(
    "--to", default="", metavar="DATASET", help="The table that events go into.  [default: the stream's name]"
)
@click.option(
    "--field", "fields", multiple=True, metavar="NAME=TYPE",
    help="A field of the events' data: str, i64, f64, bool, date, …  [default: what views over the stream declare]",
)  # fmt: skip
@click.option(
    "--quarantine",
    default="",
    metavar="DATASET",
    help="Where events go that don't fit.  [default: DATASET-quarantine]",
)
@click.option(
    "--after", type=click.IntRange(0), default=0, metavar="OFFSET",
    help="Go on behind this offset, up to which events were trimmed.  [default: the last one read]",
)  # fmt: skip
@click.option("--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.pass_obj
def ingest(
    invocation: Invocation, name: str, to: str, fields: tuple[str, ...], quarantine: str, after: int, follow: bool
) -> None:
    """Read the events of STREAM that are new into a table, each once; what doesn't fit is set apart with its reasons."""
    from mainspring.cli.datasets.ingestion import column_types
    from mainspring.cli.following import until_stopped
    from mainspring.data.ingestion import ingest_stream
    from mainspring.features import fields_of

    workspace = invocation.start_in(invocation.project)
    given = column_types(fields, "--field") or fields_of(name, workspace)
    with until_stopped(follow=follow) as stop:
        done = ingest_stream(name, given, to=to, quarantine=quarantine, after=after, follow=stop, workspace=workspace)
    document = {"stream": name, "version": str(done.version) if done.version else None, "events": done.events}
    invocation.show(document | {"apart": done.apart, "offset": done.offset}, lambda: _ingested(done))


@stream.command("serve")
@click.option("--host", metavar="ADDRESS", help="Address to bind to; off this machine it needs serve_token.")
@click.option("--port", type=click.IntRange(0, 65_535), metavar="P", help="Port to bind to; 0 takes a free one.")
@click.pass_obj
def serve_streams(invocation: Invocation, host: str | None, port: int | None) -> None:
    """Take events over HTTP until Ctrl-C: POST /events/STREAM; also /health, /ready, /metrics.

    With --json the first line of stdout is {"url": …}, printed when the server is ready.
    """
    from mainspring.streams import serve

    def ready(url: str) -> None:
        click.echo(msgspec.json.encode({"url": url}) if invocation.json else f"Events are taken at {url}/events/STREAM")

    serve(invocation.start_in(invocation.project), host=host, port=port, on_ready=ready)


def _follow(invocation: Invocation, log: EventLog, name: str, after: int | None, limit: int | None) -> None:
    from mainspring.streams.wire import shown

    left = limit
    while left is None or left > 0:
        end = log.end(name)
        for event in log.read(name, after, _AT_ONCE if left is None else min(left, _AT_ONCE)):
            click.echo(msgspec.json.encode(shown(event)) if invocation.json else _line(event))
            after = event.offset
            left = left if left is None else left - 1
        if left != 0:
            after = end if after is None else after  # what was there is trimmed
            log.wait(name, after, _WAIT_S)


def _line(event: Event) -> str:
    kind = f"  {event.type}" if event.type else ""
    return f"{event.offset}  {text.moment(event.time_us)}  {event.id}{kind}  {event.payload.decode()}"


def _sent(name: str, appended: list[Appended]) -> str:
    new = sum(each.is_new for each in appended)
    known = f", {len(appended) - new:,} were there already" if new < len(appended) else ""
    end = f", up to offset {max(each.offset for each in appended):,}" if appended else ""
    return f"{text.counted(new, 'event')} appended to {name}{end}{known}"


def _ingested(done: StreamIngested) -> str:
    apart = f", {done.apart:,} of them set apart" if done.apart else ""
    where = f"; the newest version is {done.version}" if done.version else ""
    return f"{text.counted(done.events, 'event')} of {done.stream} read{apart}, up to offset {done.offset:,}{where}"


def _listed(found: list[Stream], applied: dict[str, dict[str, int]]) -> str:
    if not found:
        return "No streams. `mainspring stream send STREAM FILE` makes one."
    rows = [
        [
            each.name,
            f"{each.end:,}",
            f"{each.trimmed:,}" if each.trimmed else "",
            text.moment(each.received_us),
            ", ".join(f"{name} {offset:,}" for name, offset in applied[each.name].items()),
        ]
        for each in found
    ]
    return text.table(["stream", "events", "trimmed to", "last", "applied by"], rows, drop=["trimmed to", "applied by"])
