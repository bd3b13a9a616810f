"""What a project's modules read while they are imported: in the key where it was watched, not reusable where it was not."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mainspring.pipelines.launch import run_pipeline
from mainspring.pipelines.replay import replay_run
from mainspring.pipelines.why import present
from mainspring.testing.runners import DETACHED, POOL
from mainspring.testing.workspaces import Lab, states, task_of
from mainspring.workspace import using

pytestmark = pytest.mark.one_backend(
    "what an import reads is a row of the record; the contracts of the record hold for both"
)

FLOW = """
from helper import VALUE

@ms.step
def show():
    return VALUE

@ms.step
def other():
    return 1

@ms.pipeline
def main():
    return show()
"""

# name: (the helper, what is changed, how it is told)
READS: dict[str, tuple[str, str, str]] = {
    "a file beside the module": (
        "import json\nfrom pathlib import Path\nVALUE = json.loads((Path(__file__).parent / 'x.json').read_text())",
        "x.json",
        "file x.json",
    ),
    "a file where the process works": (
        "from pathlib import Path\nVALUE = Path('x.json').read_text()",
        "x.json",
        "file x.json",
    ),
    "a table": ("import polars as pl\nVALUE = pl.read_json('x.json').to_dicts()", "x.json", "file x.json"),
    "source text": (
        "from pathlib import Path\nexec('VALUE = ' + Path(__file__).with_name('x.json').read_text())",
        "x.json",
        "file x.json",
    ),
    "a variable": ("import os\nVALUE = int(os.environ.get('LAB_TRAP', '1'))", "LAB_TRAP", "env LAB_TRAP"),
    "a variable in a condition": (
        "import os\nif os.environ.get('LAB_TRAP') == '7':\n    VALUE = 7\nelse:\n    VALUE = 1",
        "LAB_TRAP",
        "env LAB_TRAP",
    ),
    "a variable in a path": ("import os\nVALUE = os.path.expandvars('$LAB_TRAP/x')", "LAB_TRAP", "env LAB_TRAP"),
    "a folder": (
        "from pathlib import Path\nVALUE = sorted(each.name for each in Path('data').iterdir())",
        "data/new",
        "directory data",
    ),
    "in a function of another module": ("import reader\nVALUE = reader.load()", "x.json", "file x.json"),
    "a file that isn't there yet": (
        "from pathlib import Path\ntry:\n    VALUE = Path('later').read_text()\nexcept OSError:\n    VALUE = 'none'",
        "later",
        "file later",
    ),
}


@pytest.fixture
def project(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A project in whose folder this process works."""
    lab.write(FLOW)
    lab.write("from pathlib import Path\n\ndef load():\n    return Path('x.json').read_text()\n", "reader")
    (lab.root / "data").mkdir()
    (lab.root / "x.json").write_text('[{"k": 1}]')
    monkeypatch.chdir(lab.root)
    monkeypatch.delenv("LAB_TRAP", raising=False)
    return lab


