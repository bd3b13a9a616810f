"""CPU of a served prediction, over HTTP, against the servers that people have: MLflow, MLServer and BentoML.

The same gradient boosting, one row a request, 16 connections that are kept open, one worker, one thread. The CPU is that of
the server's processes. The others are measured where their environments are (`make test-outside` makes them), with batching and
without. Budget: ours as ONNX takes at least 15 times less than each of them, the scikit-learn model itself at least 6 times.
`--small` runs briefly, `--own` without the others.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
import polars as pl
import psutil
from sklearn.ensemble import HistGradientBoostingClassifier

from mainspring.models import export_onnx, register
from mainspring.serving import bind
from mainspring.workspace import Workspace, using

COLUMNS, CONNECTIONS = 30, 16
BUDGETS = {"mainspring, ONNX": 15, "mainspring": 6}
"""How many times what ours takes the others take at least."""
READY_S = 60.0
OTHERS = Path(__file__).parents[1] / ".outside"
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "BENTOML_DO_NOT_TRACK": "1",
}
ECHO = """
import sys, uvicorn
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    body = (await receive())["body"]
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
uvicorn.run(app, port=int(sys.argv[1]), log_level="error", access_log=False, lifespan="off")
"""
SAVE = """
import joblib, mlflow
mlflow.sklearn.save_model(joblib.load("model.joblib"), "saved", serialization_format="cloudpickle")
"""
SETTINGS = {
    "name": "flights",
    "implementation": "mlserver_sklearn.SKLearnModel",
    "parameters": {"uri": "./model.joblib"},
}
BATCHED = {"max_batch_size": 64, "max_batch_time": 0.001}
BENTO = """
import bentoml, joblib, numpy as np
@bentoml.service(workers=1)
class Flights:
    def __init__(self):
        self.model = joblib.load("model.joblib")
    @bentoml.api(BATCH)
    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self.model.predict_proba(rows)
"""


class Case(NamedTuple):
    """A server to be measured: its command, where it is asked, and with what."""

    name: str
    command: list[str]
    path: str
    body: bytes


def main() -> None:
    """Print microseconds of CPU a request, and how many times those of ours."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        model, rows = fitted(place)
        ours = {case.name: cost_us(case, place) for case in own(place, model, rows)}
        for case in [] if "--own" in sys.argv else others(place, rows[:1].tolist()):
            theirs = cost_us(case, place)
            for name, least in BUDGETS.items():
                print(f"    {theirs / ours[name]:.1f} x {name} (at least {least})", flush=True)


def fitted(place: Path) -> tuple[Any, np.ndarray]:
    """The model, which is also in a file there, and the rows that it was fitted with."""
    rows = np.random.default_rng(0).normal(size=(2_000, COLUMNS))
    model = HistGradientBoostingClassifier(max_iter=50, random_state=0).fit(rows, rows[:, 0] > 0)
    joblib.dump(model, place / "model.joblib")
    return model, rows


