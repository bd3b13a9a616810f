"""Features for 1, 10, 100 and 1,000 entities, 12 values each: in process, and over HTTP in Feast's shape; and aggregates.

Floors of the same run: bare LMDB (one read transaction with a `get` for each key) and, for HTTP, a raw ASGI echo that decodes
and encodes bodies of the same sizes. Budgets in process: 15 µs for 1 entity, 0.5 ms for 100, p50, of stored values. Aggregates
over 1 h, and over 1 h, 6 h and 7 d, take a `get` for each tile (13 and 242); their floor is that of those. `--small` runs it
briefly.
"""

from __future__ import annotations

import http.client
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import lmdb
import msgspec
import numpy as np
import polars as pl

from mainspring.data import dataset
from mainspring.features import (
    Entity,
    FeatureReader,
    FeatureService,
    FeatureView,
    agg,
    apply,
    get_definition,
    materialize,
)
from mainspring.testing.processes import start_server
from mainspring.workspace import Workspace, using

READS = (1, 10, 100, 1_000)
BUDGETS_US = {1: 15.0, 100: 500.0}
VALUES = 12
SERVER = """
from mainspring.features.server import serve
from mainspring.workspace import Workspace
serve(Workspace.open(), port=0, on_ready=lambda address: print(address, flush=True))
"""
ECHO = """
import msgspec, socket, uvicorn
async def echo(scope, receive, send):
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body")
    told = msgspec.json.encode(msgspec.json.decode(body))
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(told))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": told})
listener = socket.create_server(("127.0.0.1", 0))
print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
uvicorn.Server(uvicorn.Config(echo, log_config=None, access_log=False, lifespan="off")).run(sockets=[listener])
"""


def frame(count: int) -> pl.DataFrame:
    """Entities with 12 values: floats, whole numbers, a flag and a text."""
    random = np.random.default_rng(0)
    values: dict[str, Any] = {f"x{n}": random.normal(size=count) for n in range(6)}
    values |= {f"n{n}": random.integers(0, 1_000, count) for n in range(4)}
    values |= {"flag": random.random(count) < 0.5, "word": [f"word {n % 97}" for n in range(count)]}
    return pl.DataFrame({"user": range(count), "at": [datetime(2013, 1, 1, tzinfo=UTC)] * count, **values})


def measured_us(calls: list[Callable[[], object]], rounds: int) -> list[np.ndarray[Any, Any]]:
    """Microseconds of each round of each call; they take turns."""
    times = np.empty((len(calls), rounds))
    for at in range(rounds):
        for place, call in enumerate(calls):
            began = time.perf_counter()
            call()
            times[place, at] = time.perf_counter() - began
    return list(times * 1e6)


def bare(environment: lmdb.Environment, keys: list[bytes]) -> list[Any]:
    """One read transaction, and nothing around it."""
    with environment.begin() as transaction:
        return [transaction.get(key) for key in keys]


