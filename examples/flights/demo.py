"""The whole way, as a person would go it: run the pipeline, bind an endpoint, serve, send real later flights, look back."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import Request, urlopen

HERE = Path(__file__).resolve().parent
MAINSPRING = [sys.executable, "-P", "-m", "mainspring"]
ENDPOINT, MODEL, ALIAS = "delays", "flight-delay", "champion"
SENT, BATCH = 2_000, 50
QUIET = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}


def mainspring(*arguments: str) -> None:
    """Run a command as a person would type it."""
    print(f"\n$ mainspring {' '.join(arguments)}", flush=True)
    if subprocess.run([*MAINSPRING, *arguments], cwd=HERE, env=QUIET, check=False).returncode:
        sys.exit(f"`mainspring {' '.join(arguments)}` failed; the lines above say why.")


def asked(*arguments: str) -> dict:
    """What a command answers to a program."""
    done = subprocess.run(
        [*MAINSPRING, *arguments, "--json"], cwd=HERE, env=QUIET, capture_output=True, text=True, check=False
    )
    return json.loads(done.stdout)


def later_flights() -> list[dict]:
    """Flights of the last month, spread over it, with what came of them."""
    sys.path.insert(0, str(HERE))
    from mainspring.pipelines import RunResult
    from mainspring.runs import RunStore
    from mainspring.workspace import Workspace

    with Workspace.open(HERE) as workspace:
        run = RunStore(workspace.database).list(kind="pipeline", limit=1)[0]
        later = RunResult(workspace, run).output("later")
    return later.gather_every(max(1, later.height // SENT)).head(SENT).to_dicts()


def send(url: str, flights: list[dict]) -> list[float]:
    """The served probabilities of being late, in order."""
    from flights.features import FEATURES

    answers = []
    for start in range(0, len(flights), BATCH):
        records = [{name: flight[name] for name in FEATURES} for flight in flights[start : start + BATCH]]
        body = json.dumps({"records": records}).encode()
        with urlopen(Request(f"{url}/predict", body, {"Content-Type": "application/json"})) as response:
            answers += json.load(response)["predictions"]
        if sys.stdout.isatty():
            print(f"\r  sent {start + len(records):,} of {len(flights):,} flights", end="", flush=True)
    print(f"\r  sent {len(flights):,} of {len(flights):,} flights")
    return answers


def report(flights: list[dict], answers: list[float]) -> None:
    """Hold the answers against what happened."""
    ranked = sorted(zip(answers, flights, strict=True), key=lambda pair: -pair[0])
    tenth = len(ranked) // 10
    late = sum(flight["late"] for flight in flights) / len(flights)
    top = sum(flight["late"] for _, flight in ranked[:tenth]) / tenth
    bottom = sum(flight["late"] for _, flight in ranked[-tenth:]) / tenth
    print(f"  {late:.0%} of these flights came late.")
    print(
        f"  Of the tenth that the model thought likeliest to be late {top:.0%} were, of the safest tenth {bottom:.0%}."
    )


def served() -> tuple[subprocess.Popen, str]:
    """The server, ready, and its address."""
    print(f"\n$ mainspring serve {ENDPOINT} --port 0 &", flush=True)
    server = subprocess.Popen(
        [*MAINSPRING, "serve", ENDPOINT, "--port", "0", "--json"],
        cwd=HERE,
        env=QUIET,
        stdout=subprocess.PIPE,
        text=True,
    )
    line = server.stdout.readline()
    if not line:
        sys.exit("The server did not start; the lines above say why.")
    url = json.loads(line)["url"]
    print(f"  ready at {url}")
    return server, url


def main() -> None:
    started = time.perf_counter()
    mainspring("run", "main")
    mainspring("endpoints", "bind", ENDPOINT, f"{MODEL}@{ALIAS}", "--version", f"{MODEL}/latest")
    server, url = served()
    try:
        flights = later_flights()
        report(flights, send(url, flights))
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(10)
    mainspring("lineage", ENDPOINT)
    print(f"\nDone in {time.perf_counter() - started:.1f} s. Look closer, in examples/flights:")
    for line in (
        "mainspring runs show latest",
        "mainspring why",
        "mainspring replay latest",
        f"mainspring serve {ENDPOINT}",
    ):
        print(f"  ../../.venv/bin/{line}")


if __name__ == "__main__":
    main()
