"""The trap list: what must change a fingerprint, and what must not."""

from __future__ import annotations

import ast
import os
import shutil
from pathlib import Path

import pytest

from mainspring.errors import GraphError
from mainspring.pipelines.code.fingerprint import compare, difference
from mainspring.runs.environment import Installed
from tests.pipelines.projects import Sources

# name: (files, the edit, a part that must be named)
CHANGES: dict[str, tuple[dict[str, str], dict[str, str], str]] = {
    "a helper two modules away": (
        {
            "steps": "from a import f\ndef go(): return f()",
            "a": "from b import g\ndef f(): return g()",
            "b": "def g(): return 1",
        },
        {"b": "def g(): return 2"},
        "code b.g changed",
    ),
    "a constant": (
        {"steps": "import a\ndef go(): return a.LIMIT", "a": "LIMIT = 3"},
        {"a": "LIMIT = 4"},
        "constant a.LIMIT changed",
    ),
    "a base class": (
        {
            "steps": "from a import B\nclass C(B): pass\ndef go(): return C()",
            "a": "class A:\n  x = 1\nclass B(A): pass",
        },
        {"a": "class A:\n  x = 2\nclass B(A): pass"},
        "code a.A changed",
    ),
    "a type used in a hint": (
        {"steps": "from a import T\ndef go(x: T): return x", "a": "class T:\n  size: int"},
        {"a": "class T:\n  size: float"},
        "code a.T changed",
    ),
    "a type used in a string hint behind TYPE_CHECKING": (
        {
            "steps": "import typing\nif typing.TYPE_CHECKING:\n  from a import T\ndef go(x: 'list[T]'): return x",
            "a": "class T:\n  size: int",
        },
        {"a": "class T:\n  size: float"},
        "code a.T changed",
    ),
    "functools.partial defaults": (
        {
            "steps": "import functools\nfrom a import f\np = functools.partial(f, 3)\ndef go(): return p()",
            "a": "def f(x): return x",
        },
        {"steps": "import functools\nfrom a import f\np = functools.partial(f, 4)\ndef go(): return p()"},
        "constant steps.p changed",
    ),
    "the function inside a partial": (
        {
            "steps": "import functools\nfrom a import f\np = functools.partial(f, 3)\ndef go(): return p()",
            "a": "def f(x): return x",
        },
        {"a": "def f(x): return -x"},
        "code a.f changed",
    ),
    "dispatch by getattr": (
        {"steps": "import a\ndef go(how): return getattr(a, 'do_' + how)()", "a": "def do_x(): return 1"},
        {"a": "def do_x(): return 2"},
        "module a (names can't be resolved: used as a value, e.g. by getattr) changed",
    ),
    "dispatch by globals": (
        {"steps": "def go(how): return globals()['do_' + how]()\ndef do_x(): return 1"},
        {"steps": "def go(how): return globals()['do_' + how]()\ndef do_x(): return 2"},
        "module steps (names can't be resolved: globals) changed",
    ),
    "getattr with a literal": (
        {"steps": "import a\ndef go(): return getattr(a, 'f')()", "a": "def f(): return 1"},
        {"a": "def f(): return 2"},
        "code a.f changed",
    ),
    "a registry filled by a decorator": (
        {
            "steps": "import a, plugins\ndef go(): return [f() for f in a.REG]",
            "a": "REG = []\ndef reg(f):\n  REG.append(f)\n  return f",
            "plugins": "from a import reg\n@reg\ndef one(): return 1",
        },
        {"plugins": "from a import reg\n@reg\ndef one(): return 2"},
        "effects plugins: one changed",
    ),
    "a helper of a registered function": (
        {
            "steps": "import a, plugins\ndef go(): return [f() for f in a.REG]",
            "a": "REG = []\ndef reg(f):\n  REG.append(f)\n  return f",
            "plugins": "from a import reg\ndef h(): return 1\n@reg\ndef one(): return h()",
        },
        {"plugins": "from a import reg\ndef h(): return 2\n@reg\ndef one(): return h()"},
        "code plugins.h changed",
    ),
    "a registry filled by subclassing": (
        {
            "steps": "import a, plugins\ndef go(): return a.KNOWN",
            "a": "KNOWN = []\nclass Base:\n  def __init_subclass__(cls): KNOWN.append(cls)",
            "plugins": "from a import Base\nclass One(Base):\n  x = 1",
        },
        {"plugins": "from a import Base\nclass One(Base):\n  x = 2"},
        "effects plugins: One changed",
    ),
    "subclasses found by __subclasses__": (
        {
            "steps": "import a, plugins\ndef go(): return a.Base.__subclasses__()",
            "a": "class Base: pass",
            "plugins": "from a import Base\nclass One(Base):\n  x = 1",
        },
        {"plugins": "from a import Base\nclass One(Base):\n  x = 2"},
        "effects plugins: One changed",
    ),
    "a monkeypatch written in a module": (
        {
            "steps": "import a, patches\ndef go(): return a.f()",
            "a": "def f(): return 1",
            "patches": "import a\na.f = lambda: 2",
        },
        {"patches": "import a\na.f = lambda: 3"},
        "effects patches: a.f changed",
    ),
    "a star import": (
        {"steps": "from a import *\ndef go(): return f()", "a": "def f(): return 1"},
        {"a": "def f(): return 2"},
        "module a (names can't be resolved: star import in steps) changed",
    ),
    "a conditional import": (
        {
            "steps": "try:\n  from fast import f\nexcept ImportError:\n  from slow import f\ndef go(): return f()",
            "slow": "def f(): return 1",
        },
        {"slow": "def f(): return 2"},
        "code slow.f changed",
    ),
    "an import inside a function": (
        {"steps": "def go():\n  from a import f as g\n  return g()", "a": "def f(): return 1"},
        {"a": "def f(): return 2"},
        "code a.f changed",
    ),
    "an import by a literal name": (
        {"steps": "import importlib\ndef go(): return importlib.import_module('a').f()", "a": "def f(): return 1"},
        {"a": "def f(): return 2"},
        "module a (names can't be resolved: used as a value, e.g. by getattr) changed",
    ),
    "an import by a computed name": (
        {
            "steps": "import importlib\ndef go(n): return importlib.import_module('plug_' + n).f()",
            "plug_x": "def f(): return 1",
        },
        {"plug_x": "def f(): return 2"},
        "module plug_x (names can't be resolved: import_module of a computed name in steps) changed",
    ),
    "a definition located by a computed name": (
        {"steps": "import pydoc\ndef go(n): return pydoc.locate('plug.' + n)()", "plug": "def f(): return 1"},
        {"plug": "def f(): return 2"},
        "module plug (names can't be resolved: pydoc.locate in steps) changed",
    ),
    "a re-export through a package": (
        {
            "steps": "from pkg import f\ndef go(): return f()",
            "pkg__init": "from .inner import f",
            "pkg__inner": "def f(): return 1",
        },
        {"pkg__inner": "def f(): return 2"},
        "code pkg.inner.f changed",
    ),
    "a submodule by attribute": (
        {
            "steps": "import pkg.inner\ndef go(): return pkg.inner.f()",
            "pkg__init": "",
            "pkg__inner": "def f(): return 1",
        },
        {"pkg__inner": "def f(): return 2"},
        "code pkg.inner.f changed",
    ),
    "a package's __init__ that is loaded on the way": (
        {
            "steps": "from pkg.inner import f\ndef go(): return f()",
            "pkg__init": "import os\nos.umask(1)",
            "pkg__inner": "def f(): return 1",
        },
        {"pkg__init": "import os\nos.umask(2)"},
        "effects pkg: os.umask(…) changed",
    ),
    "a namespace package": (
        {"steps": "from space.inner import f\ndef go(): return f()", "space__inner": "def f(): return 1"},
        {"space__inner": "def f(): return 2"},
        "code space.inner.f changed",
    ),
    "a module's __getattr__": (
        {
            "steps": "import a\ndef go(): return a.x",
            "a": "def __getattr__(name): return make(name)\ndef make(n): return 1",
        },
        {"a": "def __getattr__(name): return make(name)\ndef make(n): return 2"},
        "module a (names can't be resolved: __getattr__) changed",
    ),
    "a lazy name that a submodule has, too": (
        {
            "steps": "from pkg import train\ndef go(): return train()",
            "pkg__init": "def __getattr__(name):\n  from pkg._impl import train\n  return train",
            "pkg___impl": "def train(): return 1",
            "pkg__train": "def main(): pass",
        },
        {"pkg___impl": "def train(): return 2"},
        "code pkg._impl.train changed",
    ),
    "a lazy name that type checkers are told of": (
        {
            "steps": "from pkg import train\ndef go(): return train()",
            "pkg__init": (
                "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n  from pkg.one import train\nWHERE = 'pkg.one'\n"
                "def __getattr__(name):\n  import importlib\n  return importlib.import_module(WHERE).train"
            ),
            "pkg__one": "def train(): return 1",
            "pkg__two": "def train(): return 2",
        },
        {
            "pkg__init": (
                "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n  from pkg.one import train\nWHERE = 'pkg.two'\n"
                "def __getattr__(name):\n  import importlib\n  return importlib.import_module(WHERE).train"
            ),
        },
        "constant pkg.WHERE changed",
    ),
    "an imported __getattr__ beside a submodule of the name": (
        {
            "steps": "from pkg import train\ndef go(): return train()",
            "pkg__init": "from pkg._lazy import __getattr__",
            "pkg___lazy": "def __getattr__(name):\n  from pkg._impl import train\n  return train",
            "pkg___impl": "def train(): return 1",
            "pkg__train": "def main(): pass",
        },
        {"pkg___impl": "def train(): return 2"},
        "code pkg._impl.train changed",
    ),
    "a folder called like one of tools, by a computed import": (
        {
            "steps": "import importlib\ndef go(name): return importlib.import_module(f'build.{name}').make()",
            "build__feat": "def make(): return 1",
        },
        {"build__feat": "def make(): return 2"},
        "module build.feat (names can't be resolved: import_module of a computed name in steps) changed",
    ),
    "a package called like a folder of tools, by a computed import": (
        {
            "steps": "import importlib\ndef go(kind): return importlib.import_module(f'pkg.{kind}').make()",
            "pkg__init": "",
            "pkg__build__init": "def make(): return 1",
        },
        {"pkg__build__init": "def make(): return 2"},
        "module pkg.build (names can't be resolved: import_module of a computed name in steps) changed",
    ),
    "a name bound twice": (
        {"steps": "X = 1\nX = 2\ndef go(): return X"},
        {"steps": "X = 2\nX = 1\ndef go(): return X"},
        "constant steps.X changed",
    ),
    "a global that a function assigns": (
        {"steps": "X = 1\ndef setup():\n  global X\n  X = 2\ndef go(): return X"},
        {"steps": "X = 1\ndef setup():\n  global X\n  X = 3\ndef go(): return X"},
        "code steps.X changed",
    ),
    "an augmented assignment": (
        {"steps": "X = [1]\nX += [2]\ndef go(): return X"},
        {"steps": "X = [1]\nX += [3]\ndef go(): return X"},
        "effects steps: X changed",
    ),
    "a default argument": (
        {"steps": "from a import D\ndef go(x=D): return x", "a": "D = 1"},
        {"a": "D = 2"},
        "constant a.D changed",
    ),
    "two names swapped at their import": (
        {
            "steps": "from a import f as x, g as y\ndef go(): return x() - y()",
            "a": "def f(): return 1\ndef g(): return 2",
        },
        {"steps": "from a import g as x, f as y\ndef go(): return x() - y()"},
        "import steps.x changed: a.f → a.g",
    ),
    "a constant computed before and after an effect": (
        {"steps": "R = []\ndef add(x): R.append(x)\nadd(1)\nN = len(R)\ndef go(): return N"},
        {"steps": "R = []\ndef add(x): R.append(x)\nN = len(R)\nadd(1)\ndef go(): return N"},
        "constant steps.N changed",
    ),
    "another decorator of the step": (
        {
            "steps": "import mainspring as ms\nfrom a import twice\n@ms.step\n@twice\ndef go(): return 1",
            "a": "def twice(f): return f",
        },
        {"a": "def twice(f): return lambda: f() * 2"},
        "code a.twice changed",
    ),
    "eval": (
        {"steps": "def go(t): return eval(t)\ndef f(): return 1"},
        {"steps": "def go(t): return eval(t)\ndef f(): return 2"},
        "module steps (names can't be resolved: eval) changed",
    ),
    "a base class that a subclass of sys.modules finds": (
        {"steps": "import sys\ndef go(): return getattr(sys.modules[__name__], 'f' + '')()\ndef f(): return 1"},
        {"steps": "import sys\ndef go(): return getattr(sys.modules[__name__], 'f' + '')()\ndef f(): return 2"},
        "module steps (names can't be resolved: sys.modules) changed",
    ),
    "match, walrus and async": (
        {
            "steps": "from a import f\nasync def go(x):\n  match x:\n    case [y]:\n      if (z := f(y)): return z",
            "a": "def f(x): return x",
        },
        {"a": "def f(x): return -x"},
        "code a.f changed",
    ),
}

