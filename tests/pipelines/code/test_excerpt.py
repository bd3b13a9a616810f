"""The excerpt of a function: a module's text that gives it back, or what is missing."""

from __future__ import annotations

import linecache
from types import FunctionType
from typing import Any

import pytest

from mainspring.pipelines.code.excerpt import Excerpt, excerpt_of

BEFORE = """
import enum
import math
import secrets as hidden
import xml
import xml.dom.minidom
from collections import OrderedDict as Ordered
from functools import wraps
from typing import Any

TABLE = {"a": (1, 2.5, None), "b": b"x"}
NOTHING = float("nan")
LIVE = object()


class Own:
    pass


def loud(function):
    @wraps(function)
    def wrapper(*args):
        return function(*args) + "!"
    return wrapper


def even(n):
    return n == 0 or odd(n - 1)


def odd(n):
    return n != 0 and even(n - 1)
"""


def defined(text: str, name: str = "f") -> Any:
    """What a cell of a notebook defines: a name in a namespace that no file holds."""
    source = BEFORE + text
    linecache.cache["<cell>"] = (len(source), None, source.splitlines(keepends=True), "<cell>")
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, "<cell>", "exec"), space)
    return space[name]


def given_back(excerpt: Excerpt) -> Any:
    """The function, from nothing but the excerpt's text."""
    assert excerpt.problem == ""
    space: dict[str, Any] = {"__name__": excerpt.module}
    exec(compile(excerpt.text, excerpt.module, "exec"), space)
    return space[excerpt.name]


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("def f(n):\n    return math.sqrt(n) + TABLE['a'][1]", (4,)),
        ("def f(n):\n    return even(n)", (4,)),
        ("@loud\ndef f(n):\n    return str(n)", (4,)),
        ("def f(n: Any = Ordered(a=1)) -> Any:\n    return list(n)", ()),
        ("def f(tag):\n    return xml.dom.minidom.parseString(tag).toxml()", ("<a/>",)),
        (
            "def outer(k):\n    def inner(n):\n        return n * k + len(TABLE)\n    return inner\n\n\nf = outer(3)",
            (4,),
        ),
        ("f = lambda n: [TABLE[key] for key in sorted(TABLE)][n]", (1,)),
        ("def g(n):\n    return n\n\n\nf = g", (1,)),
        ("def f(TABLE):\n    return TABLE", (1,)),
        ("def f(n):\n    total = 0\n    for LIVE in range(n):\n        total += LIVE\n    return total", (5,)),
        ("def f(n):\n    import json as LIVE\n    return LIVE.dumps(n)", (5,)),
        ("async def f(n):\n    return n", ()),
    ],
)
def test_the_text_gives_the_function_back(text: str, arguments: tuple[Any, ...]) -> None:
    function = defined(text)
    again = given_back(excerpt_of(function))
    if arguments:
        assert again(*arguments) == function(*arguments)
    assert isinstance(again, FunctionType)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("def f():\n    return LIVE", "It uses `LIVE`, an object, which its source doesn't hold."),
        ("def f():\n    return NOTHING", "It uses `NOTHING`, a float, which its source doesn't hold."),
        ("def f():\n    return Own()", "It uses the class `Own`, which no module holds."),
        ("f = Own", "It is no Python function."),
        ("f, g = lambda: 1, lambda: 2", "`recorded_step` shares its line."),
        (
            "def outer():\n    k = 1\n    def inner():\n        nonlocal k\n        k += 1\n    return inner\n\n\nf = outer()",
            "Its source can't stand by itself: ",
        ),
        (
            "def use():\n    return TABLE\n\n\ndef outer(TABLE):\n    return lambda: (TABLE, use())\n\n\nf = outer(3)",
            "It uses two different things that are called `TABLE`.",
        ),
    ],
)
def test_what_the_text_cannot_hold_is_said(text: str, problem: str) -> None:
    excerpt = excerpt_of(defined(text))
    assert excerpt.problem.startswith(problem)
    assert (excerpt.module, excerpt.text) == ("", "")


def test_only_what_is_used_is_in_it_and_the_same_source_has_the_same_name() -> None:
    first, second = (excerpt_of(defined("def f(n):\n    return math.sqrt(n)")) for _ in range(2))
    assert first == second
    assert first.imports == ["math"]
    assert "hidden" not in first.text


def test_a_function_without_source_is_said_to_have_none() -> None:
    function = defined("def f():\n    return 1")
    linecache.cache.pop("<cell>")
    assert excerpt_of(function).problem == "The source of `f` is not known."
