"""The program of a model's own process: it loads one version, answers its example once, and then what it is asked.

It ends when the process that serves does, whatever the model is doing then.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import traceback
from collections.abc import Generator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from mainspring.artifacts.project import importing_from
from mainspring.config import Settings
from mainspring.errors import MainspringError, ModelError
from mainspring.models import Predictor, example_of, get_model_version, inputs_of, load_onnx
from mainspring.runners.worker import end_with_parent
from mainspring.serving.failures import said_by, sendable
from mainspring.serving.isolation.wire import Asked, Order, Told, columns_of, encode, receive, send, send_encoded
from mainspring.serving.warming import warmed_up
from mainspring.workspace import Project, Workspace, using


def main(line: socket.socket, parent: int) -> None:
    """Obey until the other side is gone.

    Raises:
        SystemExit: the process that serves, `parent`, has ended already.
    """
    end_with_parent(parent)  # it may have, while this one imported what it needs
    line.set_inheritable(False)  # processes of the model must not keep it open
    os.dup2(2, 1)  # what the model prints is for the log
    sys.stdout = sys.stderr  # which keeps back no line that was not written yet when the process ends at once
    order = receive(line, Order)
    frames: SimpleQueue[Asked] = SimpleQueue()
    threading.Thread(target=_read, args=(line, frames), name="asked", daemon=True).start()
    folders = [Path(folder) for folder in order.folders]
    project = Project(Path(order.root), Settings.load(Path(order.root), overrides=order.settings))
    with importing_from(folders), Workspace.open(project=project) as workspace, using(workspace):
        try:
            predictor = _loaded(order, workspace)
        except ModelError as error:
            send(line, Told(error=error.kind, message=error.message, trace=error.trace, where=error.where))
            return
        except BaseException as error:  # noqa: BLE001  # a module of the project may raise anything; it is told to who serves
            kind, said = type(error).__name__, said_by(error)
            message = said if isinstance(error, MainspringError) else ": ".join(filter(None, [kind, said]))
            send(line, Told(error=kind, message=message))
            return
        send(line, Told(predictor.streams))
        _answer(line, frames, predictor)


def _loaded(order: Order, workspace: Workspace) -> Predictor:
    version = get_model_version(order.version, workspace)
    if order.runtime == "onnx":
        predictor = load_onnx(version, workspace)
    else:
        predictor = Predictor.load(version, workspace.blobs, workspace=workspace)
    example = inputs_of(example_of(version, workspace.blobs), predictor.signature)
    if example:
        warmed_up(str(version), lambda: predictor(example))  # its first call is slower than those to come
    return predictor


def _answer(line: socket.socket, frames: SimpleQueue[Asked], predictor: Predictor) -> None:
    streams: dict[int, Generator[Any, None, None]] = {}
    while True:
        send_encoded(line, _told(frames.get(), predictor, streams))


def _read(line: socket.socket, frames: SimpleQueue[Asked]) -> None:
    """Read ahead, so that the other side's end is noticed while the model is loaded, and while it works."""
    try:
        while True:
            frames.put(receive(line, Asked))
    except (EOFError, OSError):
        os._exit(0)


def _told(given: Asked, predictor: Predictor, streams: dict[int, Generator[Any, None, None]]) -> bytes:
    """What is sent: the answer, or what was raised, by the model or because there is no form for what it answered."""
    try:
        if given.stream:
            return encode(_part(given, predictor, streams))
        return encode(Told(predictor.answer(columns_of(given), given.rows)))
    except BaseException as error:  # noqa: BLE001  # a model may raise anything; it is told to who asked
        said, trace = said_by(error), sendable(traceback.format_exc())
        return encode(Told(error=type(error).__name__, message=said, trace=trace))


def _part(given: Asked, predictor: Predictor, streams: dict[int, Generator[Any, None, None]]) -> Told:
    """The next part of an answer; the rows come with the question for the first."""
    if given.rows:
        streams[given.stream] = predictor.stream(columns_of(given))
    if given.ends:
        stream = streams.pop(given.stream, None)
        if stream is not None:
            stream.close()
        return Told()
    for part in streams[given.stream]:
        return Told(part, has_more=True)
    del streams[given.stream]
    return Told()


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]))
