"""`mainspring server`."""

from __future__ import annotations

import click
import msgspec

from mainspring.cli.app import Command, Invocation


@click.command(cls=Command)
@click.option("--host", metavar="ADDRESS", help="Address to bind to; off this machine it needs serve_token.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=5000, show_default=True, metavar="P",
    help="Port to bind to; 0 takes a free one.",
)  # fmt: skip
@click.pass_obj
def server(invocation: Invocation, host: str | None, port: int) -> None:
    """Answer MLflow's clients from this workspace over HTTP until Ctrl-C.

    With --json the first line of stdout is {"url": …}, printed when the server is ready.
    """
    from mainspring.server import serve

    def ready(url: str) -> None:
        if invocation.json:
            click.echo(msgspec.json.encode({"url": url}))
        else:
            click.echo(f'The workspace answers at {url}  (MLflow: mlflow.set_tracking_uri("{url}"))')

    serve(invocation.start_in(invocation.project), host=host, port=port, on_ready=ready)
