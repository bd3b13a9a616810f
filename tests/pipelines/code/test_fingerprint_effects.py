"""Statements that do more than define, texts that name code, and registrations by modules that only the pipeline loads."""

from __future__ import annotations

from pathlib import Path

import pytest

from mainspring.pipelines.code.fingerprint import Fingerprint, compare
from mainspring.runs.environment import Installed
from tests.pipelines.projects import Sources

STEPS = "import plug\ndef go(): return [f() for f in plug.REG]"
REGISTRY = "REG = []\ndef two(): return 2\ndef reg(f):\n  REG.append(f)\n  return object\n"
EFFECTS = {
    "a method handed to map": "DONE = list(map(REG.append, [two]))",
    "a function as the key of sorted": "DONE = sorted([two], key=reg)",
    "a lambda that calls, as the key of max": "DONE = max([two], key=lambda f: reg(f) and 1)",
    "a partial handed to filter": "import functools\nDONE = list(filter(functools.partial(REG.append), [two]))",
    "an attribute of a class": "class Plugin:\n  run = reg(two)",
    "an annotated attribute of a class": "class Plugin:\n  run: object = reg(two)",
    "a descriptor that is told its name": "class F:\n  def __set_name__(self, o, n): REG.append(two)\n"
    "class Plugin:\n  x = F()",
    "a descriptor made before": "class F:\n  def __set_name__(self, o, n): REG.append(two)\nf = F()\nclass Plugin:\n  x = f",
    "a default argument": "def unrelated(x=REG.append(two)): return x",
    "a default argument of a method": "class Plugin:\n  def run(self, x=REG.append(two)): return x",
    "a type hint": "def unrelated(x: reg(two)): return x",
    "a base class": "class Plugin(reg(two)): pass",
    "a keyword of a class": "class Plugin(object, metaclass=type, **{'a': 1} if reg(two) is None else {}): pass",
    "an argument of a pure decorator": "import dataclasses\n@dataclasses.dataclass(frozen=bool(reg(two)))\nclass Plugin: pass",
    "a class made by type": "Plugin = type('Plugin', (reg,), {'f': two})",
}
PLAIN = {
    "a lambda that is not called": "KEY = lambda row: reg(row)",
    "a lambda as default": "def unrelated(key=lambda row: reg(row)): return key",
    "sorted by a pure key": "NAMES = sorted(['b', 'a'], key=str.lower)",
    "a field with a factory": "import dataclasses\n@dataclasses.dataclass\nclass R:\n"
    "  rows: list = dataclasses.field(default_factory=lambda: reg(1))",
    "a described hint": "import typing, pydantic\ndef unrelated(x: typing.Annotated[int, pydantic.Field(gt=1)]): return x",
    "a property made by a call": "class R:\n  def get(self): return 1\n  got = property(get)",
    "what an evaluation is asked for": "from mainspring import evaluation\nfrom mainspring.evaluation import Gate, Slice\n"
    "GATES = [Gate('mae', at_most=1.0), evaluation.Gate('mape', no_worse_than_champion=True)]\n"
    "SLICES = (Slice('carrier', at_least=100),)\nTIMES = evaluation.Bootstrap(500, groups='day')\n"
    "COST = evaluation.Metric('cost', 'binary', False, 'costs:mean_cost')",
}


_DECLARING = (
    "import polars as pl\nfrom mainspring.features import Entity, FeatureService, FeatureView, agg\nk = Entity('k')\n"
)
EFFECTS |= {
    "a feature that something makes": f"{_DECLARING}V = FeatureView('v', entity=k, source='d', features=[reg(two)])",
    "an expression that calls a function at once": f"{_DECLARING}X = pl.col('x').pipe(reg, two)",
    "a namespace that is none of Polars'": f"{_DECLARING}X = pl.col('x').mine.run(two)",
    "a method of what a comprehension calls like a declaration": f"{_DECLARING}X = [k.run(two) for k in REG]",
    "a method of what was a declaration": f"{_DECLARING}k = REG\nX = k.run(two)",
}
PLAIN |= {
    "declarations of features": _DECLARING
    + "V = [FeatureView(f'{e.name}_v', entity=e, source='d', features=[agg.mean('x', ['1h']).named('m')]) for e in [k]]\n"
    "w: FeatureView = FeatureView('w', entity=k, source='d', features=['x'])\n"
    "late = FeatureService('late', [*V, w['x'], w.keyed(k='other').prefixed('other_')])",
    "expressions of Polars": _DECLARING + "hour = pl.col('at').dt.convert_time_zone('UTC')\n"
    "X = {'h': hour.dt.hour().cast(pl.Float64), 'b': (hour.dt.year() - pl.col('b')).fill_null(float('nan')).alias('b'),\n"
    "     'w': pl.when(pl.col('x') > 1).then(pl.lit(1)).otherwise(None)}",
}


