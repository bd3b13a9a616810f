"""Cells that are edited, run again and run in the next kernel: one key never stands for two truths, and is found again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

# Runs cells as ipykernel does: in `__main__`, each known by a file whose name is the digest of its text.
KERNEL = """
import hashlib, json, linecache, sys, tempfile
from pathlib import Path
sys.dont_write_bytecode = True
sys.path.insert(0, "")
from mainspring.pipelines.code.fingerprint import Fingerprinter
from mainspring.runs.environment import Environment, installed
_known = Environment("3.11.7", "cpython", "linux-x86_64", {}, "0")
_installed = installed(None)
_kept = set(globals()) | {"_kept", "_run", "_look", "_found", "_cells", "_cell", "_name"}

def _run(text):
    name = f"{tempfile.gettempdir()}/ipykernel_{sys.argv[2]}/{hashlib.md5(text.encode()).hexdigest()}.py"
    if name not in linecache.cache:
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    exec(compile(text, name, "exec"), globals())

def _look():
    made = Fingerprinter(Path.cwd(), None, _known, 1, distributions=lambda: _installed)
    given = [argument()] if "argument" in globals() else []
    found = made.of_function(go, tuple(f"{type(each).__module__}:{type(each).__qualname__}" for each in given))
    parts = {name: part for name, part in found.parts.items() if name != "hash seed"}
    notes = [each for each in found.unresolved if each.startswith("not reusable")]
    return [parts, notes + list(found.differences), repr(go(*given))]

_found = {}
for _name, _cells in json.loads(sys.stdin.read()).items():
    _found[_name] = []
    for _cell in _cells:
        if _cell is None:
            _found[_name].append(_look())
        else:
            _run(_cell)
    for _cell in set(globals()) - _kept:
        del globals()[_cell]
    for _cell in ("feat", "reg"):
        sys.modules.pop(_cell, None)
