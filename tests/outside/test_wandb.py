"""W&B's unmodified client writes the mirror of a run and reads it back."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.outside.environments import Environment, with_ours_behind

LOG = """
import math
import mainspring as ms

with ms.start_run("baseline", experiment="late/flights", params={"depth": 3, "sizes": [1, 2], "_wandb": 1}) as run:
    for step, value in enumerate((0.5, math.nan, 0.25)):
        ms.log_metric("loss", value, step=step * 2)
    ms.log_metric("a/b é", math.inf, step=1)
    ms.log_metric("before", 1.0, step=-1)
    ms.log_metric("_step", 1.0)
    ms.log_metric("lost", math.nan, step=4)
    ms.log_tag("stage", "draft")
    ms.log_tag("long", "x" * 100)
    ms.log_note("hm")
    ms.log_text("hello", "plots/a[1].txt")
    ms.log_text("theirs", "wandb-summary.json")
try:
    with ms.start_run("broken"):
        raise ZeroDivisionError
except ZeroDivisionError:
    pass
print(run.id)
"""


STEP = """
import mainspring as ms

@ms.step
def train(depth: int) -> int:
    ms.log_metric("loss", 0.5)
    return depth

@ms.pipeline
def main(depth: int = 3):
    return train(depth)
"""


@pytest.mark.timeout(1_200)
def test_runs_that_end_are_mirrored_by_a_process_of_its_own(client: Environment, tmp_path: Path) -> None:
    (tmp_path / "mainspring.toml").write_text('mirror = "wandb"\n')
    (tmp_path / "log.py").write_text(LOG)
    (tmp_path / "flow.py").write_text(STEP)
    settings = with_ours_behind(tmp_path, without="WANDB_")

    def called(*arguments: str) -> str:
        command = [client.program("python"), *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=settings, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert " not mirrored" not in done.stderr  # though not with all of it
        return done.stdout

    called("log.py")
    called("-m", "mainspring", "run", "--quiet", "flow.py")
    home, until = tmp_path / ".mainspring" / "mirror" / "wandb", time.monotonic() + 120
    while len(found := [each for each in home.glob("offline-run-*") if each.is_dir()]) < 4:
        assert time.monotonic() < until, sorted(home.glob("*"))
        time.sleep(0.1)
    kinds = []
    for each in found:
        lines = client.run("wandb", "leet", "inspect", "--json", str(each), cwd=tmp_path).splitlines()
        kinds += [told["run"]["job_type"] for told in map(json.loads, lines) if told["type"] == "run"]
    assert sorted(kinds) == ["pipeline", "script", "script", "task"]


@pytest.mark.timeout(1_200)
def test_a_mirror_says_what_the_run_says(client: Environment, tmp_path: Path) -> None:
    (tmp_path / "mainspring.toml").write_text('name = "mirrored"\n')
    (tmp_path / "log.py").write_text(LOG)
    settings = with_ours_behind(tmp_path, without="WANDB_")

    def called(*arguments: str) -> str:
        command = [client.program("python"), "-W", "ignore", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=settings, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def mirrored() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(
            called("-m", "mainspring", "export", "wandb", run, "latest", "out", "--json")
        )["mirrored"]
        return found

    run = called("log.py").strip()
    first = mirrored()
    assert (first[0]["points"], first[0]["files"], len(first[0]["left_out"])) == (5, 1, 5)
    assert mirrored() == first
    folders = sorted((tmp_path / "out" / "wandb").iterdir())
    assert [str(each) for each in folders] == sorted(each["folder"] for each in first)
    [good, broken] = [
        [
            json.loads(line)
            for line in client.run("wandb", "leet", "inspect", "--json", each["folder"], cwd=tmp_path).splitlines()
        ]
        for each in first
    ]
    [told] = [each["run"] for each in good if each["type"] == "run"]
    named = [told[each] for each in ("run_id", "display_name", "project", "tags", "notes", "job_type")]
    assert named == [run, "baseline", "late-flights", ["stage=draft"], "hm", "script"]
    assert told["config"]["update"] == {"_wandb": {}, "depth": 3, "sizes": [1, 2]}
    history = [each["history"]["item"] for each in good if each["type"] == "history"]
    shown = [{key: row[key] for key in row if key not in {"_timestamp", "_runtime"}} for row in history]
    assert shown == [
        {"_step": 0, "loss": 0.5}, {"_step": 1, "a/b é": "Infinity"}, {"_step": 2, "loss": "NaN"},
        {"_step": 4, "loss": 0.25, "lost": "NaN"},
    ]  # fmt: skip
    assert all(0 <= row["_runtime"] < 60 for row in history)
    summary: dict[str, Any] = {}
    for each in good:
        summary |= each.get("summary", {}).get("update", {})
    assert {key: summary[key] for key in ("loss", "lost", "a/b é", "before")} == {
        "loss": 0.25, "lost": "NaN", "a/b é": "Infinity", "before": 1,
    }  # fmt: skip
    assert [each["files"]["files"] for each in good if each["type"] == "files"] == [[{"path": "plots/a[1].txt"}]]
    assert (Path(first[0]["folder"]) / "files" / "plots" / "a[1].txt").read_text() == "hello"
    ends = [
        next(each["exit"].get("exit_code", 0) for each in lines if each["type"] == "exit") for lines in (good, broken)
    ]
    assert ends == [0, 1]
