"""What a run recorded can be looked at: steps, environment, sources, what has no result, a script's log."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mainspring.cli.main import cli
from mainspring.runs import checkpoints, start_run
from mainspring.workspace import Workspace, using
from tests.cli.conftest import called, mainspring

FLOW = """
import mainspring as ms

ms.env("REGION")


@ms.step
def noted(n: int) -> int:
    ms.log_metric("seen", float("nan"))
    ms.log_artifact("kept", {"n": n})
    ms.log_text("two lines", "notes/a.txt")
    ms.checkpoints(keep_last=1).save([n], step=4, metrics={"loss": float("inf")})
    open("undeclared.txt").read()
    return n


@ms.step
def logged(n: int) -> int:
    ms.log_metric("auc", 0.5)
    return n


@ms.step
def bad(n: int) -> int:
    raise ValueError("no")


@ms.step
def after(n: int) -> int:
    return n


@ms.pipeline
def main(rate: float = 1.0):
    one = logged(noted(1))
    return {"one": one, "two": after(bad(one)), "many": [after(one), bad(3)]}
"""


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose run failed: one output is there, one is not, one in part; then a script's run."""
    folder = tmp_path_factory.mktemp("flow")
    (folder / "flow.py").write_text(FLOW)
    (folder / "undeclared.txt").write_text("x")
    (folder / "mainspring.toml").write_text('[pipelines]\nmain = "flow:main"\n')
    for _ in range(2):
        assert mainspring("run", "--keep-going", "--rate", "nan", "--runner", "inline", cwd=folder).returncode == 1
    return folder


def look(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["-C", str(folder), *words], prog_name="mainspring")


def test_outputs_that_exist_are_listed_and_the_others_say_why_not(flow: Path) -> None:
    shown = look(flow, "runs", "show", "latest").stdout
    lines = {line.split()[0]: line.split(maxsplit=1)[1] for line in shown.splitlines()[-4:] if line}
    assert lines["one"] == "1"
    assert lines["two"] == "no result: `bad` failed"
    document = json.loads(look(flow, "runs", "show", "latest", "--json").stdout)
    assert [("missing" in each) for each in document["outputs"]["many"]] == [False, True]
    assert document["outputs"]["two"] == [{"missing": "after", "summary": "no result: `bad` failed"}]


def test_numbers_that_json_lacks_are_texts(flow: Path) -> None:
    document = json.loads(look(flow, "runs", "show", "latest", "--json").stdout)
    assert document["run"]["params"] == {"rate": "NaN"}
    assert document["metrics"]["seen"] == "NaN"


def test_metrics_of_a_reused_step_are_shown_as_reused(flow: Path) -> None:
    shown = look(flow, "runs", "show", "latest").stdout
    assert ["auc", "0.5", "logged,", "reused"] in [line.split() for line in shown.splitlines()]
    assert ["seen", "nan", "noted"] in [line.lower().split() for line in shown.splitlines()]


def test_undeclared_reads_are_counted_and_named(flow: Path) -> None:
    shown = look(flow, "runs", "show", "latest").stdout
    assert "1 step; see mainspring why" in shown
    assert "undeclared file `undeclared.txt`" in look(flow, "runs", "show", "latest", "noted").stdout.replace(
        "undeclared   file", "undeclared file"
    )
    assert json.loads(look(flow, "runs", "show", "latest", "--json").stdout)["not_reusable"] == 1


def test_a_step_has_its_inputs_outputs_and_what_it_logged(flow: Path) -> None:
    document = json.loads(look(flow, "runs", "show", "latest", "noted", "--json").stdout)
    task = document["task"]
    assert task["inputs"] == {"n": [{"value": 1, "summary": "1"}]}
    assert len(task["outputs"]["result"]["content_digest"]) == 64
    assert (task["metrics"], list(task["artifacts"])) == ({"seen": "NaN"}, ["kept"])
    assert [(file["path"], file["size_bytes"]) for file in task["files"]] == [("notes/a.txt", 9)]
    assert [attempt["state"] for attempt in task["attempts"]] == ["succeeded"]
    shown = look(flow, "runs", "show", "latest", "noted").stdout
    assert all(
        word in shown
        for word in (
            "inputs", "outputs", "artifacts", "kept", "notes/a.txt", task["outputs"]["result"]["content_digest"][:12]
        )
    )  # fmt: skip