print(json.dumps(_found))
"""


class Edit(NamedTuple):
    """Cells, and which of them are run again with another text, in this order."""

    cells: list[str]
    edits: list[tuple[int, str, str]]

    @property
    def edited(self) -> list[str]:
        """The cells as they are at the end."""
        found = list(self.cells)
        for place, old, new in self.edits:
            assert not old or old in found[place]
            found[place] = found[place].replace(old, new) if old else found[place]
        return found


def go(body: str) -> str:
    return f"def go(): return {body}"


BASE = "class Base:\n  def score(self): return 1"
DECORATOR = (
    "import functools\ndef times(n):\n  def of(f):\n    @functools.wraps(f)\n    def run(*a): return f(*a) * n\n"
    "    return run\n  return of"
)
FEAT = "open('feat.py', 'w').write('def h(x): return x + {0}\\nclass M:\\n  def f(self): return {0}\\n')"
FEAT += "\nimport importlib, feat\nimportlib.reload(feat)"
MODULE = "open('reg.py', 'w').write('REG = {}\\ndef register(f):\\n  REG[f.__name__] = f\\n  return f\\n')\nimport reg"
HELP = (
    "open('reg.py', 'w').write('import dataclasses\\nclass B:\\n  def m(self): return 1\\nclass D(B): pass\\n"
    "class Other:\\n  def extra(self): return 0\\n@dataclasses.dataclass\\nclass R:\\n  k: int = 1\\n"
    "def g(x=0): return x\\n')\nimport reg"
)
VARIANTS = (
    "open('reg.py', 'w').write('import functools\\n@functools.singledispatch\\ndef f(x): return 0\\n"
    "class D:\\n  @functools.singledispatchmethod\\n  def m(self, x): return 0\\n')\nimport reg"
)
LAWS: dict[str, Edit] = {
    "a base class, before its subclass is defined again": Edit(
        [BASE, "class Model(Base):\n  def name(self): return 'm'", go("Model().score()")],
        [(0, "return 1", "return 2"), (1, "", "")],
    ),
    "an abstract base class": Edit(
        ["import abc\nclass Base(abc.ABC):\n  def score(self): return 1", "class Model(Base): pass", go("Model().score()")],
        [(0, "return 1", "return 2"), (1, "", "")],
    ),
    "a variable of a method's decorator": Edit(
        [DECORATOR, "N = 2", "class C:\n  @times(N)\n  def f(self): return 1", go("C().f()")],
        [(1, "2", "3"), (2, "", "")],
    ),
    "a decorator of a method": Edit(
        [DECORATOR, "class C:\n  @times(2)\n  def f(self): return 1", go("C().f()")],
        [(0, "* n", "* n * 5"), (1, "", "")],
    ),
    "a variable of a method's default": Edit(
        ["D = 1", "class C:\n  def f(self, k=D): return k", go("C().f()")], [(0, "1", "2"), (1, "", "")]
    ),
    "what a factory of classes is given": Edit(
        ["def make(k):\n  class C:\n    def f(self, x): return x * k\n  return C", "C = make(2)", go("C().f(1)")],
        [(1, "2", "3")],
    ),
    "the order of what a factory made": Edit(
        [
            "def make(k):\n  class C:\n    def f(self, x): return x * k\n  return C",
            "KINDS = {'a': make(2), 'b': make(3)}",
            go("[each().f(1) for each in KINDS.values()]"),
        ],
        [(1, "make(2), 'b': make(3)", "make(3), 'b': make(2)")],
    ),
    "a class by make_dataclass": Edit(
        ["import dataclasses\nC = dataclasses.make_dataclass('C', [('a', int, dataclasses.field(default=1))])", go("C().a")],
        [(0, "default=1", "default=2")],
    ),
    "a module, loaded again before its names are imported again": Edit(
        [FEAT.format(1), "from feat import h, M", go("[h(1), M().f()]")],
        [(0, FEAT.format(1), FEAT.format(2)), (1, "", "")],
    ),
    "a class without methods, to and fro": Edit(
        [
            "from dataclasses import dataclass, field",
            "@dataclass\nclass Config:\n  columns: list = field(default_factory=lambda: ['a'])\n  depth: int = 3",
            go("Config()"),
        ],
        [(1, "['a']", "['b']"), (1, "['b']", "['a']"), (1, "3", "4"), (1, "4", "3"), (1, "['a']", "['c']")],
    ),
    "a Struct, to and fro": Edit(
        ["import msgspec\nclass Config(msgspec.Struct):\n  rate: float = 0.1\n  more: list = []", go("Config()")],
        [(0, "0.1", "0.2"), (0, "0.2", "0.1"), (0, "0.1", "0.3")],
    ),
    "the class of a named tuple": Edit(
        [
            "import typing",
            "class Window(typing.NamedTuple):\n  days: int = 7\n  @property\n  def hours(self): return self.days * 24",
            "W = Window(14)",
            go("W.hours"),
        ],
        [(1, "* 24", "* 25"), (2, "", "")],
    ),
    "the class of an enum's member": Edit(
        [
            "import enum\nclass Mode(enum.StrEnum):\n  FAST = 'fast'\n  def depth(self): return 3",
            "MODES = [Mode.FAST]",
            go("[each.depth() for each in MODES]"),
        ],
        [(0, "return 3", "return 4"), (1, "", "")],
    ),
    "the class of a dict": Edit(
        ["class Codes(dict):\n  def __missing__(self, key): return 0", "codes = Codes(a=1)", go("codes['q']")],
        [(0, "return 0", "return 9"), (1, "", "")],
    ),
    "an object whose attributes are its items": Edit(
        [
            "class Attributes(dict):\n  __getattr__ = dict.__getitem__",
            "conf = Attributes(rate=1)\nclass Exp:\n  conf = Attributes(rate=2)",
            go("conf.rate + Exp.conf.rate"),
        ],
        [(1, "rate=1", "rate=3"), (1, "rate=2", "rate=7")],
    ),
    "a helper of a function that an object in a registry holds": Edit(
        [
            "def helper(x): return x + 1",
            "class Feature:\n  def __init__(self, fn): self.fn = fn\nclass Reg:\n  features = {}",
            "def ratio(x): return helper(x)\nReg.features['ratio'] = Feature(ratio)",
            go("Reg.features['ratio'].fn(1)"),
        ],
        [(0, "x + 1", "x + 2")],
    ),
    "a helper of a function in a module's registry": Edit(
        [
            MODULE, "def helper(x): return x + 1", "@reg.register\ndef late(x): return helper(x)",
            go("reg.REG['late'](1)"),
        ],
        [(1, "x + 1", "x + 2")],
    ),
    "a helper of a function in an estimator": Edit(
        [
            "def helper(x): return x + 1",
            "from sklearn.preprocessing import FunctionTransformer as By\nclass T: n = 1\nT.use = By(lambda x: helper(x))",
            go("T.use.func(1)"),
        ],
        [(0, "x + 1", "x + 2")],
    ),
    "a splitter that a class holds": Edit(
        [
            "from sklearn.model_selection import KFold\nclass C:\n  cv = KFold(3)\n  def f(self): return self.cv.n_splits",
            go("C().f()"),
        ],
        [(0, "KFold(3)", "KFold(4)")],
    ),
    "the docstring of a class": Edit(["class C:\n  'one'\n  def f(self): ...", go("C.__doc__")], [(0, "one", "two")]),
    "the tag of a Struct": Edit(
        ["import msgspec\nclass C(msgspec.Struct, tag='a'):\n  x: int = 1", go("msgspec.json.encode(C()).decode()")],
        [(0, "tag='a'", "tag='b'")],
    ),
    "the middle of an index": Edit(
        [
            "import pandas as pd\nclass Words:\n  index = pd.Index([f'w{n}' for n in range(300)] + ['mid'] + ['v'] * 300)",
            go("list(Words.index)"),
        ],
        [(0, "mid", "new")],
    ),
    "a table that is grouped": Edit(
        ["import pandas as pd\nclass T:\n  by = pd.DataFrame({'w': ['a', 'b']}).groupby('w')", go("sorted(T.by.groups)")],
        [(0, "'a'", "'x'")],
    ),
    "an array with a mask, and one of objects": Edit(
        [
            "import numpy as np",
            "class T:\n  a = np.ma.array([1] * 2000 + [5] + [1] * 2000)\n  b = np.array(['a', None], object)",
            go("[int(T.a[2000]), T.b.tolist()]"),
        ],
        [(1, "[5]", "[6]"), (1, "None", "7")],
    ),
    "the function of a vectorized one": Edit(
        ["import numpy as np\nclass T: pass", "def one(x): return x + 1\nT.v = np.vectorize(one)", go("T.v([1]).tolist()")],
        [(1, "x + 1", "x + 2")],
    ),
    "a long list in an expression": Edit(
        [
            "import polars as pl\nclass T: e = None", "T.e = pl.col('a').is_in([0] * 50 + [99] + [0] * 50)",
            go("pl.DataFrame({'a': [99]}).select(T.e)['a'].to_list()"),
        ],
        [(1, "[99]", "[98]")],
    ),
    "an attribute of a function": Edit(
        ["def scale(x): return x * scale.factor\nscale.factor = 2", go("scale(1)")], [(0, "= 2", "= 3")]
    ),
    "an object of a notebook, and what it holds": Edit(
        [
            "import dataclasses\n@dataclasses.dataclass\nclass One:\n  n: int\n  def twice(self): return self.n * 2",
            "one = One(3)\ntwice = one.twice", go("[one.n, twice()]"),
        ],
        [(1, "3", "4"), (0, "* 2", "* 3"), (1, "", "")],
    ),
    "an object in a closure, of which several attributes are used": Edit(
        [
            "class Conf:\n  def __init__(self, a, b): self.a, self.b = a, b",
            "def make(conf):\n  def inner(): return conf.a + conf.b + len(vars(conf))\n  return inner",
            "inner = make(Conf(1, 2))", go("inner()"),
        ],
        [(2, "2", "3"), (2, "1", "7")],
    ),
    "an object under a special name of a class": Edit(
        [
            "class Opts:\n  def __init__(self, n): self.n = n",
            "class C:\n  __opts__ = Opts(1)\n  def f(self): return self.__opts__.n", go("C().f()"),
        ],
        [(1, "Opts(1)", "Opts(2)")],
    ),
    "what a module is given under a new name": Edit([MODULE, "reg.K = 1", go("reg.K")], [(1, "1", "2")]),
    "a method that a class of a module is given": Edit(
        [HELP, "def h(): return 1", "def extra(self): return h()\nreg.B.extra = reg.R.extra = extra",
         go("[reg.D().extra(), reg.R().extra()]")],
        [(1, "return 1", "return 2")],
    ),
    "a property that a class of a module is given, and is used by a class of the notebook": Edit(
        [HELP, "class E(reg.D): pass", "reg.B.extra = property(lambda self: 1)", go("E().extra")], [(2, ": 1", ": 2")]
    ),
    "a special method that a class of a module is given": Edit(
        [HELP, "from reg import R\nR.__call__ = lambda self: 1", go("R()()")], [(1, ": 1", ": 2")]
    ),
    "a value that a dataclass of a module is given": Edit([HELP, "reg.R.more = 1", go("reg.R.more")], [(1, "1", "2")]),
    "a function of its module that a class is given": Edit(
        [HELP, "reg.D.more = staticmethod(reg.g)", go("reg.D().more()")], [(1, "reg.g", "lambda: 5")]
    ),
    "variants by types that a function and a method of a module are given": Edit(
        [
            VARIANTS, "def h(): return 1",
            "@reg.f.register\ndef _(x: int): return h()\n@reg.D.m.register\ndef _(self, x: int): return 5 + h()",
            go("[reg.f(1), reg.D().m(1)]"),
        ],
        [(1, "1", "2"), (2, "5", "6")],
    ),
    "a base that a class of a module is given": Edit(
        [HELP, "class X:\n  def y(self): return 1\nclass Y:\n  def y(self): return 2", "reg.D.__bases__ = (reg.B, X)",
         go("reg.D().y()")],
        [(2, "X", "Y")],
    ),
    "defaults that a function of a module is given": Edit(
        [HELP, "reg.B.m.__kwdefaults__ = {'a': 1}\nreg.B.m.__doc__ = 'a'", go("[reg.B.m.__kwdefaults__, reg.B.m.__doc__]")],
        [(1, "1", "2"), (1, "= 'a'", "= 'b'")],
    ),
    "the name, docstring and qualified name that functions are given": Edit(
        [
            "def make(n):\n  def f(): return 1\n  f.__name__ = n\n  return f\nmade = [make('a')]",
            "def tool():\n  'x'\ntool.__doc__ = 'a'", "class C:\n  def f(self): ...\nC.f.__qualname__ = 'a'",
            go("[made[0].__name__, tool.__doc__, C.f.__qualname__]"),
        ],
        [(0, "'a'", "'b'"), (1, "'a'", "None"), (2, "'a'", "'b'")],
    ),
    "the order of attributes": Edit(
        [
            "class C:\n  def __init__(self, **given): vars(self).update(given)\nc = C(a=1, b=2)",
            "import types\nspace = types.SimpleNamespace(a=1, b=2)",
            "class D:\n  def b(self): ...\n  def a(self): ...\nclass E:\n  b = 1\n  a = 2",
            go("[list(vars(c)), list(vars(space)), [name for e in (D, E) for name in vars(e) if name[0] != '_']]"),
        ],
        [
            (0, "a=1, b=2", "b=2, a=1"), (1, "a=1, b=2", "b=2, a=1"), (2, "b = 1\n  a = 2", "a = 2\n  b = 1"),
            (2, "def b(self): ...\n  def a", "def a(self): ...\n  def b"),
        ],
    ),
    "objects of libraries": Edit(
        [
            "import logging, string, torch\nimport numpy as np, pandas as pd, pyarrow as pa\nlogger = logging.getLogger('a')",
            "from sklearn.linear_model import Ridge\nfrom sklearn.model_selection import KFold\ndef helper(x): return x + 1",
            "cv, model, net = KFold(3), Ridge(alpha=1), torch.nn.Sequential(torch.nn.Dropout(0.1))",
            "schema, at = pa.schema([('a', pa.int64())]), pd.Timestamp('2020-01-01').as_unit('s')",
            "every, text, few = np.vectorize(lambda x: helper(x)), string.Template('a'), np.array([1, 2])",
            go("logger.info('') or [cv.n_splits, model.alpha, net[0].p, str(schema), at.unit, every([1]).tolist(), text, few]")
            .replace("text, few", "text.template, few.tolist()"),
        ],
        [
            (2, "KFold(3)", "KFold(4)"), (2, "alpha=1", "alpha=2"), (2, "0.1", "0.2"), (3, "int64", "int32"),
            (3, "('s')", "('ms')"), (1, "x + 1", "x + 2"), (4, "('a')", "('b')"), (4, "[1, 2]", "[1, 3]"),
        ],
    ),
    "what a class makes of a variable by a library": Edit(
        [
            "from sklearn.model_selection import KFold\nfrom sklearn.base import BaseEstimator", "N = 3",
            "import attrs\n@attrs.define\nclass C:\n  cv: KFold = KFold(N)", "class D(BaseEstimator):\n  cv = None",
            "D.cv = KFold(N)", go("[C().cv.n_splits, D.cv.n_splits]"),
        ],
        [(1, "3", "4"), (2, "", ""), (4, "", "")],
    ),
    "what pydantic is told": Edit(
        [
            "import pydantic",
            "class P(pydantic.BaseModel, str_to_upper=True):\n  a: str = 'x'\n  _b: int = pydantic.PrivateAttr(3)",
            (
                "@pydantic.dataclasses.dataclass(config=dict(str_to_upper=True))\nclass D:\n  a: str\n  b: str\n"
                "  @pydantic.field_validator('a')\n  @classmethod\n  def v(cls, x): return x + '!'"
            ),
            "@pydantic.validate_call(config=dict(str_to_upper=True))\ndef call(a: str): return a", "unrelated = 1",
            go("[P(a='a').a, P(a='a')._b, str(D(a='a', b='b')), call('a')]"),
        ],
        [
            (1, "upper=True", "upper=False"), (1, "Attr(3)", "Attr(4)"), (2, "True", "False"), (4, "1", "2"),
            (2, "validator('a')", "validator('b')"), (3, "True", "False"),
        ],
    ),
    "a function that is tried again": Edit(
        [
            "import tenacity as t\nN = 1",
            (
                "@t.retry(stop=t.stop_after_attempt(3), retry_error_callback=lambda s: s.attempt_number)\n"
                "def f(x):\n  if x < 0: raise ValueError\n  return x + N"
            ),
            go("[f(1), f(-1)]"),
        ],
        [(0, "N = 1", "N = 2"), (1, "(3", "(4")],
    ),
    "a model of pandera, used or not": Edit(
        [
            "import pandas as pd, pandera.pandas as pa\nN = 0",
            "class P(pa.DataFrameModel):\n  a: int = pa.Field(ge=0)\n  @pa.check('a')\n  def c(cls, s): return s > N",
            "def is_(n):\n  try: return bool(len(P.validate(pd.DataFrame({'a': [n]}))))\n  except pa.errors.SchemaError: ...",
            go("[is_(1), is_(4)]"),
        ],
        [(0, "N = 0", "N = 2"), (1, "ge=0", "ge=5")],
    ),
    "what msgspec is told in hints": Edit(
        [
            "import msgspec, typing\nclass S(msgspec.Struct):\n  a: typing.Annotated[int, msgspec.Meta(ge=0)] = 1",
            "def f(b: typing.Annotated[int, msgspec.Meta(ge=0)]): ...",
            "def is_(kind):\n  try: return bool(msgspec.convert({'a': 5, 'b': 5}, kind))\n  except ValueError: ...",
            go("[is_(S), is_(typing.TypedDict('D', typing.get_type_hints(f, include_extras=True)))]"),
        ],
        [(0, "ge=0", "ge=9"), (1, "ge=0", "ge=9")],
    ),
    "a default in the docstring of a dataclass": Edit(
        ["import dataclasses as d, string", "@d.dataclass\nclass C: s: object=string.Template('a')", go("C().s.template")],
        [(1, "('a')", "('b')")],
    ),
    "sets of functions": Edit(
        [
            "def make(n): return lambda: n\nHELD = {make(1), make(2), make(3)}\nOTHER = frozenset({'a', 'b', (1, 'c')})",
            go("[sorted(each() for each in HELD), sorted(map(str, OTHER))]"),
        ],
        [(0, "make(2)", "make(4)"), (0, "'b'", "'d'")],
    ),
    "what its own cell imports, called in a text": Edit(
        ["import pandas as pd\n" + go("int(pd.DataFrame({'a': [1, 5]}).query('a > 1').a.sum())") + "\nN = 1"],
        [(0, "a > 1", "a > 0")],
    ),
    "a module that is loaded by its path": Edit(
        [
            (
                "import importlib.util as u, pathlib\npathlib.Path('exp.py').write_text('K = 1\\ndef f(): return K + 10')\n"
                "spec = u.spec_from_file_location('config', 'exp.py')\nconfig = u.module_from_spec(spec)\n"
                "spec.loader.exec_module(config)"
            ),
            go("[config.K, config.f()]"),
        ],
        [(0, "K = 1", "K = 2"), (0, "+ 10", "+ 20")],
    ),
    "the class of an argument": Edit(
        ["class Cfg:\n  def rate(self): return 1", "argument = lambda: Cfg()", "def go(c): return c.rate()"],
        [(0, "return 1", "return 2")],
    ),
    "what the class of an argument is given, which is a module's": Edit(
        [HELP, "def m(self): return 1\nreg.D.m = m", "argument = lambda: reg.D()", "def go(c): return c.m()"],
        [(1, "return 1", "return 2")],
    ),
    "the class of what is copied": Edit(
        ["import copy\nclass P:\n  def __init__(self): self.n = 1", go("copy.deepcopy(P()).n")], [(0, "n = 1", "n = 2")]
    ),
    "objects that hold each other": Edit(
        [
            "class Node:\n  def __init__(self, n): self.n = n\n  def sum(self): return sum(each.n for each in self.all)",
            "a, b = Node(1), Node(2)\na.all = b.all = {a, b}\nNode.first = a", go("Node.first.sum()"),
        ],
        [(1, "Node(2)", "Node(5)")],
    ),
}  # fmt: skip


class Seen(NamedTuple):
    """Parts of the key, why a result isn't reusable, and what the step gives."""

    parts: dict[str, str]
    notes: list[str]
    truth: str


