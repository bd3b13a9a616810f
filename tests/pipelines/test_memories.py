"""What a helper reads once and remembers is an input of every later step that gets it, however it is kept."""

from __future__ import annotations

import pytest

from mainspring.data import dataset
from mainspring.pipelines.replay import replay_run
from mainspring.testing.runners import POOL
from mainspring.testing.workspaces import Lab, states, task_of
from mainspring.workspace import using

pytestmark = pytest.mark.one_backend("what a process remembers has nothing to do with where state lives")

STEPS = """
@ms.step
def b(x: int):
    return conf() * 10

@ms.pipeline
def main():
    return b.map([1, 2, 3])
"""
READ = 'int(Path("conf.txt").read_text())'
WAYS = {
    "a global": f"""
_c = None
def conf():
    global _c
    _c = _c or {READ}
    return _c
""",
    "a dict": f"""
C = {{}}
def conf():
    if "c" not in C:
        C["c"] = {READ}
    return C["c"]
""",
    "an instance": f"""
class Conf:
    def __init__(self): self._v = None
    def v(self):
        self._v = self._v or {READ}
        return self._v
C = Conf()
def conf(): return C.v()
""",
    "a cached property": f"""
from functools import cached_property
class Conf:
    @cached_property
    def v(self): return {READ}
C = Conf()
def conf(): return C.v
""",
    "a function's attribute": f"""
def conf():
    if not hasattr(conf, "v"):
        conf.v = {READ}
    return conf.v
""",
    "a class attribute": f"""
class S:
    v = None
    @classmethod
    def get(cls):
        cls.v = cls.v or {READ}
        return cls.v
def conf(): return S.get()
""",
    "a class attribute that no source names": f"""
class S:
    @classmethod
    def get(cls):
        if not hasattr(cls, "v"):
            cls.v = {READ}
        return cls.v
def conf(): return S.get()
""",
    "a default": f"""
def conf(_m={{}}):
    if "v" not in _m:
        _m["v"] = {READ}
    return _m["v"]
""",
    "functools.cache": f"""
from functools import cache
@cache
def conf(): return {READ}
""",
    "a cached static method": f"""
from functools import lru_cache
class S:
    @staticmethod
    @lru_cache
    def get(): return {READ}
def conf(): return S.get()
""",
    "a cache around a plain function": f"""
from functools import cache
def read(): return {READ}
conf = cache(read)
""",
    "a cache around a lambda": f"""
from functools import cache
conf = cache(lambda: {READ})
""",
    "a decorator of the project": f"""
def once(function):
    kept = []
    def inner():
        if not kept:
            kept.append(function())
        return kept[0]
    return inner
@once
def conf(): return {READ}
""",
    "a cache above plain helpers": f"""
from functools import cache
def read(): return {READ}
@cache
def conf(): return read()
""",
    "an object that its constructor hands on": f"""
from functools import cache
ALL = []
class Conf:
    def __init__(self): ALL.append(self)
    @cache
    def v(self): return {READ}
C = Conf()
def conf(): return ALL[0].v()
""",
    "an object that its base class hands on": f"""
from functools import cache
ALL = []
class Base:
    def __init__(self): ALL.append(self)
class Conf(Base):
    @cache
    def v(self): return {READ}
C = Conf()
def conf(): return ALL[0].v()
""",
    "an object that a descriptor hands on": f"""
from functools import cache
ALL = []
class Kept:
    def __set__(self, owner, value): ALL.append(owner)
class Conf:
    n = Kept()
    def __init__(self, n=1): self.n = n
    @cache
    def v(self): return {READ}
C = Conf()
def conf(): return ALL[0].v()
""",
    "an object in a registry": f"""
from functools import cache
ALL = {{}}
class Conf:
    @cache
    def v(self): return {READ}
ALL["c"] = Conf()
def conf(): return ALL["c"].v()
""",
    "an object by another name": f"""
from functools import cache
class Conf:
    def __init__(self, n): self.n = n
    @cache
    def v(self): return {READ}
C = Conf(1)
ALL = [C]
def conf(): return ALL[0].v()
""",
    "an object by a computed name": f"""
from functools import cache
class Conf:
    @cache
    def v(self): return {READ}
C = Conf()
def conf(): return globals()["C"].v()
""",
    "the standard library": """
import linecache
def conf(): return int(linecache.getline("conf.txt", 1))
""",
}


