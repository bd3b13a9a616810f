"""Live objects beside their source: monkeypatches, and functions that no module can give back."""

from __future__ import annotations

import functools
import importlib
import linecache
import os
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mainspring.pipelines.code.fingerprint import Fingerprint, compare
from tests.pipelines.projects import Sources

FILES = {
    "livesteps": """
        import functools
        from livehelp import helper, Tool, LIMIT
        import livehelp

        def go(x):
            return helper(x) + Tool().use() + livehelp.LIMIT + livehelp.cached(1)
        """,
    "livehelp": """
        import functools, enum
        from dataclasses import dataclass
        LIMIT = 3
        def helper(x): return x in {"a", "b", "c"}
        @dataclass(frozen=True)
        class Tool:
            n: int = 1
            def use(self): return self.n
            @property
            def twice(self): return 2
            @staticmethod
            def free(): return 3
            @classmethod
            def made(cls): return cls()
            @functools.cached_property
            def kept(self): return 4
            def __hidden(self): return 5
        class Colour(enum.Enum):
            RED = 1
            def shout(self): return self.name
        @functools.lru_cache
        def cached(x): return Colour.RED
        """,
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sources]:
    found = Sources(tmp_path, **FILES)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    importlib.import_module("livesteps")
    yield found
    for name in ("livesteps", "livehelp", "script"):
        sys.modules.pop(name, None)


def seen(project: Sources) -> list[str]:
    return project.fingerprinter().live_differences("livesteps", "go")


def test_modules_as_imported_do_not_differ_from_their_source(project: Sources) -> None:
    assert seen(project) == []


PATCHES: dict[str, Callable[[types.ModuleType, types.ModuleType], None]] = {
    "livehelp.helper": lambda steps, helps: setattr(helps, "helper", lambda x: 1),
    "livesteps.helper": lambda steps, helps: setattr(steps, "helper", lambda x: 1),
    "livehelp.LIMIT": lambda steps, helps: setattr(helps, "LIMIT", 4),
    "livehelp.Tool.use": lambda steps, helps: setattr(helps.Tool, "use", lambda self: 9),
    "livehelp.Tool.free": lambda steps, helps: setattr(helps.Tool, "free", staticmethod(lambda: 9)),
    "livehelp.Tool.twice": lambda steps, helps: setattr(helps.Tool, "twice", property(lambda self: 9)),
    "livehelp.Tool.kept": lambda steps, helps: setattr(helps.Tool, "kept", 9),
    "livehelp.cached": lambda steps, helps: setattr(helps, "cached", lambda x: 9),
    "livesteps.go": lambda steps, helps: setattr(steps, "go", functools.partial(steps.go)),
}


def test_a_step_is_compared_by_the_function_inside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "from mainspring.pipelines.step import step\n@step(retries=1)\ndef go(): return 1\n"
    project = Sources(tmp_path, stepped=text)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    stepped = importlib.import_module("stepped")
    try:
        assert project.fingerprinter().live_differences("stepped", "go") == []
        assert of(project, stepped.go) == project.of("stepped")
        vars(stepped)["go"].function = lambda: 2
        assert len(project.fingerprinter().live_differences("stepped", "go")) == 1
    finally:
        del sys.modules["stepped"]


@pytest.mark.parametrize("name", PATCHES)
def test_a_monkeypatch_is_named(name: str, project: Sources) -> None:
    PATCHES[name](sys.modules["livesteps"], sys.modules["livehelp"])
    assert any(line.startswith(f"{name} is not") for line in seen(project)), seen(project)


def test_a_wrapper_around_an_undecorated_function_is_named(project: Sources) -> None:
    helps = sys.modules["livehelp"]
    original = helps.helper
    vars(helps)["helper"] = functools.wraps(original)(lambda x: original(x))
    assert any(line.startswith("livehelp.helper is not") for line in seen(project))


def test_a_source_edited_after_its_import_differs(project: Sources) -> None:
    project.write(livehelp=FILES["livehelp"].replace("return 2", "return 22"))
    assert seen(project) == [
        "livehelp.Tool.twice is not what its source says (replaced at run time, or edited since it was imported)"
    ]


def test_comments_added_after_the_import_do_not_differ(project: Sources) -> None:
    project.write(livehelp=FILES["livehelp"].replace("LIMIT = 3", "# more\n        # lines\n        LIMIT = 3"))
    assert seen(project) == []