def kernel(folder: Path, scripts: dict[str, list[str | None]], seed: str) -> dict[str, list[Seen]]:
    """Run cells in a new process; where there is none, look."""
    done = subprocess.run(
        [sys.executable, "-c", KERNEL, "kernel", seed], input=json.dumps(scripts), cwd=folder, text=True, check=False,
        capture_output=True, env=os.environ | {"PYTHONHASHSEED": seed},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {name: [Seen(*each) for each in looks] for name, looks in found.items()}


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, list[Seen]]]:
    """What is seen in a kernel in which cells are edited and edited back, and in the next one."""
    first: dict[str, list[str | None]] = {}
    for name, edit in LAWS.items():
        cells = list(edit.cells)
        script: list[str | None] = [*cells, None, None]
        for place, old, new in edit.edits:
            cells[place] = cells[place].replace(old, new) if old else cells[place]
            script += [cells[place], None]
        first[name] = [*script, *edit.cells, None]
    second: dict[str, list[str | None]] = {
        name: [*edit.edited, None, *edit.cells, None] for name, edit in reversed(LAWS.items())
    }
    folder = tmp_path_factory.mktemp("notebooks")
    return [kernel(folder, first, "1"), kernel(folder, second, "2")]


@pytest.mark.parametrize("name", LAWS)
def test_one_key_stands_for_one_truth(name: str, kernels: list[dict[str, list[Seen]]]) -> None:
    truths: dict[str, str] = {}
    for seen in (each for looks in kernels for each in looks[name]):
        assert truths.setdefault(json.dumps(seen.parts, sort_keys=True), seen.truth) == seen.truth
    assert len(truths) > 1


@pytest.mark.parametrize("name", LAWS)
def test_what_did_not_change_has_its_key_again_now_and_in_the_next_kernel(
    name: str, kernels: list[dict[str, list[Seen]]]
) -> None:
    first, (edited, back) = kernels[0][name], kernels[1][name]
    assert [each.notes for each in (*first, edited, back)] == [[]] * (len(first) + 2)
    assert first[0] == first[1] == first[-1] == back
    assert first[-2] == edited


def test_why_names_what_was_edited(kernels: list[dict[str, list[Seen]]]) -> None:
    def changed(name: str) -> set[str]:
        old, new = kernels[0][name][0].parts, kernels[0][name][-2].parts
        return {part for part in old.keys() | new.keys() if old.get(part) != new.get(part)}

    assert changed("a base class, before its subclass is defined again") == {"source __main__.Base"}
    assert changed("an attribute of a function") == {"value __main__.scale (attributes)"}
    assert changed("a helper of a function in a module's registry") == {"source __main__.helper"}
    assert changed("what a factory of classes is given") == {"value k"}
    assert changed("the middle of an index") == {"value __main__.Words.index"}
    assert changed("what a module is given under a new name") == {"value reg.K"}
