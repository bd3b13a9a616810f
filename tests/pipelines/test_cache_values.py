"""What no step names and yet decides its result: values set at run time, classes of arguments, registries, the hash seed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mainspring.artifacts.registry import codec_named
from mainspring.pipelines import decision
from mainspring.pipelines.launch import run_pipeline
from mainspring.pipelines.replay import replay_run
from mainspring.testing.runners import DETACHED, POOL
from mainspring.testing.workspaces import Lab, lab_in, states, task_of

BODY = """
CONFIG = {"alpha": 1}
ALPHA = 1

@ms.step
def train():
    return CONFIG["alpha"], ALPHA

@ms.pipeline
def mutates(alpha: int = 1):
    CONFIG["alpha"] = alpha
    return train()

@ms.pipeline
def assigns(alpha: int = 1):
    global ALPHA
    ALPHA = alpha
    return train()
"""


@pytest.mark.parametrize(("pipeline", "two"), [("mutates", (2, 1)), ("assigns", (1, 2))])
def test_what_the_body_of_a_pipeline_sets_is_part_of_the_key(lab: Lab, pipeline: str, two: tuple[int, int]) -> None:
    lab.write(BODY)
    first = lab.run(pipeline, params={"alpha": 2})
    assert first.value == two
    other = lab.run(pipeline, params={"alpha": 1})
    assert (other.value, states(other)) == ((1, 1), {"train": "succeeded"})
    again = lab.run(pipeline, params={"alpha": 2})
    assert (again.value, states(again)) == (two, {"train": "reused"})


@pytest.mark.one_backend("what a key is made of is known before a store is asked")
def test_a_worker_keeps_no_result_of_a_value_that_is_set_elsewhere(lab: Lab) -> None:
    lab.write(BODY)
    for _ in range(2):
        pooled = lab.run("mutates", params={"alpha": 2}, runner="pool")
        assert (pooled.value, states(pooled)) == ((1, 1), {"train": "succeeded"})
        line = "not reusable: flow.CONFIG is not what it was when the key of this step was made"
        assert line in task_of(pooled, "train").reasons
    assert lab.run("mutates", params={"alpha": 2}).value == (2, 1)


def test_a_replaced_constant_neither_takes_nor_gives_a_result(lab: Lab) -> None:
    lab.write("LIMIT = 3\n@ms.step\ndef limit(): return LIMIT\n@ms.pipeline\ndef main(): return limit()\n")
    assert lab.run().value == 3
    flow = lab.load()
    flow.LIMIT = 99
    for _ in range(2):
        patched = run_pipeline(flow.main, workspace=lab.workspace)
        assert (patched.value, states(patched)) == (99, {"limit": "succeeded"})
    assert (lab.run().value, states(lab.run())) == (3, {"limit": "reused"})


SCRIPT = """
import sys
FACTOR = 1

@ms.step
def train():
    return FACTOR

@ms.pipeline
def main():
    return train()

if __name__ == "__main__":
    FACTOR = int(sys.argv[1])
    result = main.run()
    print(result.value, [task.state.value for task in result.tasks])
"""


def printed(lab: Lab, *command: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *command], cwd=lab.root, env=lab.environment(**environment), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.one_backend("what a key is made of is known before a store is asked")
def test_a_script_that_sets_a_constant_below_its_guard_is_not_taken_at_its_source(lab: Lab) -> None:
    lab.write(SCRIPT, "script")
    assert [printed(lab, "script.py", value) for value in ("5", "1", "1", "5")] == [
        "5 ['succeeded']", "1 ['succeeded']", "1 ['reused']", "5 ['succeeded']"
    ]  # fmt: skip


LONG = """
import pathlib
import flow

