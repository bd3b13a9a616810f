"""Runs the application that serves features until it is told to stop."""

from __future__ import annotations

from collections.abc import Callable

from mainspring.features.server.app import FeaturesApp
from mainspring.web.app import MOST_ENTITIES
from mainspring.web.server import serve_app
from mainspring.workspace import Workspace

FEAST_PORT = 6566  # where Feast's clients look for a server


def serve(
    workspace: Workspace, *, host: str | None = None, port: int = FEAST_PORT,
    on_ready: Callable[[str], None] | None = None, max_body_bytes: int = 16 << 20, max_entities: int = MOST_ENTITIES,
) -> None:  # fmt: skip
    """Serve the workspace's features until SIGTERM or SIGINT; requests that were begun are answered first.

    Host and token are those of the settings unless given; port 0 takes a free one. A request is for `max_entities` at most.

    Raises:
        NotAllowedError: the host is not a loopback address, and no token is set.
        ConfigError: the address can't be bound.
    """

    def make(token: str) -> FeaturesApp:
        return FeaturesApp(workspace, token=token, max_body_bytes=max_body_bytes, max_entities=max_entities)

    serve_app(workspace.project.settings, make, host=host, port=port, on_ready=on_ready)
