"""Runs the application that takes events until it is told to stop."""

from __future__ import annotations

from collections.abc import Callable

from mainspring.streams.app import StreamsApp
from mainspring.streams.opening import open_log
from mainspring.web.server import serve_app
from mainspring.workspace import Workspace


def serve(
    workspace: Workspace, *, host: str | None = None, port: int | None = None,
    on_ready: Callable[[str], None] | None = None, max_body_bytes: int = 16 << 20,
) -> None:  # fmt: skip
    """Take events for the workspace's log until SIGTERM or SIGINT; requests that were begun are answered first.

    Host, port and token are those of the settings unless given; port 0 takes a free one.

    Raises:
        NotAllowedError: the host is not a loopback address, and no token is set.
        ConfigError: the address can't be bound, or the setting `streams` names no log.
    """
    log = open_log(workspace)

    def make(token: str) -> StreamsApp:
        return StreamsApp(log, token=token, max_body_bytes=max_body_bytes)

    serve_app(workspace.project.settings, make, host=host, port=port, on_ready=on_ready)
