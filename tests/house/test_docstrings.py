"""Every module says what it is for, and everything that a package exports is documented."""

from __future__ import annotations

import inspect
from importlib import import_module
from types import FunctionType

from tests.house.source import packages, python_files, relative, said

MOST_LINES = 5
METHODS = (FunctionType, property, classmethod, staticmethod)
HAS_A_DIAGRAM = {"src/mainspring/errors.py"}


def test_every_module_has_a_docstring() -> None:
    assert [relative(path) for path in python_files("src", "benchmarks") if not said(path).docstring] == []


def test_a_module_docstring_is_short() -> None:
    long = []
    for path in python_files("src"):
        lines = [line for line in (said(path).docstring or "").splitlines() if line.strip()]
        if len(lines) > MOST_LINES and path.name != "__init__.py" and relative(path) not in HAS_A_DIAGRAM:
            long.append(f"{relative(path)}: {len(lines)} lines")
    assert long == []


def undocumented(value: object, name: str) -> list[str]:
    """The names of what lacks a docstring in a callable and, for a class of ours, in its own public methods."""
    missing = [] if (vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__) else [name]
    if not (inspect.isclass(value) and value.__module__.startswith("mainspring")):
        return missing
    for attribute, member in vars(value).items():
        if attribute.startswith("_") or not isinstance(member, METHODS):
            continue
        inherited = any(getattr(vars(base).get(attribute), "__doc__", None) for base in value.__mro__[1:])
        if not (member.__doc__ or inherited):
            missing.append(f"{name}.{attribute}")
    return missing


def test_every_exported_callable_has_a_docstring() -> None:
    missing: list[str] = []
    for package in packages():
        module = import_module(package)
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isroutine(value):
                missing += undocumented(value, f"{package}.{name}")
    assert missing == []
