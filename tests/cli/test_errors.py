"""What is wrong is said in one line on stderr, with the nearest known name and the exit status of its kind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mainspring.cli.main import cli
from tests.cli.conftest import call, mainspring

Look = Callable[..., Result]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("runs", "show", "zzzz"), "No run `zzzz`."),
        (("runs", "--before", "zzzz"), "No run `zzzz`."),
        (("logs", "latest", "totl"), "has no step `totl`. Nearest: total."),
        (("logs", "latest", "xx"), "has no step `xx`. Its steps: `load`, `power[0]`, `power[1]`, `power[2]`, `total`."),
        (("why", "lod"), "`lod`. Nearest: load."),
        (("lineage", "nothing"), "`nothing`"),
        (("data", "show", "flights"), "`flights`"),
        (("models", "show", "delay"), "`delay`"),
        (("serve", "delay"), "`delay`"),
        (("serve", "delay", "delay"), "endpoint: `delay` is not named once"),
        (("--profile", "prod", "config"), "No profile `prod`."),
        (("--set", "jobz=3", "config"), "no setting `jobz`. Nearest: jobs."),
        (("--set", "jobs=many", "config"), "expected a whole number"),
    ],
)
def test_what_does_not_exist_is_named_in_one_line(look: Look, words: tuple[str, ...], said: str) -> None:
    result = look(*words)
    assert result.exit_code == 1
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("rnus",), "No command `rnus`. Nearest: run"),
        (("runs", "shw"), "No command `shw`. Nearest: show."),
        (("runs", "--limit", "0"), "--limit"),
        (("run", "one", "two"), "`two` is one word too many"),
        (("why", "latest", "a", "b"), "`b` is one word too many"),
        (("--set", "jobs", "config"), "NAME=VALUE"),
        (("completion", "csh"), "csh"),
    ],
)
def test_wrong_usage_ends_with_2(look: Look, words: tuple[str, ...], said: str) -> None:
    result = look(*words)
    assert result.exit_code == 2
    assert said in result.stderr
    told = look(*words, "--json")
    assert told.exit_code == 2
    assert json.loads(told.stdout)["error"]["code"] == "usage"


def test_errors_are_json_when_json_was_asked_for(look: Look) -> None:
    result = look("runs", "show", "zzzz", "--json")
    assert result.exit_code == 1
    error = json.loads(result.stdout)["error"]
    assert error["code"] == "not_found"
    assert "zzzz" in error["message"]
    assert result.stderr == ""


def test_json_before_the_command_is_told_where_it_belongs(look: Look) -> None:
    result = look("--json", "runs", "list")
    assert result.exit_code == 2
    assert "put it behind one, as in `mainspring runs list --json`" in json.loads(result.stdout)["error"]["message"]


def test_looking_makes_no_workspace(tmp_path: Path) -> None:
    for words in (["runs"], ["why"], ["doctor"], ["lineage", "latest"], ["data"], ["gc"]):
        result = CliRunner().invoke(cli, ["-C", str(tmp_path), *words])
        assert result.exit_code == 1
        assert "mainspring run" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("smal",), "No pipeline `smal`. Nearest: small"),
        (("steps:mian",), "No pipeline `steps:mian`. Nearest: steps:main."),
        (("stps:main",), "No module `stps`. Nearest: steps."),
        (("stps.py",), "No file `stps.py`. Nearest: steps.py"),
        (("--cuont", "3"), "`cuont`. Nearest: count."),
        (("--count", "three"), "parameter `count`: `three` is not an int."),
        (("broken.py",), "`broken` is not Python"),
        (("importer.py",), "importing `importer` failed: `broken.py` is not Python: invalid syntax"),
        (("unknown.py",), "has no attribute `map` ({project}/unknown.py:3)"),
        (("raises.py",), "ZeroDivisionError"),
        (("empty.py",), "@ms.pipeline"),
        (("two.py",), "two.py:first, two.py:second"),
        (("--params", "broken.py"), "not JSON"),
        (("--params", "list.json"), "expected names and values"),
    ],
)
def test_a_wrong_target_or_parameter_is_named(project: Path, words: tuple[str, ...], said: str) -> None:
    (project / "broken.py").write_text("def f(:\n")
    (project / "importer.py").write_text("import broken\n")
    (project / "unknown.py").write_text("import mainspring as ms\n\nms.map(len, [])\n")
    (project / "raises.py").write_text("1 / 0\n")
    (project / "empty.py").write_text("")
    (project / "list.json").write_text("[1]")
    (project / "two.py").write_text(
        "import mainspring as ms\n\n\n@ms.pipeline\ndef first(): ...\n\n\n@ms.pipeline\ndef second(): ...\n"
    )
    result = call("run", *words, cwd=project)
    assert result.exit_code == 1
    assert said.replace("{project}", str(project)) in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_verbose_shows_the_traceback(project: Path) -> None:
    (project / "raises.py").write_text("1 / 0\n")
    assert "Traceback" not in mainspring("run", "raises.py", cwd=project).stderr
    assert "Traceback" in mainspring("-v", "run", "raises.py", cwd=project).stderr


def test_a_project_with_several_pipelines_and_no_main_asks_which(project: Path) -> None:
    (project / "mainspring.toml").write_text('[pipelines]\none = "steps:main"\nsmall = "steps:other"\n')
    result = call("run", cwd=project)
    assert result.exit_code == 1
    assert "one, small" in result.stderr


def test_a_project_is_made_once(tmp_path: Path) -> None:
    assert mainspring("init", cwd=tmp_path).returncode == 0
    again = mainspring("init", cwd=tmp_path)
    assert again.returncode == 1
    assert "already" in again.stderr


def test_what_resembles_nothing_is_answered_with_what_there_is(look: Look) -> None:
    newest = json.loads(look("runs", "--json").stdout)["runs"][0]["id"]
    assert f"No run `zzzzzz`. The newest is {newest[:12]}. " in look("runs", "show", "zzzzzz").stderr
    assert "No record `zzzzzz`. Known by name: " in look("lineage", "zzzzzz").stderr


def test_a_parameter_that_is_called_like_an_option_of_run_is_said_as_such(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(
        "import mainspring as ms\n\n@ms.step\ndef same(x): return x\n"
        "\n@ms.pipeline\ndef main(seed: int = 1): return same(seed)\n"
    )
    refused = mainspring("run", "flow.py", "--seed", "3", cwd=tmp_path)
    assert refused.returncode == 2
    assert "`-p seed=VALUE`" in refused.stderr
    done = mainspring("run", "flow.py", "--seed", "3", "-p", "seed=7", "--json", cwd=tmp_path)
    told = json.loads(done.stdout)["run"]
    assert (told["seed"], told["params"]) == (3, {"seed": 7})
