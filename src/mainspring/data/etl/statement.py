"""The text of a SQL query: whether its rows have an order, and where further keys of that order go. Pure text."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from mainspring.errors import GraphError

_TOKEN = re.compile(
    r"""(?P<skipped>--[^\n]*|/\*.*?\*/|\s+)
    |(?P<text>[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|(?P<dollar>\$\w*\$).*?(?P=dollar))
    |(?P<word>[^\W\d]\w*)
    |(?P<mark>.)""",
    re.VERBOSE | re.DOTALL,
)
_OPENING, _CLOSING = "([{", ")]}"
_BEHIND_ORDER = ("limit", "offset", "fetch")


class Statement(msgspec.Struct, frozen=True):
    """One query, cut where further sort keys belong: behind its ORDER BY, before LIMIT and OFFSET."""

    head: str
    tail: str
    is_ordered: bool
    is_ordered_by_all: bool

    @property
    def text(self) -> str:
        """The whole query."""
        return f"{self.head}{self.tail}"

    def fully_ordered(self, columns: int) -> str:
        """The query with every column of its result as a further sort key, so that no two different rows are tied."""
        if not self.is_ordered:
            return f"SELECT * FROM (\n{self.text}\n) ORDER BY ALL"
        if self.is_ordered_by_all:
            return self.text
        return f"{self.head}\n, {', '.join(map(str, range(1, columns + 1)))}\n{self.tail}"


def read_statement(text: str) -> Statement:
    r"""Find the ORDER BY of a query: that of its outermost level, not one of a subquery or a window.

    Raises:
        GraphError: it is not one query.

    >>> read_statement("SELECT a FROM t ORDER BY a LIMIT 3;").fully_ordered(1)
    'SELECT a FROM t ORDER BY a \n, 1\nLIMIT 3'
    >>> read_statement("SELECT rank() OVER (ORDER BY a) FROM t").is_ordered
    False
    """
    words, end = _outermost(text)
    if not words:
        raise GraphError("the SQL is empty; write a query, such as SELECT … FROM a_table ORDER BY a_key")
    order = next((at for at in range(len(words) - 2, -1, -1) if _is_order(words, at)), None)
    if order is None:
        return Statement(text[:end], "", False, False)
    cut = next((start for word, start in words[order + 2 :] if word in _BEHIND_ORDER), end)
    keys = [word for word, start in words[order + 2 :] if start < cut]
    by_all = keys[:1] == ["all"] and not set(keys[1:]) - {"asc", "desc", "nulls", "first", "last"}
    return Statement(text[:cut], text[cut:end], True, by_all)


def _is_order(words: list[tuple[str, int]], at: int) -> bool:
    return words[at][0] == "order" and words[at + 1][0] == "by"


def _outermost(text: str) -> tuple[list[tuple[str, int]], int]:
    """The words and marks outside of brackets with where they begin, and where the query ends."""
    found: list[tuple[str, int]] = []
    depth, end = 0, 0
    tokens = _tokens(text)
    for kind, token, start in tokens:
        if token == ";" and not depth:
            if any(True for _ in tokens):
                raise GraphError("the SQL holds several statements; make a step of each")
            break
        depth += (token in _OPENING) - (token in _CLOSING) if kind == "mark" else 0
        end = start + len(token)
        if not depth:
            found.append((token.lower(), start))
    return found, end


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    for match in _TOKEN.finditer(text):
        if match["skipped"] is None:
            yield ("mark" if match["mark"] else "word" if match["word"] else "text"), match[0], match.start()
