"""A run that was recorded in another environment is replayed in that environment, which pip builds again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mainspring.pipelines.interpreter import link_distributions
from tests.cli.conftest import mainspring
from tests.outside.environments import Environment

FLOW = """
import mainspring as ms
import polars as pl
import toolz


@ms.step
def load(count: int):
    return pl.DataFrame({"n": list(toolz.take(count, range(100)))})


@ms.step
def version(frame) -> str:
    return f"{toolz.__version__} {frame.height}"


@ms.pipeline
def main():
    return version(load(3))
"""


def replayed(*options: str, cwd: Path, status: int, **variables: str) -> Any:
    done = mainspring("replay", "latest", *options, "--json", cwd=cwd, **variables)
    assert done.returncode == status, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.mark.timeout(1_200)
def test_a_replay_in_the_rebuilt_environment_is_verified(client: Environment, tmp_path: Path) -> None:
    link_distributions(["mainspring"], next(client.folder.glob("lib/python*/site-packages")))
    (tmp_path / "flow.py").write_text(FLOW)
    (tmp_path / "mainspring.toml").write_text('[pipelines]\nmain = "flow:main"\n')
    client.run("python", "-m", "mainspring", "run", cwd=tmp_path)
    checked = mainspring("env", "check", "latest", cwd=tmp_path)
    assert (checked.returncode, "toolz" in checked.stdout) == (1, True)
    assert replayed(cwd=tmp_path, status=1)["verdict"] == "DIVERGED"
    unreached = replayed("--rebuild-env", cwd=tmp_path, status=1, PIP_NO_INDEX="1")
    assert (unreached["error"]["code"], "can't be had" in unreached["error"]["message"]) == ("rebuild", True)
    found = replayed("--rebuild-env", cwd=tmp_path, status=0)
    assert (found["verdict"], found["rebuilt"], len(found["steps"])) == ("VERIFIED", True, 2)
    shown = mainspring("replay", "latest", "--rebuild-env", "-q", cwd=tmp_path, PIP_NO_INDEX="1")
    assert "2 steps compared, in the rebuilt environment" in shown.stdout, shown.stderr