BASE = {
    "steps": """
        import mainspring as ms
        from a import f

        @ms.step
        def go(data):
            # a comment
            return f(data)

        def unreached(): return 1

        @ms.step(retries=1)
        def other(): return 1

        if __name__ == "__main__":
            print(1)
        """,
    "a": "def f(x):\n    return x + local(1)\ndef local(x): return x\ndef unreached(): return 1\nLIMIT = 1\n",
    "b": "def g(): return 1\n",
}
SAME: dict[str, dict[str, str]] = {
    "comments": {"a": "# new\ndef f(x):\n    # new\n    return x + local(1)\ndef local(x): return x\n"},
    "formatting": {"a": "def f( x ) :\n\n        return (x+\n  local( 1 ))\n\n\ndef local(x) :\n  return x\n"},
    "the order of unrelated definitions": {
        "a": "LIMIT = 1\ndef unreached(): return 1\ndef local(x): return x\ndef f(x):\n    return x + local(1)\n"
    },
    "a module outside the import closure": {"b": "import os\nos.umask(2)\ndef g(): return 2\n"},
    "an unreached definition of a loaded module": {
        "a": "def f(x):\n    return x + local(1)\ndef local(x): return x\ndef unreached(): return 2\nLIMIT = 1\n"
    },
    "an unreached constant of a loaded module": {
        "a": "def f(x):\n    return x + local(1)\ndef local(x): return x\ndef unreached(): return 1\nLIMIT = 2\n"
    },
    "another step, the main block and the step's settings": {
        "steps": """
        import mainspring as ms
        from a import f
        @ms.step(retries=9, memory_mb=4, timeout_s=3)
        def go(data): return f(data)
        @ms.step(retries=3)
        def other(): return 2
        if __name__ == "__main__":
            print(2)
        """
    },
    "an alias of step": {
        "steps": "from mainspring import step as t\nfrom a import f\n@t(retries=2)\ndef go(data):\n  return f(data)\n"
    },
}