print(flow.main.run().value)
path = pathlib.Path("conf.py")
path.write_text(path.read_text().replace("3", "4").replace("x=1", "x=2"))
print(flow.main.run().value)
"""


@pytest.mark.one_backend("what a key is made of is known before a store is asked")
def test_a_process_that_goes_on_with_an_older_source_leaves_nothing_under_the_new_one(lab: Lab) -> None:
    (lab.root / "conf.py").write_text("CONFIG = {'depth': 3}\ndef helper(x=1):\n    return x\n")
    lab.write(
        "from conf import CONFIG, helper\n@ms.step\ndef depth(): return CONFIG['depth']\n"
        "@ms.step\ndef call(): return helper()\n@ms.pipeline\ndef main(): return [depth(), call()]\n"
    )
    assert printed(lab, "-c", LONG).split("\n") == ["[3, 1]", "[3, 1]"]
    assert lab.run().value == [4, 2]


BROUGHT = {
    "conf": """
import enum
from dataclasses import dataclass

@dataclass(frozen=True)
class Config:
    n: int
    def total(self):
        return self.n * 2

class Colour(enum.Enum):
    RED = 1
""",
    "maker": """
from conf import Config

@ms.step
def make() -> Config:
    return Config(3)
""",
    "user": """
@ms.step
def use(found):
    return found["config"][0].total(), found["colour"].value
""",
    "flow": """
from conf import Colour
from maker import make
from user import use

@ms.pipeline
def main():
    return use({"config": [make()], "colour": Colour.RED})
""",
}


@pytest.mark.parametrize(
    ("edit", "value"), [(("n * 2", "n * 100"), (300, 1)), (("RED = 1", "RED = 7"), (6, 7)), (("", "# note\n"), (6, 1))]
)
def test_the_class_of_an_argument_is_part_of_what_a_step_means(
    lab: Lab, edit: tuple[str, str], value: tuple[int, int]
) -> None:
    for name, text in BROUGHT.items():
        lab.write(text, name)
    assert lab.run().value == (6, 1)
    lab.write(BROUGHT["conf"].replace(*edit, 1), "conf")
    again = lab.run()
    assert again.value == value
    assert states(again)["use"] == ("reused" if value == (6, 1) else "succeeded")


METRIC = """
from mainspring.evaluation import Metric, evaluate

@ms.step
def score(metrics):
    return evaluate([0, 1], [0.1, 0.9], metrics).metrics["c"]

@ms.step
def own():
    return evaluate([0, 1], [0.1, 0.9], [Metric("c", "binary", False, "costs:cost")]).metrics["c"]

@ms.pipeline
def given():
    return score([Metric("c", "binary", False, "costs:cost")])

@ms.pipeline
def named():
    return own()
