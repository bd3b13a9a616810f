"""The flights example from a clean folder, as its reader would go through it: demo twice, an edit, replay, lineage."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from mainspring.workspace import Workspace

HOME = Path(__file__).parents[2] / "examples" / "flights"
PAIRS = 500

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
    shutil.copytree(HOME, folder, ignore=shutil.ignore_patterns(".mainspring", "__pycache__"))
    done = called(folder, "demo.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "13 ran" in done.stderr
    assert "of these flights came late" in done.stdout
    return folder


def test_the_demo_again_takes_everything_from_the_cache(project: Path) -> None:
    done = called(project, "demo.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "13 reused" in done.stderr


def test_the_lineage_of_the_endpoint_ends_at_the_raw_files(project: Path) -> None:
    walked = document(project, "lineage", "delays")
    raw = {node["label"]: node["content_digest"] for node in walked["nodes"] if node["kind"] == "source_file"}
    assert {label.rpartition("/")[2] for label in raw} == {"flights.parquet", "weather.parquet", "planes.parquet"}
    assert all(len(digest) == 64 for digest in raw.values())


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
    features = project / "flights" / "features.py"
    edit(features, "LATE_MINUTES = 15", "LATE_MINUTES = 20")
    said = mainspring(project, "why").stdout
    edit(features, "LATE_MINUTES = 20", "LATE_MINUTES = 15")
    assert "constant flights.features.LATE_MINUTES changed" in said


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