@pytest.mark.parametrize("trap", CHANGES)
def test_a_change_of_what_is_reached_changes_the_fingerprint(trap: str, tmp_path: Path) -> None:
    files, edit, line = CHANGES[trap]
    project = Sources(tmp_path, **files)
    old = project.of()
    project.write(**edit)
    new = project.of()
    assert old.digest != new.digest
    assert line in compare(old, new)


@pytest.mark.parametrize("edit", SAME)
def test_a_change_of_what_is_not_reached_keeps_the_fingerprint(edit: str, tmp_path: Path) -> None:
    project = Sources(tmp_path, **BASE)
    old = project.of()
    project.write(**SAME[edit])
    assert compare(old, project.of()) == []
    assert old.digest == project.of().digest


def test_the_path_of_the_checkout_does_not_count(tmp_path: Path) -> None:
    old = Sources(tmp_path / "one", **BASE).of()
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    assert Sources(tmp_path / "two").of() == old


def test_source_written_out_from_its_tree_has_the_same_fingerprint(tmp_path: Path) -> None:
    project = Sources(tmp_path, **BASE)
    old = project.of()
    for path in tmp_path.glob("*.py"):
        path.write_text(ast.unparse(ast.parse(path.read_text())))
    assert project.of() == old


def test_a_local_of_the_same_name_does_not_reach_a_definition(tmp_path: Path) -> None:
    text = (
        "def helper(): return {}\ndef go(helper): return [helper for helper in helper] + [(lambda helper: helper)(1)]"
    )
    project = Sources(tmp_path, steps=text.format(1))
    old = project.of()
    project.write(steps=text.format(2))
    assert project.of() == old


