"""p99 of predictions over HTTP under load, with the log, against a raw ASGI echo on uvicorn under the same driver.

Requests of one row, open-loop at fixed rates over 16 connections, by the driver of `mainspring loadtest`, which runs on the
same cores. The servers take turns, and the median of five rounds counts. Budget: 3 times the echo's. What of it is the model's
own call is told by an echo that makes it, at the lowest rate: more than that it can't answer. `--small` runs briefly.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from bench_servers import CONNECTIONS, ECHO, Case, fitted, own, running

from mainspring.serving.loadtest import Step, Target, load_test

RATES = (400, 1_000, 2_000)
BUDGET = 3
CALL = "echo with the model's call"
CALLING = ECHO.replace(
    "async def",
    "import joblib, msgspec\nmodel = joblib.load('model.joblib')\n"
    "def answer(body):\n"
    "    rows = [[*row.values()] for row in msgspec.json.decode(body)['records']]\n"
    "    return msgspec.json.encode(model.predict_proba(rows).tolist())\n"
    "async def",
).replace('(await receive())["body"]', 'answer((await receive())["body"])')


def main() -> None:
    """Print milliseconds by rate and server, and how many times the echo's."""
    rounds, duration_s = (1, 0.2) if "--small" in sys.argv else (5, 5.0)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as servers:
        place = Path(folder)
        echo, *ours = own(place, *fitted(place))
        called = Case(CALL, [sys.executable, "-c", CALLING, "PORT"], "/", echo.body)
        ports = [(case, servers.enter_context(running(case, place))[0]) for case in (echo, called, *ours)]
        for rate in RATES:
            asked = [(case, port) for case, port in ports if case is not called or rate == min(RATES)]
            taken = [[p99_ms(case, port, Step(rate, duration_s)) for case, port in asked] for _ in range(rounds)]
            floor, *others = (median(each) for each in zip(*taken, strict=True))
            print(f"{rate:,} requests a second: echo p99 {floor:.2f} ms")
            for (case, _), took in zip(asked[1:], others, strict=True):
                held = "" if case is called else f" (budget {BUDGET})"
                print(f"    {case.name:26} {took:8.2f} ms, {took / floor:.2f} x{held}", flush=True)


def p99_ms(case: Case, port: int, step: Step) -> float:
    """The p99 of a step, of which every request is answered well."""
    target = Target("127.0.0.1", port, tls=False, endpoint="", path=case.path)
    head = target.head(case.path, len(case.body), b"Content-Type: application/json\r\n")
    report = load_test(target, [head + case.body], [step], connections=CONNECTIONS)
    (measured,) = report.steps
    if measured.errors_share:
        raise SystemExit(f"{case.name}: {measured.outcomes}")
    return measured.quantiles_s["p99"] * 1e3


if __name__ == "__main__":
    main()
