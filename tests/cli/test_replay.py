"""`mainspring replay` of a script whose step draws by chance: what the seeds reach is repeated, and what they don't is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import call

SCORED = """\
import polars as pl

import mainspring as ms


@ms.step
def scores(count: int) -> pl.DataFrame:
    return pl.DataFrame({"score": [CHANCE for _ in range(count)]})


@ms.pipeline
def main(count: int = 4):
    return scores(count)
"""


@pytest.mark.parametrize(
    ("chance", "verdict"),
    [
        ("__import__('random').random()", "VERIFIED"),
        ("__import__('numpy').random.rand()", "VERIFIED"),
        ("__import__('numpy').random.default_rng().random()", "DIVERGED"),
        ("float(__import__('secrets').randbits(40))", "DIVERGED"),
    ],
)
def test_replay_tells_seeded_chance_from_chance_that_no_seed_reaches(tmp_path: Path, chance: str, verdict: str) -> None:
    (tmp_path / "scored.py").write_text(SCORED.replace("CHANCE", chance))
    assert call("run", "scored.py", cwd=tmp_path).exit_code == 0
    replayed = json.loads(call("replay", "latest", "--json", cwd=tmp_path).stdout)
    assert replayed["verdict"] == verdict, replayed
    if verdict == "DIVERGED":
        assert [step["kind"] for step in replayed["steps"]] == ["floats"]
