"""What a cache or compiled function keeps of code that is another now: no result that may come of it is reused."""

from __future__ import annotations

import decimal
import importlib
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mainspring.pipelines.code.fingerprint import Fingerprint, Fingerprinter
from mainspring.runs.environment import Installed
from tests.pipelines.code.test_fingerprint_live import cell, of
from tests.pipelines.projects import ENVIRONMENT, Sources


@pytest.fixture
def project(tmp_path: Path) -> Sources:
    return Sources(tmp_path, other="")


def notes(found: Fingerprint) -> list[str]:
    return [each for each in found.unresolved if each.startswith("not reusable")]


def old(name: str, part: str) -> list[str]:
    return [f"not reusable: `{name}` may keep what it gave before {part} changed; define it again"]


HELPER = "import functools\nK = 1\ndef h(x): return x + K\n"
KEPT = {
    "f": "@functools.cache\ndef f(x): return h(x)\ndef go(): return f(1)\n",
    "M.f": ("class M:\n  @staticmethod\n  @functools.lru_cache(3)\n  def f(x): return h(x)\ndef go(): return M.f(1)\n"),
    "g": "@functools.cache\ndef g(x): return h(x)\nBY = {'g': g}\ndef go(): return BY['g'](1)\n",
}


@pytest.mark.parametrize("name", KEPT)
def test_a_cache_with_answers_of_an_earlier_helper_is_named_until_it_is_emptied(name: str, project: Sources) -> None:
    space = cell(HELPER + KEPT[name])
    assert notes(of(project, space["go"])) == []
    assert space["go"]() == 2
    space["go"]()
    assert notes(of(project, space["go"])) == []
    cell("def h(x): return x + 5\n", "<cell 2>", space)
    assert notes(of(project, space["go"])) == old(name, "source __main__.h")
    cell("def h(x): return x + K\n", "<cell 3>", space)  # what it gave in between may be kept, too
    assert notes(of(project, space["go"])) == old(name, "source __main__.h")
    cache: Any = space
    for part in name.split("."):
        cache = cache[part] if isinstance(cache, dict) else getattr(cache, part)
    cache.cache_clear()
    assert notes(of(project, space["go"])) == []


def test_a_cache_that_was_emptied_and_filled_again_is_as_new(project: Sources) -> None:
    space = cell(HELPER + KEPT["f"])
    space["f"](1)
    space["f"](2)
    assert notes(of(project, space["go"])) == []
    space["K"] = 2
    space["f"].cache_clear()
    space["f"](1)
    assert notes(of(project, space["go"])) == []


def test_a_cache_that_was_emptied_and_missed_as_often_is_as_new_if_it_was_hit_less_often(project: Sources) -> None:
    space = cell(HELPER + KEPT["f"])
    space["f"](1)
    space["f"](1)
    assert notes(of(project, space["go"])) == []
    space["K"] = 2
    assert notes(of(project, space["go"])) == old("f", "value __main__.K")
    space["f"].cache_clear()
    space["f"](1)
    assert notes(of(project, space["go"])) == []


def test_a_variable_counts_as_a_helper_does(project: Sources) -> None:
    space = cell(HELPER + KEPT["f"])
    of(project, space["go"])
    space["f"](1)
    space["K"] = 2
    assert notes(of(project, space["go"])) == old("f", "value __main__.K")


def test_what_was_edited_while_a_cache_is_empty_or_besides_it_is_no_matter(project: Sources) -> None:
    space = cell(HELPER + "def other(x): return x\n" + KEPT["f"] + "def go(): return other(f(1))\n")
    of(project, space["go"])
    space["K"] = 2
    assert notes(of(project, space["go"])) == []
    space["f"](1)
    cell("def other(x): return -x\n", "<cell 2>", space)
    assert notes(of(project, space["go"])) == []


def test_a_setting_of_a_library_counts_as_a_helper_does_and_how_many_threads_there_are_does_not(
    project: Sources,
) -> None:
    space = cell(
        "import decimal, functools\n@functools.cache\ndef f(): return decimal.Decimal(1) / 3\ndef go(): return f()\n"
    )
    of(project, space["go"])
    space["go"]()
    more = Fingerprinter(project.root, None, ENVIRONMENT, 2, distributions=lambda: Installed({}, {}, {}))
    assert notes(more.of_function(space["go"])) == []
    with decimal.localcontext() as context:
        context.prec = 3
        assert notes(of(project, space["go"])) == old("f", "setting decimal.prec")


