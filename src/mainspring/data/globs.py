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


def _set(part: str) -> str:
    inner = part[1:-1].replace("\\", r"\\").replace("[", r"\[").replace("^", r"\^")
    return f"[^/{inner[1:]}]" if inner.startswith("!") else f"[{inner}]"
