"""The one pattern by which a package re-exports names without importing what they need.

A package's `__init__` lists its exports once; a stub (`__init__.pyi`) beside it gives editors and mypy the same list,
and a test holds the two together.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any


class _Package(ModuleType):
    """A package in which an exported name is what it is exported as, also where a module has the same name.

    The import system binds a module in its package once it is loaded, and would hide `step` behind `step.py`.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if isinstance(value, ModuleType) and self.__dict__["_homes"].get(name) == value.__name__:
            value = getattr(value, name)
        super().__setattr__(name, value)


def exports(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]], list[str]]:
    """Give `__getattr__`, `__dir__` and `__all__` of a package that loads a name when it is first used.

    `homes` maps each exported name to the module that defines it; a module that begins with a dot is relative to the
    package. A name whose home is the package itself is the subpackage of that name.

    >>> get, names, everything = exports("json", {"decoder_class": "json.decoder"})
    >>> everything
    ['decoder_class']
    """
    names = sorted(homes)
    module = sys.modules.get(package)
    if type(module) is ModuleType:
        module.__class__ = _Package
        module.__dict__["_homes"] = homes

    def __getattr__(name: str) -> object:
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module `{package}` has no attribute `{name}`")
        value: object
        value = import_module(f"{package}.{name}") if home == package else getattr(import_module(home, package), name)
        setattr(sys.modules[package], name, value)
        return value

    return __getattr__, lambda: names, names


def registered(group: str, name: str = "") -> list[Any]:
    """What distributions register under an entry-point group, loaded; with a name only what has it."""
    from importlib.metadata import entry_points

    points = entry_points(group=group, name=name) if name else entry_points(group=group)
    return [point.load() for point in points]
