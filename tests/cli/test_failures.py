"""What a failed run says: each error once where it is explained, at the user's own lines, without our frames."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from mainspring.cli.main import cli
from tests.cli.conftest import call, mainspring

STEPS = """
import mainspring as ms


class Broken(Exception):
    pass


@ms.step
def raises(n: int) -> int:
    raise Broken("no good\\nat all")


@ms.step(isolated=True)
def apart(n: int) -> int:
    raise ValueError("no good")


@ms.step
def unset(n: int) -> str:
    return ms.Secret("secret:env/LAB_UNSET").reveal()


@ms.step(outputs=("a", "b"))
def misses(n: int):
    return {"a": 1}


@ms.step
def strange(n: int):
    return object()


@ms.step
def reads(n: int) -> int:
    return n + len(open("extra.txt").read())


def pipeline_of(step):
    def body(n: int = 1):
        return step(n)

    body.__name__ = body.__qualname__ = step.name + "_only"
    return ms.pipeline(body)


raising, apart_only, unset_only, misses_only, strange_only, reading = map(
    pipeline_of, (raises, apart, unset, misses, strange, reads)
)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "steps.py").write_text(STEPS)
    (tmp_path / "extra.txt").write_text("abc")
    (tmp_path / "mainspring.toml").write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("pipeline", "said", "place"),
    [
        ("raising", "Broken: no good at all", "steps.py"),
        ("apart_only", "ValueError: no good", '"steps.py"'),
        ("unset_only", "the environment variable `LAB_UNSET` is not set", "steps.py"),
        ("misses_only", "misses the output `b`", ""),
        ("strange_only", "No codec takes a value", ""),
    ],
)
def test_an_error_is_said_at_most_twice_and_at_the_users_lines(
    folder: Path, pipeline: str, said: str, place: str
) -> None:
    ran = mainspring("run", f"steps.py:{pipeline}", cwd=folder)
    assert ran.returncode == 1
    assert ran.stderr.count(said) == 2  # when it happens, and where the run is summed up
    shown = [line for line in ran.stderr.splitlines() if line.startswith("  │   File")]
    assert len(shown) == bool(place)
    assert all(place in line for line in shown)
    assert os.sep.join(("src", "mainspring")) not in ran.stderr
    assert ".mainspring" not in ran.stderr


def test_what_ran_without_being_reusable_is_counted(folder: Path) -> None:
    (folder / "live.py").write_text(
        "import mainspring as ms\n\n\ndef made(lock):\n    @ms.step\n    def closed() -> int:\n"
        "        return 1 if lock else 0\n\n    return closed\n\n\nclosed = made(object())\n\n\n"
        "@ms.pipeline\ndef main():\n    return closed()\n"
    )
    assert ": 1 ran, 1 not reusable (see `mainspring why " in mainspring("run", "live.py:main", cwd=folder).stderr
    ran = mainspring("run", "steps.py:reading", cwd=folder)
    assert ran.returncode == 0
    assert ": 1 ran, 1 not reusable (undeclared inputs, which a worker may not have; see `mainspring why " in ran.stderr
    assert "not reusable" in mainspring("run", "-q", "steps.py:reading", cwd=folder).stderr


def test_a_wrong_option_of_a_decorator_is_shown_where_it_was_written(folder: Path) -> None:
    (folder / "wrong.py").write_text("import mainspring as ms\n\n\n@ms.step(retires=3)\ndef a(): ...\n")
    ran = call("run", "wrong.py", cwd=folder)
    assert f"`retires`. Nearest: retries, timeout_s. ({folder / 'wrong.py'}:4)" in ran.stderr


def test_the_command_that_a_failed_run_names_shows_why_a_mapped_step_failed_as_a_whole(folder: Path) -> None:
    mapped = "\n\n@ms.step\ndef count(n: int) -> int:\n    return n\n\n\n@ms.pipeline\ndef mapping(n: int = 3):\n"
    (folder / "steps.py").write_text(f"{STEPS}{mapped}    return reads.map(count(n))\n")
    ran = call("run", "steps.py:mapping", cwd=folder)
    assert "✗ reads: " in ran.stderr
    (words,) = re.findall(r"mainspring (logs \w+ reads)\n", ran.stderr)
    looked = CliRunner().invoke(cli, ["-C", str(folder), *words.split()])
    assert looked.exit_code == 0
    assert looked.stdout in ran.stderr.replace("✗ reads: ", "")
    assert "reads" in CliRunner().invoke(cli, ["-C", str(folder), "logs", "latest"]).stdout