def change(lab: Lab, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if what.isupper():
        monkeypatch.setenv(what, "7")
    else:
        (lab.root / what).write_text('[{"k": 2345}]')


def plain(lines: list[str]) -> list[str]:
    """Without what is said of the values that came of it."""
    return [line for line in lines if not line.startswith("value ")]


@pytest.mark.parametrize("name", READS)
def test_what_an_import_reads_is_in_the_key_and_named(project: Lab, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    helper, what, told = READS[name]
    (project.root / "helper.py").write_text(helper)
    first, again = project.run(), project.run()
    assert states(again) == {"show": "reused"}, task_of(again, "show").reasons
    change(project, what, monkeypatch)
    now = present(project.workspace, first.run, project.load().main).tasks
    assert [plain(prospect.lines) for prospect in now] == [[f"{told}, read while helper is imported, changed"]]
    second = project.run()
    assert states(second) == {"show": "succeeded"}
    assert plain(task_of(second, "show").reasons) == [f"{told}, read while helper is imported, changed"]
    assert second.value != first.value
    assert states(project.run()) == {"show": "reused"}


@pytest.mark.parametrize("runner", [POOL, DETACHED])
@pytest.mark.parametrize("name", ["a file where the process works", "a file beside the module", "a variable"])
def test_workers_find_what_was_read_and_give_the_same_result(
    project: Lab, name: str, runner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper, what, _ = READS[name]
    (project.root / "helper.py").write_text(helper)
    here = project.run()
    there = project.run(runner=runner, reuse=False)
    assert (there.value, task_of(there, "show").seen) == (here.value, [])
    change(project, what, monkeypatch)
    assert states(project.run(runner=runner)) == {"show": "succeeded"}
    assert states(project.run()) == {"show": "reused"}


def test_a_replay_finds_the_file_as_it_was_and_names_a_variable_that_changed(
    project: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project.root / "helper.py").write_text(
        "import os, pathlib\nVALUE = [pathlib.Path('x.json').read_text(), os.getenv('LAB_TRAP')]"
    )
    run = project.run().run
    change(project, "x.json", monkeypatch)
    assert replay_run(run.id, workspace=project.workspace).verdict == "VERIFIED"
    change(project, "LAB_TRAP", monkeypatch)
    report = replay_run(run.id, workspace=project.workspace)
    assert report.verdict == "DIVERGED"
    assert plain(report.steps[-1].causes) == ["env LAB_TRAP, read while helper is imported, changed"]


@pytest.mark.parametrize("edit", [False, True])
def test_a_resumed_run_goes_on_with_what_its_modules_read_then(project: Lab, edit: bool) -> None:
    (project.root / "helper.py").write_text(READS["a file where the process works"][0])
    gate = project.root.parent / "gate"
    project.write(
        f"""
        from helper import VALUE
        from pathlib import Path

        @ms.step
        def first():
            return VALUE

        @ms.step
        def second(value):
            if not Path({str(gate)!r}).exists():
                raise ValueError("shut")
            return [value, VALUE]

        @ms.pipeline
        def main():
            return second(first())
        """
    )
    run = project.run().run
    gate.touch()
    if edit:
        (project.root / "x.json").write_text("another text")
    project.forget()
    code = f"from mainspring.pipelines.launch import resume_run\nprint(resume_run({run.id!r}).value)"
    resumed = project.start(code)
    out, error = resumed.communicate()
    assert out.strip() == str(['[{"k": 1}]', '[{"k": 1}]']), error


def test_what_cannot_be_looked_at_again_is_not_reusable(project: Lab) -> None:
    (project.root / "helper.py").write_text(
        "import subprocess\nVALUE = subprocess.check_output(['echo', 'x'], text=True)"
    )
    told = "not reusable: importing helper reads the undeclared subprocess `echo x` (helper.py:2)"
    run = project.run()
    assert told in task_of(run, "show").reasons
    assert states(project.run()) == {"show": "succeeded"}
    assert told in present(project.workspace, run.run, project.load().main).tasks[0].lines


def test_a_moving_dataset_that_an_import_reads_is_not_reusable(project: Lab) -> None:
    import polars as pl

    from mainspring.data import dataset

    dataset("flights", project.workspace).commit(pl.DataFrame({"a": [1]}))
    (project.root / "helper.py").write_text("import mainspring as ms\nVALUE = ms.dataset('flights').latest().number")
    with using(project.workspace):
        reasons = task_of(project.run(), "show").reasons
    assert "not reusable: importing helper reads the undeclared dataset `flights/latest` (helper.py:2)" in reasons


def test_the_value_of_a_variable_is_never_kept(project: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_TRAP", "hunter2-hunter2")
    (project.root / "helper.py").write_text("import os\nKEY = os.environ['LAB_TRAP']\nVALUE = len(KEY)")
    project.run()
    rows = project.workspace.database.query("SELECT * FROM fingerprint")
    assert "read helper env LAB_TRAP" in str(rows)
    assert "hunter2" not in str(rows)


def test_a_step_that_loads_no_such_module_is_reused(project: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    (project.root / "helper.py").write_text(READS["a file where the process works"][0])
    project.write("@ms.step\ndef alone():\n    return 1\n", "apart")
    project.write(
        "from apart import alone\nfrom flow import show\n\n@ms.pipeline\ndef main():\n    return show(), alone()\n",
        "both",
    )
    project.run(module="both")
    change(project, "x.json", monkeypatch)
    assert states(project.run(module="both")) == {"show": "succeeded", "alone": "reused"}


def test_what_was_declared_is_told_once(project: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    (project.root / "helper.py").write_text(
        "import mainspring as ms\nVALUE = [ms.file('x.json').read_text(), ms.env('LAB_TRAP')]"
    )
    project.run()
    change(project, "x.json", monkeypatch)
    change(project, "LAB_TRAP", monkeypatch)
    assert plain(task_of(project.run(), "show").reasons) == ["env LAB_TRAP changed", "file x.json changed"]


HARMLESS = """
import dataclasses, enum, functools, logging, os.path, re, threading
from pathlib import Path
import polars as pl

HERE = Path(__file__).parent
DATA = HERE / "data" / "x.csv"
WORD = re.compile(r"\\\\w+")
LOG = logging.getLogger(__name__)
SCHEMA = pl.Schema({"a": pl.Int64})
LOCK = threading.Lock()
TABLE = {name: len(name) for name in ("a", "bc")}

@dataclasses.dataclass
class Point:
    x: int = 3

class Colour(enum.Enum):
    RED = 1

@functools.lru_cache
def load(path):
    return open(path).read()

def read_all():
    import os
    return os.environ["HOME"], load("x.json")

VALUE = [Point().x, Colour.RED.value, str(DATA.name)]
"""


@pytest.mark.parametrize("watched", [False, True])
def test_a_module_that_reads_nothing_stays_reusable(project: Lab, watched: bool) -> None:
    (project.root / "helper.py").write_text(HARMLESS.replace("\\\\\\\\", "\\\\"))
    for expected in ("succeeded", "reused"):
        module = project.load() if watched else unwatched(project)
        result = run_pipeline(module.main, {}, workspace=project.workspace)
        assert states(result) == {"show": expected}
    assert not [part for part in parts(project, result) if part.startswith("read ")]


def unwatched(lab: Lab, module: str = "flow") -> Any:
    """The module, imported as a script or a notebook does it."""
    lab.load("reader")  # puts the project on the path
    lab.forget()
    return importlib.import_module(module)


def parts(lab: Lab, result: Any) -> dict[str, str]:
    from mainspring.pipelines._store import TaskStore

    store = TaskStore(lab.workspace.database, lab.workspace.ledger, lab.workspace.leases)
    return store.fingerprint_parts(task_of(result, "show").fingerprint or "")


@pytest.mark.parametrize("name", [name for name, (_, what, _) in READS.items() if not what.isupper()])
def test_an_import_that_nobody_watched_is_not_reusable_if_it_looks_like_reading(project: Lab, name: str) -> None:
    (project.root / "helper.py").write_text(READS[name][0])
    for _ in range(2):
        result = run_pipeline(unwatched(project).main, {}, workspace=project.workspace)
        assert states(result) == {"show": "succeeded"}
    notes = [line for line in task_of(result, "show").reasons if line.startswith("not reusable")]
    assert "helper was imported unwatched and may read at import: `" in notes[0]
    assert ".py:" in notes[0]


def test_a_named_variable_of_an_unwatched_import_is_in_the_key(project: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    (project.root / "helper.py").write_text(READS["a variable"][0])
    for expected in ("succeeded", "reused"):
        assert states(run_pipeline(unwatched(project).main, {}, workspace=project.workspace)) == {"show": expected}
    monkeypatch.setenv("LAB_TRAP", "9")
    result = run_pipeline(unwatched(project).main, {}, workspace=project.workspace)
    assert plain(task_of(result, "show").reasons) == ["env LAB_TRAP, read while helper is imported, changed"]


def test_a_script_is_told_what_it_may_have_read(project: Lab) -> None:
    script = project.root / "script.py"
    script.write_text(
        "import mainspring as ms\nfrom pathlib import Path\nCONF = Path('x.json').read_text()\n\n"
        "@ms.step\ndef show():\n    return CONF\n\n"
        "@ms.pipeline\ndef main():\n    return show()\n\n"
        "if __name__ == '__main__':\n    for task in main.run().tasks:\n        print(task.state.value, task.reasons)\n"
    )
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, str(script)], cwd=project.root, env=project.environment(), capture_output=True, text=True
        )
        assert done.stdout.startswith("succeeded"), done.stderr
        assert "may read at import: `Path('x.json').read_text()` (script.py:3)" in done.stdout


LAZY = """
@ms.step
def look(n: int):
    import helper
    return [n, helper.VALUE]

@ms.pipeline
def main():
    return look.map([1, 2, 3])
"""


@pytest.mark.parametrize("options", [{}, {"runner": "pool", "jobs": 1}])
def test_a_module_imported_by_an_earlier_step_counts_for_the_later_ones(project: Lab, options: dict[str, Any]) -> None:
    (project.root / "helper.py").write_text(
        "VALUE = __import__('pathlib').Path(__file__).with_name('x.json').read_text()"
    )
    if options:
        (project.root / "helper.py").write_text("import os\nVALUE = os.environ.get('LAB_' + 'TRAP')")
    project.write(LAZY)
    result = project.run(**options)
    items = [task for task in result.tasks if task.map_index is not None]
    assert len(items) == 3
    assert all(task.seen for task in items)
    assert "reused" not in [task.state.value for task in project.run(**options).tasks]


def test_a_file_that_changed_after_its_import_makes_the_result_not_reusable(project: Lab) -> None:
    (project.root / "helper.py").write_text(READS["a file where the process works"][0])
    module = project.load()
    (project.root / "x.json").write_text("changed since")
    result = run_pipeline(module.main, {}, workspace=project.workspace)
    assert (
        "not reusable: x.json was changed after helper, which reads it, was imported" in task_of(result, "show").reasons
    )
    assert states(project.run()) == {"show": "succeeded"}


UNDECLARED = """
from pathlib import Path
import polars as pl

@ms.step
def relative():
    return open("x.json").read()

@ms.step
def beside():
    return (Path(__file__).parent / "x.json").read_text()

@ms.step
def table():
    return pl.read_json("x.json")

@ms.step
def nowhere():
    return open("nowhere.txt").read()

@ms.pipeline
def main():
    return relative(), beside(), table(), nowhere()
"""


def test_a_file_that_is_not_in_the_recorded_code_is_named_with_what_to_do(project: Lab) -> None:
    project.write(UNDECLARED)
    result = project.run(runner="pool", keep_going=True)
    told = {task.name: task.error or "" for task in result.tasks}
    assert all(told[name].startswith("FileNotFoundError") for name in told)
    for name in ("relative", "beside", "table"):
        assert '`x.json` is not in the recorded code, which workers run; declare it: ms.file("x.json")' in told[name]
    assert "ms.file" not in told["nowhere"]
    far = project.run(runner="detached", keep_going=True)
    assert "if it is the project's, declare it: ms.file(" in (task_of(far, "relative").error or "")


def test_a_worker_sees_a_step_read_what_only_another_one_declares(project: Lab) -> None:
    project.write(
        """
        from pathlib import Path

        @ms.step
        def declares():
            return ms.file("x.json").read_text()

        @ms.step
        def reads():
            return Path(__file__).with_name("x.json").read_text()

        @ms.pipeline
        def main():
            return declares(), reads()
        """
    )
    result = project.run(runner="pool")
    assert task_of(result, "declares").seen == []
    assert [(each["kind"], each["name"]) for each in task_of(result, "reads").seen] == [("file", "x.json")]


def test_the_command_line_says_the_same_everywhere(project: Lab) -> None:
    (project.root / "helper.py").write_text(
        "import os, pathlib\nVALUE = [pathlib.Path('x.json').read_text(), os.environ.get('LAB_TRAP')]"
    )

    def call(*words: str, **more: str) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "mainspring", *words, "--json"],
            cwd=project.root, env=project.environment(**more), capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    for runner, state in (("inline", "succeeded"), ("pool", "reused"), ("detached", "reused")):
        assert call("run", "flow.py", "--runner", runner)["tasks"][0]["state"] == state
    assert call("run", "flow.py", "--dry-run")["tasks"][0]["runs"] is False
    assert call("why")["tasks"][0]["runs"] is False
    lines = ["env LAB_TRAP, read while helper is imported, changed"]
    assert call("why", LAB_TRAP="1")["tasks"][0]["lines"][:1] == lines
    assert call("run", "flow.py", "--dry-run", LAB_TRAP="1")["tasks"][0]["lines"][:1] == lines
    assert call("run", "flow.py", "--runner", "pool", LAB_TRAP="1")["tasks"][0]["state"] == "succeeded"


def test_reads_of_an_earlier_project_of_the_process_do_not_count(project: Lab, tmp_path: Path) -> None:
    (project.root / "helper.py").write_text(READS["a file where the process works"][0])
    project.run()
    (project.root / "helper.py").write_text("VALUE = 3")
    assert not [part for part in parts(project, project.run()) if part.startswith("read ")]
    assert os.getcwd() == str(project.root)