def test_a_declared_file_counts_by_its_content(tmp_path: Path) -> None:
    project = Sources(tmp_path, pkg__steps="import mainspring as ms\ndef go(): return ms.file('conf.yaml').read_text()")
    missing = project.of("pkg.steps")
    assert missing.parts["file conf.yaml"] == "missing"
    (tmp_path / "pkg" / "conf.yaml").write_text("a: 1")
    old = project.of("pkg.steps")
    assert old.files == ("pkg/conf.yaml",)
    (tmp_path / "pkg" / "conf.yaml").write_text("a: 2")
    assert compare(old, project.of("pkg.steps")) == ["file pkg/conf.yaml changed"]


def test_a_declared_environment_variable_counts_and_its_value_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Sources(tmp_path, steps="from mainspring import env\nR = env('REGION', 'eu')\ndef go(): return R")
    monkeypatch.setenv("REGION", "us-secret")
    old = project.of()
    assert old.env == ("REGION",)
    assert "us-secret" not in str(old)
    monkeypatch.setenv("REGION", "de")
    assert compare(old, project.of()) == ["env REGION changed"]


def test_numpy_upgraded_while_only_scikit_learn_is_imported(tmp_path: Path) -> None:
    project = Sources(tmp_path, steps="from sklearn.linear_model import Ridge\ndef go(): return Ridge()")
    parts = {"numpy": (), "scikit-learn": (("", "numpy"),), "unrelated": ()}

    def taken(numpy: str, unrelated: str) -> Installed:
        return Installed(
            {"numpy": numpy, "scikit-learn": "1.9.1", "unrelated": unrelated}, {"sklearn": ("scikit-learn",)}, parts
        )

    old = project.fingerprinter(installed=taken("2.3.0", "1")).of("steps", "go")
    assert compare(old, project.fingerprinter(installed=taken("2.3.0", "2")).of("steps", "go")) == []
    new = project.fingerprinter(installed=taken("2.4.6", "1")).of("steps", "go")
    assert compare(old, new) == ["distribution numpy changed: 2.3.0 → 2.4.6"]


