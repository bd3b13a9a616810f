"""Runs an application on uvicorn until it is told to stop, behind the rule that only loopback needs no token."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from mainspring.config import Settings, check_listen
from mainspring.errors import ConfigError
from mainspring.secrets import is_reference, resolve
from mainspring.web.app import WebApp

_DRAIN_S = 30
_KEEP_ALIVE_S = 75


class _Server(uvicorn.Server):
    """uvicorn, which says when it listens, and tells the application when it drains."""

    def __init__(self, config: uvicorn.Config, app: WebApp, on_listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._app, self._on_listening = app, on_listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_listening()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.is_draining = True
        await super().shutdown(sockets)


def serve_app(
    settings: Settings,
    make: Callable[[str], WebApp],
    *,
    host: str | None = None,
    port: int | None = None,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve what `make` gives for a token until SIGTERM or SIGINT; requests that were begun are answered first.

    Host, port and token are those of the settings unless given; port 0 takes a free one. `on_ready` gets the address once
    the socket listens.

    Raises:
        NotAllowedError: the host is not a loopback address, and no token is set.
        ConfigError: the address can't be bound.
    """
    host = settings.serve_host if host is None else host
    port = settings.serve_port if port is None else port
    if settings.serve_token and not is_reference(settings.serve_token):
        raise ConfigError("`serve_token` takes a secret reference, e.g. secret:env/SERVE_TOKEN, never the token itself")
    token = resolve(settings.serve_token)
    check_listen(host, authenticated=bool(token))
    app = make(token)
    listener = _listener(host, port)
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{listener.getsockname()[1]}"
    with listener, _quiet_signals():
        _Server(_config(app), app, lambda: on_ready(address) if on_ready else None).run(sockets=[listener])


@contextmanager
def serve_aside(app: WebApp) -> Iterator[str]:
    """Serve an application in a thread, on the loopback, until the end of the block; gives its address.

    Raises:
        ConfigError: no port can be listened on.
    """
    ready = threading.Event()
    with _listener("127.0.0.1", 0) as listener:
        # Whoever works in this process did not ask for a server's log.
        server = _Server(_config(app, log_level="warning"), app, ready.set)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="server", daemon=True)
        thread.start()
        ready.wait(_DRAIN_S)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(_DRAIN_S)


def _config(app: WebApp, log_level: str | None = None) -> uvicorn.Config:
    return uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="on", timeout_graceful_shutdown=_DRAIN_S,
        timeout_keep_alive=_KEEP_ALIVE_S, server_header=False, ws="none", proxy_headers=False, log_level=log_level,
    )  # fmt: skip


def _listener(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        return socket.create_server(address[:2], family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"`{host}:{port}` can't be listened on ({getattr(error, 'strerror', None) or error})."
            " Give another with --port; 0 takes a free one."
        ) from error


@contextmanager
def _quiet_signals() -> Iterator[None]:
    """Uvicorn raises the signal that stopped it once more when it is done; a clean stop is no reason to die of it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, was in before.items():
            signal.signal(number, was)