"""


@pytest.mark.one_backend("what a key is made of is known before a store is asked")
@pytest.mark.parametrize("pipeline", ["given", "named"])
def test_a_metric_of_the_project_counts_and_goes_to_every_worker(lab: Lab, pipeline: str) -> None:
    lab.write(METRIC)
    (lab.root / "costs.py").write_text("def cost(y, s):\n    return 1.0\n")
    assert lab.run(pipeline, runner="pool").value == 1.0
    assert lab.run(pipeline).tasks[0].state == "reused"
    (lab.root / "costs.py").write_text("def cost(y, s):\n    return 2.0\n")
    assert lab.run(pipeline).value == 2.0


REGISTERED = {
    "home": "REG = {}\ndef register(f):\n    REG[f.__name__] = f\n    return f\n",
    "impl": "from home import register\n@register\ndef one(): return 1\n@register\ndef two(): return 2\n",
    "steps": "from home import REG\n@ms.step\ndef names(): return {name: f() for name, f in REG.items()}\n",
    "flow": "import impl\nfrom steps import names\n@ms.pipeline\ndef main(): return names()\n",
}


@pytest.mark.one_backend("what a key is made of is known before a store is asked")
@pytest.mark.parametrize("runner", ["inline", POOL, DETACHED])
def test_a_registry_that_the_pipelines_module_fills_is_filled_for_every_runner(lab: Lab, runner: str) -> None:
    for name, text in REGISTERED.items():
        lab.write(text, name)
    assert lab.run(runner=runner).value == {"one": 1, "two": 2}
    assert states(lab.run(runner=runner)) == {"names": "reused"}
    assert replay_run("latest", workspace=lab.workspace).verdict == "VERIFIED"
    lab.write(REGISTERED["impl"].replace("return 2", "return 22"), "impl")
    changed = lab.run(runner=runner)
    assert changed.value == {"one": 1, "two": 22}
    assert "registrations impl changed" in task_of(changed, "names").reasons


@pytest.mark.one_backend("what a key is made of is known before a store is asked")
def test_a_result_made_without_a_fixed_hash_seed_is_not_given_to_a_run_with_one(lab: Lab) -> None:
    lab.write("@ms.step\ndef order(): return list({'a', 'b', 'c', 'd'})\n@ms.pipeline\ndef main(): return order()\n")
    code = "import flow\nprint(flow.main.run().tasks[0].state.value, flow.main.run().tasks[0].reasons)"
    seen = [printed(lab, "-c", code, PYTHONHASHSEED=seed) for seed in ("random", "0", "0", "random")]
    assert [line.split()[0] for line in seen] == ["succeeded", "succeeded", "reused", "reused"]


def test_the_recipes_of_the_codecs_are_in_the_key(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.write("import numpy as np\n@ms.step\ndef a(): return np.arange(3)\n@ms.pipeline\ndef main(): return a()\n")
    lab.run()
    monkeypatch.setitem(decision.CODEC_RECIPES, "numpy.array", 0)
    again = lab.run()
    assert states(again) == {"a": "succeeded"}
    assert task_of(again, "a").reasons == ["another version of Mainspring keys or stores values in another way"]


def test_the_table_of_recipes_is_that_of_the_codecs() -> None:
    from mainspring.artifacts import registry

    found: dict[str, Any] = {name: codec_named(name).recipe for name in registry._HOMES}
    assert found == decision.CODEC_RECIPES


@pytest.mark.parametrize("place", [".mainspring/", ""])
def test_a_folder_that_the_workspace_lies_in_is_a_value_without_it(tmp_path: Path, place: str) -> None:
    (tmp_path / ".mainspring").mkdir()
    with lab_in(tmp_path, f"sqlite://{tmp_path}/{place}mainspring.db", f"file://{tmp_path}/{place}blobs") as lab:
        lab.write("""
            from pathlib import Path

            @ms.step
            def names(folder: Path):
                return sorted(path.name for path in folder.iterdir() if path.name != "__pycache__")

            @ms.pipeline
            def main(folder: Path):
                return names(folder)
        """)
        assert lab.run(params={"folder": tmp_path}).value == ["flow.py"]
        assert states(lab.run(params={"folder": tmp_path})) == {"names": "reused"}


@pytest.mark.one_backend("a step's files are written on the machine that it runs on")
def test_a_step_whose_file_has_no_room_on_the_disk_fails_in_one_line(lab: Lab, small_disk: Path) -> None:
    lab.write("""
        from pathlib import Path

        @ms.step
        def size(path: Path):
            return path.stat().st_size

        @ms.pipeline
        def main(path: Path):
            return size(path)
    """)
    (lab.root / "big.bin").write_bytes(bytes(1_500_000))
    lab.workspace.scratch.parent.mkdir(exist_ok=True)
    lab.workspace.scratch.symlink_to(small_disk)
    failed = lab.run(params={"path": lab.root / "big.bin"})
    (task,) = failed.tasks
    assert re.fullmatch(rf"StorageError: {lab.workspace.scratch}/.*: the disk is full\..*", task.error or "")
    assert failed.log_of(task) == f"{task.error}\n"
    lab.workspace.scratch.unlink()
    assert lab.run(params={"path": lab.root / "big.bin"}).value == 1_500_000


RETURNED = """
import dataclasses
from pathlib import Path

@dataclasses.dataclass
class Found:
    path: Path

@ms.step
def raw(): return Path("{root}/in/a.txt")

@ms.step
def listed(): return {{"all": [Path("{root}/in")]}}

@ms.step
def record(): return Found(Path("{root}/in/a.txt"))

@ms.step
def linked():
    (ms.scratch() / "link").symlink_to("{root}/in/a.txt")
    return ms.scratch() / "link"

