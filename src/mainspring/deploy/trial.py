"""Serving a sealed endpoint once, in a process of its own, to see that it answers and what it imports for that.

It is the command that the image runs, asked over HTTP in each protocol, so that what a protocol imports late counts.
"""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Timer
from typing import Any
from urllib.parse import urlsplit

import msgspec

from mainspring.deploy.traced import HIDDEN
from mainspring.errors import MainspringError, shorten
from mainspring.models import example_of, expect_model, inputs_of
from mainspring.serving.sealed import Sealed, write_sealed
from mainspring.workspace import Workspace

_JSON, _ANSWER_S, _TIMEOUT_S = "application/json", 60.0, 300.0
_FOREIGN = ("AIP_", "MAINSPRING_")


class Traced(msgspec.Struct, frozen=True):
    """What a process had: the files of modules by their names, those that are Python's own apart, and its program and shared
    objects as the kernel names them.
    """

    modules: dict[str, str]
    library: dict[str, str] = {}
    mapped: tuple[str, ...] = ()


def traced_of(sealed: Sealed, workspace: Workspace, hidden: Iterable[str] = ()) -> Traced:
    """What serving a sealed endpoint imports, and the shared objects that are then mapped.

    Distributions and top-level modules that are `hidden` are not there for that process.

    It has to be ready, and to answer its example, unless it reads features, which may be away here. What only one of the
    protocols doesn't take is no fault: not every type is a tensor.

    One process answers, so that one report tells all.

    Raises:
        MainspringError: it doesn't.
    """
    with tempfile.TemporaryDirectory(prefix="mainspring-build-") as scratch:
        folder, report, work = (Path(scratch) / name for name in ("sealed", "report.json", "work"))
        write_sealed(sealed, folder, workspace)
        work.mkdir()
        command = [sys.executable, "-P", "-m", "mainspring.deploy.traced", str(report)]
        with subprocess.Popen(
            [*command, "serve", "--workers", "0", "--json", "--host", "127.0.0.1", "--port", "0", str(folder)], cwd=work,
            env=_environment(workspace, hidden), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            bufsize=0,  # what was read ahead of the first line would be lost to `communicate`
        ) as process:  # fmt: skip
            watch = Timer(_TIMEOUT_S, process.kill)
            watch.start()
            try:
                assert process.stdout is not None
                told = process.stdout.readline()
                url = _url(told)
                refused = _asked(sealed, workspace, url) if url else ""
                if url:  # else it ends by itself, after it has said why
                    process.terminate()
                rest, errors = process.communicate()
            finally:
                watch.cancel()
                process.kill()
        name = sealed.endpoint.name
        if refused:
            raise MainspringError(f"`{name}` doesn't answer as an image has to: {shorten(refused, 400)}")
        if not url or not report.is_file():
            raise MainspringError(f"`{name}` can't be served as an image serves it: {_reason(told + rest, errors)}")
        return msgspec.json.decode(report.read_bytes(), type=Traced)


def _url(told: bytes) -> str:
    """Where the server answers, if its first line says so; an error is several lines."""
    try:
        return str(msgspec.json.decode(told, type=dict[str, Any]).get("url", ""))
    except msgspec.MsgspecError:
        return ""


def _reason(told: bytes, errors: bytes) -> str:
    """Why it ended: the error that the command tells in JSON, or else the last line that it wrote."""
    for said in (told, errors):
        with suppress(msgspec.MsgspecError, KeyError):
            return str(msgspec.json.decode(said, type=dict[str, dict[str, str]])["error"]["message"])
    last = errors.decode(errors="replace").strip().rpartition("\n")[2]
    return shorten(last, 400) or f"it took longer than {_TIMEOUT_S:g} s"


def _environment(workspace: Workspace, hidden: Iterable[str]) -> dict[str, str]:
    """This process's, in the language of images, without settings of Mainspring other than where modules and features are."""
    settings = workspace.project.settings
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    return kept | {
        "LC_ALL": "C.UTF-8",  # whose encoding is what is imported
        "MAINSPRING_SOURCE": os.pathsep.join(map(str, workspace.project.source_roots)),
        HIDDEN: " ".join(sorted(hidden)),
        "MAINSPRING_FEATURES": os.pathsep.join(settings.features), "MAINSPRING_ONLINE": str(settings.online),
    }  # fmt: skip


def _asked(sealed: Sealed, workspace: Workspace, url: str) -> str:
    """What was answered otherwise than it has to be; empty if nothing was."""
    expected = ("/ready",) if sealed.reads_features else ("/ready", "/predict")
    requests = _requests(sealed.endpoint.name, _example(sealed, workspace))
    return "; ".join(
        said for path, body in requests for said in _refusals(url, path, body) if path in expected
    )  # fmt: skip


def _example(sealed: Sealed, workspace: Workspace) -> list[Any]:
    _, signature = expect_model(sealed.version)
    return list(inputs_of(example_of(sealed.version, workspace.blobs), signature))


def _requests(name: str, example: list[Any]) -> Iterator[tuple[str, bytes]]:
    """Paths with their bodies; an endpoint without an example is asked for descriptions alone."""
    for path in ("/ready", "/docs", "/openapi.json", "/metrics", f"/v2/models/{name}"):
        yield path, b""
    if example:
        yield "/predict", msgspec.json.encode({"records": example})
        yield "/invocations", msgspec.json.encode({"dataframe_records": example})
        inputs = [_tensor(key, [row.get(key) for row in example]) for key in example[0]]
        yield f"/v2/models/{name}/infer", msgspec.json.encode({"inputs": inputs})


def _tensor(name: str, values: list[Any]) -> dict[str, Any]:
    kinds = {type(value) for value in values if value is not None}
    kind = "BOOL" if kinds == {bool} else "INT64" if kinds == {int} else "FP64" if kinds <= {int, float} else "BYTES"
    return {"name": name, "shape": [len(values)], "datatype": kind, "data": values}


def _refusals(url: str, path: str, body: bytes) -> Iterator[str]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=_ANSWER_S)
    try:
        connection.request("POST" if body else "GET", path, body or None, {"content-type": _JSON} if body else {})
        answer = connection.getresponse()
        said = answer.read()
        if answer.status != http.client.OK:
            yield f"{path} answers {answer.status}: {said.decode(errors='replace')[:300]}"
    except (OSError, http.client.HTTPException) as error:
        yield f"{path}: {error}"
    finally:
        connection.close()