def cost_us(case: Case, place: Path) -> float:
    """The median of what a request takes; it is printed."""
    small = "--small" in sys.argv
    with running(case, place) as (port, process):
        costs = [asyncio.run(asked(case, port, process, 20 if small else 400)) for _ in range(1 if small else 5)]
    median = sorted(costs)[len(costs) // 2]
    print(f"{case.name:34} {median:8.1f} µs of CPU a request", flush=True)
    return median


def own(place: Path, model: Any, rows: np.ndarray) -> list[Case]:
    """An echo, and ours with its log: native, and as ONNX."""
    table = pl.DataFrame({f"x{n}": rows[:, n] for n in range(COLUMNS)})
    with Workspace.open(place) as workspace, using(workspace):
        version = register(model, "flights", input_example=table[:5])
        export_onnx(version, rows=table)
        bind("native", "flights@production", version=str(version), runtime="native")
        bind("onnx", "flights@portable", version=str(version), runtime="onnx")
    body = json.dumps({"records": table[:1].to_dicts()}).encode()
    serve = [sys.executable, "-m", "mainspring", "serve"]
    return [
        Case("echo", [sys.executable, "-c", ECHO, "PORT"], "/", body),
        Case("mainspring", [*serve, "native", "--port", "PORT"], "/predict", body),
        Case("mainspring, ONNX", [*serve, "onnx", "--port", "PORT"], "/predict", body),
    ]


def others(place: Path, rows: list[list[float]]) -> Iterator[Case]:
    """Those whose environments are there."""
    folders = {name: OTHERS / name for name in ("mlflow-3.17", "mlserver", "bentoml")}
    made = {name: folder / "bin" for name, folder in folders.items() if (folder / "made-from.txt").exists()}
    if mlflow := made.get("mlflow-3.17"):
        subprocess.run([str(mlflow / "python"), "-c", SAVE], cwd=place, check=True, capture_output=True)
        command = [str(mlflow / "mlflow"), "models", "serve", "-m", "saved", "--env-manager", "local", "-p", "PORT"]
        yield Case("mlflow models serve", command, "/invocations", json.dumps({"inputs": rows}).encode())
    if mlserver := made.get("mlserver"):
        tensor = {"name": "x", "shape": [1, COLUMNS], "datatype": "FP64", "data": rows}
        body = json.dumps({"inputs": [tensor], "outputs": [{"name": "predict_proba"}]}).encode()
        for named, more in (("MLServer", {}), ("MLServer, batching", BATCHED)):
            folder = place / named.replace(", ", "-")
            folder.mkdir()
            (folder / "model.joblib").symlink_to(place / "model.joblib")
            (folder / "model-settings.json").write_text(json.dumps(SETTINGS | more))
            command = [str(mlserver / "python"), "-c", MLSERVER, str(folder), "PORT"]
            yield Case(named, command, "/v2/models/flights/infer", body)
    if bentoml := made.get("bentoml"):
        for named, batch in (("BentoML", ""), ("BentoML, batching", "batchable=True, max_latency_ms=1000")):
            folder = place / named.replace(", ", "-")
            folder.mkdir()
            (folder / "model.joblib").symlink_to(place / "model.joblib")
            (folder / "service.py").write_text(BENTO.replace("BATCH", batch))
            command = [
                str(bentoml / "bentoml"),
                "serve",
                "service:Flights",
                "--working-dir",
                str(folder),
                "--port",
                "PORT",
            ]
            yield Case(named, command, "/predict", json.dumps({"rows": rows}).encode())


MLSERVER = """
import json, pathlib, sys
folder, port = pathlib.Path(sys.argv[1]), int(sys.argv[2])
settings = {"parallel_workers": 0, "http_port": port, "grpc_port": port + 1, "metrics_port": port + 2, "debug": False}
(folder / "settings.json").write_text(json.dumps(settings))
sys.argv = ["mlserver", "start", str(folder)]
from mlserver.cli import main
main()
"""


def free_port() -> int:
    """A port that is free, with the next one, which MLServer takes for gRPC."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            with suppress(OSError, OverflowError):
                second.bind(("0.0.0.0", port + 1))
                return port


@contextmanager
def running(case: Case, place: Path) -> Iterator[tuple[int, psutil.Process]]:
    """The server, once it answers."""
    port = free_port()
    command = [str(port) if part == "PORT" else part for part in case.command]
    path = f"{Path(command[0]).parent}{os.pathsep}/usr/bin{os.pathsep}/bin"
    variables = os.environ | ONE_THREAD | {"PATH": path}
    with open(place / "server.log", "wb") as log:
        process = subprocess.Popen(command, cwd=place, env=variables, stdout=log, stderr=log, start_new_session=True)
    try:
        asyncio.run(answered(case, port, process, place / "server.log"))
        yield port, psutil.Process(process.pid)
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a server and whatever it started, in whichever groups and sessions that is."""
    killed: set[psutil.Process] = set()
    while left := {each for each in started_by(process.pid) if each not in killed}:
        for each in left:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        killed |= left
    process.wait()
    psutil.wait_procs([*killed], READY_S)


def started_by(pid: int) -> set[psutil.Process]:
    """A process, its children with theirs, and those of its session that lost their parents, with theirs."""
    found = set()
    for each in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, ProcessLookupError, PermissionError):
            if each.pid == pid or os.getsid(each.pid) == pid:
                found |= {each, *each.children(recursive=True)}
    return found


async def answered(case: Case, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until it answers as it should."""
    until = time.monotonic() + READY_S
    while True:
        try:
            await requests(case, port, 1)
            return
        except (OSError, RuntimeError, asyncio.IncompleteReadError) as error:
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"{case.name} does not answer: {error}\n{told(log)}") from error
            await asyncio.sleep(0.2)


def told(log: Path) -> str:
    """The last of what a server printed."""
    return log.read_text()[-2_000:]


async def asked(case: Case, port: int, process: psutil.Process, count: int) -> float:
    """Microseconds of CPU a request."""
    before = used_s(process)
    await asyncio.gather(*[requests(case, port, count) for _ in range(CONNECTIONS)])
    return (used_s(process) - before) / count / CONNECTIONS * 1e6


def used_s(process: psutil.Process) -> float:
    """The CPU of a process and of those that it started."""
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return float(sum(each.user + each.system for each in times))


async def requests(case: Case, port: int, count: int) -> None:
    """One connection's requests, one behind the other."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST {case.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(case.body)}\r\n\r\n"
    try:
        for _ in range(count):
            writer.write(head.encode() + case.body)
            status = await reader.readline()
            if b" 200 " not in status:
                raise RuntimeError(f"{case.name}: {status!r}")
            await body_of(reader)
    finally:
        writer.close()


async def body_of(reader: asyncio.StreamReader) -> bytes:
    """The body of an answer, with its length or in chunks."""
    lines = [line.lower() for line in (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")]
    length = next((int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:")), None)
    if length is not None:
        return await reader.readexactly(length)
    found = b""
    while size := int(await reader.readline(), 16):
        found += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return found


if __name__ == "__main__":
    main()