@ms.step
def added():
    Path("{root}/mixed/new.txt").write_text("1")
    return Path("{root}/mixed")

@ms.step
def kept():
    (ms.scratch() / "o.txt").write_text("1")
    return ms.scratch() / "o.txt"

@ms.step
def given(path: Path): return path

@ms.step
def written():
    Path("{root}/out").mkdir(exist_ok=True)
    Path("{root}/out/o.txt").write_text("1")
    return Path("{root}/out"), Path("{root}/out/o.txt")

@ms.pipeline
def main(path: Path):
    raw(), listed(), record(), linked(), added(), kept(), given(path), written()
"""


@pytest.mark.one_backend("what a step is seen to read is no matter of where results lie")
def test_a_returned_path_to_what_the_step_did_not_make_is_an_undeclared_input(lab: Lab) -> None:
    for folder in ("in", "mixed", "out"):
        (lab.root / folder).mkdir()
    (lab.root / "in" / "a.txt").write_text("one")
    (lab.root / "mixed" / "old.txt").write_text("one")
    lab.write(RETURNED.format(root=lab.root))
    params = {"path": lab.root / "in" / "a.txt"}
    lab.run(params=params)
    again = lab.run(params=params)
    reused = {"kept", "given", "written"}
    assert {name for name, state in states(again).items() if state == "reused"} == reused
    told = {**dict.fromkeys(("raw", "record"), "file `in/a.txt`"), "listed": "directory `in`"}
    for step, what in (told | {"added": "directory `mixed`"}).items():
        assert f"not reusable: it read the undeclared {what} (part of the result)" in task_of(again, step).reasons
    (linked,) = task_of(again, "linked").reasons
    assert linked.startswith("not reusable: it read the undeclared file `in/a.txt` (flow.py:")


@pytest.mark.one_backend("what a step does with files is seen before anything is stored")
def test_what_a_step_links_or_moves_into_its_own_folder_is_read(lab: Lab) -> None:
    lab.write("""
        import os, shutil
        from pathlib import Path

        HERE = Path(__file__).parent

        @ms.step
        def symlinked() -> str:
            path = ms.scratch() / "in.txt"
            os.symlink(HERE / "raw.txt", path)
            return path.read_text()

        @ms.step
        def dangling() -> str:
            path = ms.scratch() / "in.txt"
            os.symlink(HERE / "later.txt", path)
            return path.read_text() if path.exists() else "one"

        @ms.step
        def below() -> str:
            folder = os.open(ms.scratch(), os.O_RDONLY)
            os.symlink(HERE / "data", "data", dir_fd=folder)
            os.close(folder)
            return (ms.scratch() / "data" / "in.txt").read_text()

        @ms.step
        def linked() -> Path:
            os.link(HERE / "raw.txt", ms.scratch() / "in.txt")
            return ms.scratch() / "in.txt"

        @ms.step
        def moved() -> Path:
            return Path(shutil.move(HERE / "inbox.txt", ms.scratch() / "in.txt"))

        @ms.step
        def renamed() -> str:
            (ms.scratch() / "a").write_text("own")
            os.replace(ms.scratch() / "a", ms.scratch() / "b")
            os.symlink("b", ms.scratch() / "c")
            return (ms.scratch() / "c").read_text()

        @ms.pipeline
        def main():
            return symlinked(), dangling(), below(), linked(), moved(), renamed()
    """)
    for content in ("one", "two"):
        (lab.root / "raw.txt").write_text(content)
        (lab.root / "inbox.txt").write_text(content)
        (lab.root / "data").mkdir(exist_ok=True)
        (lab.root / "data" / "in.txt").write_text(content)
        result = lab.run()
        assert result.value[:3] == (content,) * 3, result.run.error
        (lab.root / "later.txt").write_text("two")
    assert states(result) == {
        "symlinked": "succeeded", "dangling": "succeeded", "below": "succeeded", "linked": "succeeded",
        "moved": "succeeded", "renamed": "reused"
    }  # fmt: skip
