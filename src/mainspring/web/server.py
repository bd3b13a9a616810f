"""Runs an application on uvicorn until it is told to stop, behind the rule that only loopback needs no token."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from types import FrameType

import uvicorn

from mainspring.config import Settings, check_listen
from mainspring.errors import ConfigError
from mainspring.secrets import is_reference, resolve
from mainspring.web.app import STUCK, WebApp
from mainspring.web.http import Connection
from mainspring.web.link import Link

DRAIN_S = 30.0
"""How long requests that were begun may take when a server stops, unless `serve_drain_s` says otherwise."""
LINGER_S = 5.0
"""How long at most a server that stops takes new connections, and a worker that leaves waits for requests on those it has."""
QUIET_S = 0.25
"""A server to which nothing comes for so long takes no more connections when it stops, and a connection is closed then."""
_KEEP_ALIVE_S = 75
_LONGEST_S = 86_400
_PLATFORM = "platform"
_TICKS = 10  # uvicorn's, of a tenth of a second
_TURN_S = 0.05


class _Server(uvicorn.Server):
    """uvicorn, which says when it listens, and tells the application when it drains.

    What drains answers on each connection for the last time, with `Connection: close`, so that no client sends a request into
    a connection that is being closed. It goes on taking connections until nothing more comes, for `linger_s` at most; those
    that the kernel has taken by then are answered, and others refused. One with a `link` is a worker among others, and leaves
    when its link ends: it takes no more, as others do.

    A second signal ends the process as it is, since a thread that is in a model can't be ended. Not that
    of a worker: its parent kills it, and who signals a whole group of processes tells it twice what is meant once.
    """

    def __init__(
        self, config: uvicorn.Config, app: WebApp, on_listening: Callable[[], None], link: Link | None = None, *,
        drain_s: float = DRAIN_S, linger_s: float = LINGER_S,
    ) -> None:  # fmt: skip
        super().__init__(config)
        self._app, self._on_listening, self._link = app, on_listening, link
        self._drain_s, self._linger_s = drain_s, min(linger_s, drain_s)
        self._leaves = False
        self._answered, self._answered_at = 0, -QUIET_S
        app.under_way = self.server_state.tasks

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self._captured_signals:
            super().handle_exit(sig, frame)
        elif self._link is None:
            os._exit(0)
        self._app.is_draining = True  # so that the next probe is told, whenever uvicorn looks

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
            self._link.beat(is_stuck=self._app.trouble() == STUCK, counted=self._app.counted())
        self._is_busy()
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
        leaves, began = self._leaves, time.monotonic()
        if not leaves:
            await self._wait_while(lambda: self._is_busy() or bool(self._ended(QUIET_S)), began + self._linger_s)
        for listener in sockets or []:
            await self._take_waiting(listener)
        for server in self.servers:
            server.close()
        last_s = LINGER_S if leaves else min(QUIET_S, self._linger_s)
        await self._wait_while(
            lambda: any(not each.is_answering() for each in self._ended(last_s)), time.monotonic() + last_s
        )
        left_s = self._drain_s if leaves else max(0.0, began + self._drain_s - time.monotonic())
        self.config.timeout_graceful_shutdown = left_s  # type: ignore[assignment]  # asyncio gets it, and takes any number
        await super().shutdown(sockets)

    async def _wait_while(self, goes_on: Callable[[], bool], until: float) -> None:
        while (  # noqa: ASYNC110  # uvicorn's set of connections tells nobody when it changes
            goes_on() and time.monotonic() < until
        ):
            await asyncio.sleep(_TURN_S)

    async def _take_waiting(self, listener: socket.socket) -> None:
        """Take the connections that the kernel has taken, which it would reset with the listener that nobody else has."""
        loop, state = asyncio.get_running_loop(), self.lifespan.state
        with suppress(OSError):  # there is none any more
            while True:
                taken, _ = listener.accept()
                await loop.connect_accepted_socket(
                    lambda: Connection(config=self.config, server_state=self.server_state, app_state=state), taken
                )

    def _is_busy(self) -> bool:
        """Whether requests were answered within the last quarter of a second."""
        if self._answered != self.server_state.total_requests:
            self._answered, self._answered_at = self.server_state.total_requests, time.monotonic()
        return time.monotonic() - self._answered_at < QUIET_S

    def _ended(self, quiet_s: float) -> list[Connection]:
        """Close the connections on which nothing came for so long; gives the others."""
        connections = [
            each for each in self.server_state.connections if isinstance(each, Connection) and not each.is_parting
        ]
        quiet = [each for each in connections if each.is_quiet(quiet_s)]
        for each in quiet:
            each.shutdown()
        return [each for each in connections if each not in quiet]

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

    A second one of these signals ends the process at once, with status 0; nothing that the caller has begun is ended by itself.

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
    """Answer on a listening socket until SIGTERM, SIGINT or the end of the link; what was begun may take `drain_s` then.

    Without a link, a second signal ends the process at once.
    """
    with _quiet_signals():
        _Server(_config(app), app, on_listening, link, drain_s=drain_s).run(sockets=[listener])


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


class Aside:
    """An application that is served by a thread of this process, on the loopback, until it is closed or the process ends."""

    def __init__(self, app: WebApp) -> None:
        ready = threading.Event()
        self._listener = _listener("127.0.0.1", 0)
        # Whoever works in this process did not ask for a server's log.
        self._server = _Server(_config(app, log_level="warning"), app, ready.set, linger_s=0)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._listener]}, name="server", daemon=True
        )
        self._thread.start()
        ready.wait(DRAIN_S)
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        """Answer what was begun, and listen no more."""
        self._server.should_exit = True
        self._thread.join(DRAIN_S)
        self._listener.close()


@contextmanager
def serve_aside(app: WebApp) -> Iterator[str]:
    """Serve an application in a thread, on the loopback, until the end of the block; gives its address.

    Raises:
        ConfigError: no port can be listened on.
    """
    with closing(Aside(app)) as aside:
        yield aside.address


def _config(app: WebApp, log_level: str | None = None) -> uvicorn.Config:
    return uvicorn.Config(
        app, http=Connection, log_config=None, access_log=False, lifespan="on", timeout_keep_alive=_KEEP_ALIVE_S,
        server_header=False, ws="none", proxy_headers=False, log_level=log_level,
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