def test_files_are_listed_and_copied(flow: Path, tmp_path: Path) -> None:
    (run, *_) = [each["id"] for each in json.loads(look(flow, "runs", "--all", "--json").stdout)["runs"]][::-1]
    (each,) = json.loads(look(flow, "runs", "files", run, "--json").stdout)["files"]
    assert (each["task"], each["path"]) == ("noted", "notes/a.txt")
    assert "notes/a.txt" in look(flow, "runs", "files", run, "notes").stdout
    for _ in range(2):
        assert look(flow, "runs", "files", run, "--to", str(tmp_path)).stdout == f"1 file copied into {tmp_path}.\n"
    (copied := tmp_path / "noted" / "notes" / "a.txt").write_text("mine")
    assert "has other bytes" in look(flow, "runs", "files", run, "--to", str(tmp_path)).stderr
    assert copied.read_text() == "mine"
    assert "Nearest" in look(flow, "runs", "files", run, "note.txt").stderr


def test_what_the_disk_refuses_is_named_and_the_rest_is_copied(tmp_path: Path) -> None:
    (tmp_path / "mainspring.toml").write_text('name = "files"\n')
    (out := tmp_path / "out").mkdir()
    with Workspace.open(tmp_path) as workspace, start_run("files", workspace=workspace) as run:
        for path in ("a.txt", "notes/b.txt", "z.txt"):
            run.log_bytes(path, b"x")
    (out / "notes").write_text("a file where a folder is needed")
    found = look(tmp_path, "runs", "files", run.id, "--to", str(out))
    assert (found.exit_code, found.stdout) == (1, f"2 of 3 files copied into {out}.\n")
    assert f"{out}/notes/b.txt: it can't be written" in found.stderr
    assert sorted(each.name for each in out.iterdir()) == ["a.txt", "notes", "z.txt"]
    told = look(tmp_path, "runs", "files", run.id, "--to", str(out), "--json")
    document = json.loads(told.stdout)
    assert (told.exit_code, len(document["copied"]), document["failed"][0]["code"]) == (1, 2, "storage")


def test_checkpoints_are_listed_with_the_step_that_keeps_them(flow: Path) -> None:
    run = json.loads(look(flow, "runs", "show", "latest", "noted", "--json").stdout)["task"]["run"]
    (each,) = json.loads(look(flow, "runs", "checkpoints", run, "--json").stdout)["checkpoints"]
    assert (each["task"], each["name"], each["step"], each["metrics"]) == ("noted", "state", 4, {"loss": "Infinity"})
    assert ["noted", "state", "4", "loss", "inf"] in [
        line.split()[:5] for line in look(flow, "runs", "checkpoints", run).stdout.splitlines()
    ]


def test_lineage_goes_from_a_run_to_its_checkpoints_and_says_which_are_gone(tmp_path: Path) -> None:
    (tmp_path / "mainspring.toml").write_text("")
    with Workspace.open(tmp_path) as workspace, using(workspace):
        with start_run("training") as run:
            kept = checkpoints(keep_last=1)
            gone, best = [kept.save([step], step=step) for step in (1, 2)]
        with start_run("tuned") as tuned:
            checkpoints().load(best)
    down = look(tmp_path, "lineage", run.id, "--down").stdout.splitlines()
    told = {line.split("state")[1][:3]: line for line in down if "kept the checkpoint" in line}
    assert ("(removed)" in told["[1]"], "(removed)" in told["[2]"]) == (True, False)
    assert "used by run tuned" in "\n".join(down)
    up = look(tmp_path, "lineage", tuned.id).stdout
    assert "uses artifact state[2]" in up
    assert "checkpoint of run training" in up
    nodes = json.loads(look(tmp_path, "lineage", gone.id, run.id, "--json").stdout)["nodes"]
    assert {node["id"]: node["removed_at"] is None for node in nodes} == {gone.id: False, run.id: True}


def test_a_step_that_is_not_there_is_named_with_those_that_are(flow: Path) -> None:
    found = look(flow, "runs", "show", "latest", "xyz")
    assert found.exit_code == 1
    assert "has no step `xyz`" in found.stderr
    assert look(flow, "runs", "show", "latest", "bad", "--diff").exit_code == 2