def test_an_import_in_an_unreached_function_brings_no_distribution(tmp_path: Path) -> None:
    text = "def go(): return 1\ndef unreached():\n  import {}"
    project = Sources(tmp_path, steps=text.format("numpy"))
    old = project.of()
    project.write(steps=text.format("scipy"))
    assert project.of() == old


def test_differences_are_sorted_into_changed_new_and_gone(tmp_path: Path) -> None:
    project = Sources(tmp_path, steps="A = 1\nB = 1\ndef go(): return A + B")
    old = project.of()
    project.write(steps="A = 1\nC = 1\ndef go(): return A + C")
    found = difference(old, project.of())
    assert (found.changed, found.added, found.removed) == (
        ("code steps.go",),
        ("constant steps.C",),
        ("constant steps.B",),
    )


def test_a_syntax_error_names_file_and_line(tmp_path: Path) -> None:
    project = Sources(tmp_path, steps="import a\ndef go(): return 1", a="x = 1\ndef broken(:\n")
    with pytest.raises(GraphError, match=r"a\.py:2: the source is not valid Python"):
        project.of()


def test_a_computed_declaration_names_file_and_line(tmp_path: Path) -> None:
    project = Sources(tmp_path, steps="import mainspring as ms\nN = 'x'\ndef go():\n  return ms.env(N)")
    with pytest.raises(GraphError, match=r"steps\.py:4: ms\.env\(\) needs its first argument written out"):
        project.of()


def test_an_unknown_step_or_module_is_named_with_the_nearest(tmp_path: Path) -> None:
    project = Sources(tmp_path, steps="def go(): return 1")
    with pytest.raises(GraphError, match=r"has no `gone`\. Nearest: go"):
        project.of("steps", "gone")
    with pytest.raises(GraphError, match=r"no module `step`\. Nearest: steps"):
        project.of("step", "go")


