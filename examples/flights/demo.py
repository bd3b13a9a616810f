"""The whole way, as a person would go it: run the pipeline, bind an endpoint, serve, send real later flights, look back."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import Request, urlopen

import report
from flights.features import FEATURES
from flights.months import deliver, receive

from mainspring.pipelines import RunResult
from mainspring.runs import RunStore
from mainspring.workspace import Workspace, using

HERE = Path(__file__).resolve().parent
MAINSPRING = [sys.executable, "-P", "-m", "mainspring"]
ENDPOINT, MODEL, ALIAS = "delays", "flight-delay", "champion"
SENT, BATCH = 2_000, 50
QUIET = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
CLOSER = (
    ("runs show latest", "who, when, environment, steps, metrics"),
    ("logs latest assess-test", "what a step printed"),
    ("why", "after an edit: what would run, and why"),
    ("replay latest", "run the recorded code again, compare"),
    (f"lineage {ENDPOINT}", "every step of the way"),
    ("data log months", "the versions that months became"),
    (f"serve {ENDPOINT}", "answers POST /predict"),
)


def mainspring(*arguments: str) -> None:
    """Run a command as a person would type it; what it gives is in the report."""
    print(f"$ mainspring {' '.join(arguments)}", flush=True)
    done = subprocess.run([*MAINSPRING, *arguments], cwd=HERE, env=QUIET, stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        sys.exit(f"`mainspring {' '.join(arguments)}` failed; the lines above say why.")


def asked(*arguments: str) -> dict:
    """What a command answers to a program."""
    done = subprocess.run([*MAINSPRING, *arguments, "--json"], cwd=HERE, env=QUIET, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def send(url: str, flights: list[dict]) -> list[float]:
    """The served probabilities of being late, in order."""
    answers = []
    for start in range(0, len(flights), BATCH):
        records = [{name: flight[name] for name in FEATURES} for flight in flights[start : start + BATCH]]
        body = json.dumps({"records": records}).encode()
        with urlopen(Request(f"{url}/predict", body, {"Content-Type": "application/json"})) as response:
            answers += json.load(response)["predictions"]
    return answers


def served() -> tuple[subprocess.Popen, str]:
    """The server, ready, and its address."""
    print(f"$ mainspring serve {ENDPOINT} --port 0 &", flush=True)
    command = [*MAINSPRING, "serve", ENDPOINT, "--port", "0", "--json"]
    server = subprocess.Popen(command, cwd=HERE, env=QUIET, stdout=subprocess.PIPE, text=True)
    line = server.stdout.readline()
    if not line:
        sys.exit("The server did not start; the lines above say why.")
    return server, json.loads(line)["url"]


def typed() -> str:
    """How the command is typed here: as it is on the PATH, else where it is installed."""
    beside = Path(sys.executable).parent / "mainspring"
    found = shutil.which("mainspring")
    if found and os.path.samefile(found, beside):
        return "mainspring"
    return min(str(beside), os.path.relpath(beside, HERE), key=len)


def main() -> None:
    started = time.perf_counter()
    page = report.Page()
    mainspring("run", "main")
    mainspring("endpoints", "bind", ENDPOINT, f"{MODEL}@{ALIAS}", "--version", f"{MODEL}/latest")
    server, url = served()
    try:
        with Workspace.open(HERE) as workspace:
            result = RunResult(workspace, RunStore(workspace.database).list(kind="pipeline", limit=1)[0])
            report.of_the_run(page, result)
            later, version = result.output("later"), result.output("version")
        flights = later.gather_every(max(1, later.height // SENT)).head(SENT).to_dicts()
        before = time.perf_counter()
        answers = send(url, flights)
        seconds = time.perf_counter() - before
        title = f"Endpoint {ENDPOINT}, which serves {version} as {MODEL}@{ALIAS}"
        report.of_the_endpoint(page, title, flights, answers, url=url, seconds=seconds)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(10)
    report.of_the_lineage(page, ENDPOINT, asked("lineage", ENDPOINT))
    deliver(HERE / "arrivals")
    with Workspace.open(HERE) as workspace, using(workspace):
        report.of_the_months(page, receive(HERE / "arrivals"))
    page.section(f"Done in {time.perf_counter() - started:.1f} s. Look closer, in examples/{HERE.name}")
    lines = [(f"  {typed()} {arguments:27}", about) for arguments, about in CLOSER]
    fits = max(len(line + about) for line, about in lines) <= page.console.width
    for line, about in lines:
        page.say(f"{line}[dim]{about}[/dim]" if fits else line.rstrip())


if __name__ == "__main__":
    main()
