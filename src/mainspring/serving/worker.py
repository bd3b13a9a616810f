"""One of several processes that answer for endpoints on a socket which their parent listens on (`serving.supervisor`).

A fresh process, told on stdin what to do; it says that it is ready when its models are warm.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

import msgspec

from mainspring.artifacts.project import importing_from
from mainspring.config import Settings
from mainspring.errors import MainspringError
from mainspring.web.link import Link
from mainspring.web.siblings import Siblings
from mainspring.workspace import Project, Workspace, using


class Order(msgspec.Struct, frozen=True):
    """What a worker does: the project with its settings, endpoints, options of the application, and what it inherits.

    `listener` and `link` are descriptors, `figures` is the folder in which workers tell each other what they counted.
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


def work(order: Order) -> None:
    """Answer until the parent ends, or says so."""
    from mainspring.serving.app import ServingApp
    from mainspring.web.server import is_behind, run_app, token_of

    listener, line = socket.socket(fileno=order.listener), socket.socket(fileno=order.link)
    for inherited in (listener, line):
        inherited.set_inheritable(False)  # processes of the model must not keep them open
    link = Link(line, Siblings(Path(order.figures), order.number))
    root = Path(order.root)
    project = Project(root, Settings.load(root, overrides=order.settings))
    try:
        with Workspace.open(project=project) as workspace, using(workspace), importing_from(_paths(order.folders)):
            token = token_of(project.settings, order.host, behind=is_behind(project.settings))
            app = ServingApp(workspace, *order.endpoints, token=token, **order.options)
            app.siblings = link.siblings
            run_app(app, listener, lambda: link.tell("ready"), link)
    except MainspringError as error:
        link.tell(f"error {error}")
        sys.exit(1)


def _paths(folders: list[str]) -> list[Path]:
    return [Path(folder) for folder in folders]


if __name__ == "__main__":
    work(msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Order))
