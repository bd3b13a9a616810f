"""One run, driven to its end: code from the snapshot, refusals before anything starts, nothing left running."""

from __future__ import annotations

import os
import subprocess
import sys
from json import loads
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mainspring.errors import GraphError, InvalidError, StorageError
from mainspring.pipelines.code.tree import read_tree
from mainspring.pipelines.launch import run_pipeline
from mainspring.pipelines.progress import Listener
from mainspring.pipelines.task import Task, TaskState
from mainspring.runs import RunStore
from mainspring.testing.runners import DETACHED, POOL
from mainspring.testing.workspaces import Lab, states, task_of

PACKAGE = {
    "flow": "from pkg.steps import first, second\n\n@ms.pipeline\ndef main():\n    return second(first())\n",
    "pkg.__init__": "",
    "pkg.steps": (
        "from pkg import near\n\n@ms.step\ndef first():\n    return near.VALUE\n\n"
        "@ms.step\ndef second(value):\n    from pkg import late\n    return late.more(value)\n"
    ),
    "pkg.near": "VALUE = 1\n",
    "pkg.late": "def more(value):\n    return value + 1\n",
    "pkg.unrelated": "raise RuntimeError('nobody imports this')\n",
}


def write(lab: Lab) -> None:
    for module, text in PACKAGE.items():
        lab.write(text, module)


def left_open(lab: Lab) -> list[Any]:
    """What still claims to be at work in the database."""
    query = lab.workspace.database.query
    return [
        *query("SELECT id FROM run WHERE state = 'running'"),
        *query("SELECT name, state FROM task WHERE state IN ('running', 'waiting', 'mapped')"),
        *query("SELECT id FROM attempt WHERE state = 'running'"),
        *query("SELECT name FROM lease WHERE expires_at > 0"),
    ]


def test_a_run_records_the_modules_that_it_reaches(lab: Lab) -> None:
    write(lab)
    result = lab.run()
    assert result.value == 2
    tree = read_tree(result.run.code or "", lab.workspace.blobs)
    assert [entry.path for entry in tree.entries] == [
        "flow.py", "pkg/__init__.py", "pkg/late.py", "pkg/near.py", "pkg/steps.py"
    ]  # fmt: skip
    assert left_open(lab) == []


class Editor(Listener):
    """Edits a file when a step has ended, as a person does while a run goes on."""

    def __init__(self, path: Path, text: str) -> None:
        self.path, self.text = path, text

    def changed(self, task: Task) -> None:
        if task.name == "first" and task.state is TaskState.SUCCEEDED:
            self.path.write_text(self.text)


@pytest.mark.parametrize("runner", [POOL, DETACHED])
def test_workers_run_the_recorded_code_though_the_file_is_edited_meanwhile(lab: Lab, runner: str) -> None:
    write(lab)
    late = lab.root / "pkg" / "late.py"
    result = lab.run(runner=runner, listener=Editor(late, "def more(value):\n    return -1\n"))
    assert result.value == 2
    assert late.read_text().endswith("-1\n")


def test_a_file_edited_while_an_inline_run_goes_on_spoils_no_entry(lab: Lab) -> None:
    write(lab)
    late = lab.root / "pkg" / "late.py"
    lab.run(listener=Editor(late, "def more(value):\n    return -1\n"))
    write(lab)
    assert lab.run().value == 2
    late.write_text("def more(value):\n    return -1\n")
    assert lab.run().value == -1


@pytest.mark.parametrize("options", ["timeout_s=5", "memory_mb=500", "isolated=True"])
@pytest.mark.one_backend("it is refused before anything is stored")
def test_inline_refuses_what_it_cannot_enforce_before_anything_is_recorded(lab: Lab, options: str) -> None:
    lab.write(f"@ms.step({options})\ndef work():\n    return 1\n\n@ms.pipeline\ndef main():\n    return work()\n")
    with pytest.raises(GraphError, match=r"Step `work`.*inline"):
        lab.run(runner="inline")
    assert RunStore(lab.workspace.database).list() == []
    assert lab.run().value == 1