HOME = "import functools\nK = [1]\nBY = {}\n@functools.cache\ndef f(x): return x + K[0] + len(BY)\nBY['f'] = f\n"


@pytest.fixture
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Sources, types.ModuleType]]:
    found = Sources(tmp_path, cachehome=HOME, cachesteps="import cachehome\ndef go(): return cachehome.BY['f'](1)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield found, importlib.import_module("cachehome")
    for name in ("cachehome", "cachesteps"):
        sys.modules.pop(name, None)


def test_a_cache_of_a_module_counts_for_its_steps_and_for_a_notebook(homes: tuple[Sources, types.ModuleType]) -> None:
    project, home = homes
    go = cell("import cachehome\ndef go(): return cachehome.f(1)\n")["go"]
    steps = importlib.import_module("cachesteps")
    for function in (go, steps.go):
        assert notes(of(project, function)) == []
    go()
    for function in (go, steps.go):
        assert notes(of(project, function)) == []
    home.K[0] = 2
    for function in (go, steps.go):
        assert notes(of(project, function)) == old("f", "value cachehome.K")


def test_a_cache_of_a_notebook_that_a_module_holds_counts(homes: tuple[Sources, types.ModuleType]) -> None:
    project, home = homes
    space = cell(HELPER + KEPT["f"])
    home.BY["f"] = space["f"]
    go = importlib.import_module("cachesteps").go
    assert of(project, go).differences == ()
    go()
    assert of(project, go).differences == ()
    space["K"] = 2
    assert old("f", "value __main__.K") == [f"not reusable: {each}" for each in of(project, go).differences]


def test_a_function_that_numba_compiled_keeps_what_it_was_compiled_with(project: Sources) -> None:
    text = "import numba\nK = 1\n@numba.njit\ndef h(x): return x + K\n@numba.njit\ndef f(x): return h(x)\n"
    space = cell(text + "def go(): return f(1)\n")
    first = of(project, space["go"])
    assert notes(first) == []
    assert space["go"]() == 2
    assert of(project, space["go"]) == first
    space["K"] = 5
    assert space["go"]() == 2
    assert notes(of(project, space["go"])) == [*old("f", "value __main__.K"), *old("h", "value __main__.K")]
    assert notes(of(project, cell(text + "def go(): return f(1)\n", "<cell 2>")["go"])) == []


@pytest.mark.parametrize("told", ["fastmath=True", "'float32(float32)'"])
def test_what_numba_is_told_counts(told: str, project: Sources) -> None:
    text = "import numba\n@numba.njit({})\ndef f(x): return x / 3\ndef go(): return f(1)\n"
    plain, other = (cell(text.format(each), f"<{each}>")["go"] for each in ("", told))
    assert of(project, plain) != of(project, other)


def test_what_a_librarys_object_around_a_function_keeps_is_not_known(
    project: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = types.ModuleType("compiling")
    cell("class Compiled:\n  def __init__(self, f): self.__wrapped__ = f\n  def __call__(self, x): ...\n",
         "<compiling>", vars(library))  # fmt: skip
    monkeypatch.setitem(sys.modules, "compiling", library)
    space = cell(HELPER + "import compiling\nf = compiling.Compiled(h)\ndef go(): return f(1)\n")
    assert notes(of(project, space["go"])) == []
    space["K"] = 2
    assert notes(of(project, space["go"])) == old("h", "value __main__.K")
    space["f"] = library.Compiled(space["h"])
    assert notes(of(project, space["go"])) == []


@pytest.mark.parametrize(
    "made",
    [
        "import matplotlib.figure\nheld = matplotlib.figure.Figure().subplots()",
        "import threading\nheld = threading.Timer(1, print)",
        "from concurrent.futures import ThreadPoolExecutor\nheld = ThreadPoolExecutor(1)\nheld.submit(int).result()",
        "import runpy, pathlib\npathlib.Path('conf.py').write_text('def f(): return 1')\nheld = runpy.run_path('conf.py')",
        (
            "import pandera.pandas as pa\nfrom pandera.typing import DataFrame\nclass S(pa.DataFrameModel):\n  a: int\n"
            "@pa.check_types\ndef held(x: DataFrame[S]): return x"
        ),
    ],
)
def test_a_librarys_inner_function_is_around_nothing(
    made: str, project: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    space = cell(f"{made}\ndef go(): return held\n")
    assert not [each for each in notes(of(project, space["go"])) if "may keep" in each]