def poster(address: str, path: str, body: bytes) -> Callable[[], bytes]:
    """Posts a body over a connection that stays open."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"))

    def post() -> bytes:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        assert answer.status == 200
        return answer.read()

    return post


def told(what: str, ours: np.ndarray[Any, Any], floor: np.ndarray[Any, Any], budget_us: float | None) -> None:
    """Print a line."""
    p50, p99, least = np.quantile(ours, 0.5), np.quantile(ours, 0.99), np.quantile(floor, 0.5)
    budget = f"   budget {budget_us:,.0f}" if budget_us else ""
    print(f"{what:32} p50 {p50:9.1f} us   p99 {p99:9.1f} us   {p50 / least:6.2f} x floor ({least:,.1f} us){budget}")


def main() -> None:
    """Print the times."""
    count, rounds = (2_000, 20) if "--small" in sys.argv else (100_000, 3_000)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "mainspring.toml").write_text('name = "online"\n')
        with Workspace.open(folder) as workspace, using(workspace):
            table = frame(count)
            dataset("users").commit(table)
            view = FeatureView(
                "user", entity=Entity("user", {"user": int}), source="users", event_time="at",
                features=[each for each in table.columns if each not in ("user", "at")], ttl="36500d",
            )  # fmt: skip
            apply(FeatureService("all", [view]))
            materialize("user")
            measure(workspace, folder, count, rounds)
            aggregates(workspace, rounds, 5_000 if "--small" in sys.argv else 400_000)


def aggregates(workspace: Workspace, rounds: int, events: int) -> None:
    """Windows of one entity among 100: of those that were just read, and with nothing kept of earlier reads."""
    chance, now = np.random.default_rng(2), datetime.now(UTC)
    ago = [timedelta(seconds=each) for each in np.sort(chance.integers(0, 8 * 86_400, events))[::-1].tolist()]
    rows = {"carrier": chance.integers(0, 100, events), "at": [now - each for each in ago]}
    dataset("arrivals").commit(pl.DataFrame({**rows, "delay": chance.normal(10, 30, events)}))
    for windows in (["1h"], ["1h", "6h", "7d"]):
        name = f"delay_{windows[-1]}"
        view = FeatureView(
            name, entity=Entity("carrier", {"carrier": int}), source="arrivals", event_time="at",
            features=[agg.mean("delay", windows), agg.max("delay", windows), agg.count(windows=windows)],
        )  # fmt: skip
        apply(FeatureService(name, [view]))
        materialize(name)
        definition = get_definition("service", name)
        rounds = min(rounds, 500)
        reader, asked = (
            FeatureReader(definition, workspace),
            [{"carrier": int(n)} for n in chance.integers(0, 100, rounds)],
        )
        new = [(FeatureReader(definition, workspace), [one]) for one in asked]
        keys = [reader._asked([one], int(now.timestamp() * 1e6))[1] for one in asked]
        for carrier in range(100):
            reader.read([{"carrier": carrier}])
        known = iter(asked)
        calls: list[Callable[[], object]] = [
            lambda reader=reader, known=known: reader.read([next(known)]),
            lambda new=new: (one := new.pop())[0].read(one[1]),
            lambda keys=keys: workspace.online.get_many(keys.pop()),
        ]  # fmt: skip
        warm, cold, least = measured_us(calls, rounds)
        told(f"aggregates, {', '.join(windows)}", warm, least, None)
        told("  for the first time", cold, least, None)


def measure(workspace: Workspace, folder: Path, count: int, rounds: int) -> None:
    """In process, then over HTTP."""
    reader = FeatureReader(get_definition("service", "all"), workspace)
    chance = np.random.default_rng(1)
    users = {each: [int(n) for n in chance.integers(0, count, each)] for each in READS}
    floor = lmdb.open(str(folder / "bare"), map_size=1 << 30)
    with floor.begin(write=True) as transaction:
        for n in range(count):
            transaction.put(b"features/v" + n.to_bytes(32, "big"), bytes(120))
    for each in READS:
        entities = [{"user": n} for n in users[each]]
        keys = [b"features/v" + n.to_bytes(32, "big") for n in users[each]]
        calls = [lambda entities=entities: reader.read(entities), lambda keys=keys: bare(floor, keys)]
        ours, least = measured_us(calls, max(rounds // max(each // 100, 1), 10))
        told(f"in process, {each:5,} entities", ours, least, BUDGETS_US.get(each))
    (process, address), (echo, beside) = start_server(SERVER, folder), start_server(ECHO, folder)
    try:
        for each in READS:
            http_lines(address, beside, users[each], max(rounds // 3 // max(each // 100, 1), 10))
    finally:
        stop(process, echo)


def http_lines(address: str, beside: str, users: list[int], rounds: int) -> None:
    """One number of entities over HTTP; the echo gets the larger of the two bodies."""
    body = msgspec.json.encode({"feature_service": "all", "entities": {"user": users}})
    asked = poster(address, "/get-online-features", body)
    ours, least = measured_us([asked, poster(beside, "/", asked())], rounds)
    told(f"over HTTP,  {len(users):5,} entities", ours, least, None)


def stop(*processes: subprocess.Popen[str]) -> None:
    """End them, and wait."""
    for process in processes:
        process.terminate()
        process.communicate()


if __name__ == "__main__":
    main()
