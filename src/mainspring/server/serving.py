"""Runs the server of a workspace until it is told to stop."""

from __future__ import annotations

from collections.abc import Callable

from mainspring.server.app import ServerApp
from mainspring.web.server import serve_app
from mainspring.workspace import Workspace

PORT = 5000  # where MLflow's clients expect a server


def serve(
    workspace: Workspace, *, host: str | None = None, port: int = PORT, on_ready: Callable[[str], None] | None = None
) -> None:
    """Serve the workspace until SIGTERM or SIGINT; requests that were begun are answered first.

    Host and token are those of the settings unless given; port 0 takes a free one. `on_ready` gets the address.

    Raises:
        NotAllowedError: the host is not a loopback address, and no token is set.
        ConfigError: the address can't be bound.
    """
    settings = workspace.project.settings
    serve_app(settings, lambda token: ServerApp(workspace, token=token), host=host, port=port, on_ready=on_ready)