@pytest.mark.parametrize("runner", [POOL, DETACHED])
@pytest.mark.one_backend("it is refused before anything is stored")
def test_a_step_that_another_process_cannot_import_is_refused_there_and_runs_inline(lab: Lab, runner: str) -> None:
    lab.write(
        """
        def made(n):
            @ms.step
            def closure(x):
                return x + n
            return closure

        @ms.pipeline
        def main():
            return made(2)(3)
        """
    )
    with pytest.raises(GraphError, match=r"`closure`.*can't import"):
        lab.run(runner=runner)
    assert RunStore(lab.workspace.database).list() == []
    assert lab.run(jobs=2).value == 5
    assert states(lab.run()) == {"closure": "reused"}


@pytest.mark.parametrize("jobs", [1.5, True, "2", 0, -1])
@pytest.mark.one_backend("it is refused before anything is stored")
def test_a_number_of_jobs_is_a_whole_one(lab: Lab, jobs: Any) -> None:
    write(lab)
    with pytest.raises(InvalidError, match=f"jobs: `{jobs}` is not a whole number of at least 1"):
        lab.run(jobs=jobs)


def test_steps_of_a_notebook_run_inline_and_are_cached_by_their_source(lab: Lab) -> None:
    import mainspring as ms

    def cell(text: str) -> Any:
        names: dict[str, Any] = {"ms": ms, "__name__": "__main__"}
        source = "@ms.step\ndef double(n):\n    " + text + "\n\n@ms.pipeline\ndef main(n=2):\n    return double(n)\n"
        import linecache

        linecache.cache["<cell>"] = (len(source), None, source.splitlines(keepends=True), "<cell>")
        exec(compile(source, "<cell>", "exec"), names)
        return names["main"]

    first = run_pipeline(cell("return 2 * n"), workspace=lab.workspace)
    assert first.value == 4
    assert states(run_pipeline(cell("return 2 * n"), workspace=lab.workspace)) == {"double": "reused"}
    changed = run_pipeline(cell("return 3 * n"), workspace=lab.workspace)
    assert changed.value == 6
    assert states(changed) == {"double": "succeeded"}