def effects(found: Fingerprint) -> list[str]:
    return [part for part in found.parts if part.startswith("effects plug: ")]


@pytest.mark.parametrize("name", EFFECTS)
def test_a_statement_that_calls_something_unknown_counts(name: str, tmp_path: Path) -> None:
    project = Sources(tmp_path, steps=STEPS, plug=REGISTRY + EFFECTS[name])
    old = project.of()
    assert effects(old)
    project.write(plug=REGISTRY.replace("return 2", "return 22") + EFFECTS[name])
    assert old.digest != project.of().digest


META = "class Meta(type):\n  def __call__(cls): return super().__call__()\n"
DESC = "class Desc:\n  def __set_name__(self, o, n): REG.append(two)\n"
NAMED = {
    "class Thing(metaclass=Meta):\n  def __getattr__(self, name): return 1": "Thing",
    "class Holder:\n  d = Desc()\n  def __enter__(self): return 1": "Holder",
    "ADD = reg(1)": "ADD",
    "LOCAL.x = 1": "LOCAL.x",
    "LOCAL.x += 1": "LOCAL.x",
    "del LOCAL.a[1]": "LOCAL.a[1]",
    "REG.append(1)": "REG.append(…)",
    "REG.append(4)\nREG.append(1)": "REG.append(…)",
    "with LOCAL:\n  REG.append(1)": "with LOCAL:",
    "@reg\ndef made(): return 1": "made",
}


@pytest.mark.parametrize("statement", NAMED)
def test_the_statement_whose_effect_changed_is_named(statement: str, tmp_path: Path) -> None:
    plug = f"{REGISTRY}{META}{DESC}LOCAL = reg(3)\n"
    project = Sources(tmp_path, steps=STEPS, plug=f"{plug}{statement}\nREG.append\n")
    old = project.of()
    project.write(plug=f"{plug}{statement.replace('1', '2')}\nREG.append\n")
    label = NAMED[statement]
    expected = [f"effects plug: {label} changed"]
    if "1" in label:
        expected = [f"effects plug: {label.replace('1', '2')} is new", f"effects plug: {label} is gone"]
    assert compare(old, project.of()) == expected
    project.write(plug=f"{plug}REG.append\n{statement}\n")
    assert compare(old, project.of()) == ["order of effects in plug changed"]


@pytest.mark.parametrize("name", PLAIN)
def test_a_statement_that_only_defines_does_not_count(name: str, tmp_path: Path) -> None:
    project = Sources(tmp_path, steps=STEPS, plug=REGISTRY + PLAIN[name])
    assert not effects(project.of())


@pytest.mark.parametrize("name", ["a default argument", "a type hint"])
def test_of_a_definition_only_what_it_evaluates_has_an_effect(name: str, tmp_path: Path) -> None:
    head = REGISTRY + "def far(): return 1\n" + EFFECTS[name].rpartition("return")[0]
    project = Sources(tmp_path, steps=STEPS, plug=head + "return far()")
    old = project.of()
    assert effects(old) == ["effects plug: unrelated"]
    project.write(plug=head.replace("far(): return 1", "far(): return 2") + "return far() + 1")
    assert project.of() == old
    project.write(plug=head.replace("two(): return 2", "two(): return 3") + "return far()")
    assert compare(old, project.of()) == ["code plug.two changed"]