def test_a_module_imported_from_elsewhere_is_named(project: Sources, tmp_path: Path) -> None:
    sys.modules["livehelp"].__file__ = str(tmp_path / "other.py")
    assert any("is imported from" in line for line in seen(project))


def test_an_object_in_place_of_a_module_that_answers_to_any_name_is_named(
    project: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Settings:
        def __getattr__(self, name: str) -> int:
            return 1

    monkeypatch.setitem(sys.modules, "livehelp", Settings())
    assert any(" in sys.modules, not the module of" in line for line in seen(project))


def cell(source: str, name: str = "<cell 1>", space: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run source as a notebook does: in `__main__`, its lines known by a made-up file name."""
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    space = {"__name__": "__main__"} if space is None else space
    exec(compile(source, name, "exec"), space)
    return space


def of(project: Sources, function: Callable[..., object]) -> Fingerprint:
    return project.fingerprinter().of_function(function)


def test_a_notebook_function_counts_with_what_it_uses(project: Sources) -> None:
    text = "from livehelp import helper\nN = 1\ndef inner(x): return x\ndef go(x):\n  return inner(x) + helper(N)\n"
    old = of(project, cell(text)["go"])
    assert old.reusable
    assert of(project, cell("# note\n" + text, "<cell 2>")["go"]) == old
    for change, line in [
        (("N = 1", "N = 2"), "value __main__.N changed"),
        (("return x\n", "return -x\n"), "source __main__.inner changed"),
        (("helper(N)", "helper(N, 1)"), "source __main__.go changed"),
    ]:
        assert line in compare(old, of(project, cell(text.replace(*change), f"<cell {change[1]}>")["go"]))
    project.write(livehelp=FILES["livehelp"].replace('{"a", "b", "c"}', "{1}"))
    assert compare(old, of(project, cell(text)["go"])) == ["code livehelp.helper changed"]


def test_a_lambda_and_a_partial_count_by_source_and_arguments(project: Sources) -> None:
    first = cell("import functools\nf = lambda x: x + 1\np = functools.partial(f, 2)\n", "<a>")
    second = cell("import functools\nf = lambda x: x + 1\np = functools.partial(f, 3)\n", "<b>")
    third = cell("import functools\nf = lambda x: x + 2\np = functools.partial(f, 2)\n", "<c>")
    assert of(project, first["f"]) == of(project, second["f"])
    assert of(project, first["f"]) != of(project, third["f"])
    assert len({of(project, each["p"]).digest for each in (first, second, third)}) == 3


def test_a_closure_counts_by_the_values_it_holds(project: Sources) -> None:
    text = "def make(n):\n  def go(x): return x + n\n  return go\n"
    make = cell(text)["make"]
    assert of(project, make(1)) == of(project, make(1))
    assert of(project, make(1)) != of(project, make(2))
    assert of(project, make([1, {"a": (2,)}])).reusable
    found = of(project, make(object()))
    assert not found.reusable
    assert found.unresolved == ("not reusable: closure over `n` (of type object), which can't be recorded",)


def test_a_value_that_two_functions_use_counts_by_what_it_holds(project: Sources) -> None:
    space = cell("KEPT = [1]\ndef other(): return KEPT\ndef go(): return KEPT, other()\n")
    old = of(project, space["go"])
    space["KEPT"][0] = 2
    assert compare(old, of(project, space["go"])) == ["value __main__.KEPT changed"]


HOLDERS = {
    "a dict": "HELD = {'late': late}\ndef go(x): return HELD['late'](x)\n",
    "a list": "HELD = [late, T]\ndef go(x): return [each(x) for each in HELD]\n",
    "a lambda in a dict": "HELD = {'late': lambda x: late(x)}\ndef go(x): return HELD['late'](x)\n",
    "a registry": "HELD = {}\nHELD['late'] = late\ndef go(x): return HELD['late'](x)\n",
    "a partial's argument": "HELD = functools.partial(map, late)\ndef go(x): return list(HELD(x))\n",
    "a closure": "def make(held):\n  def go(x): return held[0](x)\n  return go\ngo = make([late])\n",
    "a method of a dict": "get = {'late': late}.get\ndef go(x): return get('late')(x)\n",
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_function_that_something_holds_counts_by_its_source(holder: str, project: Sources) -> None:
    text = (
        "import functools\ndef late(x): return x > 3\nclass T:\n  def __init__(self, x): self.x = x\n" + HOLDERS[holder]
    )
    old = of(project, cell(text)["go"])
    assert of(project, cell(text)["go"]) == old
    new = of(project, cell(text.replace("x > 3", "x > 7"), "<later>")["go"])
    assert old.reusable
    assert "source __main__.late changed" in compare(old, new)


DEFINED = "import functools\ndef a(x): return x + 1\ndef b(x): return x * 2\nclass C: pass\nclass D: pass\n"
NOTED = "class HELD:\n  known = []\n  def __init_subclass__(cls): HELD.known.append(cls)\n"
BY_TYPES = "@functools.singledispatch\ndef HELD(x): ...\n@HELD.register\n"
# Each says which functions are used, and how: two that differ in that alone.
CHOSEN = {
    "the order in a list": ("HELD = [a, b]", "HELD = [b, a]"),
    "the names in a dict": ("HELD = {'a': a, 'b': b}", "HELD = {'a': b, 'b': a}"),
    "pairs": ("HELD = [('a', C), ('b', D)]", "HELD = [('a', D), ('b', C)]"),
    "another name": ("HELD, ALL = a, [a, b]", "HELD, ALL = b, [a, b]"),
    "the first of lambdas": (
        "HELD = {\n 'a': lambda x: x + 1,\n 'b': lambda x: x * 2,\n}",
        "HELD = {\n 'a': lambda x: x + 9,\n 'b': lambda x: x * 2,\n}",
    ),
    "lambdas exchanged": (
        "HELD = [\n lambda x: x + 1,\n lambda x: x * 2,\n]",
        "HELD = [\n lambda x: x * 2,\n lambda x: x + 1,\n]",
    ),
    "a partial's function": ("HELD, ALL = functools.partial(a), [a, b]", "HELD, ALL = functools.partial(b), [a, b]"),
    "closures exchanged": (
        "def by(k): return lambda x: x * k\nHELD = [by(2), by(3)]",
        "def by(k): return lambda x: x * k\nHELD = [by(3), by(2)]",
    ),
    "closures over functions": (
        "def both(f, g): return lambda x: g(f(x))\nHELD = both(a, b)",
        "def both(f, g): return lambda x: g(f(x))\nHELD = both(b, a)",
    ),
    "a default in a loop": (
        "HELD = [lambda x, k=k: x * k for k in (2, 3)]",
        "HELD = [lambda x, k=k: x * k for k in (3, 2)]",
    ),
    "functions of one name": (
        "HELD = []\n@HELD.append\ndef _(x): return x + 1\n@HELD.append\ndef _(x): return x * 2",
        "HELD = []\n@HELD.append\ndef _(x): return x + 9\n@HELD.append\ndef _(x): return x * 2",
    ),
    "what a dict makes": (
        "from collections import defaultdict\nHELD = defaultdict(lambda: 1)",
        "from collections import defaultdict\nHELD = defaultdict(lambda: 2)",
    ),
    "a registry by types": (
        BY_TYPES + "def _(x: int): return 1\n@HELD.register\ndef _(x: str): ...",
        BY_TYPES + "def _(x: int): return 2\n@HELD.register\ndef _(x: str): ...",
    ),
    "a registry of a class": (
        "class HELD:\n  items = {}\nHELD.items['a'] = a\nHELD.items['b'] = b",
        "class HELD:\n  items = {}\nHELD.items['a'] = b\nHELD.items['b'] = a",
    ),
    "a date of a class": (
        "import datetime as dt\nclass HELD: START = dt.date(2013, 1, 1)",
        "import datetime as dt\nclass HELD: START = dt.date(2013, 1, 1)\nHELD.START = dt.date(2013, 6, 1)",
    ),
    "a property of a class": (
        "class HELD:\n  n = property(lambda self: 1)",
        "class HELD:\n  n = property(lambda self: 1)\nHELD.n = property(a)",
    ),
    "subclasses that are noted": (
        NOTED + "class One(HELD):\n  def f(s): return 1",
        NOTED + "class One(HELD):\n  def f(s): return 2",
    ),
}


CHOSEN |= {
    "a long pattern": (
        "import re\nHELD = re.compile('a|' * 150 + 'b')",
        "import re\nHELD = re.compile('a|' * 150 + 'c')",
    ),
    "defaults by name": (
        "HELD = [lambda x, *, k=k: x * k for k in (2, 3)]",
        "HELD = [lambda x, *, k=k: x * k for k in (3, 2)]",
    ),
    "partials in closures": (
        "def by(f): return lambda x: f(x)\nHELD = [by(functools.partial(pow, 2)), by(functools.partial(pow, 3))]",
        "def by(f): return lambda x: f(x)\nHELD = [by(functools.partial(pow, 3)), by(functools.partial(pow, 2))]",
    ),
    "a method of a pattern": (
        "import re\nHELD = re.compile('[A-Z]').match",
        "import re\nHELD = re.compile('[A-z]').match",
    ),
    "methods of texts": ("HELD = [', '.join, '{} a'.format]", "HELD = [', '.join, '{} b'.format]"),
    "methods of texts in closures": (
        "def by(f): return lambda x: f(x)\nHELD = [by('a'.join), by('b'.join)]",
        "def by(f): return lambda x: f(x)\nHELD = [by('b'.join), by('a'.join)]",
    ),
    "methods of functions of arrays": (
        "import numpy as np\nHELD = np.add.reduce",
        "import numpy as np\nHELD = np.multiply.reduce",
    ),
    "an array of a class": (
        "import numpy as np\nclass HELD: w = np.arange(3)",
        "import numpy as np\nclass HELD: w = np.arange(3)\nHELD.w[0] = 7",
    ),
    "a table of a class, set later": (
        "import polars as pl\nclass HELD: n = 1\nHELD.t = pl.DataFrame({'a': [1]})",
        "import polars as pl\nclass HELD: n = 1\nHELD.t = pl.DataFrame({'a': [2]})",
    ),
    "a number of a class, set later": (
        "import numpy as np\nclass HELD: n = 1\nHELD.t = np.float64(0.5)",
        "import numpy as np\nclass HELD: n = 1\nHELD.t = np.float64(0.7)",
    ),
    "a path of a class, set later": (
        "import pathlib\nclass HELD: n = 1\nHELD.at = pathlib.Path('a')",
        "import pathlib\nclass HELD: n = 1\nHELD.at = pathlib.Path('b')",
    ),
    "an object of a class, set later": (
        "class One:\n  def __init__(s, n): s.n = n\nclass HELD: n = 1\nHELD.t = One(1)",
        "class One:\n  def __init__(s, n): s.n = n\nclass HELD: n = 1\nHELD.t = One(2)",
    ),
    "what a class in a class is given later": (
        "class HELD:\n  class In: n = 1",
        "class HELD:\n  class In: n = 1\nHELD.In.n = 2",
    ),
    "the class of an object of a class": (
        "class One:\n  def f(s): return 1\nclass HELD: n = {}\nHELD.n['a'] = One()",
        "class One:\n  def f(s): return 2\nclass HELD: n = {}\nHELD.n['a'] = One()",
    ),
    "dicts of functions in closures": (
        "def by(d): return lambda x: d['f'](x)\nHELD = [by({'f': a}), by({'f': b})]",
        "def by(d): return lambda x: d['f'](x)\nHELD = [by({'f': b}), by({'f': a})]",
    ),
}


@pytest.mark.parametrize("chosen", CHOSEN)
def test_which_function_stands_where_counts(chosen: str, project: Sources) -> None:
    used = "\ndef go(x): return HELD\n"
    old, new = (of(project, cell(DEFINED + each + used, f"<{each}>")["go"]) for each in CHOSEN[chosen])
    assert (old.reusable, new.reusable) == (True, True)
    assert of(project, cell(DEFINED + CHOSEN[chosen][0] + used, "<again>")["go"]) == old
    assert new != old


def test_what_a_class_holds_from_its_body_on_leaves_its_users_reusable(project: Sources) -> None:
    text = (
        "import numpy as np\nimport polars as pl\nimport threading\nclass Config:\n  cols = [pl.col('a'), pl.col('b') * 2]\n"
        "  schema = {'a': pl.Int64, 't': pl.Datetime('us')}\n  w = np.array([1, 2])\n  locks = {'a': threading.Lock()}\n"
        "def go(x): return Config\n"
    )
    assert of(project, cell(text)["go"]).reusable


MACHINERY = {
    "abstract": "import abc\nclass HELD(abc.ABC):\n  @abc.abstractmethod\n  def f(self): ...",
    "a named tuple": "import typing\nclass HELD(typing.NamedTuple):\n  a: int\n  b: str = 'x'",
    "slots": "class HELD:\n  __slots__ = ('a', 'b')",
    "an enum": "import enum\nclass HELD(enum.Enum):\n  A = 1\n  B = 'b'",
    "kept properties": (
        "import functools\nclass HELD:\n  @functools.cached_property\n  def f(self): return 1\n"
        "  @functools.lru_cache\n  def g(self): return 1"
    ),
    "an estimator": (
        "from sklearn.base import BaseEstimator, ClassifierMixin\nclass HELD(ClassifierMixin, BaseEstimator):\n"
        "  def fit(self, X, y, sample_weight=None): return self\n  def predict(self, X): return X"
    ),
    "a record": (
        "import dataclasses\n@dataclasses.dataclass\nclass HELD:\n  a: int\n  b: list = dataclasses.field(default_factory=list)"
    ),
    "a class with a base that has a function give it objects": (
        "import threading\ndef give(cls): cls.lock = threading.Lock()\nclass Base:\n"
        "  def __init_subclass__(cls): give(cls)\nclass HELD(Base): n = 1"
    ),
    "a class with a base that gives it objects": (
        "import threading\nclass Base:\n  def __init_subclass__(cls): cls.lock = threading.Lock()\nclass HELD(Base): n = 1"
    ),
    "a network": "import torch\nclass HELD(torch.nn.Module):\n  def forward(self, x): return x",
}


@pytest.mark.parametrize("made", MACHINERY)
def test_what_metaclasses_and_decorators_give_a_class_leaves_its_users_reusable(made: str, project: Sources) -> None:
    text = f"{MACHINERY[made]}\ndef go(x): return HELD\n"
    found = [of(project, cell(text, f"<{made}, {each}>")["go"]) for each in range(2)]
    assert found[0].reusable
    assert found[0] == found[1]


@pytest.mark.parametrize("base", ["object", "Noted", "abc.ABC", "BaseEstimator"])
@pytest.mark.parametrize("body", ["n = 1", "lock = None", "lock: object = None"])
def test_an_object_that_nothing_tells_and_no_body_gave_leaves_no_result_reusable(
    body: str, base: str, project: Sources
) -> None:
    text = (
        "import abc, threading\nfrom sklearn.base import BaseEstimator\nclass Noted:\n"
        f"  def __init_subclass__(cls): cls.known = 1\nclass HELD({base}): {body}\n"
        "HELD.lock = threading.Lock()\ndef go(x): return HELD\n"
    )
    found = of(project, cell(text)["go"])
    assert not found.reusable
    assert "`__main__.HELD.lock` (of type lock) was set behind its class, and can't be recorded" in str(found)


def test_functions_that_hold_each_other_are_looked_at_once(project: Sources) -> None:
    text = (
        "def make():\n  def f(x): return g(x)\n  def g(x): return f(x) + g(x)\n  return f\n"
        "HELD = make()\ndef go(x): return HELD(x)\n"
    )
    assert of(project, cell(text)["go"]).reusable


SETS = """
import linecache, sys
from pathlib import Path
from mainspring.pipelines.code.fingerprint import Fingerprinter
from mainspring.runs.environment import Environment, Installed
text = "def only(codes): return lambda x: x in codes\\n"
text += "HELD = {'ny': only({'JFK', 'LGA', 'EWR'}), 'w': [lambda x, ok=frozenset(['LAX', 'SFO', 'SEA']): x in ok]}\\n"
text += "def go(x): return HELD\\n"
linecache.cache["<cell>"] = (len(text), None, text.splitlines(keepends=True), "<cell>")
space = {"__name__": "__main__"}
exec(compile(text, "<cell>", "exec"), space)
known = Environment("3.11.7", "cpython", "linux-x86_64", {}, "0")
made = Fingerprinter(Path(sys.argv[1]), None, known, 1, distributions=lambda: Installed({}, {}, {}))
found = made.of_function(space["go"])
print(found.reusable, {name: part for name, part in found.parts.items() if name != "hash seed"})
"""


def test_what_closures_hold_is_the_same_in_every_process(tmp_path: Path) -> None:
    def said(seed: str) -> str:
        command = [sys.executable, "-c", SETS, str(tmp_path)]
        environment = os.environ | {"PYTHONHASHSEED": seed}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    first = said("1")
    assert first.startswith("True")
    assert {said(seed) for seed in ("2", "3")} == {first}


def test_a_method_of_a_plain_value_counts_by_the_value(project: Sources) -> None:
    space = cell("CODES = {'a': 1}\nget = CODES.get\ndef go(x): return get(x)\n")
    old = of(project, space["go"])
    assert old.reusable
    space["CODES"]["a"] = 2
    assert compare(old, of(project, space["go"])) == ["value __main__.get changed"]


def test_an_object_of_a_notebook_counts_by_its_class_and_what_it_holds(project: Sources) -> None:
    text = "class Scale:\n  def __init__(self, k): self.k = k\n  def __call__(self, x): return x * self.k\n"
    text += "scale = Scale(2)\ndef go(x): return scale(x)\n"
    changes = [("Scale(2)", "Scale(3)"), ("x * self.k", "x + self.k"), ("self.k = k", "self.k = k + 1")]
    texts = [text, *(text.replace(*change) for change in changes)]
    found = [of(project, cell(each, f"<scale {number}>")["go"]) for number, each in enumerate(texts)]
    assert all(each.reusable for each in found)
    assert len({each.digest for each in found}) == len(texts)
    assert compare(found[0], found[1]) == ["value __main__.scale changed"]


def test_an_object_of_a_library_that_is_called_counts_by_its_text_or_name(project: Sources) -> None:
    known = "from operator import itemgetter\n"
    known += "from polars import col\nfrom scipy.stats import norm\n"
    known += "first = itemgetter({})\ndef go(x): return col, norm, first(x)\n"
    old, new = (of(project, cell(known.format(each))["go"]) for each in "12")
    assert old.reusable
    assert new != old


def test_a_notebooks_function_that_a_module_holds_counts_for_its_steps_with_what_it_reaches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Sources(tmp_path, heldreg="REG = {}\ndef go(): return REG['late'](1)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    held: Any = importlib.import_module("heldreg")
    monkeypatch.setitem(sys.modules, "__main__", types.ModuleType("__main__"))
    found = []
    try:
        for n in (1, 1, 2):
            text = f"import threading\ndef helper(x): return x + {n}\ndef late(x): return helper(x)\n"
            held.REG["late"] = cell(text, f"<cell {n}>")["late"]
            found.append(project.fingerprinter().of("heldreg", "go", live=True))
        held.REG["late"] = cell("import threading\nLOCK = threading.Lock()\ndef late(x): return LOCK\n")["late"]
        untold = project.fingerprinter().of("heldreg", "go", live=True)
    finally:
        del sys.modules["heldreg"]
    assert found[0] == found[1]
    assert compare(found[1], found[2]) == ["value heldreg.REG changed"]
    assert untold.differences == ("closure over `__main__.LOCK` (of type lock), which can't be recorded",)


def test_a_step_of_before_a_reload_counts_by_its_own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Sources(tmp_path, reloaded="def go(): return 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    importlib.invalidate_caches()
    module = importlib.import_module("reloaded")
    try:
        before = module.go
        project.write(reloaded="def go(): return 1 + 1\n")
        importlib.reload(module)
        assert of(project, module.go) == project.of("reloaded")
        assert of(project, before).parts.keys() - of(project, module.go).parts.keys() >= {"source reloaded.go"}
    finally:
        del sys.modules["reloaded"]


@pytest.mark.parametrize("at_class", [False, True])
def test_an_object_that_raises_what_it_likes_for_an_attribute_is_looked_at(
    at_class: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "class Attributes(dict):\n  __getattr__ = dict.__getitem__\n"
    text += "class Exp:\n  conf = Attributes(rate=1)\n" if at_class else "conf = Attributes(rate=1)\n"
    project = Sources(tmp_path, answering=text + f"def go(): return {'Exp' if at_class else 'conf'}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    module: Any = importlib.import_module("answering")
    try:
        before = project.fingerprinter().of("answering", "go", live=True)
        (module.Exp.conf if at_class else module.conf)["rate"] = 2
        after = project.fingerprinter().of("answering", "go", live=True)
    finally:
        del sys.modules["answering"]
    assert (before.differences, after.differences) == ((), ())
    assert before != after


def test_a_function_without_source_counts_by_its_code_unless_only_a_source_would_tell(project: Sources) -> None:
    spaces: list[dict[str, Any]] = [{"__name__": "__main__"} for _ in range(3)]
    for space, body in zip(spaces, ["helper() + 1", "helper() + 2", "ms.file('a.txt')"], strict=True):
        exec(f"def helper(): return 1\ndef go(): return {body}", space)
    found = [of(project, space["go"]) for space in spaces]
    assert [each.reusable for each in found] == [True, True, False]
    assert compare(found[0], found[1]) == ["source __main__.go changed"]
    assert "source __main__.helper" in found[0].parts


def test_a_class_of_the_notebook_counts_by_its_source(project: Sources) -> None:
    text = "class T:\n  n = 1\n  def f(self): return 1\ndef go(x: T): return T().f()\n"
    old = of(project, cell(text, "<d>")["go"])
    assert compare(old, of(project, cell(text.replace("return 1", "return 2"), "<e>")["go"])) == [
        "source __main__.T changed"
    ]


@pytest.mark.parametrize(
    ("later", "changed"),
    [
        ("T.n = 2", "value __main__.T.n changed"),
        ("T.names.append('c')", "value __main__.T.names changed"),
        ("T.added = {'k': (1, 2)}", "value __main__.T.added is new"),
        ("def other(self): return 3\nT.f = other", "source __main__.other is new"),
        ("T.s = staticmethod(lambda: 4)", "source __main__.<lambda> is new"),
    ],
)
def test_what_a_class_of_the_notebook_is_given_later_counts(project: Sources, later: str, changed: str) -> None:
    text = (
        "class T:\n  n = 1\n  names = ['a']\n  def f(self): return 1\n  def s(): return 2\ndef go(): return T().f()\n"
    )
    space = cell(text)
    old = of(project, space["go"])
    assert old.reusable
    assert of(project, space["go"]) == old
    cell(later, "<cell 2>", space)
    found = of(project, space["go"])
    assert found.reusable
    assert changed in compare(old, found)


def test_a_class_without_methods_is_found_in_the_latest_cell(project: Sources) -> None:
    text = "class Row:\n  n: int\ndef go(x: Row): return x\n"
    old = of(project, cell(text, "<cell 7>")["go"])
    new = of(project, cell(text.replace("int", "str"), "<cell 8>")["go"])
    assert old.reusable
    assert compare(old, new) == ["source __main__.Row changed"]


def test_a_recursive_function_ends(project: Sources) -> None:
    assert of(
        project, cell("def go(n): return go(n - 1) if n else even(n)\ndef even(n): return go(n)\n")["go"]
    ).reusable


def test_declared_inputs_of_a_notebook_count(project: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGION", "eu")
    (project.root / "conf.yaml").write_text("a")
    space: dict[str, Any] = {"__name__": "__main__", "ms": types.ModuleType("mainspring")}
    go = cell("def go(): return ms.file('conf.yaml'), ms.env('REGION')\n", "<f>", space)["go"]
    old = of(project, go)
    assert (old.files, old.env) == (("conf.yaml",), ("REGION",))
    (project.root / "conf.yaml").write_text("b")
    assert compare(old, of(project, go)) == ["file conf.yaml changed"]


@pytest.mark.parametrize("use", ["conf.limit + conf.f()", "HELD[0].limit + HELD[0].f()"])
def test_a_module_that_no_import_made_counts_by_what_it_holds(use: str, project: Sources) -> None:
    text = f"import types\nconf = types.ModuleType('conf')\nHELD = [conf]\ndef go(): return {use}\n"
    space = cell(text)
    space["conf"].limit, space["conf"].f = 1, cell("def f(): return 1\n", "<f>")["f"]
    first = of(project, space["go"])
    assert first.reusable
    assert of(project, space["go"]) == first
    space["conf"].limit = 2
    assert "value conf changed" in compare(first, of(project, space["go"]))
    space["conf"].limit, space["conf"].f = 1, cell("def f(): return 2\n", "<other f>")["f"]
    assert "source __main__.f changed" in compare(first, of(project, space["go"]))
    space["conf"].lock = threading.Lock()
    assert not of(project, space["go"]).reusable
