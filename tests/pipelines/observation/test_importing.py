"""Whose read is it: each thing that an import reads belongs to the innermost project module that is being executed."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mainspring.pipelines.code.reads import ImportRead, import_reads
from mainspring.pipelines.observation.importing import ImportWatch
from mainspring.testing.workspaces import Lab

pytestmark = pytest.mark.one_backend("what an import reads never touches the workspace")


@pytest.fixture
def place(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.chdir(lab.root)
    monkeypatch.syspath_prepend(str(lab.root))
    (lab.root / "x.txt").write_text("x")
    yield lab
    lab.forget()


def write(lab: Lab, **modules: str) -> None:
    for name, text in modules.items():
        (lab.root / f"{name}.py").write_text(f"from pathlib import Path\nimport os, threading\n{text}\n")
    importlib.invalidate_caches()


def imported(lab: Lab, name: str) -> None:
    with ImportWatch(lab.workspace):
        importlib.import_module(name)


def reads(lab: Lab, name: str) -> list[tuple[str, str]] | None:
    found: tuple[ImportRead, ...] | None = import_reads().of(name, lab.root / f"{name}.py")
    return None if found is None else [(each.kind, each.name) for each in found]


def test_a_read_belongs_to_the_module_that_is_executed(place: Lab) -> None:
    write(
        place,
        outer="import inner\nos.environ.get('OUTER')",
        inner="import quiet\nPath('x.txt').read_text()",
        quiet="N = 3",
    )
    imported(place, "outer")
    assert reads(place, "outer") == [("env", "OUTER")]
    assert reads(place, "inner") == [("file", "x.txt")]
    assert reads(place, "quiet") == []


def test_two_modules_that_read_the_same_both_depend_on_it(place: Lab) -> None:
    write(place, one="import two\nPath('x.txt').read_text()", two="Path('x.txt').read_text()")
    imported(place, "one")
    assert reads(place, "one") == reads(place, "two") == [("file", "x.txt")]


def test_a_function_of_another_module_reads_for_the_one_that_calls_it(place: Lab) -> None:
    write(place, caller="import tool\ntool.load()", tool="def load():\n    return Path('x.txt').read_text()")
    imported(place, "caller")
    assert (reads(place, "caller"), reads(place, "tool")) == ([("file", "x.txt")], [])


def test_a_thread_reads_for_all_that_were_imported_with_it(place: Lab) -> None:
    text = "thread = threading.Thread(target=lambda: Path('x.txt').read_text())\nthread.start()\nthread.join()"
    write(place, starter=f"import by\n{text}", by="N = 1")
    imported(place, "starter")
    assert reads(place, "starter") == reads(place, "by") == [("file", "x.txt")]


def test_what_a_library_reads_as_it_is_imported_is_its_own(place: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = place.root.parent / "lib" / "site-packages"
    folder.mkdir(parents=True)
    (folder / "labrary.py").write_text(
        f"from pathlib import Path\nPath({str(place.root / 'x.txt')!r}).read_text()\n"
        f"def load():\n    return Path({str(place.root / 'y.txt')!r}).read_text()\n"
    )
    (place.root / "y.txt").write_text("y")
    monkeypatch.syspath_prepend(str(folder))
    write(place, user="import labrary\nlabrary.load()")
    imported(place, "user")
    monkeypatch.delitem(sys.modules, "labrary")
    assert reads(place, "user") == [("file", "y.txt")]


def test_what_an_import_makes_itself_is_no_read(place: Lab) -> None:
    write(place, maker="Path('new.txt').write_text('a')\nPath('new.txt').read_text()\nos.environ['LAB_MADE'] = '1'\n"
          "os.environ['LAB_MADE']\ndel os.environ['LAB_MADE']")  # fmt: skip
    imported(place, "maker")
    assert reads(place, "maker") == []


def test_an_import_outside_a_watch_is_known_to_be_unknown(place: Lab) -> None:
    write(place, plain="N = 1")
    assert reads(place, "plain") == []
    importlib.import_module("plain")
    assert reads(place, "plain") is None


def test_a_module_loaded_again_unwatched_is_unknown_again(place: Lab) -> None:
    write(place, again="Path('x.txt').read_text()")
    imported(place, "again")
    importlib.reload(sys.modules["again"])
    assert reads(place, "again") is None


def test_what_a_step_imports_is_the_steps_and_the_modules(place: Lab) -> None:
    from mainspring.pipelines.observation.observer import Observer

    write(place, late="Path('x.txt').read_text()")
    root: Path = place.root
    with Observer(project_root=root, declared_files=(), declared_env=(), allowed_paths=()) as observer:
        importlib.import_module("late")
    assert [(seen.kind, seen.name, seen.by) for seen in observer.seen] == [("file", "x.txt", "late.py:3")]
    assert reads(place, "late") == [("file", "x.txt")]