def test_a_default_that_a_class_makes_reaches_the_class_and_not_the_body(tmp_path: Path) -> None:
    plug = "import dataclasses\nREG = []\n@dataclasses.dataclass(frozen=True)\nclass Conf:\n  n: int = 1\n"
    main = "def far(): return 1\ndef main(n: int = 1, conf: Conf = Conf()): return far()\n"
    project = Sources(tmp_path, steps=STEPS, plug=plug + main)
    old = project.of()
    project.write(plug=plug + main.replace("return far()", "return -far()").replace("return 1", "return 2"))
    assert project.of() == old
    project.write(plug=plug.replace("n: int = 1", "n: int = 2") + main)
    assert compare(old, project.of()) == ["code plug.Conf changed"]


@pytest.mark.parametrize(
    "text",
    [
        "import pydoc\ndef go(): return pydoc.locate('costs.mean')()",
        "def go(): return Metric('c', 'binary', False, 'costs:mean')",
        "HOOK = 'costs:mean'\ndef go(): return HOOK",
    ],
)
def test_a_text_that_names_a_definition_of_the_project_is_a_use_of_it(text: str, tmp_path: Path) -> None:
    project = Sources(tmp_path, steps=text, costs="def mean(): return 1\ndef other(): return 1")
    old = project.of()
    assert [found.name for found in project.fingerprinter().modules("steps")] == ["costs", "steps"]
    project.write(costs="def mean(): return 1\ndef other(): return 2")
    assert project.of() == old
    project.write(costs="def mean(): return 2\ndef other(): return 2")
    assert compare(old, project.of()) == ["code costs.mean changed"]


@pytest.mark.parametrize("text", ["data.csv", "data:", "other.mean", "data: mean", "logging.getLogger('data.x')"])
def test_a_text_that_only_looks_like_a_name_means_nothing(text: str, tmp_path: Path) -> None:
    shown = text if text.startswith("logging.") else repr(text)
    project = Sources(tmp_path, steps=f"import logging\ndef go(): return {shown}", data="def mean(): return 1\nx = 1")
    old = project.of()
    project.write(data="def mean(): return 2\nx = 2")
    assert project.of() == old


def entered(project: Sources) -> Fingerprint:
    return project.fingerprinter().of("steps", "go", entry="flow")


REGISTRATIONS: dict[str, tuple[str, str, str]] = {
    "a registry": (
        "from h import REG\ndef go(): return REG['one']()",
        "REG = {}\ndef register(f):\n  REG[f.__name__] = f\n  return f",
        "from h import register\n@register\ndef one(): return 1",
    ),
    "a variant of a singledispatch function": (
        "from h import f\ndef go(): return f(3)",
        "import functools\n@functools.singledispatch\ndef f(x): return 0",
        "from h import f\n@f.register\ndef _(x: int): return 1",
    ),
    "a subclass that its base notes": (
        "from h import Base\ndef go(): return Base.KNOWN",
        "class Base:\n  KNOWN = []\n  def __init_subclass__(cls): Base.KNOWN.append(cls)",
        "from h import Base\nclass One(Base):\n  def one(self): return 1",
    ),
    "a subclass that __subclasses__ finds": (
        "from h import Base\ndef go(): return Base.__subclasses__()",
        "class Base: pass",
        "from h import Base\nclass One(Base):\n  def one(self): return 1",
    ),
}


@pytest.mark.parametrize("name", REGISTRATIONS)
def test_what_the_pipelines_module_registers_for_a_step_counts(name: str, tmp_path: Path) -> None:
    steps, home, impl = REGISTRATIONS[name]
    project = Sources(tmp_path, flow="import impl\nfrom steps import go", steps=steps, h=home, impl=impl)
    old = entered(project)
    assert "registrations impl" in old.parts
    project.write(impl=impl.replace("return 1", "return 2"))
    assert compare(old, entered(project)) == ["registrations impl changed"]


def test_what_the_pipelines_module_does_elsewhere_does_not_count(tmp_path: Path) -> None:
    impl = "from h import shared, LIMIT\nOTHER = []\nOTHER.append(shared(LIMIT) + 1)"
    project = Sources(
        tmp_path,
        flow="import impl\nfrom steps import go",
        steps="from h import shared\ndef go(): return shared(1)",
        h="LIMIT = 3\ndef shared(x): return x",
        impl=impl,
    )
    old = entered(project)
    assert old == project.of()
    project.write(impl=impl.replace("+ 1", "+ 2"))
    assert entered(project) == old


