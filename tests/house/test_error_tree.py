"""The diagram at the top of errors.py is the error tree, and every code means one error."""

from __future__ import annotations

import re
from collections import Counter

from mainspring import errors
from tests.house.source import SRC, python_files, relative, said

LINE = re.compile(r"^(?P<indent>[\s│├└─]*)(?P<name>\w+Error)\b(?: \((?P<builtin>\w+)\))?", re.MULTILINE)


def drawn() -> dict[str, tuple[str, str | None]]:
    """Each error of the diagram: its parent, and the builtin it refines."""
    found: dict[str, tuple[str, str | None]] = {}
    ancestors: list[tuple[int, str]] = []
    for line in LINE.finditer(errors.__doc__ or ""):
        depth, name = len(line["indent"]), line["name"]
        ancestors = [(d, n) for d, n in ancestors if d < depth]
        found[name] = (ancestors[-1][1] if ancestors else "Exception", line["builtin"])
        ancestors.append((depth, name))
    return found


def defined() -> dict[str, tuple[str, str | None]]:
    """Each error class: its parent among ours, and the builtin it refines."""
    found = {}
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, Exception):
            bases = [base.__name__ for base in value.__bases__]
            found[name] = (bases[0], bases[1] if len(bases) > 1 else None)
    return found


def test_the_diagram_is_the_tree() -> None:
    assert drawn() == defined()


def test_every_error_has_a_code_of_its_own() -> None:
    codes = Counter(vars(vars(errors)[name]).get("code") for name in defined())
    assert {code: count for code, count in codes.items() if count > 1 or not code} == {}


def test_all_errors_stand_in_one_file() -> None:
    ours = set(defined())
    elsewhere = [
        f"{relative(path)}: {each.name}"
        for path in python_files("src")
        if path != SRC / "errors.py"
        for each in said(path).definitions
        if ours & set(each.bases or ())
    ]
    assert elsewhere == []
