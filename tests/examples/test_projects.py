"""The examples as far as they are known without their data: modules import, graphs are made. The rest is a journey."""

from __future__ import annotations

import json
import tomllib
from contextlib import chdir
from importlib import import_module
from pathlib import Path

import pytest

from tests.examples.projects import EXAMPLES, at_once, called, copied, forgetting

PROJECTS = {path.parent.name: tomllib.loads(path.read_text()) for path in sorted(EXAMPLES.glob("*/mainspring.toml"))}
PIPELINES = [(name, pipeline) for name, settings in PROJECTS.items() for pipeline in settings["pipelines"]]


@pytest.mark.parametrize("name", PROJECTS)
def test_every_module_of_an_example_can_be_imported(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = copied(name, tmp_path / name)
    files = [path.relative_to(folder).with_suffix("") for path in folder.rglob("*.py")]
    monkeypatch.syspath_prepend(folder)
    with forgetting(folder), chdir(folder):
        for file in files:
            import_module(".".join(file.parts).removesuffix(".__init__"))
    assert (Path(name) / "__init__") in files


@pytest.mark.parametrize(("name", "pipeline"), PIPELINES)
def test_a_pipeline_of_an_example_makes_its_graph(name: str, pipeline: str, tmp_path: Path) -> None:
    told = at_once(copied(name, tmp_path / name), "run", pipeline, "--dry-run", "--json")
    assert told.exit_code == 0, told.output
    assert len(json.loads(told.stdout)["tasks"]) > 4


BLIND = """
from datetime import timedelta
from types import SimpleNamespace
import numpy as np
from forecast import raw
from forecast.panel import Panel, windows

tables = raw.read()
panel = Panel.of(*(SimpleNamespace(to_polars=lambda table=table: table) for table in tables))
at = np.full(20, 5_000)
seen = windows(panel, at, np.arange(20), truth=True)
assert panel.day(0) == tables[1]["date"][0] - timedelta(days=raw.LAG_DAYS)
panel.rides[5_001:] = -1.0
blind = windows(panel, at, np.arange(20), truth=True)
assert np.array_equal(seen.known, blind.known) and np.array_equal(seen.history, blind.history)
assert not np.isclose(seen.truth, blind.truth).any()
assert panel.before(5_000, years=2)[0].max() + 28 <= 5_000
"""


def test_nothing_that_a_forecast_sees_came_after_its_origin() -> None:
    done = called(EXAMPLES / "forecast", "-P", "-B", "-c", f"import sys; sys.path.insert(0, '.'){BLIND}")
    assert done.returncode == 0, done.stderr