def test_the_environment_here_is_held_against_that_of_a_run(flow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = json.loads(look(flow, "runs", "show", "latest", "noted", "--json").stdout)["task"]["run"]
    monkeypatch.delenv("REGION", raising=False)
    alike = look(flow, "env", "check", run[:12])
    assert (alike.exit_code, alike.stdout) == (0, "Nothing differs that matters.\n")
    monkeypatch.setenv("REGION", "north")
    assert ["REGION", "-", "a", "value", "matters"] in [
        line.split() for line in look(flow, "env", "check", run).stdout.splitlines()
    ]
    other = look(flow, "env", "check", run, "--json")
    assert (other.exit_code, json.loads(other.stdout)["alike"]) == (1, False)
    assert look(flow, "env", "check", "nosuch/1").exit_code == 1


def test_environment_and_code_are_shown(flow: Path) -> None:
    assert "msgspec" in look(flow, "runs", "show", "latest", "--environment").stdout
    files = json.loads(look(flow, "runs", "show", "latest", "--code", "--json").stdout)["files"]
    assert [(file["path"], file["text"]) for file in files] == [("flow.py", FLOW)]
    assert "no record `git commit`" in look(flow, "runs", "show", "latest", "--diff").stderr


def test_an_experiment_is_shown_with_its_number(tmp_path: Path) -> None:
    (tmp_path / "mainspring.toml").write_text("")
    for more, line in (("", ""), (", experiment='depths'", "experiment   depths (1)")):
        (tmp_path / "one.py").write_text(f"import mainspring as ms\nms.start_run('one'{more}).end()\n")
        subprocess.run([sys.executable, "one.py"], cwd=tmp_path, check=True, capture_output=True)
        shown = look(tmp_path, "runs", "show", "latest").stdout
        assert [each for each in shown.splitlines() if each.startswith("experiment ")] == ([line] if line else [])
    assert json.loads(look(tmp_path, "runs", "show", "latest", "--json").stdout)["experiment_number"] == 1


def test_the_diff_is_shown(tmp_path: Path) -> None:
    script = "import mainspring as ms\nwith ms.start_run('one'):\n    print('hello')\n"
    (tmp_path / "mainspring.toml").write_text("")
    (tmp_path / "one.py").write_text(script)
    author = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    for words in (["init", "-q", "."], ["add", "."], [*author, "commit", "-qm", "One"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    subprocess.run([sys.executable, "one.py"], cwd=tmp_path, check=True, capture_output=True)
    assert "No uncommitted changes" in look(tmp_path, "runs", "show", "latest", "--diff").stdout
    (tmp_path / "one.py").write_text(script + "# more\n")
    subprocess.run([sys.executable, "one.py"], cwd=tmp_path, check=True, capture_output=True)
    assert "+# more" in look(tmp_path, "runs", "show", "latest", "--diff").stdout
    assert look(tmp_path, "logs", "latest").stdout == "hello\n"
    assert look(tmp_path, "logs", "latest", "step").exit_code == 1


def test_items_of_a_mapped_step_are_folded(tmp_path: Path) -> None:
    (tmp_path / "mainspring.toml").write_text("")
    (tmp_path / "many.py").write_text(
        "import mainspring as ms\n\n\n@ms.step\ndef each(n: int) -> int:\n    return n\n\n\n"
        "@ms.pipeline\ndef main():\n    return each.map(list(range(30)))\n"
    )
    called("run", "many.py", "-q", cwd=tmp_path)
    assert "each[7]" not in look(tmp_path, "runs", "show", "latest").stdout
    assert "each[7]" in look(tmp_path, "runs", "show", "latest", "--all").stdout


def test_a_step_tells_what_each_of_its_attempts_had_and_made(tried: Path) -> None:
    task = json.loads(look(tried, "runs", "show", "latest", "train", "--json").stdout)["task"]
    first, second = task["attempts"]
    made = [
        [(each["role"], each["label"], each["removed_at"] is None) for each in one["made"]] for one in (first, second)
    ]
    assert made == [
        [("checkpoint_of", "state[0]", False), ("checkpoint_of", "state[1]", True), ("made_by", "made/1", True)],
        [("made_by", "result", True), ("logged_by", "train", True)],
    ]
    assert [(each["role"], each["label"]) for each in second["had"]] == [("uses", "state[1]")]
    assert (first["had"], first["metrics"], second["metrics"]) == ([], {"loss": 0.5}, {"loss": 0.5})
    assert task["made"] == []
    shown = look(tried, "runs", "show", "latest", "train").stdout
    told = [line.split(maxsplit=1)[1] if "attempts" in line else line.strip() for line in shown.splitlines()]
    assert told[told.index("1: failed (ValueError: the first time)") :][:7] == [
        "1: failed (ValueError: the first time)",
        "kept the checkpoint artifact state[1], artifact state[0] (removed)",
        "made dataset version made/1",
        "metrics loss = 0.5",
        "2: succeeded",
        "made artifact result",
        "logged run train",
    ]
    (hint,) = [line for line in shown.splitlines() if line.startswith("printed")]
    assert look(tried, *hint.split()[2:]).stdout.count("begun") == 2


def test_the_lineage_of_what_a_failed_attempt_made_names_the_attempt(tried: Path) -> None:
    assert "made by attempt 1 of train" in look(tried, "lineage", "made").stdout
    assert "checkpoint of attempt 1 of train" in look(tried, "lineage", "latest").stdout
    run = json.loads(look(tried, "runs", "show", "latest", "--json").stdout)["run"]["id"]
    assert "has attempt 1 of train" in look(tried, "lineage", run, "--down").stdout
