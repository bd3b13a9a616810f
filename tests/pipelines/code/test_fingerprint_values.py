"""What modules hold in this process beside what their sources give: what was set at run time must not pass for them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mainspring.pipelines.code.fingerprint import Fingerprint
from tests.pipelines.projects import Sources

STEPS = """
    import heldconf
    from heldconf import Config, Row, Pair, Colour, helper, table, REG

    def go(x):
        return (Config, Row, Pair, Colour, helper, table, REG, heldconf.N, heldconf.DICT, heldconf.CFG, heldconf.LATER,
                heldconf.HERE, heldconf.LIMIT, heldconf.RNG, heldconf.cached)
    """
CONF = """
    import dataclasses, enum, functools, pathlib, random
    from typing import NamedTuple

    LIMIT = 3
    N = 2 * 10
    DICT = {"a": [1, 2], "b": {3}}
    HERE = pathlib.Path(__file__).parent / "data"
    LATER = None
    REG = {}
    RNG = random.Random(3)

    def register(f):
        REG[f.__name__] = f
        return f

    @register
    def one(): return 1

    class Config:
        depth = 3
        names = ["x"]

    @dataclasses.dataclass
    class Row:
        n: int = 3
        items: list = dataclasses.field(default_factory=list)

    @dataclasses.dataclass(slots=True)
    class Slim:
        n: int = 3

    class Pair(NamedTuple):
        left: int = 1

    class Colour(enum.Enum):
        RED = 1

    CFG = Row(4)

    def helper(x=1, *, y=[2]): return x, y

    def table(a=LIMIT, b=DICT): return a, b

    @functools.cache
    def cached(x=1): return x

    def lazily():
        global LATER
        LATER = "loaded"
    """


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sources]:
    found = Sources(tmp_path, heldsteps=STEPS, heldconf=CONF)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    importlib.import_module("heldsteps")
    yield found
    for name in ("heldsteps", "heldconf"):
        sys.modules.pop(name, None)


def live(project: Sources) -> Fingerprint:
    return project.fingerprinter().of("heldsteps", "go", live=True)


def values(found: Fingerprint) -> set[str]:
    return {name for name in found.parts if name.startswith("value ")}


# What no source tells: an object made by a call, a registry that was filled.
TOLD_BY_NO_SOURCE = {"value heldconf.CFG", "value heldconf.REG", "value heldconf.RNG"}


def test_what_is_as_its_source_says_adds_nothing(project: Sources) -> None:
    found = live(project)
    assert found.differences == ()
    assert values(found) == TOLD_BY_NO_SOURCE
    assert live(project) == found


SETTINGS: dict[str, Callable[[Any], Any]] = {
    "value heldconf.N": lambda conf: setattr(conf, "N", 99),
    "value heldconf.DICT": lambda conf: conf.DICT["a"].append(3),
    "value heldconf.CFG": lambda conf: setattr(conf.CFG, "n", 5),
    "value heldconf.LATER": lambda conf: conf.lazily(),
    "value heldconf.HERE": lambda conf: setattr(conf, "HERE", conf.HERE / "more"),
    "value heldconf.REG": lambda conf: conf.REG.update(one=lambda: 2),
    "value heldconf.RNG": lambda conf: conf.RNG.random(),
    "value heldconf.Config.names": lambda conf: conf.Config.names.append("y"),
    "value heldconf.helper (defaults)": lambda conf: conf.helper.__kwdefaults__["y"].append(3),
}


@pytest.mark.parametrize("part", SETTINGS)
def test_a_value_set_at_run_time_is_part_of_the_key(part: str, project: Sources) -> None:
    before = live(project)
    SETTINGS[part](sys.modules["heldconf"])
    found = live(project)
    assert found.digest != before.digest
    assert found.differences == ()
    assert values(found) == TOLD_BY_NO_SOURCE | {part}
    assert project.of("heldsteps") == project.fingerprinter().of("heldsteps", "go")


REPLACED: dict[str, Callable[[Any], Any]] = {
    "LIMIT": lambda conf: setattr(conf, "LIMIT", 4),
    "Config.depth": lambda conf: setattr(conf.Config, "depth", 99),
    "Row.n": lambda conf: setattr(conf.Row, "n", 9),
    "helper": lambda conf: setattr(conf, "helper", lambda x=1, *, y=2: x),
}


@pytest.mark.parametrize("name", REPLACED)
def test_a_constant_replaced_at_run_time_is_named(name: str, project: Sources) -> None:
    REPLACED[name](sys.modules["heldconf"])
    assert any(line.startswith(f"heldconf.{name} is not what its source says") for line in live(project).differences)


EDITS = {
    "Config.depth": ("depth = 3", "depth = 4"),
    "Row.n": ("n: int = 3\n        items", "n: int = 4\n        items"),
    "Pair.left": ("left: int = 1", "left: int = 2"),
    "Colour.RED": ("RED = 1", "RED = 7"),
    "helper (defaults)": ("x=1, *", "x=2, *"),
    "DICT": ('"b": {3}', '"b": {4}'),
    "N": ("2 * 10", "2 * 11"),
    "cached (defaults)": ("cached(x=1)", "cached(x=2)"),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_source_edited_after_its_import_never_passes_for_what_was_imported(name: str, project: Sources) -> None:
    project.write(heldconf=CONF.replace(*EDITS[name]))
    old = live(project)
    assert f"value heldconf.{name}" in old.parts or any(f"heldconf.{name} is not" in line for line in old.differences)
    for module in ("heldsteps", "heldconf"):
        del sys.modules[module]
    importlib.import_module("heldsteps")
    fresh = live(project)
    assert fresh.digest != old.digest or old.differences
    assert values(fresh) == TOLD_BY_NO_SOURCE


def test_a_place_in_the_project_is_the_same_in_every_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "import os\nHERE = str(os.path.dirname(__file__)).upper().lower()\ndef go(): return HERE"
    found = []
    for name in ("one", "two"):
        project = Sources(tmp_path / name, heldplace=text)
        with monkeypatch.context() as patch:
            patch.syspath_prepend(str(project.root))
            importlib.invalidate_caches()
            importlib.import_module("heldplace")
            found.append(project.fingerprinter().of("heldplace", "go", live=True))
            del sys.modules["heldplace"]
    assert found[0] == found[1]


def test_the_script_that_runs_is_looked_at_by_the_name_of_its_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Sources(tmp_path, heldscript="FACTOR = 1\nOPEN = {}\ndef go(): return FACTOR, OPEN")
    script = ModuleType("__main__")
    script.__file__ = str(tmp_path / "heldscript.py")
    exec(compile((tmp_path / "heldscript.py").read_text(), script.__file__, "exec", dont_inherit=True), vars(script))
    monkeypatch.setitem(sys.modules, "__main__", script)
    assert project.fingerprinter().of("heldscript", "go", live=True) == project.of("heldscript")
    vars(script)["FACTOR"] = 5
    vars(script)["OPEN"]["a"] = 1
    found = project.fingerprinter().of("heldscript", "go", live=True)
    assert [line.partition(" is")[0] for line in found.differences] == ["heldscript.FACTOR"]
    assert values(found) == {"value heldscript.OPEN"}


def test_a_worker_finds_the_values_that_are_otherwise_there(project: Sources) -> None:
    conf: Any = sys.modules["heldconf"]
    conf.DICT["a"].append(3)
    conf.Config.names.append("y")
    conf.helper.__kwdefaults__["y"].append(3)
    found = live(project)
    there = project.fingerprinter().live("heldsteps", "go")
    assert there.changes(found.parts) == ([], [])
    conf.CFG.n = 7
    conf.helper.__kwdefaults__["y"].append(4)
    conf.Config.names.append("z")
    changed = ["heldconf.CFG", "heldconf.Config.names", "heldconf.helper (defaults)"]
    assert there.changes(found.parts) == (changed, [])


def test_a_value_that_changes_between_two_looks_is_seen(project: Sources) -> None:
    known = project.fingerprinter()
    conf: Any = sys.modules["heldconf"]
    seen = []
    for change in (lambda: None, lambda: conf.CFG.items.append(1), lambda: setattr(conf.Config, "depth", 4)):
        change()
        seen.append(known.of("heldsteps", "go", live=True))
    assert len({found.digest for found in seen}) == 2
    assert [len(found.differences) for found in seen] == [0, 0, 1]
    conf.Config.depth = 3
    assert known.of("heldsteps", "go", live=True) == seen[1]
