"""Globs over paths that are text, of trees and of buckets; `pathlib` walks folders of this machine in the same dialect."""

from __future__ import annotations

import re

_SIGNS = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
_WITH_SETS, _WITHOUT = (re.compile(rf"(\*\*/|\*\*|\*|\?{each})") for each in (r"|\[!?[^\]/]+\]", ""))


def glob_expression(pattern: str, *, sets: bool = True) -> re.Pattern[str]:
    """A glob as an expression for whole paths: `*` and `?` stop at `/`, `**/` is any number of folders.

    With `sets`, `[ab]` is one of some characters, `[!ab]` one of the others; without, brackets are themselves.

    >>> fits = glob_expression("**/a[12].*").fullmatch
    >>> [bool(fits(path)) for path in ("a1.png", "x/y/a2.csv", "a3.png", "a1/b.png")]
    [True, True, False, False]
    """
    parts = (_WITH_SETS if sets else _WITHOUT).split(pattern)
    words = (_SIGNS.get(part) or (_set(part) if at % 2 else re.escape(part)) for at, part in enumerate(parts))
    return re.compile(f"(?s:{''.join(words)})")


def is_hidden(pattern: str, path: str) -> bool:
    """Whether a glob leaves a path out, as shells do: what begins with a dot, unless a part of the glob does; and what
    begins with `~$`, by which office programs lock their files.

    >>> [is_hidden("**/*.csv", path) for path in ("a.csv", ".a.csv", ".git/a.csv", "x/~$a.xlsx")]
    [False, True, True, True]
    >>> is_hidden(".old/*.csv", ".old/a.csv")
    False
    """
    signs = (".", "~$")
    if any(part.startswith(signs) for part in pattern.split("/")):
        return False
    return any(part.startswith(signs) for part in path.split("/"))


def _set(part: str) -> str:
    inner = part[1:-1].replace("\\", r"\\").replace("[", r"\[").replace("^", r"\^")
    return f"[^/{inner[1:]}]" if inner.startswith("!") else f"[{inner}]"
