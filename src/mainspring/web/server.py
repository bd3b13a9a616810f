"""Runs an application on uvicorn until it is told to stop, behind the rule that only loopback needs no token."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil

import uvicorn

from mainspring.config import Settings, check_listen
from mainspring.errors import ConfigError
from mainspring.secrets import is_reference, resolve
from mainspring.web.app import WebApp
from mainspring.web.http import Connection
from mainspring.web.link import Link

DRAIN_S = 30.0
"""How long requests that were begun may take when a server stops, unless `serve_drain_s` says otherwise."""
LINGER_S = 5
"""How long a worker that leaves answers on its connections, each for the last time; one idle for longer is closed."""
_KEEP_ALIVE_S = 75
_LONGEST_S = 86_400
_PLATFORM = "platform"
_TICKS = 10  # uvicorn's, of a tenth of a second
_TURN_S = 0.05


class _Server(uvicorn.Server):
    """uvicorn, which says when it listens, and tells the application when it drains.

    One with a `link` is a worker among others, and leaves when its link ends: a connection that is used until then bears
    `Connection: close` in its last answer, so that no client sends a request into a connection that is being closed.
    """

    def __init__(
        self, config: uvicorn.Config, app: WebApp, on_listening: Callable[[], None], link: Link | None = None
    ) -> None:
        super().__init__(config)
        self._app, self._on_listening, self._link = app, on_listening, link
        self._leaves = False
        app.under_way = self.server_state.tasks

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            if self._link is not None:
                self._link.on_end(asyncio.get_running_loop(), self._leave)
            self._on_listening()

    async def on_tick(self, counter: int) -> bool:
        if counter % _TICKS == 0:
            for connection in [*self.server_state.connections]:
                if isinstance(connection, Connection):
                    connection.end_if_overdue(self._app.read_timeout_s, _KEEP_ALIVE_S)
        if self._link is not None and counter % _TICKS == 0:
            self._link.beat(is_stuck=not self._app.is_ready(), counted=self._app.counted())
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.is_draining = True
        if self._link is None:
            await self._drain(sockets)
            return
        beating = asyncio.create_task(self._go_on_beating(self._link))
        await self._drain(sockets)
        beating.cancel()
        self._link.end()

    async def _go_on_beating(self, link: Link) -> None:
        """What drains is watched as before: uvicorn ticks no more."""
        while True:
            link.beat(is_stuck=False, counted=self._app.counted())
            await asyncio.sleep(1)

    async def _drain(self, sockets: list[socket.socket] | None) -> None:
        if self._leaves:
            for server in self.servers:
                server.close()
            until = time.monotonic() + LINGER_S
            while (  # noqa: ASYNC110  # uvicorn's set of connections tells nobody when it changes
                self.server_state.connections and time.monotonic() < until and not self.force_exit
            ):
                await asyncio.sleep(_TURN_S)
        await super().shutdown(sockets)

    def _leave(self) -> None:
        self._leaves = self.should_exit = True


def serve_app(
    settings: Settings,
    make: Callable[[str], WebApp],
    *,
    host: str | None = None,
    port: int | None = None,
    on_ready: Callable[[str], None] | None = None,
    behind: bool = False,
) -> None:
    """Serve what `make` gives for a token until SIGTERM or SIGINT; requests that were begun are answered first.

    Host, port and token are those of the settings unless given; port 0 takes a free one. `on_ready` gets the address once
    the socket listens. `behind` says that a platform authenticates whoever asks.

    Raises:
        NotAllowedError: the host is not a loopback address, and no token is set.
        ConfigError: the address can't be bound.
    """
    app = make(token_of(settings, host, behind=behind))
    with listen(settings, host=host, port=port) as listener:
        address = address_of(settings, listener, host=host)
        run_app(app, listener, lambda: on_ready(address) if on_ready else None, drain_s=drain_of(settings))


def run_app(
    app: WebApp, listener: socket.socket, on_listening: Callable[[], None], link: Link | None = None, *,
    drain_s: float = DRAIN_S,
) -> None:  # fmt: skip
    """Answer on a listening socket until SIGTERM, SIGINT or the end of the link; what was begun may take `drain_s` then."""
    with _quiet_signals():
        _Server(_config(app, drain_s=drain_s), app, on_listening, link).run(sockets=[listener])


def drain_of(settings: Settings) -> float:
    """How long requests that were begun may take when a server stops.

    Raises:
        ConfigError: the setting is no time.
    """
    if not 0 <= settings.serve_drain_s <= _LONGEST_S:
        raise ConfigError(f"`serve_drain_s = {settings.serve_drain_s}`: expected seconds from 0 to {_LONGEST_S:,}")
    return float(settings.serve_drain_s)


def is_behind(settings: Settings) -> bool:
    """Whether a platform authenticates requests before they come here, as `serve_authentication` declares.

    Raises:
        ConfigError: the setting is neither `token` nor `platform`.
    """
    if settings.serve_authentication not in ("token", _PLATFORM):
        given = settings.serve_authentication
        raise ConfigError(f"`serve_authentication = {given!r}`: expected `token` or `platform`")
    return bool(settings.serve_authentication == _PLATFORM)


def token_of(settings: Settings, host: str | None = None, *, behind: bool = False) -> str:
    """The token that requests must bear, or "".

    Raises:
        NotAllowedError: the host is not a loopback address, no token is set, and no platform is declared to authenticate.
        ConfigError: the setting holds the token itself.
    """
    if settings.serve_token and not is_reference(settings.serve_token):
        raise ConfigError("`serve_token` takes a secret reference, e.g. secret:env/SERVE_TOKEN, never the token itself")
    token = resolve(settings.serve_token)
    check_listen(settings.serve_host if host is None else host, authenticated=bool(token) or behind)
    return token


def listen(settings: Settings, *, host: str | None = None, port: int | None = None) -> socket.socket:
    """A socket that listens; host and port are those of the settings unless given, and port 0 takes a free one.

    Raises:
        ConfigError: the address can't be bound.
    """
    return _listener(settings.serve_host if host is None else host, settings.serve_port if port is None else port)


def address_of(settings: Settings, listener: socket.socket, *, host: str | None = None) -> str:
    """The URL that a listening socket is reached at."""
    host = settings.serve_host if host is None else host
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listener.getsockname()[1]}"


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
        ready.wait(DRAIN_S)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(DRAIN_S)


def _config(app: WebApp, log_level: str | None = None, *, drain_s: float = DRAIN_S) -> uvicorn.Config:
    return uvicorn.Config(
        app, http=Connection, log_config=None, access_log=False, lifespan="on", timeout_graceful_shutdown=ceil(drain_s),
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
