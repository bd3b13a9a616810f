"""`mainspring serve`."""

from __future__ import annotations

import os
import sys

import click
import msgspec

from mainspring.cli.app import Command, Invocation
from mainspring.cli.endpoints import features_of, features_read


@click.command(cls=Command)
@click.argument("endpoints", nargs=-1, metavar="[ENDPOINT|PATH]...")
@click.option("--host", metavar="ADDRESS", help="Address to bind to; off this machine it needs serve_token.")
@click.option("--port", type=click.IntRange(0, 65_535), metavar="P", help="Port to bind to; 0 takes a free one.")
@click.option(
    "--replay", is_flag=True, help="Let a request say in the header Feature-Time as of when its features are read."
)
@click.option(
    "--max-entities", type=click.IntRange(1), default=10_000, show_default=True, metavar="N",
    help="How many rows a request may have whose features are read.",
)  # fmt: skip
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(0.001), default=30.0, show_default=True, metavar="SECONDS",
    help="After which a request that the model has not answered is given up, with a 504.",
)  # fmt: skip
@click.option(
    "--workers", type=click.IntRange(0), default=1, show_default=True, metavar="N",
    help="How many processes answer; one that dies or hangs is replaced, and SIGHUP replaces all, one after another."
    " With 0 this process answers, and nobody watches it.",
)  # fmt: skip
@click.pass_obj
def serve(
    invocation: Invocation, endpoints: tuple[str, ...], host: str | None, port: int | None, replay: bool,
    max_entities: int, timeout_s: float, workers: int,
) -> None:  # fmt: skip
    """Answer predictions of each ENDPOINT over HTTP until Ctrl-C.

    PATH is an ONNX file or an MLflow model's folder, which is registered and bound to an endpoint of its name, or an endpoint
    that was sealed for an image. Without any, it is the endpoint of the setting `serve_endpoint`. The port, and the paths of
    probes and predictions, may come from Vertex AI's variables AIP_HTTP_PORT, AIP_HEALTH_ROUTE and AIP_PREDICT_ROUTE.

    In the Open Inference Protocol v2 (/v2/models/ENDPOINT/infer), in MLflow's scoring protocol (/invocations/ENDPOINT) and for
    people (/predict/ENDPOINT, /docs); /predict and /invocations are the first endpoint's. With --json the first line of stdout
    is {"endpoint": …, "url": …}, printed when the server is ready.
    """
    from mainspring.serving import get_endpoint
    from mainspring.serving import serve as serve_endpoint
    from mainspring.serving.contract import contract_of
    from mainspring.serving.elsewhere import endpoints_for, is_model_path

    contract = contract_of(os.environ)
    endpoints = endpoints or tuple(filter(None, [invocation.project.settings.serve_endpoint]))
    if not endpoints:
        raise click.UsageError("Name an ENDPOINT or PATH, or set `serve_endpoint`.")
    if any(map(is_model_path, endpoints)):
        invocation.start_in(invocation.project)
    endpoints = endpoints_for(endpoints, invocation.workspace)

    def ready(url: str) -> None:
        try:
            tell(url)
        except BrokenPipeError:  # whoever read it is gone; clients of the server aren't
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), sys.stdout.fileno())
            click.echo(f"Nobody reads stdout. {endpoints[0]} is ready at {url}", err=True)

    def tell(url: str) -> None:
        if invocation.json:
            click.echo(msgspec.json.encode({"endpoint": endpoints[0], "endpoints": endpoints, "url": url}))
            return
        first, *others = endpoints
        click.echo(f"{first} is ready at {url}  (predictions: POST {url}/predict, what it takes: {url}/docs)")
        for name in others:
            click.echo(f"{name} is ready at {url}/predict/{name}")
        for name in endpoints:
            read = features_read(features_of(get_endpoint(name, invocation.workspace), invocation.workspace))
            if read:
                click.echo(f"{name if others else 'It'} reads the features of {read}.")

    serve_endpoint(
        invocation.workspace, *endpoints, host=host, port=contract.port if port is None else port,
        on_ready=ready, replay=replay, max_entities=max_entities, timeout_s=timeout_s, workers=workers or None,
        routes=contract.routes,
    )  # fmt: skip
