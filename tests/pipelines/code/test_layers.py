"""What compiled proxies of libraries stand around: an edit of what wrapt's decorators wrap is seen, whatever hides is named."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mainspring.pipelines.code.fingerprint import compare
from tests.pipelines.code.test_fingerprint_live import cell, of
from tests.pipelines.projects import Sources

OWN = "import wrapt\n@wrapt.decorator\ndef own(wrapped, instance, args, kwargs): return wrapped(*args, **kwargs)\n"
AROUND = {
    "deprecated": "from deprecated import deprecated\n@deprecated(reason='x')\n",
    "own": f"{OWN}@own\n",
    "adapting": OWN.replace("decorator\n", "decorator(adapter=lambda x: x)\n") + "@own\n",
}
F = "def f(x): return 1\ndef go(): return f(0)\n"


@pytest.fixture
def project(tmp_path: Path) -> Sources:
    return Sources(tmp_path, other="")


@pytest.mark.parametrize("name", AROUND)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_function_that_wrapt_wraps_counts_by_what_it_is(name: str, project: Sources) -> None:
    text = AROUND[name] + F
    space = cell(text)
    first = of(project, space["go"])
    assert first.reusable
    assert of(project, cell(text, "<cell 2>")["go"]) == first
    edited = of(project, cell(text.replace("return 1", "return 2"), "<cell 3>")["go"])
    assert compare(first, edited) == ["source __main__.f changed"]
    space["go"]()
    assert of(project, space["go"]) == first
    itself = of(project, space["f"])
    assert itself.reusable
    assert of(project, cell(text.replace("return 1", "return 2"), "<cell 4>")["f"]) != itself


def test_what_wraps_counts_too(project: Sources) -> None:
    text = f"{OWN}@own\n{F}"
    edited = cell(text.replace("return wrapped(", "return -wrapped("), "<cell 2>")["go"]
    assert compare(of(project, cell(text)["go"]), of(project, edited)) == ["source __main__.own changed"]


def test_methods_that_wrapt_wraps_count(project: Sources) -> None:
    text = f"{OWN}class K:\n  @own\n  def m(self): return 1\n  @own\n  @classmethod\n  def c(cls): return 1\n"
    text += "k = K()\nm = k.m\ndef go(): return m() + k.m() + K.c()\n"
    first = of(project, cell(text)["go"])
    assert first.reusable
    for old, new in (("(self): return 1", "(self): return 2"), ("(cls): return 1", "(cls): return 2")):
        assert of(project, cell(text.replace(old, new), f"<cell {old}>")["go"]) != first


@pytest.mark.parametrize("decorator", ["wrapt.synchronized", "Kept"])
def test_a_proxy_that_may_keep_more_can_not_be_recorded(decorator: str, project: Sources) -> None:
    text = "import wrapt\n" + F
    space = cell(text)
    if decorator == "Kept":
        library = type(
            "Kept", (sys.modules["wrapt"].ObjectProxy,), {"__call__": lambda self, x: x, "__module__": "kept"}
        )
        space["f"] = library(space["f"])
    else:
        space["f"] = sys.modules["wrapt"].synchronized(space["f"])
    assert any("`__main__.f`" in note and "can't be recorded" in note for note in of(project, space["go"]).unresolved)


@pytest.fixture
def wrapping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sources]:
    found = Sources(tmp_path, wrapsteps=f"{OWN}@own\n{F}")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    importlib.import_module("wrapsteps")
    yield found
    sys.modules.pop("wrapsteps", None)


def test_a_module_with_a_wrapped_function_is_what_its_source_says(wrapping: Sources) -> None:
    found = wrapping.fingerprinter().of("wrapsteps", "go", live=True)
    assert found.reusable
    assert found.differences == ()
    go = cell("import wrapsteps\ndef go(): return wrapsteps.f(0)\n")["go"]
    first = of(wrapping, go)
    assert first.differences == ()
    wrapping.write(wrapsteps=f"{OWN}@own\n{F}".replace("return 1", "return 2"))
    assert of(wrapping, go) != first
