"""A workspace on each pair of backends, and a project of modules that definitions can name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib import import_module, invalidate_caches
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import pytest

from mainspring import clock
from mainspring.testing.plugin import Backend
from mainspring.workspace import Workspace, using

START_US = 1_767_225_600_000_000
Module = Callable[[str, str], ModuleType]


@pytest.fixture
def workspace(backend: Backend, tmp_path: Path) -> Iterator[Workspace]:
    where = {"database": backend.database_url, "blobs": backend.blob_url, "online": backend.online}
    with Workspace.open(tmp_path, overrides=where) as opened, using(opened):
        yield opened


class Ticks:
    """Domain time that the test moves."""

    now = START_US

    def now_us(self) -> int:
        return self.now


@pytest.fixture
def ticks() -> Iterator[Ticks]:
    found = Ticks()
    token = clock.clock.set(found)
    yield found
    clock.clock.reset(token)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Module]:
    """Writes a module of the project and imports it, anew if it was imported before."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    known = set(sys.modules)

    def write(name: str, text: str) -> ModuleType:
        (tmp_path / f"{name}.py").write_text(dedent(text))
        for each in [each for each in sys.modules if each not in known and (tmp_path / f"{each}.py").exists()]:
            del sys.modules[each]
        invalidate_caches()
        return import_module(name)

    yield write
    for each in [each for each in sys.modules if each not in known and (tmp_path / f"{each}.py").exists()]:
        del sys.modules[each]