@pytest.fixture
def here(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.chdir(lab.root)
    (lab.root / "conf.txt").write_text("1")
    return lab


@pytest.mark.parametrize("way", WAYS)
def test_what_is_read_once_is_an_input_of_every_item(here: Lab, way: str) -> None:
    here.write("from pathlib import Path\n" + WAYS[way] + STEPS)
    assert here.run().value == [10, 10, 10]
    (here.root / "conf.txt").write_text("2")
    assert here.run().value == [20, 20, 20]


@pytest.mark.parametrize("way", ["a global", "functools.cache"])
def test_what_a_warm_worker_remembers_is_an_input_of_every_item(here: Lab, way: str) -> None:
    path = str(here.root / "conf.txt")
    here.write("from pathlib import Path\n" + WAYS[way].replace("conf.txt", path) + STEPS)
    for number in (1, 2):
        (here.root / "conf.txt").write_text(str(number))
        assert here.run(runner="pool", jobs=1).value == [10 * number] * 3


def test_the_reasons_name_the_value_or_who_remembers(here: Lab) -> None:
    here.write("from pathlib import Path\n" + WAYS["a global"] + STEPS)
    result = here.run()
    line = "not reusable: flow._c is not what it was when the key of this step was made"
    assert [line in task_of(result, f"b[{n}]").reasons for n in range(3)] == [False, True, True]
    here.write("from pathlib import Path\n" + WAYS["functools.cache"] + STEPS)
    seen = [task_of(here.run(), f"b[{n}]").seen[0] for n in range(2)]
    assert [each["name"] for each in seen] == ["conf.txt"] * 2
    assert [each["by"].partition(", ")[2] for each in seen] == ["", "remembered by flow.conf"]


def test_a_plain_helper_hands_its_read_to_nobody(here: Lab) -> None:
    here.write("""
from contextlib import contextmanager
from functools import wraps

def told(function):
    @wraps(function)
    def inner(*args):
        return function(*args)
    return inner

@contextmanager
def opened(name):
    with open(name) as file:
        yield file

@told
def read(name):
    with opened(name) as file:
        return file.read()

@ms.step
def undeclared():
    return read("conf.txt")

@ms.step
def pure():
    return read(ms.scratch() / "x") if False else 1

@ms.pipeline
def main():
    return [undeclared(), pure()]
""")
    here.run()
    assert states(here.run()) == {"undeclared": "succeeded", "pure": "reused"}


def test_a_memory_that_was_emptied_or_whose_file_is_declared_is_none(here: Lab) -> None:
    here.write("""
from functools import cache
from pathlib import Path

@cache
def read(path): return Path(path).read_text()

@ms.step
def undeclared(empty: bool):
    found = read("conf.txt")
    if empty:
        read.cache_clear()
    return found

@ms.step
def other():
    return read.__name__

@ms.step
def declares():
    return read(str(ms.file("conf.txt")))

@ms.pipeline
def main(empty: bool = False):
    return [undeclared(empty), other(), declares()]
""")
    here.run(params={"empty": True})
    assert states(here.run(params={"empty": True}))["other"] == "reused"
    (here.root / "conf.txt").write_text("2")
    here.run()
    again = here.run()
    assert states(again)["declares"] == "reused"


def test_what_the_body_of_a_pipeline_made_a_cache_read_counts_for_the_steps(here: Lab) -> None:
    body = STEPS.replace("def main():\n", "def main():\n    conf()\n")
    here.write("from pathlib import Path\n" + WAYS["functools.cache"] + body)
    for number in (1, 2):
        (here.root / "conf.txt").write_text(str(number))
        assert here.run().value == [10 * number] * 3


def test_a_dataset_that_a_cache_keeps_is_an_input_of_every_item(here: Lab) -> None:
    import polars as pl

    here.write(
        """
from functools import cache

@cache
def conf(): return int(ms.dataset("d").to_polars()["x"][0])
"""
        + STEPS
    )
    for number in (1, 2):
        with using(here.workspace):
            dataset("d").commit(pl.DataFrame({"x": [number]}))
        assert here.run().value == [10 * number] * 3


LATE = """
@ms.step
def first(n: int):
    import tables
    return n + tables.HOUR.n

@ms.step
def second(n: int):
    import tables
    return n * tables.HOUR.n

@ms.pipeline
def main():
    return [second(first(1)), *[first(n) for n in (2, 3)]]
"""


@pytest.mark.parametrize("runner", ["inline", POOL])
def test_which_task_imports_a_module_first_decides_no_key(here: Lab, runner: str) -> None:
    here.write("class N:\n    def __init__(self): self.n = 2\nHOUR = N()\n", "tables")
    here.write(LATE)
    ran = here.run(runner=runner)
    assert not [reason for task in ran.tasks for reason in task.reasons if "not reusable" in reason]
    for edit in ("n + tables.HOUR.n", "n + 0 + tables.HOUR.n"):
        here.write(LATE.replace("n + tables.HOUR.n", edit))
        assert states(here.run(runner=runner))["second"] == "reused"


def test_a_replay_that_diverges_names_what_was_remembered(here: Lab) -> None:
    text = "from pathlib import Path\n" + WAYS["a global"].replace("conf.txt", str(here.root / "conf.txt")) + STEPS
    here.write(text)
    result = here.run()
    (here.root / "conf.txt").write_text("2")
    step = replay_run(result.id, workspace=here.workspace, step="b[2]").steps[0]
    assert step.verdict == "DIVERGED"
    assert any(cause.startswith("flow._c is not what it was") for cause in step.causes)


SINGLETON = """
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

CALLS = []

HEAD
    @cached_property
    def v(self):
        return json.loads((Path(__file__).parent / "l.json").read_text())["a"]

CFG = Cfg()
"""
ONE_READS = """
from pathlib import Path
from conf import CFG

@ms.step
def reads():
    ms.file("l.json")
    return CFG.v

@ms.step
def plain(n: int):
    return n + 1

@ms.step
def opens(n: int):
    return len(Path("l.json").read_text())

@ms.pipeline
def main(n: int = 1):
    return [reads(), plain(n), opens(n)]
"""
HEADS = {
    "nothing": "class Cfg:",
    "its arguments": """class Cfg:
    def __init__(self, n=1, *rest):
        self.n = self.m = n
        self.kept: dict = {'rest': [rest, 1]}
""",
    "its fields": "@dataclass\nclass Cfg:\n    n: int = 1",
}


@pytest.mark.parametrize("head", HEADS)
def test_a_module_that_makes_an_object_hands_its_memories_to_those_who_name_it(here: Lab, head: str) -> None:
    (here.root / "l.json").write_text('{"a": 1}')
    here.write(SINGLETON.replace("HEAD", HEADS[head]), "conf")
    here.write(ONE_READS)
    first = here.run()
    assert task_of(first, "plain").seen == []
    assert states(here.run()) == {"reads": "reused", "plain": "reused", "opens": "succeeded"}


def test_what_a_step_reads_itself_is_not_said_to_be_remembered(here: Lab) -> None:
    (here.root / "l.json").write_text('{"a": 1}')
    here.write(SINGLETON.replace("HEAD", "class Cfg:"), "conf")
    here.write(ONE_READS.replace("(Path(", "(CFG and Path("))
    (seen,) = task_of(here.run(), "opens").seen
    assert seen["by"].startswith("flow.py:")
    assert "remembered" not in seen["by"]
