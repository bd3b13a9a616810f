"""A revealed secret stays out of all that a workspace keeps and shows, whatever a step does with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import call

VALUE = 'hunter2 "naïve"/p4ss&w0rd'
REFERENCE = "secret:env/LAB_KEY"
TRACES = ("hunter2", "p4ss", "w0rd", "aHVudGVyM", b"hunter2".hex())  # of the value, however it is written

# Each way in a step of its own: one leak can't hide another, and those that are refused fail alone.
STEPS = """
import base64
import html
import json
import os
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import polars as pl

import mainspring as ms


@ms.step
def words(key: ms.Secret) -> int:
    subprocess.run(["true", "-H", f"Authorization: Bearer {key.reveal()}"], check=True)
    subprocess.run(["true", "--" + "long" * 17, key.reveal()], check=True)  # cut within it
    return 1


@ms.step
def shell(key: ms.Secret) -> int:
    subprocess.run(f"true '{key.reveal()}'", shell=True, check=True)
    os.system(f"true '{key.reveal()}' > /dev/null")
    os.spawnlp(os.P_WAIT, "true", "true", key.reveal())
    return 1


@ms.step
def program(key: ms.Secret) -> int:
    with suppress(OSError):
        subprocess.run([f"./{key.reveal()}"], check=False)
    return 1


@ms.step
def addresses(key: ms.Secret) -> int:
    with suppress(OSError), socket.socket(socket.AF_UNIX) as line:
        line.connect(f"/nowhere/{key.reveal()}")
    with suppress(OSError):
        socket.getaddrinfo(f"{key.reveal()}.invalid", 1)
    with suppress(Exception):
        pl.read_parquet(f"s3://bucket/{key.reveal()}/x.parquet?token={key.reveal()}")
    return 1


@ms.step
def databases(key: ms.Secret) -> int:
    import duckdb

    for address in ("md:x?motherduck_token=", "md:", "ducklake:postgres:password="):
        with suppress(Exception):
            duckdb.connect(address + key.reveal(), config={"autoinstall_known_extensions": "false"})
    return 1


@ms.step
def files(key: ms.Secret) -> int:
    for path in (f"{key.reveal()}.txt", f"/nowhere/{key.reveal()}"):
        with suppress(OSError):
            open(path)
        with suppress(OSError):
            os.listdir(path)
    return len(os.environ.get(key.reveal(), "1"))


@ms.step
def remembered(key: ms.Secret) -> Path:
    return Path(f"/nowhere/{key.reveal()}")


@ms.step
def raised(key: ms.Secret) -> int:
    try:
        raise ValueError("x" * 490 + key.reveal())
    except ValueError as error:
        raise RuntimeError(repr(key.reveal()), json.dumps(json.dumps(key.reveal()))) from error


@ms.step
def printed(key: ms.Secret) -> int:
    value = key.reveal()
    print(value, [value], value.encode(), json.dumps(json.dumps([value])), html.escape(value), quote(value).lower())
    print(base64.b64encode(value.encode()).decode(), base64.urlsafe_b64encode(value.encode()).decode(), value.encode().hex())
    sys.stderr.write(f"key {value}")
    return 1


@ms.step
def logged(key: ms.Secret) -> int:
    value = key.reveal()
    for log in (
        lambda: ms.log_param("p", value), lambda: ms.log_param("q", {value: [value]}), lambda: ms.log_param(value, 1),
        lambda: ms.log_param("b", value.encode()), lambda: ms.log_metric(value, 1.0), lambda: ms.log_tag("t", value),
        lambda: ms.log_tag(value, "t"), lambda: ms.log_text(value, "a.txt"), lambda: ms.log_text("a", value),
    ):
        with suppress(Exception):
            log()
    return 1


@ms.step
def committed(key: ms.Secret) -> int:
    value, numbers, table = key.reveal(), ms.dataset("numbers"), pl.DataFrame({"n": [1]})
    path = Path(ms.scratch(), value)
    path.parent.mkdir()
    path.write_text("1")
    version = numbers.commit(table, note=f"from {value}", source=f"https://x/{quote(value)}?key={value}")
    for commit in (
        lambda: ms.dataset(value).commit(table), lambda: numbers.tag(1, value), lambda: numbers.commit(table, source=path),
    ):
        with suppress(ms.MainspringError):
            commit()
    return version.number


@ms.step
def returned(key: ms.Secret) -> list[str]:
    return [key.reveal()]


@ms.pipeline
def main(key: ms.Secret):
    return {step.name: step(key) for step in (WAYS)}
"""
WAYS = (
    "words", "shell", "program", "addresses", "databases", "files", "remembered", "raised", "printed", "logged",
    "committed", "returned",
)  # fmt: skip


@pytest.mark.parametrize("runner", ["inline", "pool"])
def test_a_revealed_secret_is_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runner: str) -> None:
    monkeypatch.setenv("LAB_KEY", VALUE)
    (tmp_path / "pipeline.py").write_text(STEPS.replace("(WAYS)", f"({', '.join(WAYS)})"))
    (tmp_path / "mainspring.toml").write_text("")
    ran = call("run", "pipeline.py", "--key", REFERENCE, "--runner", runner, "--keep-going", cwd=tmp_path)
    assert "9 ran, 3 failed, 6 not reusable" in ran.output
    shown = {"run": ran.output}
    for words in (("why",), ("runs", "show", "latest"), ("logs", "latest"), ("data", "show", "numbers")):
        for option in ((), ("--json",)):
            looked = call(*words, *option, cwd=tmp_path)
            assert looked.exit_code == 0, looked.output
            shown[" ".join((*words, *option))] = looked.output
    kept = {
        path.name: path.name + path.read_bytes().decode("utf-8", "replace")
        for path in (tmp_path / ".mainspring").rglob("*")
        if path.is_file()
    }
    assert any(name.startswith("mainspring.db") and REFERENCE in text for name, text in kept.items())
    found = [(name, trace) for name, text in (shown | kept).items() for trace in TRACES if trace in text]
    assert not found
