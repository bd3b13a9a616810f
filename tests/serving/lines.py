"""A project whose model does what models shouldn't, by what it is asked; and real clients of the server that answers for it."""

from __future__ import annotations

import http.client
import importlib
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import msgspec
import numpy as np
import polars as pl

from mainspring.artifacts.project import importing_from
from mainspring.models import register
from mainspring.serving import bind
from mainspring.testing.processes import start_server
from mainspring.workspace import Workspace, using

Answered = TypeVar("Answered")
MODULE = """
import ctypes, os, time
import numpy as np
from sklearn.linear_model import LinearRegression

class Line(LinearRegression):
    def predict(self, rows):
        exec(os.environ.get("LINES_CALL", ""))
        asked = rows[0, 0]
        if asked == -2: raise ValueError("unlucky")
        if asked == -3: return np.zeros(len(rows) + 1)
        if asked == -4: os._exit(9)
        if asked in (-5, -7): open(f"hangs-{os.getpid()}", "w").close()
        if asked == -5: time.sleep(3600)
        if asked == -6: os.kill(os.getpid(), 11)
        if asked == -8:
            open("waits", "w").close()
            while not os.path.exists("goes-on"): time.sleep(0.01)
        if asked == -9: raise KeyboardInterrupt(chr(0) + chr(0xd800))
        if asked == -10: return np.array([2**70] * len(rows), object)
        if asked == -7: ctypes.PyDLL(None).sleep(3600)  # with the interpreter's lock
        return np.where(rows[:, 0] == -1, os.getpid(), super().predict(rows))
"""
PROGRAM = """
from mainspring.serving import serve
from mainspring.workspace import Workspace
serve(Workspace.open(), "lines", port=0, on_ready=lambda address: print(address, flush=True), {options})
"""


class Server(NamedTuple):
    """A server process that answers twice what it is asked."""

    process: subprocess.Popen[str]
    host: str
    port: int

    def connect(self) -> socket.socket:
        return socket.create_connection((self.host, self.port), timeout=10)

    def ask(self, *asked: float, link: http.client.HTTPConnection | None = None) -> tuple[int, Any]:
        """The status and the document that a prediction is answered by."""
        own = link or http.client.HTTPConnection(self.host, self.port, timeout=20)
        try:
            body = msgspec.json.encode([{"x": each} for each in asked])
            own.request("POST", "/predict", body, {"Content-Type": "application/json"})
            answer = own.getresponse()
            return answer.status, msgspec.json.decode(answer.read())
        finally:
            if link is None:
                own.close()

    def get(self, path: str) -> tuple[int, str]:
        own = http.client.HTTPConnection(self.host, self.port, timeout=20)
        try:
            own.request("GET", path)
            answer = own.getresponse()
            return answer.status, answer.read().decode()
        finally:
            own.close()

    def pids(self, count: int) -> set[int]:
        """The processes that answer, once there are so many."""
        found: set[int] = set()
        while len(found) < count:
            found.add(int(self.ask(-1)[1]["predictions"][0]))
        return found


def make_project(folder: Path) -> None:
    """Register the model and bind it."""
    (folder / "mainspring.toml").write_text('name = "lines"\n')
    (folder / "crooked.py").write_text(MODULE)
    sys.path.insert(0, str(folder))
    try:
        with Workspace.open(folder) as workspace, using(workspace), importing_from([folder]):
            model: Any = importlib.import_module("crooked").Line()
            model.fit(np.array([[0.0], [1.0]]), np.array([0.0, 2.0]))
            register(model, "line", input_example=pl.DataFrame({"x": [1.0]}))
            bind("lines", "line@production", version="line/1")
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("crooked", None)


@contextmanager
def served(folder: Path, *, first: str = "", **options: Any) -> Iterator[Server]:
    """A server of the project in a folder, whose process does something first; ended at the end of the block."""
    said = ", ".join(f"{name}={value!r}" for name, value in options.items())
    process, address = start_server(first + PROGRAM.format(options=said), folder)
    url = urlsplit(address)
    try:
        yield Server(process, url.hostname or "", url.port or 0)
    finally:
        process.terminate()
        process.communicate()


def answers_until_killed(
    folder: Path, ask: Callable[[http.client.HTTPConnection], Answered], *, least: int, clients: int
) -> list[Answered]:
    """What a server answered to clients that ask again and again, until it is killed after `least` answers."""
    answers: list[Answered] = []
    enough = threading.Event()

    def go_on(server: Server) -> None:
        link = http.client.HTTPConnection(server.host, server.port, timeout=20)
        with closing(link), suppress(OSError, http.client.HTTPException, ValueError):  # it was killed, perhaps half way
            while True:
                answers.append(ask(link))
                if len(answers) >= least:
                    enough.set()

    with served(folder) as server:
        threads = [threading.Thread(target=go_on, args=(server,)) for _ in range(clients)]
        for thread in threads:
            thread.start()
        assert enough.wait(30)
        server.process.kill()
        server.process.wait()
        for thread in threads:
            thread.join()
    return answers


class Load:
    """Clients that ask for as long as the block lasts, half of them with connections of their own for each request.

    `wrong` are answers that are not what was asked for, `lost` are requests without an answer.
    """

    def __init__(self, server: Server, clients: int = 6) -> None:
        self._server = server
        self._ends = threading.Event()
        self.answered, self.wrong, self.lost = 0, list[str](), list[str]()
        self._threads = [threading.Thread(target=self._ask, args=(each,)) for each in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()

    def wait(self, more: int) -> None:
        """Until so many more were answered."""
        until = self.answered + more
        while self.answered < until:
            self._ends.wait(0.002)

    def _ask(self, client: int) -> None:
        kept = http.client.HTTPConnection(self._server.host, self._server.port, timeout=20)
        with closing(kept):
            for asked in count(client * 1_000_000):
                if self._ends.is_set():
                    return
                self._ask_for(asked, kept if client % 2 else None)
                self._ends.wait(0.004)  # leaves the workers that start meanwhile a processor

    def _ask_for(self, number: int, kept: http.client.HTTPConnection | None) -> None:
        try:
            status, said = self._server.ask(number, link=kept)
        except (OSError, http.client.HTTPException) as error:
            self.lost.append(f"{type(error).__name__} {'kept' if kept else 'own'}")
            if kept is not None:
                kept.close()
            return
        self.answered += 1
        if status != 200 or abs(said["predictions"][0] - 2 * number) > 1e-3:
            self.wrong.append(f"{number}: {status} {said}")
