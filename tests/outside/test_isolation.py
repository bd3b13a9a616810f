"""Two models that two releases of scikit-learn made are answered by one server, each as its own release would."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from mainspring.models import get_model_version
from mainspring.pipelines.interpreter import rebuilt_interpreter
from mainspring.runs.environment import installed, snapshot
from mainspring.serving import bind
from mainspring.workspace import Workspace, using

OTHER = "1.8.0"
# A class that shows which release answers; what is registered is scikit-learn's own.
TRAINING = """
import sys
import numpy as np, polars as pl, sklearn
from sklearn.ensemble import HistGradientBoostingRegressor
from mainspring.models import register
from mainspring.workspace import Workspace, using

rng = np.random.default_rng(7)
x = rng.normal(size=(400, 3))
model = HistGradientBoostingRegressor(max_iter=20, random_state=0).fit(x, np.sin(x[:, 0]) + x[:, 1])
with Workspace.open() as workspace, using(workspace):
    register(model, sys.argv[1], signature=pl.DataFrame(x, schema=["a", "b", "c"]))
print(sklearn.__version__)
print(model.predict(np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -2.0]])).tolist())
"""
ROWS = [{"a": 0.5, "b": -1.0, "c": 2.0}, {"a": 1.5, "b": 0.25, "c": -2.0}]


def trained(program: str, name: str, folder: Path) -> tuple[str, Any]:
    """The release that registered a model, and what the model answers in it."""
    done = subprocess.run(
        [program, "-P", "-c", TRAINING, name],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/bin"},
    )
    assert done.returncode == 0, done.stderr
    release, answers = done.stdout.splitlines()
    return release, json.loads(answers)


@contextmanager
def served(*endpoints: str, folder: Path) -> Iterator[str]:
    """The address of a server that is started as a user does, with its one worker."""
    command = [sys.executable, "-m", "mainspring", "serve", *endpoints, "--port", "0", "--json"]
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        ready = process.stdout.readline()
        assert "url" in ready, ready + process.stdout.read() + (folder / "server.log").read_text()
        yield json.loads(ready)["url"]
    finally:
        process.terminate()
        process.communicate()


@pytest.mark.timeout(1_200)
def test_two_releases_of_scikit_learn_answer_at_once(tmp_path: Path) -> None:
    (tmp_path / "mainspring.toml").write_text('name = "two"\n')
    here = snapshot()
    lock = replace(here, distributions=here.distributions | {"scikit-learn": OTHER})
    needed = {name for extra, name in installed().requirements["mainspring"] if extra in ("", "sklearn")}
    other = rebuilt_interpreter(lock, tmp_path / "other", needed=needed)
    old, new = trained(other.program, "old", tmp_path), trained(sys.executable, "new", tmp_path)
    assert old[0] == OTHER != new[0]
    with Workspace.open(tmp_path) as workspace, using(workspace):
        for name in ("old", "new"):
            bind(name, f"{name}@production", version=f"{name}/1")
        version = get_model_version("old/1")
        assert version.environment != get_model_version("new/1").environment
    with served("old", "new", folder=tmp_path) as address, httpx.Client(base_url=address, timeout=60) as client:
        for name, (_, expected) in {"old": old, "new": new}.items():
            assert client.post(f"/predict/{name}", json=ROWS).json()["predictions"] == expected
        counted = re.findall(r"processes_replaced_total\{.*\} .*", client.get("/metrics").text)
        assert counted == ['processes_replaced_total{worker="0",endpoint="old"} 0']
    made = [*(tmp_path / ".mainspring").rglob("site-packages/scikit_learn-*.dist-info")]
    assert [each.name for each in made] == [f"scikit_learn-{OTHER}.dist-info"]
