"""What `mainspring build` says to do next works as it stands in a shell."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mainspring.cli.main import cli
from mainspring.deploy import BuiltImage, WrittenContext
from mainspring.workspace import Workspace


def made_image(name: str, output: Path, **_: Any) -> BuiltImage:
    return BuiltImage(name, "m/1", str(output), f"{name}:1", "sha256:0", "linux/amd64", "python", "", 1, 1, {}, {})


def made_context(name: str, folder: str, **_: Any) -> WrittenContext:
    return WrittenContext(name, "m/1", folder, "python", ())


@pytest.mark.parametrize(
    ("option", "path", "before"),
    [("-o", "of May/it's.tar", ["podman", "load", "-i"]), ("--dockerfile", "of May", ["build", "-t", "delays"])],
)
def test_the_next_command_takes_a_path_with_blanks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, path: str, before: list[str]
) -> None:
    monkeypatch.setattr("mainspring.deploy.build_image", made_image)
    monkeypatch.setattr("mainspring.deploy.write_dockerfile", made_context)
    Workspace.open(tmp_path).close()
    run = CliRunner().invoke(cli, ["-C", str(tmp_path), "build", "delays", option, path])
    assert run.exit_code == 0, run.stderr
    words = shlex.split(run.stdout.splitlines()[-1])
    place = words.index(path)
    assert words[place - 3 : place] == before
