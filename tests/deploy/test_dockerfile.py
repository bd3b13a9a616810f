"""The context of a Dockerfile: pinned, for nobody, and with the same variables as an image that is built here."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from mainspring.deploy import write_dockerfile
from mainspring.deploy.contents import health_check, variables
from mainspring.deploy.needs import Needs
from mainspring.deploy.shared import SharedLibrary
from mainspring.deploy.tree import File
from mainspring.errors import ExistsError, InvalidError
from mainspring.serving.sealed import read_sealed
from mainspring.web.server import serve_aside
from mainspring.workspace import Workspace
from tests.deploy.bases import MINOR
from tests.web.test_app import Echo

pytestmark = pytest.mark.one_backend("what is sealed has a suite on each")
NEEDS = Needs(MINOR, {"click": "8.5.1", "numpy": "2.4.6"}, frozenset(), {"own.py": File(b"x = 1\n")})


@pytest.fixture
def context(project: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("mainspring.deploy.dockerfile.needs_of", lambda *_: NEEDS)
    folder = tmp_path / "context"
    said: list[str] = []
    write_dockerfile("lines", folder, base="python:3.11-slim", on_progress=said.append)
    assert said == ["serving lines once, to see what it needs", "writing context"]
    return folder


def instructions(folder: Path) -> dict[str, list[str]]:
    """The arguments of each instruction, by its name."""
    found: dict[str, list[str]] = {}
    text = (folder / "Dockerfile").read_text().replace("\\\n", " ")
    for line in text.splitlines():
        if line:
            name, _, rest = line.partition(" ")
            found.setdefault(name, []).append(rest)
    return found


def test_it_has_the_user_port_probe_and_command_of_an_image(context: Path) -> None:
    said = instructions(context)
    assert (said["USER"], said["EXPOSE"], said["WORKDIR"]) == (["65532:0"], ["8080"], ["/var/lib/mainspring"])
    assert said["ENTRYPOINT"] == ['["python3", "-P", "-m", "mainspring"]']
    assert "/ready" in said["HEALTHCHECK"][0]
    declared = dict(word.split("=", 1) for word in shlex.split(said["ENV"][0]))
    assert declared == variables(NEEDS, "token")


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("python3\0-P\0-m\0mainspring\0serve\0--port\0{port}\0", {"AIP_HTTP_PORT": "1", "MAINSPRING_SERVE_PORT": "1"}),
        ("tini\0--\0mainspring\0serve\0--port={port}\0", {}),
        ("mainspring\0serve\0", {"AIP_HTTP_PORT": "{port}", "MAINSPRING_SERVE_PORT": "1"}),
        ("mainspring\0serve\0", {"AIP_HTTP_PORT": "", "MAINSPRING_SERVE_PORT": "{port}"}),
        (None, {"MAINSPRING_SERVE_PORT": "{port}"}),
        (
            None,
            {"MAINSPRING_SERVE_PORT": "{port}", "http_proxy": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1"},
        ),
    ],
)
def test_the_probe_asks_the_port_that_the_server_takes(
    tmp_path: Path, command: str | None, named: dict[str, str]
) -> None:
    listed = tmp_path / "cmdline"
    with serve_aside(Echo()) as address:
        port = address.rpartition(":")[2]
        if command is not None:
            listed.write_text(command.format(port=port))
        program = health_check(sys.executable, str(listed))
        variables = {name: value.format(port=port) for name, value in named.items()}
        subprocess.run(program, env=variables, check=True, timeout=20)


def test_everything_is_pinned_and_lies_in_the_context(context: Path) -> None:
    said = instructions(context)
    assert said["FROM"] == ["docker.io/library/python:3.11-slim"]
    assert (context / "requirements.txt").read_text() == "click==8.5.1\nnumpy==2.4.6\n"
    copied = [word for line in said["COPY"] for word in line.split()[:-1]]
    assert [each for each in copied if not (context / each).exists()] == []
    assert re.fullmatch(r"wheels/mainspring-[\d.]+-py3-none-any\.whl", copied[1])
    assert (context / "source" / "own.py").read_text() == "x = 1\n"
    assert read_sealed(context / "endpoint").endpoint.name == "lines"


def test_a_base_is_pinned_once_for_the_project(
    project: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mainspring.deploy.dockerfile.needs_of", lambda *_: NEEDS)
    pinned = f"docker.io/library/python:{MINOR}-slim@sha256:{'0a' * 32}"
    with Workspace.open(project.project.root, overrides={"image_base": pinned}) as workspace:
        for base, expected in (("", pinned), ("python:3.12", "docker.io/library/python:3.12")):
            folder = tmp_path / (base or "setting")
            write_dockerfile("lines", folder, base=base, workspace=workspace)
            assert instructions(folder)["FROM"] == [expected]


@pytest.mark.parametrize("base", ["./base", "UPPER/case"])
def test_a_base_of_the_project_that_is_none_is_named_as_its_setting(
    project: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base: str
) -> None:
    monkeypatch.setattr("mainspring.deploy.dockerfile.needs_of", lambda *_: NEEDS)
    with Workspace.open(project.project.root, overrides={"image_base": base}) as workspace:
        with pytest.raises(InvalidError, match=f"^image_base: `{base}` is not an image"):
            write_dockerfile("lines", tmp_path / "context", workspace=workspace)
        with pytest.raises(InvalidError, match=f"^base: `{base}` is not an image"):
            write_dockerfile("lines", tmp_path / "context", base=base, workspace=workspace)


def test_what_is_there_stays_and_a_base_has_to_have_a_name(context: Path, project: Workspace, tmp_path: Path) -> None:
    with pytest.raises(ExistsError):
        write_dockerfile("lines", context)
    with pytest.raises(InvalidError, match="which a Dockerfile can name"):
        write_dockerfile("lines", tmp_path / "other", base=str(tmp_path))
    with pytest.raises(InvalidError, match="`token` or `platform`"):
        write_dockerfile("lines", tmp_path / "other", authentication="none")  # type: ignore[arg-type]  # what a caller may say
    assert not (tmp_path / "other").exists()


def test_shared_libraries_lie_in_the_context_and_are_looked_for_behind_the_bases(
    project: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs = replace(NEEDS, shared=(SharedLibrary("libgomp.so.1", File(b"OpenMP"), ("lightgbm",)),))
    monkeypatch.setattr("mainspring.deploy.dockerfile.needs_of", lambda *_: needs)
    told = write_dockerfile("lines", tmp_path / "context", base="python:3.11-slim")
    said = instructions(tmp_path / "context")
    assert told.shared_libraries == {"libgomp.so.1": ("lightgbm",)}
    assert (tmp_path / "context" / "shared" / "libgomp.so.1").read_bytes() == b"OpenMP"
    assert "shared /opt/mainspring/shared" in said["COPY"]
    assert "!shared/**" in (tmp_path / "context" / ".dockerignore").read_text().splitlines()
    for given, expected in (("", "/opt/mainspring/shared"), ("/opt/own", "/opt/own:/opt/mainspring/shared")):
        command = ["sh", "-c", f"{said['ENV'][0]}; echo $LD_LIBRARY_PATH"]  # a builder replaces words as a shell does
        done = subprocess.run(command, env={"LD_LIBRARY_PATH": given}, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == expected
