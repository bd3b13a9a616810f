"""The whole way, as a person would go it: train, bind an endpoint, serve with features that a stream feeds, look back."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import report
from flights import ALIAS, MODEL, features
from flights.live import ASKED, Hour, Label, hours, labels, settled, told
from flights.months import deliver, receive

from mainspring.evaluation import approve, is_approved
from mainspring.models import ModelVersion, alias_history, extend_card, model_card
from mainspring.pipelines import RunResult
from mainspring.runs import RunStore
from mainspring.workspace import Workspace, using

HERE = Path(__file__).resolve().parent
MAINSPRING = [sys.executable, "-P", "-m", "mainspring"]
ENDPOINT, TARGET = "delays", f"{MODEL}@{ALIAS}"
SAID = {
    "Intended use": "Tell travellers before departure how likely their flight out of New York is late. Not for crews.",
    "Limits": "Learnt from 2013. At JFK it finds fewer of the late flights than at the other two airports.",
}
SERVICE = features.late.name
MONTH = """
SELECT time_hour, carrier, flight, origin, dest, tailnum, CAST(distance AS DOUBLE) AS distance
FROM flights WHERE month = 12 AND arr_delay IS NOT NULL ORDER BY time_hour, carrier, flight"""
PREDICTED = "december"
EXPLAIN = "explain {prediction}"
QUIET = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
CLOSER = (
    ("runs show latest", "who, when, steps, metrics"),
    ("logs latest assess-test", "what a step printed"),
    ("why", "after an edit: what would run"),
    ("replay latest", "the recorded code, run again"),
    ("studies show flight-delay", "what was tried"),
    (f"models approvals {MODEL}/latest", "who decided, on what evidence"),
    (f"models card {MODEL}/latest", "the card, to read or extend"),
    (f"lineage {ENDPOINT}", "every step of the way"),
    (f"features show {SERVICE}", "the features, and their users"),
    (f"feedback show {ENDPOINT}", "labels, and how late they are"),
    (EXPLAIN, "what one answer came from"),
    (f"data show {PREDICTED}", "a month predicted in batch"),
    ("data log months", "the versions of the months"),
    (f"serve {ENDPOINT}", "answers POST /predict"),
)


def mainspring(*arguments: str) -> None:
    """Run a command as a person would type it; what it gives is in the report."""
    with beside(*arguments, after=""):
        pass


@contextmanager
def beside(*arguments: str, after: str = " &") -> Iterator[None]:
    """Run a command beside what the block does, and wait for its end."""
    print(f"$ mainspring {shlex.join(arguments)}{after}", flush=True)
    process = subprocess.Popen([*MAINSPRING, *arguments], cwd=HERE, env=QUIET, stdout=subprocess.DEVNULL)
    yield
    if process.wait():
        sys.exit(f"`mainspring {' '.join(arguments)}` failed; the lines above say why.")


def asked(*arguments: str) -> dict:
    """What a command answers to a program."""
    done = subprocess.run([*MAINSPRING, *arguments, "--json"], cwd=HERE, env=QUIET, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def ask(url: str, hour: Hour) -> tuple[list[float], list[str]]:
    """The served probabilities of being late for the flights of an hour, asked when it begins, and the ids of the predictions.

    The request has the flights' keys.
    """
    records = [{name: flight[name] for name in ASKED} for flight in hour.flights]
    answer = posted(f"{url}/predict", {"records": records}, {"Feature-Time": hour.begins.isoformat()})
    return answer["predictions"], answer["ids"]


def tell(url: str, known: list[Label]) -> None:
    """Send whether flights came late, each for its prediction and with when that was known."""
    if known:
        told = [{"prediction": each.prediction, "label": each.late, "known_at": each.known_at} for each in known]
        posted(f"{url}/feedback", {"labels": told})


def posted(url: str, content: dict, headers: dict[str, str] | None = None) -> dict:
    """What a server answers to JSON."""
    body = json.dumps(content, default=str).encode()
    with urlopen(Request(url, body, {"Content-Type": "application/json", **(headers or {})})) as response:
        return json.load(response)


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen]:
    """A command that goes on until the block ends."""
    print(f"$ mainspring {' '.join(arguments)} &", flush=True)
    command = [*MAINSPRING, *arguments, "--json"]
    process = subprocess.Popen(command, cwd=HERE, env=QUIET, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def address(server: subprocess.Popen) -> str:
    """Where a server listens, once it does."""
    line = server.stdout.readline()
    if not line:
        sys.exit("The server did not start; the lines above say why.")
    return json.loads(line)["url"]


def parted(awaited: list[Label], hour: Hour) -> tuple[list[Label], list[Label]]:
    """What is known when an hour begins, and what is not yet."""
    known = [label for label in awaited if label.known_at <= hour.begins]
    return known, [label for label in awaited if label.known_at > hour.begins]


def lived_through(url: str, lived: list[Hour]) -> tuple[list[float], list[str]]:
    """The predictions of these hours, and their ids; their labels are sent, each when it was known."""
    answers, predictions, awaited = [], [], []
    for hour in lived:
        told(hour)
        settled(hour)
        known, awaited = parted(awaited, hour)
        tell(url, known)
        found, ids = ask(url, hour)
        answers, predictions = answers + found, predictions + ids
        awaited += labels(hour, ids)
    tell(url, awaited)  # and those of the last evening
    return answers, predictions


def promoted(page: report.Page, version: ModelVersion) -> None:
    """Describe the version for those who are to decide on it, have it approved, and serve it."""
    if not (card := model_card(version)).notes:
        for title, text in SAID.items():
            card = extend_card(version, title, text)
    file = HERE / "card.html"
    file.write_text(card.to_html())
    report.of_the_card(page, card, file)
    if not is_approved(version):
        approve(version, role="owner", comment="It beats what we had, at each airport.")
    mainspring("endpoints", "bind", ENDPOINT, TARGET, "--version", str(version), "--note", "approved")
    report.of_the_promotion(page, is_approved(version), alias_history(MODEL, ALIAS)[0], TARGET)


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
    with Workspace.open(HERE) as workspace, using(workspace):
        result = RunResult(workspace, RunStore(workspace.database).list(kind="pipeline", limit=1)[0])
        report.of_the_run(page, result)
        later, version = result.output("later"), result.output("version")
        promoted(page, version)
        lived = hours(later)
        # The rest of the year is lived through, an hour of each day, with a clock that the requests tell.
        with running("serve", ENDPOINT, "--port", "0", "--replay") as server:
            mainspring("features", "materialize", "--full", "--until", f"{lived[0].begins:%Y-%m-%dT%H:%M:%S}")
            with running("features", "feed", "--follow"):
                url, before = address(server), time.perf_counter()
                answers, predictions = lived_through(url, lived)
                seconds = time.perf_counter() - before
    title = f"Endpoint {ENDPOINT}, which serves {version} as {TARGET}"
    flights = [flight for hour in lived for flight in hour.flights]
    report.of_the_endpoint(page, title, flights, answers, url=url, seconds=seconds)
    with Workspace.open(HERE) as workspace, using(workspace):
        report.of_the_labels(page, predictions, ENDPOINT)
    mainspring("stream", "ingest", features.arrivals.name)  # the month in batch reads what it brings
    with beside("predict", ENDPOINT, "--from", "flights", "--time", "time_hour", "--to", PREDICTED, "--query", MONTH):
        report.of_the_parity(page, asked("features", "verify", SERVICE), asked=len(flights))
    with Workspace.open(HERE) as workspace, using(workspace):
        report.of_the_batch(page, PREDICTED, flights, answers)
    likeliest = max(range(len(answers)), key=answers.__getitem__)
    report.of_the_explanation(page, flights[likeliest], asked("explain", predictions[likeliest]))
    report.of_the_lineage(page, ENDPOINT, asked("lineage", ENDPOINT))
    deliver(HERE / "arrivals")
    with Workspace.open(HERE) as workspace, using(workspace):
        report.of_the_months(page, receive(HERE / "arrivals"))
    page.section(f"Done in {time.perf_counter() - started:.1f} s. Look closer, in examples/{HERE.name}")
    commands = [(arguments.format(prediction=predictions[likeliest]), about) for arguments, about in CLOSER]
    widest = max(len(arguments) for arguments, _ in commands)
    lines = [(f"  {typed()} {arguments:{widest}}  ", about) for arguments, about in commands]
    fits = max(len(line + about) for line, about in lines) <= page.console.width
    for line, about in lines:
        page.say(f"{line}[dim]{about}[/dim]" if fits else line.rstrip())


if __name__ == "__main__":
    main()