OUTSIDE = {
    "a method given to a class of a library": "import polars as pl\npl.DataFrame.foo = lambda self: 1",
    "a method by a function of the project": "from h import f\nimport polars as pl\npl.DataFrame.foo = f",
    "a class under a decorator of a library": "import polars as pl\n@pl.api.register_expr_namespace('my')\n"
    "class My:\n  def f(self): return 1",
    "a function under a decorator of a library": "import lib\n@lib.register\ndef f(): return 1",
    "an attribute of what a call gives": "import decimal\ndecimal.getcontext().prec = 1",
    "an attribute of what a name was given": "import decimal\nctx = decimal.getcontext()\nctx.prec = 1",
    "a call for its effect": "import numpy as np\nnp.set_printoptions(precision=1)",
    "a setting whose old value is kept": "import numpy as np\nOLD = np.seterr(all=1)",
    "an item": "import os\nos.environ['POLARS_X'] = 1",
    "something deleted": "import lib\nif 1:\n  del lib.x",
    "something added in place": "import lib\nlib.PATHS += [1]",
    "setattr": "import polars as pl\nsetattr(pl.DataFrame, 'foo', lambda self: 1)",
    "a dict of attributes": "import lib\nvars(lib)['x'] = 1",
    "a loop over classes": "import polars as pl\nfor cls in (pl.DataFrame, pl.LazyFrame):\n  cls.foo = lambda self: 1",
    "an alias": "import polars as pl\nDF = pl.DataFrame\nDF.foo = lambda self: 1",
    "an alias of another module": "from h import DF\nDF.foo = lambda self: 1",
    "a decorator that a library gave": "import lib\nreg = lib.register('x')\n@reg\ndef f(): return 1",
    "a function of the project that is called": "import polars as pl\ndef install():\n  pl.DataFrame.foo = 1\ninstall()",
    "a function with an import of its own": "def install():\n  import polars as pl\n  pl.DataFrame.foo = 1\ninstall()",
    "a function with a name of its own": "def install():\n  import lib\n  c = lib.C\n  c.foo = 1\nDONE = install()",
    "a function of another module": "import h\nh.install(1)",
    "a class handed to a function of the project": "import polars as pl\nfrom h import put\nput(pl.DataFrame, 1)",
    "a class handed to a decorator of the project": "import lib\nfrom h import put\n@put(lib.C)\ndef f(): return 1",
    "under a condition": "import lib\ntry:\n  lib.use(1)\nexcept ValueError: pass",
    "in a context": "import lib\nwith lib.open() as file:\n  lib.load(1)",
    "a codec of Mainspring": "from mainspring.artifacts import register\nregister(1)",
}
HOME = """
import polars as pl
DF = pl.DataFrame
def f(self): return 1
def install(n): pl.DataFrame.foo = n
def put(cls, n): cls.foo = n
"""
INSIDE = {
    "a binding": "import lib\nX = lib.f(1)",
    "a binding by a function of the project": "import polars as pl\ndef load(n): return pl.DataFrame([n])\nX = load(1)",
    "a local of a function": "import lib\ndef load(n):\n  x = lib.X()\n  x.n = n\n  x.fill(n)\n  return x\nX = load(1)",
    "a change of what the project made": "import lib\nX = lib.load()\nX['n'] = 1\nX.n = 1\nX.add(1)",
    "an object of the project's": "import lib\napp = lib.App()\n@app.command()\ndef f():\n  lib.use(1)",
    "a logger": "import logging\nlog = logging.getLogger()\nlog.setLevel(1)\nlogging.basicConfig(level=1)",
    "a command": "import click\n@click.command()\n@click.option('--n', default=1)\ndef cli(n): main.run()",
    "what is printed": "import lib\nprint(lib.version, 1)",
    "the folders of modules": "import sys\nsys.path.insert(0, '1')",
    "a definition that nothing calls": "import lib\ndef f(): lib.use(1)",
    "a lambda that nothing calls": "import lib\nF = lambda: lib.set_x(1)",
    "what a script does": "import lib\nif __name__ == '__main__':\n  lib.use(1)\n  main.run()",
    "a run": "RESULT = main.run(n=1)",
}