def test_a_notebook_is_not_the_script_that_it_ran_in_itself(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.write("def helper(): return 1\n")
    notebook = ModuleType("__main__")
    notebook.__dict__.update(
        get_ipython=lambda: None, __file__=str(lab.root / "flow.py")
    )  # as `%run -i flow.py` leaves it
    monkeypatch.setitem(sys.modules, "__main__", notebook)
    source = "import mainspring as ms\ndef go(): return 2\n@ms.pipeline\ndef main(): return ms.step(go)()\n"
    exec(compile(source, "<cell>", "exec"), vars(notebook))
    assert [run_pipeline(vars(notebook)["main"], workspace=lab.workspace).value for _ in range(2)] == [2, 2]


def test_a_step_that_changes_a_global_of_its_notebook_is_run_again_for_those_after_it(lab: Lab) -> None:
    source = (
        "import mainspring as ms\nfound, idle = {}, {}\n@ms.step\ndef fill(): return found.update(a=len(found) + 1, b=2)\n"
        "@ms.step\ndef use(before): return found['a'], len(idle)\n@ms.pipeline\ndef main(): return use(fill())\n"
    )

    def kernel() -> Any:
        names: dict[str, Any] = {"__name__": "__main__"}
        exec(compile(source, "<cell>", "exec"), names)
        return run_pipeline(names["main"], workspace=lab.workspace)

    for state in ("succeeded", "reused"):
        found = kernel()
        assert found.value == (1, 0)
        assert states(found) == {"fill": "succeeded", "use": state}
        assert any("the step changed __main__.found, which" in line for line in task_of(found, "fill").reasons)


def test_a_lambda_is_a_step(lab: Lab) -> None:
    lab.write("twice = ms.step(lambda n: 2 * n)\n\n@ms.pipeline\ndef main():\n    return twice(twice(1))\n")
    assert lab.run().value == 4


@pytest.mark.parametrize("runner", ["inline", POOL])
def test_a_script_runs_its_own_pipeline(lab: Lab, runner: str) -> None:
    lab.write(
        """
        @ms.step
        def double(n):
            return 2 * n

        @ms.pipeline
        def main(n: int = 4):
            return double(n)

        if __name__ == "__main__":
            import sys
            result = main.run(options={"runner": sys.argv[1]})
            print(result.value, *[task.state.value for task in result.tasks])
        """
    )
    for expected in ("8 succeeded\n", "8 reused\n"):
        done = subprocess.run(
            [sys.executable, "flow.py", runner], cwd=lab.root, env=lab.environment(), capture_output=True, text=True
        )
        assert (done.stdout, done.stderr) == (expected, "")


@pytest.mark.parametrize("ended", ["raise ValueError('no')", "import sys; sys.exit(3)", "raise KeyboardInterrupt"])
@pytest.mark.parametrize("runner", ["inline", POOL])
def test_however_a_step_ends_nothing_stays_open(lab: Lab, ended: str, runner: str) -> None:
    lab.write(
        f"""
        @ms.step
        def work(n):
            if n == 1:
                {ended}
            return n

        @ms.step
        def total(values: list):
            return sum(values)

        @ms.pipeline
        def main():
            return total(work.map([0, 1, 2]))
        """
    )
    result = lab.run(runner=runner)
    assert not result.succeeded
    assert left_open(lab) == []
    assert list((lab.workspace.scratch).glob("*")) == []


def test_a_store_that_fails_in_the_middle_ends_the_run_and_leaves_nothing_open(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(lab)
    lab.load()
    put, calls = lab.workspace.blobs.put, []

    def failing(data: Any) -> str:
        calls.append(data)
        if len(calls) > 7:  # the code and the environment were kept
            raise StorageError("/full", "the disk is full")
        return put(data)

    monkeypatch.setattr(lab.workspace.blobs, "put", failing)
    with pytest.raises(StorageError, match="/full: the disk is full"):
        lab.run()
    monkeypatch.undo()
    assert left_open(lab) == []
    run = RunStore(lab.workspace.database).get("latest")
    assert "the disk is full" in (run.error or "")
    assert lab.resume(run.id).value == 2


def test_two_processes_open_a_new_workspace_and_run_at_one_instant(lab: Lab) -> None:
    write(lab)
    lab.workspace.close()
    code = """
        import sys
        print("ready", flush=True)
        sys.stdin.readline()
        from flow import main
        result = main.run(options={"jobs": 2})
        print(result.value)
    """
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", "\n".join(line[8:] for line in code.splitlines())], cwd=lab.root,
            env=lab.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(3)
    ]  # fmt: skip
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    ended = [process.communicate(timeout=60) for process in processes]
    assert ended == [("2\n", "")] * 3
    lab.workspace.close()
    lab.workspace = lab.open()
    assert left_open(lab) == []


def test_a_secret_is_nowhere_in_the_workspace(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    value, filed = "s3cr3t-Value-4711", "filed-Value-0815"
    monkeypatch.setenv("LAB_KEY", value)
    (tmp_path / "key").write_text(filed)
    subprocess.run(["git", "init", "-q", "."], cwd=lab.root, check=True)
    lab.write(
        """
        import subprocess, sys

        @ms.step
        def login(key, filed):
            secret, other = key.reveal(), filed.reveal()
            print("using", secret, other)
            sys.stderr.write(other)
            ms.log_param("note", f"{secret}")
            ms.log_tag("tag", other)
            return len(secret)

        @ms.step(may_fail=True)
        def fails(key):
            raise ValueError(f"can't log in with {key.reveal()}")

        @ms.step
        def variable():
            return len(ms.env("LAB_KEY"))

        @ms.pipeline
        def main(key: ms.Secret = ms.Secret("secret:env/LAB_KEY"), filed: ms.Secret | None = None):
            return login(key, filed), fails(key), variable()
        """
    )
    (lab.root / "notes.ini").write_text("api_key =\n")
    subprocess.run(["git", "add", "."], cwd=lab.root, check=True)
    author = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    subprocess.run(["git", *author, "commit", "-qm", "One"], cwd=lab.root, check=True)
    (lab.root / "notes.ini").write_text(f"api_key = {value}\n")
    import mainspring as ms

    for runner in ("inline", "pool"):
        result = lab.run(params={"filed": ms.Secret(f"secret:file{tmp_path}/key")}, runner=runner, reuse=False)
        assert result.succeeded, result.run.error
        log = result.log_of(task_of(result, "login"))
        assert log.startswith("using [secret:")
        assert "[secret:env/LAB_KEY]" in (task_of(result, "fails").error or "")
        assert "LAB_KEY" in result.run.params["key"]
        assert result.run.git_diff
        assert "+api_key = [" in lab.workspace.blobs.read(result.run.git_diff).decode()
    code = {
        entry.blob for entry in read_tree(result.run.code or "", lab.workspace.blobs).entries
    }  # it is in the source
    for place, data in everything(lab):
        if place not in code and not place.endswith("flow.py"):
            assert value.encode() not in data, place
        assert filed.encode() not in data, place


def everything(lab: Lab) -> list[tuple[str, bytes]]:
    """Every byte of the workspace: tables, blobs, files."""
    found = [(info.digest, lab.workspace.blobs.read(info.digest)) for info in lab.workspace.blobs.list()]
    database = lab.workspace.database
    tables = database._driver.tables()
    found += [(f"table {table}", repr(database.query(f"SELECT * FROM {table}")).encode()) for table in tables]
    files = [path for name in ("project/.mainspring", "workspace") for path in (lab.root.parent / name).rglob("*")]
    return found + [(os.fspath(path), path.read_bytes()) for path in files if path.is_file()]


@pytest.mark.parametrize("runner", ["inline", POOL])
def test_variables_and_working_directory_are_the_next_steps_as_they_were(lab: Lab, runner: str) -> None:
    lab.write(
        """
        import os

        @ms.step
        def spoil():
            before = os.getcwd(), os.environ["PATH"]
            os.environ["LEFT_BEHIND"] = "1"
            os.environ["PATH"] = "nowhere"
            os.chdir("/")
            return list(before)

        @ms.step
        def look(before):
            return [os.environ.get("LEFT_BEHIND"), os.environ["PATH"] == before[1], os.getcwd() != "/"]

        @ms.pipeline
        def main():
            return look(spoil())
        """
    )
    assert lab.run(runner=runner).value == [None, True, True]


@pytest.mark.parametrize("runner", ["inline", POOL])
def test_what_can_not_be_recorded_fails_its_step_alone_with_its_log(lab: Lab, runner: str) -> None:
    lab.write(
        """
        from mainspring.ledger.scope import current_scope

        class Silent:
            def __str__(self):
                raise TypeError("nothing to say")

        @ms.step
        def bad():
            print("before")
            ms.log_metric("m", 1.0)
            current_scope().log.params["p"] = Silent()
            return 1

        @ms.step
        def good():
            return 2

        @ms.pipeline
        def main():
            return {"bad": bad(), "good": good()}
        """
    )
    result = lab.run(runner=runner, keep_going=True)
    assert states(result) == {"bad": "failed", "good": "succeeded"}
    bad = task_of(result, "bad")
    assert "TypeError" in (bad.error or "")
    assert result.log_of(bad).startswith("before\n")
    assert "TypeError" in result.log_of(bad)
    assert [each.state for each in result._store.attempts(bad.id)] == ["failed"]


SMALL = """
@ms.step
def one():
    return 1

@ms.pipeline
def main():
    return one()
"""


def code_of(lab: Lab) -> list[Path]:
    """The recorded copies of the module on this machine."""
    return list((lab.workspace.cache / "code").glob("*/flow.py"))


@pytest.mark.one_backend("which sources a worker imports is not the stores' affair")
def test_a_folder_of_recorded_code_that_was_changed_is_written_anew(lab: Lab) -> None:
    from mainspring.pipelines.replay import replay_run

    lab.write(SMALL)
    run = lab.run(runner="pool")
    (copy,) = code_of(lab)
    copy.write_text(copy.read_text().replace("return 1", "return 2"))
    (copy.parent / "json.py").write_text("raise ImportError")
    assert replay_run(run.id, workspace=lab.workspace).verdict == "VERIFIED"
    assert "return 1" in copy.read_text()
    assert not (copy.parent / "json.py").exists()


@pytest.mark.one_backend("the blob is damaged in its file")
def test_a_damaged_blob_of_code_is_put_again_where_the_source_is_at_hand(lab: Lab) -> None:
    import shutil

    lab.write(SMALL)
    lab.run(runner="pool")
    shutil.rmtree(lab.workspace.cache / "code")
    place = Path(lab.workspace.blobs.place)
    for digest in {
        blob for (text,) in lab.workspace.database.query("SELECT blobs FROM code_tree") for blob in loads(text)
    }:
        path = place / digest[:2] / digest
        path.chmod(0o644)
        path.write_bytes(b"?" + path.read_bytes()[1:])
    lab.workspace.close()
    lab.workspace = lab.open()
    assert lab.run(runner="pool", reuse=False).value == 1
