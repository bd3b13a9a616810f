"""Every command that looks prints one JSON document with --json, and the same facts as text."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import click
import pytest
from click.testing import CliRunner, Result

from mainspring.cli.main import COMMANDS, cli

Look = Callable[..., Result]
LOOKING = [
    ("runs",), ("runs", "list", "--all"), ("runs", "--state", "failed"), ("runs", "show", "latest"), ("logs", "latest"),
    ("logs", "latest", "load"), ("why",), ("why", "latest"), ("why", "latest", "total"), ("lineage", "latest"), ("data",),
    ("models",), ("endpoints",), ("config",), ("config", "show"), ("doctor",), ("doctor", "--blobs"), ("gc", "--dry-run"),
    ("completion", "zsh"),
]  # fmt: skip


@pytest.mark.parametrize("words", LOOKING, ids=" ".join)
def test_json_is_one_document_and_text_is_not_empty(look: Look, words: tuple[str, ...]) -> None:
    told = look(*words, "--json")
    assert told.exit_code == 0, told.output
    assert isinstance(json.loads(told.stdout), dict)
    shown = look(*words)
    assert shown.exit_code == 0
    assert shown.stdout.strip()
    assert "\x1b" not in shown.output


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def test_every_command_takes_json_and_explains_itself() -> None:
    found = dict(commands(cli))
    assert len(found) > len(COMMANDS)
    assert [
        path for path, command in found.items() if "--json" not in {o for p in command.params for o in p.opts}
    ] == []
    assert [path for path, command in found.items() if not command.help] == []


def test_help_lists_every_command_without_importing_any() -> None:
    shown = CliRunner().invoke(cli, ["--help"]).stdout
    for name, (_, about) in COMMANDS.items():
        assert any(line.split(maxsplit=1) == [name, about] for line in shown.splitlines())


def test_a_run_is_shown_with_steps_parameters_and_outputs(look: Look) -> None:
    listed = json.loads(look("runs", "--json").stdout)["runs"]
    assert [run["state"] for run in listed] == ["failed", "succeeded"]
    document = json.loads(look("runs", "show", listed[1]["id"][:14], "--json").stdout)
    assert document["run"]["note"] == "the first"
    assert document["run"]["params"] == {"count": 3, "exponent": 2, "fail": False}
    assert [task["name"] for task in document["tasks"]] == [
        "load",
        "power",
        "power[0]",
        "power[1]",
        "power[2]",
        "total",
    ]
    assert document["outputs"]["total"][0]["summary"] == "5"
    assert document["run"]["started_at"].endswith("+00:00")
    shown = look("runs", "show", listed[1]["id"]).stdout
    for fact in ("the first", "count = 3", "no earlier result of this step", "environment"):
        assert fact in shown


def test_runs_are_filtered_and_paged(look: Look) -> None:
    newest, oldest = (run["id"] for run in json.loads(look("runs", "--json").stdout)["runs"])
    assert oldest[:12] in look("runs", "--before", newest).stdout
    assert newest[:12] not in look("runs", "--before", newest).stdout
    assert newest[:12] in look("runs", "--limit", "1").stdout
    assert "No runs" in look("runs", "--state", "running").stdout


def test_logs_of_a_reused_step_are_those_of_when_it_ran(look: Look) -> None:
    assert look("logs", "latest", "load").stdout == "loading 3\n"
    shown = look("logs", "latest").stdout
    assert "reused from run" in shown
    assert "ValueError: they do not add up" in shown


def test_settings_come_with_their_origin(look: Look) -> None:
    told = json.loads(look("--set", "jobs=4", "config", "--json").stdout)
    origins = {row["name"]: (row["value"], row["origin"]) for row in told["settings"]}
    assert origins["jobs"] == (4, "command line")
    assert origins["seed"] == (0, "default")