def test_the_modules_of_a_step_are_its_import_closure(tmp_path: Path) -> None:
    project = Sources(
        tmp_path,
        pkg__init="",
        pkg__steps="from . import a\ndef go():\n  from .b import f",
        pkg__a="import pkg.c",
        pkg__b="",
        pkg__c="",
        pkg__d="",
    )
    names = [found.name for found in project.fingerprinter().modules("pkg.steps")]
    assert names == ["pkg", "pkg.a", "pkg.b", "pkg.c", "pkg.steps"]


def test_circular_imports_and_long_call_chains_end(tmp_path: Path) -> None:
    chain = "\n".join(f"def f{n}(): return f{n + 1}()" for n in range(2_000)) + "\ndef f2000(): return 1"
    project = Sources(
        tmp_path,
        steps="import b\nfrom b import g\ndef go(): return g()",
        b=f"import steps\n{chain}\ndef g(): return f0()",
    )
    assert "code b.f2000" in project.of().parts


def test_a_process_that_knows_the_sources_gives_the_same_fingerprint(tmp_path: Path) -> None:
    project = Sources(tmp_path / "project", **BASE)
    first = project.fingerprinter(tmp_path / "cache")
    old = first.of("steps", "go")
    first.flush()
    assert project.fingerprinter(tmp_path / "cache").of("steps", "go") == old
    project.write(a="def f(x): return -x")
    assert project.fingerprinter(tmp_path / "cache").of("steps", "go") != old


def test_a_corrupt_cache_is_ignored(tmp_path: Path) -> None:
    project = Sources(tmp_path / "project", **BASE)
    first = project.fingerprinter(tmp_path / "cache")
    old = first.of("steps", "go")
    first.flush()
    kept = next((tmp_path / "cache").iterdir())
    data = bytearray(kept.read_bytes())
    data[len(data) // 2] ^= 255
    for broken in (bytes(data), b"", b"x" * 40):
        kept.write_bytes(broken)
        assert project.fingerprinter(tmp_path / "cache").of("steps", "go") == old


def test_an_edit_of_the_same_size_and_time_is_seen(tmp_path: Path) -> None:
    project = Sources(tmp_path / "project", steps="def go(): return 1")
    for value in range(2, 30):
        known = project.fingerprinter(tmp_path / "cache")
        old = known.of("steps", "go")
        known.flush()
        stat = (project.root / "steps.py").stat()
        project.write(steps=f"def go(): return {value % 10}")
        os.utime(project.root / "steps.py", ns=(stat.st_atime_ns, stat.st_mtime_ns))
        assert project.fingerprinter(tmp_path / "cache").of("steps", "go") != old


def test_a_module_that_no_distribution_provides_counts_by_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Sources(tmp_path / "project", steps="import elsewhere_lib\ndef go(): return elsewhere_lib.f()")
    library = Sources(tmp_path / "library", elsewhere_lib__init="", elsewhere_lib__inner="def f(): return 1")
    monkeypatch.syspath_prepend(str(library.root))
    old = project.of()
    assert old.unresolved == (
        "elsewhere_lib (outside the project) belongs to no distribution; its sources count as a whole",
    )
    library.write(elsewhere_lib__inner="def f(): return 2")
    assert compare(old, project.of()) == ["module elsewhere_lib (outside the project) changed"]


def test_a_broken_module_that_nothing_imports_does_not_matter(tmp_path: Path) -> None:
    project = Sources(tmp_path, steps="def go(): return 1", broken="def (")
    assert project.of().parts


def test_modules_in_src_are_found_by_their_own_name(tmp_path: Path) -> None:
    project = Sources(
        tmp_path, src__pkg__steps="from pkg.a import f\ndef go(): return f()", src__pkg__a="def f(): return 1"
    )
    assert "code pkg.a.f" in project.of("pkg.steps").parts


def test_a_broken_module_that_might_be_imported_counts_as_a_whole(tmp_path: Path) -> None:
    project = Sources(tmp_path, steps="def go(n): return __import__('plug_' + n)", template="def (")
    old = project.of()
    project.write(template="def [")
    assert compare(old, project.of()) == ["module template (not valid Python) changed"]
