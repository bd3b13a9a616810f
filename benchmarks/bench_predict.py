"""CPU of a prediction through the ASGI application, against a raw ASGI echo plus the model's own call.

Budget: echo + the model's call + 20 µs, 15 µs for features that are read by a key (12 of them, from LMDB, against a
request that holds them), and 5 µs for the log of predictions. In process, without the HTTP parser, which both share. A
real model's call varies by more than 20 µs from one minute to the next, so what is added is measured with one whose
call takes nothing, too. `--small` runs it briefly.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from mainspring.data import dataset
from mainspring.features import Entity, FeatureService, FeatureView, apply, get_definition, materialize
from mainspring.models import Field, Output, Signature, register
from mainspring.serving import ServingApp, bind
from mainspring.workspace import Workspace, using

COLUMNS = 30
READ = 12
CONNECTIONS = 16
App = Callable[[dict[str, Any], Any, Any], Awaitable[None]]
Served = tuple[Any, bytes]


async def echo(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Decode, encode, answer."""
    assert scope["type"] == "http"
    message = await receive()
    body = msgspec.json.encode(msgspec.json.decode(message["body"]))
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def cost_us(app: App, body: bytes, count: int, connections: int = 1) -> float:
    """Microseconds of CPU a request, where so many are under way at once."""
    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": [(b"content-type", b"application/json")]}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            assert message["status"] == 200

    async def connection() -> None:
        for _ in range(count):
            await app(scope, receive, send)

    began = time.process_time()
    await asyncio.gather(*[connection() for _ in range(connections)])
    return (time.process_time() - began) / count / connections * 1e6


def main() -> None:
    """Print the parts and the ratio."""
    threadpool_limits(1)
    rounds, count = (2, 10) if "--small" in sys.argv else (60, 100)
    random = np.random.default_rng(0)
    rows = random.normal(size=(2_000, COLUMNS))
    model = HistGradientBoostingClassifier(max_iter=50, random_state=0).fit(rows, rows[:, 0] > 0)
    with tempfile.TemporaryDirectory() as folder, Workspace.open(Path(folder)) as workspace, using(workspace):
        table = pl.DataFrame({f"x{n}": rows[:5, n] for n in range(COLUMNS)})
        register(model, "flights", input_example=table)
        bind("delays", "flights@production", version="flights/1", log="off")
        app = ServingApp(workspace, "delays")
        live = app.live["delays"]
        body = msgspec.json.encode({"records": table[:1].to_dicts()})
        one = rows[:1]

        for named, connections in ((model, 1), (model, CONNECTIONS), (Instant(), 1), (Instant(), CONNECTIONS)):
            live.predictor.predictor.model = named
            live.batcher.is_slow, live.batcher.is_quick = False, named is not model
            floor, ours = asyncio.run(turns(named.predict_proba, one, app, body, rounds, count, connections))
            print(f"{type(named).__name__}, {connections} at once:", end=" ")
            print(f"echo and the model's call {floor:.1f} µs, /predict {ours:.1f} µs,", end=" ")
            print(f"{ours - floor:+.1f} µs over it (budget 20), {ours / floor:.2f} x")
        for connections in (1, CONNECTIONS):  # which wait for each other, so that one write is for all
            pair = logged(workspace, table, is_quick=connections == 1)
            off, on = asyncio.run(alternate(*pair, rounds, count, connections))
            print(f"the log of predictions, {connections} at once:", end=" ")
            print(f"{on - off:+.1f} µs over {off:.1f} µs (budget 5), {on / off:.2f} x")
        for log, pair in featured(workspace, table, model).items():
            for connections in (1, CONNECTIONS):
                for app, _ in pair:
                    (live,) = app.live.values()
                    live.batcher.is_quick = connections == 1  # else they wait, and one read is for all
                without, read = asyncio.run(alternate(*pair, rounds, count, connections))
                print(f"{READ} features from LMDB, the log {log}, {connections} at once:", end=" ")
                print(f"{read - without:+.1f} µs over {without:.1f} µs (budget 15), {read / without:.2f} x")


def featured(workspace: Workspace, table: pl.DataFrame, model: Any) -> dict[str, tuple[Served, Served]]:
    """A model whose requests hold everything, and the same one with some of it read by a key, by whether both are logged."""
    names = table.columns[:READ]
    rows = table.select(names).with_columns(flight=pl.Series(range(table.height)), at=pl.lit(datetime.now(UTC)))
    dataset("rows").commit(rows)
    view = FeatureView("read", entity=Entity("flight", {"flight": int}), source="rows", event_time="at", features=names)
    apply(FeatureService("all", [view]))
    materialize("read")
    own = table[:1].to_dicts()[0]
    bodies = [own, {"flight": 0} | {name: own[name] for name in table.columns if name not in names}]
    inputs = tuple(Field(name, "f64", nullable=True) for name in table.columns)
    signature = Signature(inputs, Output("probability", (0, 1)))
    found: dict[str, list[Served]] = {"off": [], "required": []}
    for number, service in enumerate([None, get_definition("service", "all")]):
        version = register(model, f"instant-{number}", signature=signature, input_kind="numpy", features=service)
        for log, pair in found.items():
            name = f"instant-{number}-{log}"
            bind(name, f"instant-{number}@{log}", version=str(version), log=log)  # type: ignore[arg-type]  # both are ways to log
            app = ServingApp(workspace, name)
            live = app.live[name]
            live.predictor.predictor.model, live.batcher.is_slow = Instant(), False
            pair.append((app, msgspec.json.encode({"records": [bodies[number]]})))
    return {log: (pair[0], pair[1]) for log, pair in found.items()}


def logged(workspace: Workspace, table: pl.DataFrame, *, is_quick: bool) -> tuple[Served, Served]:
    """A model whose call takes nothing, unlogged and logged; answered at once, or in batches as one that takes longer."""
    found: list[Served] = []
    for name, log in (("unlogged", "off"), ("logged", "required")):
        bind(name, f"flights@{name}", version="flights/1", log=log)  # type: ignore[arg-type]  # both are ways to log
        app = ServingApp(workspace, name)
        live = app.live[name]
        live.predictor.predictor.model, live.batcher.is_quick = Instant(), is_quick
        live.batcher.is_slow = False
        found.append((app, msgspec.json.encode({"records": table[:1].to_dicts()})))
    return found[0], found[1]


async def alternate(one: Served, other: Served, rounds: int, count: int, connections: int = 1) -> tuple[float, float]:
    """The costs of two applications, each with its body: they take turns, and the best round of each counts."""
    costs = [
        [await cost_us(app, body, count // connections + 1, connections) for app, body in (one, other)]
        for _ in range(rounds)
    ]
    first, second = (min(each) for each in zip(*costs, strict=True))
    return first, second


class Instant:
    """A model whose call takes nothing."""

    answer = np.array([[0.25, 0.75]])

    def predict_proba(self, rows: Any) -> Any:
        """The same answer."""
        return self.answer if len(rows) == 1 else np.repeat(self.answer, len(rows), axis=0)


async def turns(
    predict: Callable[[Any], Any], one: Any, app: App, body: bytes, rounds: int, count: int, connections: int
) -> tuple[float, float]:
    """The floor's cost and the application's: they take turns, and the best round of each counts."""

    async def echo_and_model(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await echo(scope, receive, send)
        predict(one)

    return await alternate((echo_and_model, body), (app, body), rounds, count, connections)


if __name__ == "__main__":
    main()
