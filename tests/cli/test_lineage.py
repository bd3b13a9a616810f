"""Lineage is drawn in words that fit the direction, folds what is alike, and fits the terminal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mainspring.cli.main import cli
from tests.cli.conftest import DATA_STEPS, mainspring


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Result]:
    folder: Path = tmp_path_factory.mktemp("walked")
    (folder / "steps.py").write_text(DATA_STEPS)
    (folder / "mainspring.toml").write_text("")
    for target in ("steps.py:other", "steps.py:main"):
        assert mainspring("run", "-q", target, cwd=folder).returncode == 0

    def call(*words: str, **variables: str) -> Result:
        return CliRunner().invoke(cli, ["-C", str(folder), "lineage", *words], prog_name="mainspring", env=variables)

    return call


def test_siblings_of_a_map_are_one_branch_unless_all_are_asked_for(walk: Callable[..., Result]) -> None:
    shown = walk("latest").stdout
    assert len(shown.splitlines()) < 25
    assert "has task each[0…59]  60 tasks" in shown
    assert "uses artifact result as squares  60 artifacts (below, the first)" in shown
    assert shown.count("task each[0…59]") == 1
    everything = walk("latest", "--all").stdout
    assert all(f"task each[{n}] " in everything for n in range(60))


def test_the_way_down_reads_downwards(walk: Callable[..., Result]) -> None:
    shown = walk("numbers/1", "--down").stdout
    assert "known as artifact result" in shown
    assert "used by task total as version" in shown
    assert "made artifact result" in shown
    assert "made by" not in shown
    up = walk("numbers/1").stdout
    assert "made by task keep" in up
    assert "part of run main" in up


def test_a_run_has_steps_and_a_mapped_step_has_items(walk: Callable[..., Result]) -> None:
    lines = walk("latest", "--depth", "2").stdout.splitlines()
    assert [line.split("task ")[1].split()[0] for line in lines if line.startswith(("├─ has", "└─ has"))] == [
        "load", "keep", "each", "total",
    ]  # fmt: skip
    import json

    run = json.loads(walk("latest", "--json").stdout)["start"]
    down = walk(run, "--down").stdout
    assert down.count("task each[0…59]") == 1


def test_the_code_is_named_once(walk: Callable[..., Result]) -> None:
    assert "ran code of " in walk("latest").stdout
    assert "code code" not in walk("latest").stdout


def test_a_way_that_is_not_there_is_said_of_both_ends(walk: Callable[..., Result]) -> None:
    import json

    listed = json.loads(walk("latest", "--json").stdout)
    one, two = (node["id"] for node in listed["nodes"] if node["label"] in ("each[3]", "each[4]"))
    said = walk(one, two)
    assert said.exit_code == 1
    assert f"`{one}` has no way to `{two}`. Neither comes from the other." in said.stderr


@pytest.mark.parametrize("columns", ["60", "80", "100"])
def test_the_tree_fits_the_terminal(walk: Callable[..., Result], columns: str) -> None:
    assert max(map(len, walk("latest", "--all", COLUMNS=columns).stdout.splitlines())) <= int(columns)
