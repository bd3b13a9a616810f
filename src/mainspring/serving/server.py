"""Runs an endpoint's application until it is told to stop."""

from __future__ import annotations

from collections.abc import Callable

from mainspring.serving.app import ServingApp
from mainspring.serving.batching import TIMEOUT_S
from mainspring.web.app import MOST_ENTITIES
from mainspring.web.server import serve_app
from mainspring.workspace import Workspace


def serve(
    workspace: Workspace,
    *endpoints: str,
    host: str | None = None,
    port: int | None = None,
    on_ready: Callable[[str], None] | None = None,
    max_body_bytes: int = 16 << 20,
    replay: bool = False,
    max_entities: int = MOST_ENTITIES,
    timeout_s: float = TIMEOUT_S,
) -> None:
    """Answer for endpoints until SIGTERM or SIGINT; requests that were begun are answered first.

    Paths that name no endpoint, such as `/predict`, are those of the first.

    Host, port and token are those of the settings unless given; port 0 takes a free one. `on_ready` gets the address once
    the model is warm and the socket listens. In a `replay` requests say in `Feature-Time` as of when features are read. A
    request whose features are read has `max_entities` rows at most, and one that the model doesn't answer within `timeout_s` is
    given up.

    Raises:
        NotFoundError: no such endpoint.
        NotAllowedError: the host is not a loopback address, and no token is set.
        ConfigError: the address can't be bound.
    """

    def make(token: str) -> ServingApp:
        return ServingApp(
            workspace, *endpoints, token=token, replay=replay, max_body_bytes=max_body_bytes,
            max_entities=max_entities, timeout_s=timeout_s,
        )  # fmt: skip

    serve_app(workspace.project.settings, make, host=host, port=port, on_ready=on_ready)
