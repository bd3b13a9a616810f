"""`mainspring serve`."""

from __future__ import annotations

import click
import msgspec

from mainspring.cli.app import Command, Invocation
from mainspring.cli.endpoints import features_of, features_read


@click.command(cls=Command)
@click.argument("endpoint")
@click.option("--host", metavar="ADDRESS", help="Address to bind to; off this machine it needs serve_token.")
@click.option("--port", type=click.IntRange(0, 65_535), metavar="P", help="Port to bind to; 0 takes a free one.")
@click.option(
    "--replay", is_flag=True, help="Let a request say in the header Feature-Time as of when its features are read."
)
@click.option(
    "--max-entities", type=click.IntRange(1), default=10_000, show_default=True, metavar="N",
    help="How many rows a request may have whose features are read.",
)  # fmt: skip
@click.pass_obj
def serve(
    invocation: Invocation, endpoint: str, host: str | None, port: int | None, replay: bool, max_entities: int
) -> None:
    """Answer predictions of ENDPOINT over HTTP until Ctrl-C: /predict, /health, /ready, /metrics.

    With --json the first line of stdout is {"endpoint": …, "url": …}, printed when the server is ready.
    """
    from mainspring.serving import get_endpoint
    from mainspring.serving import serve as serve_endpoint

    def ready(url: str) -> None:
        if invocation.json:
            click.echo(msgspec.json.encode({"endpoint": endpoint, "url": url}))
        else:
            click.echo(f"{endpoint} is ready at {url}  (predictions: POST {url}/predict, what it takes: GET {url}/)")
            read = features_read(features_of(get_endpoint(endpoint, invocation.workspace), invocation.workspace))
            if read:
                click.echo(f"It reads the features of {read}.")

    serve_endpoint(
        invocation.workspace, endpoint, host=host, port=port, on_ready=ready, replay=replay, max_entities=max_entities
    )
