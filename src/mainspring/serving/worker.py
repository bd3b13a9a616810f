"""One of several processes that answer for endpoints on a socket which their parent listens on (`serving.supervisor`).

A fresh process, told on stdin what to do; it says that it is ready when its models are warm.
"""

from __future__ import annotations

import socket
import sys
import traceback
from pathlib import Path
from typing import Any

import msgspec

from mainspring.artifacts.project import importing_from
from mainspring.config import Settings
from mainspring.errors import MainspringError
from mainspring.runners.worker import end_with_parent, outlive_parent
from mainspring.secrets import redact
from mainspring.web.link import Link
from mainspring.web.siblings import Siblings
from mainspring.workspace import Project, Workspace, using

_LONGEST = 20_000  # characters that a line takes at once


class Order(msgspec.Struct, frozen=True):
    """What a worker does: the project with its settings, endpoints, options of the application, and what it inherits.

    `listener` and `link` are descriptors, `figures` is the folder in which workers tell each other what they counted, if there
    is one. One whose event loop doesn't turn for `silence_s` ends. `parent` is the process that started it.
    """

    root: str
    settings: dict[str, Any]
    folders: list[str]
    endpoints: list[str]
    options: dict[str, Any]
    host: str | None
    number: int
    listener: int
    link: int
    figures: str
    silence_s: float
    parent: int


class Failure(msgspec.Struct, frozen=True):
    """Why a worker can't start: the error's code, what it says, and where it was raised."""

    code: str
    text: str
    trace: str = ""

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """What an error says, without secrets."""
        code = error.code if isinstance(error, MainspringError) else "unexpected"
        kind = "" if isinstance(error, MainspringError) else type(error).__name__
        text = redact(": ".join(filter(None, [kind, str(error)])))
        trace = "".join(traceback.format_exception(error))
        return cls(code, text[:_LONGEST], redact(trace)[-_LONGEST:])


def work(order: Order) -> None:
    """Answer until the parent ends, or says so.

    Raises:
        SystemExit: the parent has ended already, or the work can't begin; why is told.
    """
    from mainspring.serving.app import ServingApp
    from mainspring.web.server import drain_of, is_behind, run_app, token_of

    end_with_parent(order.parent)  # until it is ready, nothing is in its hands
    listener, line = socket.socket(fileno=order.listener), socket.socket(fileno=order.link)
    for inherited in (listener, line):
        inherited.set_inheritable(False)  # processes of the model must not keep them open
    link = Link(line, Siblings(Path(order.figures) if order.figures else None, order.number), order.silence_s)

    def ready() -> None:
        outlive_parent()  # from now on it leaves when the line ends, after what it has begun
        link.tell("ready")

    root = Path(order.root)
    project = Project(root, Settings.load(root, overrides=order.settings))
    try:
        with Workspace.open(project=project) as workspace, using(workspace), importing_from(_paths(order.folders)):
            token = token_of(project.settings, order.host, behind=is_behind(project.settings))
            app = ServingApp(workspace, *order.endpoints, token=token, **order.options)
            app.siblings = link.siblings
            run_app(app, listener, ready, link, drain_s=drain_of(project.settings))
    except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever the project's code raises, the parent says it
        link.tell(f"error {msgspec.json.encode(Failure.of(error)).decode()}")
        link.end(1)
        sys.exit(1)


def _paths(folders: list[str]) -> list[Path]:
    return [Path(folder) for folder in folders]


if __name__ == "__main__":
    work(msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Order))