def around(text: str) -> str:
    return f"import mainspring as ms\nfrom steps import go\n@ms.pipeline\ndef main(n=0): return go()\n{text}"


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("home", ["flow", "ext"])
def test_what_the_pipelines_module_changes_outside_the_project_counts_for_every_step(
    name: str, home: str, tmp_path: Path
) -> None:
    parts = {"flow": "import ext\nfrom steps import go", "ext": "", "steps": "def go(): return 1", "h": HOME}
    project = Sources(tmp_path, **parts | {home: around(OUTSIDE[name])})
    old = entered(project)
    assert f"registrations {home}" in old.parts
    project.write(**{home: around("# a comment\n" + OUTSIDE[name] + "\ndef unreached(): return 3")})
    assert entered(project) == old
    if "1" in OUTSIDE[name]:
        project.write(**{home: around(OUTSIDE[name].replace("1", "2"))})
        assert entered(project) != old
    else:
        project.write(h=HOME.replace("return 1", "return 2"))
        assert ("foo = f" in OUTSIDE[name]) == (compare(old, entered(project)) == ["code h.f changed"])


@pytest.mark.parametrize("name", INSIDE)
def test_what_the_pipelines_module_does_for_itself_does_not_count(name: str, tmp_path: Path) -> None:
    project = Sources(tmp_path, flow=around(INSIDE[name]), steps="def go(): return 1", h=HOME)
    assert entered(project) == project.of()


def test_a_class_that_an_argument_brings_counts(tmp_path: Path) -> None:
    project = Sources(tmp_path, steps="def go(c): return c.total()", conf="class C:\n  def total(self): return 1")

    def carried() -> Fingerprint:
        return project.fingerprinter().of("steps", "go", carried=("conf:C", "numpy.core:ndarray", "gone:D"))

    old = carried()
    project.write(conf="class C:\n  def total(self): return 2")
    assert compare(old, carried()) == ["code conf.C changed"]


def test_a_distribution_installed_for_editing_counts_by_its_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Sources(tmp_path / "project", steps="import outer_lib\ndef go(): return outer_lib.f()")
    library = Sources(tmp_path / "library", editable_lib__init="def f(): return 1")
    monkeypatch.syspath_prepend(str(library.root))
    known = Installed(
        {"outer-lib": "1", "editable-lib": "1"},
        {"outer_lib": ("outer-lib",), "editable_lib": ("editable-lib",)},
        {"outer-lib": (("", "editable-lib"),)},
        ("editable-lib",),
    )
    old = project.fingerprinter(installed=known).of("steps", "go")
    assert old.parts["distribution outer-lib"] == "1"
    library.write(editable_lib__init="def f(): return 2")
    assert compare(old, project.fingerprinter(installed=known).of("steps", "go")) == [
        "module editable_lib (installed for editing) changed"
    ]


def test_the_hash_seed_counts_and_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Sources(tmp_path, steps="def go(): return list({'a', 'b'})")
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    old = project.of()
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    assert compare(old, project.of()) == ["hash seed changed: random → 0"]


@pytest.mark.parametrize(
    ("steps", "link"),
    [
        ("try:\n  from opt import f\nexcept ImportError:\n  def f(): return 1\ndef go(): return f()", "opt.py"),
        (
            "def go():\n  try:\n    from pkg.opt import f\n  except ImportError:\n    return 1\n  return f()",
            "pkg/opt.py",
        ),
        ("import pkg\ndef go(): return pkg.f()", "pkg/opt.py"),
        (
            "try:\n  from opt.x import f\nexcept ImportError:\n  def f(): return 1\ndef go(): return f()",
            "opt/__init__.py",
        ),
    ],
)
def test_a_link_that_leads_nowhere_is_no_module_until_it_leads_somewhere(tmp_path: Path, steps: str, link: str) -> None:
    lazy = "import importlib\ndef __getattr__(n): return getattr(importlib.import_module('pkg._a'), n)"
    sources = Sources(tmp_path / "project", steps=steps, pkg__init=lazy, pkg___a="def f(): return 3")
    without = sources.of()
    path = sources.root / link
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(tmp_path / "later.py")
    assert sources.of() == without
    (tmp_path / "later.py").write_text("def f(): return 2\nclass x: f = 1\n")
    assert (sources.of().digest == without.digest) is steps.startswith("import pkg"), "which doesn't name it"
