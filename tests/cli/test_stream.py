"""`mainspring stream`: events go in from files, come out in order, and are followed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mainspring.cli.main import cli
from mainspring.streams import OffsetStore
from mainspring.workspace import Workspace

Call = Callable[..., Result]


@pytest.fixture
def call(tmp_path: Path) -> Call:
    (tmp_path / "mainspring.toml").write_text('name = "sent"\n')
    (tmp_path / "events.jsonl").write_text(
        '{"id": "a", "time": "2026-01-01T00:00:00Z", "type": "t", "data": {"x": 1}}\n{"id": "b", "data": {}}\n'
    )

    def run(*words: str, given: str = "") -> Result:
        return CliRunner().invoke(cli, ["-C", str(tmp_path), "stream", *words], input=given, prog_name="mainspring")

    return run


def test_files_are_sent_once_and_read_in_order(call: Call, tmp_path: Path) -> None:
    sent = call("send", "s", str(tmp_path / "events.jsonl"))
    assert "2 events appended to s, up to offset 2" in sent.output
    again = json.loads(call("send", "s", str(tmp_path / "events.jsonl"), "--json").output)
    assert [(each["offset"], each["is_new"]) for each in again["events"]] == [(1, False), (2, False)]
    assert (
        "0 events appended to s, up to offset 2, 2 were there already"
        in call("send", "s", str(tmp_path / "events.jsonl")).output
    )
    found = json.loads(call("read", "s", "--json").output)["events"]
    assert [(each["offset"], each["id"], each["data"]) for each in found] == [(1, "a", {"x": 1}), (2, "b", {})]
    assert found[0]["time"] == "2026-01-01T00:00:00Z"
    assert call("read", "s", "--limit", "1").output.split()[0] == "1"
    assert "a  t" in call("read", "s").output
    assert call("read", "s", "--after", "2").output == "No events in s behind 2.\n"


def test_rows_are_sent_with_their_fields(call: Call) -> None:
    rows = '[{"flight": "AA1", "at": "2026-01-01"}, {"flight": "AA2", "at": "2026-01-02"}]'
    assert call("send", "s", "--rows", "--id", "flight", "--time", "at", given=rows).exit_code == 0
    assert [each["id"] for each in json.loads(call("read", "s", "--json").output)["events"]] == ["AA1", "AA2"]
    assert call("send", "s", "--id", "flight", given=rows).exit_code == 2


@pytest.mark.parametrize(
    ("given", "said"), [('{"x": 1}', "field of an event"), ("{", "line 1"), ('{"data": 1}', "data")]
)
def test_what_is_wrong_is_one_line(call: Call, given: str, said: str) -> None:
    refused = call("send", "s", given=given)
    assert (refused.exit_code, said in refused.output, refused.output.count("\n")) == (1, True, 1)


def test_streams_are_listed_with_their_consumers(call: Call, tmp_path: Path) -> None:
    assert call("send", "s", str(tmp_path / "events.jsonl")).exit_code == 0
    with Workspace.open(tmp_path) as workspace:
        offsets = OffsetStore(workspace.database)
        with offsets.claimed("s", "delays", workspace.owner) as lease, workspace.database.transaction() as tx:
            offsets.move(tx, "s", "delays", expect=0, offset=1, lease=lease)
    assert "delays 1" in call().output
    (listed,) = json.loads(call("list", "--json").output)["streams"]
    assert (listed["name"], listed["end"], listed["consumers"]) == ("s", 2, {"delays": 1})


def test_no_streams_are_said(call: Call, tmp_path: Path) -> None:
    Workspace.open(tmp_path).close()
    assert call("list").output.startswith("No streams.")


def test_a_stream_is_followed_until_interrupted(call: Call, tmp_path: Path) -> None:
    assert call("send", "s", str(tmp_path / "events.jsonl")).exit_code == 0
    command = [sys.executable, "-m", "mainspring", "stream", "read", "s", "--follow", "--json"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=os.environ) as follower:
        assert follower.stdout is not None
        assert [json.loads(follower.stdout.readline())["id"] for _ in range(2)] == ["a", "b"]
        assert call("send", "s", given='{"id": "c", "data": {}}').exit_code == 0
        assert json.loads(follower.stdout.readline())["id"] == "c"
        follower.send_signal(signal.SIGINT)
        assert (follower.wait(), follower.stdout.read()) == (0, "")
    assert len(call("read", "s", "--follow", "--limit", "3").output.splitlines()) == 3


def test_the_server_says_where_it_is(call: Call, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mainspring", "stream", "serve", "--port", "0", "--json"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert json.loads(server.stdout.readline())["url"].startswith("http://127.0.0.1:")
        server.terminate()
    assert server.returncode == 0
