"""The tree that the house laws are about: which files there are, parsed once."""

from __future__ import annotations

import ast
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

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


@cache
def tree(path: Path) -> ast.Module:
    """The parsed file."""
    return ast.parse(path.read_text(), filename=str(path))


def relative(path: Path) -> str:
    """The path as the repository names it."""
    return path.relative_to(ROOT).as_posix()


@cache
def functions(path: Path) -> tuple[tuple[str, Function, int], ...]:
    """Each function of a file: its name, its node, and its lines without the docstring and the decorators."""
    found = (node for node in ast.walk(tree(path)) if isinstance(node, Function))
    return tuple((node.name, node, _lines(node)) for node in found)


def _lines(node: Function) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1 - _docstring_lines(node)


def _docstring_lines(node: Function) -> int:
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
