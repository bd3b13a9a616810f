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
    """Answer over HTTP from this workspace until Ctrl-C: MLflow's clients, approvals, and services that run elsewhere.

    MLflow's clients record runs, models and files here (/api/2.0/mlflow, docs/mlflow.md). People with a token of `mainspring
    tokens` decide on promotions at /api/1.0/approvals. Services that were declared by `mainspring endpoints outside` log
    predictions at /api/1.0/predictions/ENDPOINT, and labels of any endpoint come to /api/1.0/feedback/ENDPOINT. /health,
    /live, /ready and /metrics are for who watches it. Predictions are answered by `mainspring serve`.

    With --json the first line of stdout is {"url": …}, printed when the server is ready.
    """
    from mainspring.server import serve

    def ready(url: str) -> None:
        if invocation.json:
            click.echo(msgspec.json.encode({"url": url}))
        else:
            click.echo(f'The workspace answers at {url}  (MLflow: mlflow.set_tracking_uri("{url}"))')

    serve(invocation.start_in(invocation.project), host=host, port=port, on_ready=ready)
