"""What MLflow's unmodified client waits for: against this server, against MLflow's own, in the same run; and raw requests.

Needs the environment of tests/outside (`make test-outside` makes it). `--small` leaves the outside client out.
Budgets: start at most 1 s, first page of 10,000 runs at most 30 ms.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from mainspring.runs import Metric, Metrics, RunStore
from mainspring.testing.processes import start_server
from mainspring.workspace import Workspace

CLIENT = Path(__file__).parents[1] / ".outside" / "mlflow-3.17" / "bin"
SERVER = """
from mainspring.server import serve
from mainspring.workspace import Workspace
serve(Workspace.open(), port=0, on_ready=lambda address: print(address, flush=True))
"""
ASKED = """
import json, statistics, sys, time
import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric
mlflow.set_tracking_uri(sys.argv[1])
client = MlflowClient()
experiment = client.create_experiment("bench")
took = {}
def timed(name, count, call):
    times = []
    for n in range(count):
        began = time.perf_counter()
        call(n)
        times.append((time.perf_counter() - began) * 1000)
    took[name] = statistics.median(times)
timed("create a run", 30, lambda n: client.create_run(experiment))
run = client.create_run(experiment).info.run_id
timed("log_metric", 100, lambda n: client.log_metric(run, "m", 1.0, step=n))
timed("log_batch of 500", 10, lambda n: client.log_batch(run, [Metric("b", 1.0, n, 500 * n + k) for k in range(500)]))
timed("top 10 by a metric", 10, lambda n: client.search_runs([sys.argv[2]], order_by=["metrics.auc DESC"], max_results=10))
from sklearn.linear_model import LogisticRegression
model = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
mlflow.set_experiment("bench")
def log_model(n):
    with mlflow.start_run():
        mlflow.sklearn.log_model(model, name="m", pip_requirements=["scikit-learn"])
timed("log_model", 3, log_model)
print(json.dumps(took))
"""


def filled(folder: Path, count: int) -> None:
    """A workspace with runs that have a metric."""
    with Workspace.open(folder) as workspace:
        runs, metrics = RunStore(workspace.database, workspace.ledger), Metrics(workspace.metrics)
        with workspace.database.transaction() as tx:
            made = [runs.create(tx, kind="mlflow", name=f"run {n}", params={"depth": n % 9}) for n in range(count)]
        metrics.append_many({run.series: [Metric("auc", n / count, 0, n)] for n, run in enumerate(made)})


def asked_ms(address: str, path: str, body: dict[str, Any] | None, times: int) -> float:
    """The median of a raw request on one connection."""
    connection = HTTPConnection(urlsplit(address).netloc)
    took = []
    for _ in range(times):
        began = time.perf_counter()
        connection.request("POST" if body else "GET", path, json.dumps(body) if body else None)
        connection.getresponse().read()
        took.append((time.perf_counter() - began) * 1000)
    connection.close()
    return statistics.median(took)


def posted(address: str, path: str, body: dict[str, Any]) -> Any:
    """The answer to a raw request."""
    request = Request(
        f"{address}/api/2.0/mlflow/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urlopen(request) as answer:
        return json.load(answer)


def memory_mb(pid: int) -> float:
    """What a process has of the memory; nothing where that can't be read."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return float("nan")
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def clients_view(address: str, experiment: str, folder: Path) -> dict[str, float]:
    """Medians in milliseconds as MLflow's client sees them."""
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "HOME": str(folder), "PATH": f"{CLIENT}:/usr/bin:/bin"}
    command = [str(CLIENT / "python"), "-W", "ignore", "-c", ASKED, address, experiment]
    printed = subprocess.run(command, cwd=folder, env=quiet, capture_output=True, text=True, check=True).stdout
    took: dict[str, float] = json.loads(printed.splitlines()[-1])
    return took


def theirs(folder: Path, count: int) -> dict[str, float]:
    """The same of MLflow's own server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    quiet = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "HOME": str(folder),
        "PATH": f"{CLIENT}:/usr/bin:/bin",
    }
    command = [
        str(CLIENT / "mlflow"), "server", "--port", str(port), "--workers", "1", "--backend-store-uri", "sqlite:///m.db",
        "--artifacts-destination", "./files",
    ]  # fmt: skip
    address, began = f"http://127.0.0.1:{port}", time.perf_counter()
    server = subprocess.Popen(
        command, cwd=folder, env=quiet, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        while True:
            try:
                urlopen(f"{address}/health", timeout=5).close()
                break
            except (URLError, OSError):
                time.sleep(0.1)
        took = time.perf_counter() - began
        print(f"MLflow's server: started in {took:.1f} s, {memory_mb(server.pid):.0f} MB (of its first process)")
        for n in range(count):
            run = posted(address, "runs/create", {"experiment_id": "0"})["run"]["info"]["run_id"]
            posted(address, "runs/log-metric", {"run_id": run, "key": "auc", "value": n / count, "timestamp": n})
        return clients_view(address, "0", folder)
    finally:
        os.killpg(server.pid, signal.SIGTERM)  # it has workers of its own
        server.wait()


def main() -> None:
    """Print what our server costs, and then both, as their client sees them."""
    small = "--small" in sys.argv
    count = 200 if small else 10_000
    with tempfile.TemporaryDirectory() as name:
        for place in ("ours", "theirs"):
            (Path(name) / place).mkdir()
        ours = Path(name) / "ours"
        filled(ours, count)
        began = time.perf_counter()
        process, address = start_server(SERVER, ours)
        started = time.perf_counter() - began
        try:
            rest = memory_mb(process.pid)
            page = {"experiment_ids": ["0"], "max_results": 100}
            top = {"experiment_ids": ["0"], "max_results": 10, "order_by": ["metrics.auc DESC"]}
            times = 3 if small else 20
            search = "/api/2.0/mlflow/runs/search"
            floor = asked_ms(address, "/version", None, times)
            print(f"our server: started in {started:.2f} s (budget 1), {rest:.0f} MB at rest (budget 120)")
            first, best = (asked_ms(address, search, body, times) for body in (page, top))
            print(f"first page of {count:,} runs: {first:.1f} ms (budget 30), {first / floor:.0f} x an empty answer")
            print(f"top 10 of {count:,} runs by a metric: {best:.1f} ms, {best / floor:.0f} x an empty answer")
            if small or not CLIENT.exists():
                return
            mine = clients_view(address, "0", ours)
        finally:
            process.terminate()
            process.communicate()
        other = theirs(Path(name) / "theirs", count // 10)
        for what, took in mine.items():
            print(f"{what:20} {took:8.1f} ms; MLflow's server {other[what]:8.1f} ms: {other[what] / took:5.1f} x")
        print(f"(MLflow's top 10 is of {count // 10:,} runs)")


if __name__ == "__main__":
    main()
