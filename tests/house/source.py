"""The tree that the house laws are about: which files there are, and what each says, read and parsed once.

Parsed files are not kept: a million nodes would make every collection of garbage in the process take a second.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src" / "mainspring"
CODE = ("src", "tests", "benchmarks", "examples", "docs")
Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def python_files(*folders: str) -> tuple[Path, ...]:
    """The Python files below the folders, sorted; caches and hidden folders left out."""
    found = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return tuple(
        sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(ROOT).parts))
    )


class Definition(NamedTuple):
    """A function or a class: its lines without the docstring and the decorators, and of a class the names of its bases."""

    name: str
    line: int
    lines: int
    bases: tuple[str, ...] | None

    @property
    def is_function(self) -> bool:
        return self.bases is None


class Said(NamedTuple):
    """What a file says: its lines, its docstring, and all that it defines, at any depth."""

    lines: tuple[str, ...]
    docstring: str | None
    definitions: tuple[Definition, ...]


def tree(path: Path) -> ast.Module:
    """The file, parsed anew."""
    return ast.parse(path.read_text(), filename=str(path))


@cache
def said(path: Path) -> Said:
    """What the file says."""
    text = path.read_text()
    parsed = ast.parse(text, filename=str(path))
    return Said(tuple(text.splitlines()), ast.get_docstring(parsed), tuple(_definitions(parsed)))


def relative(path: Path) -> str:
    """The path as the repository names it."""
    return path.relative_to(ROOT).as_posix()


def _definitions(parsed: ast.Module) -> Iterator[Definition]:
    """Only statements are looked into: no expression holds a definition."""
    pending: list[ast.AST] = [parsed]
    while pending:
        for node in ast.iter_child_nodes(pending.pop()):
            if isinstance(node, Function):
                yield Definition(node.name, node.lineno, _lines(node), None)
            elif isinstance(node, ast.ClassDef):
                bases = tuple(ast.unparse(base).split(".")[-1] for base in node.bases)
                yield Definition(node.name, node.lineno, _lines(node), bases)
            if isinstance(node, ast.stmt | ast.excepthandler | ast.match_case):
                pending.append(node)


def _lines(node: Function | ast.ClassDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1 - _docstring_lines(node)


def _docstring_lines(node: Function | ast.ClassDef) -> int:
    first = node.body[0]
    is_docstring = (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    )
    return (first.end_lineno or first.lineno) - first.lineno + 1 if is_docstring else 0


def packages() -> tuple[str, ...]:
    """The dotted names of Mainspring's packages that are built."""
    inits = [path for path in python_files("src") if path.name == "__init__.py"]
    return tuple(".".join(path.parent.relative_to(SRC.parent).parts) for path in inits)


@cache
def settings() -> dict[str, Any]:
    """What `pyproject.toml` says."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())
