"""Names in texts that a library looks up where it is called: `frame.query("x > @LIMIT")`, `duckdb.sql("from D")`.

Of a text that is told, what stands where such a name can: after `@`, or where SQL takes a table. A name too many is
harmless, one too few gives a stale result.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Collection, Iterator

from mainspring.pipelines.code.facts import MARKED, TABLES, WORDS, Asked

ANY = "*"
"""Beside names in texts: any others. After an `@` anything may be put, or a text isn't told."""
_MOST = 100  # texts that one may be
_LONGEST = 100_000  # characters of a text that is put together

_CHAIN = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_NAME, _MARKED = re.compile(_CHAIN), re.compile(rf"(?<!\w)@\s*({_CHAIN}(?:\.(?=$|[{{%]))?)")
_OPEN_MARK = re.compile(r"(?<!\w)@(?!\s*[^\W\d])")
_TOKEN = re.compile(
    rf"[eE]'(?:\\.|''|[^'\\])*'|'(?P<text>(?:[^']|'')*)'|\"(?P<quoted>[^\"]+)\"|--[^\n]*|/\*.*?\*/"
    rf"|(?P<tag>\$\w*\$).*?(?P=tag)|(?P<name>{_CHAIN})|\S",
    re.DOTALL,
)
_FIRST_WORDS = frozenset(
    "select with from insert create copy pivot unpivot summarize describe explain merge update delete table values".split()
)
_OPENS = re.compile(r"\s*\(")
_BEFORE_TABLES = frozenset(
    """from join into update table view copy describe desc show summarize pivot unpivot pivot_wider pivot_longer using
    """.split()
)
_BETWEEN = frozenset("lateral only table or replace overwrite temp temporary if not exists".split())
_AFTER_LISTS = frozenset(
    """select where group order having limit union intersect except set values window qualify returning offset sample
    """.split()
)
_NO_TABLES = frozenset(["select", "from", "with"])
_TAKES_COLUMN = frozenset("extract trim substring overlay position".split())  # of which `from` is a part
_TAKES_TEXT = frozenset("query query_table".split())


class Texts:
    """The names in the texts of the code that is reached, for what looks names up in texts which aren't told."""

    def __init__(self) -> None:
        self._marked = _Names()
        self._words = _Names()
        self._arguments = _Names()

    def __len__(self) -> int:
        return len(self._marked.all) + len(self._words.all) + len(self._arguments.all)

    def copy(self) -> Texts:
        """The same names, to go on from."""
        other = Texts()
        other._marked.add(self._marked.all)
        other._words.add(self._words.all)
        other._arguments.add(self._arguments.all)
        return other

    def take(self, asked: Asked) -> None:
        """Take in the names in texts."""
        self._marked.add(asked.marked)
        self._words.add(asked.words)
        self._arguments.add(asked.arguments)

    def of(self, kind: str, bound: Collection[str]) -> set[str]:
        """The names of a kind that may mean one of those `bound`; one that `_` ends or begins may be a part of a name.

        One with `_` at both ends (`f"{name}_{year}"`) is, where what is before or behind it is a word, too, or a number.

        >>> texts = Texts()
        >>> texts.take(asked_in(["sum(x) from flights_", "a.b"]))
        >>> sorted(texts.of(TABLES, ["flights_2023", "x", "a", "c"]))
        ['a.b', 'flights_2023', 'x']
        >>> texts.take(asked_in(["_", "fare"]))
        >>> sorted(texts.of(TABLES, ["MAX_fare", "y_2013", "y_z", "z"]))
        ['MAX_fare', 'y_2013']
        """
        if kind == MARKED and ANY not in self._marked.all:
            return self._marked.within(bound)
        return self._words.within(bound) | (self._arguments.within(bound) if kind == MARKED else set())


class _Names:
    """Dotted names by their first parts, for a look-up costs what is bound in a module, not what stands in all texts."""

    def __init__(self) -> None:
        self.all: set[str] = set()
        self._of: dict[str, set[str]] = {}
        self._begins: tuple[str, ...] = ()
        self._ends: tuple[str, ...] = ()
        self._middles: tuple[str, ...] = ()

    def add(self, names: Collection[str]) -> None:
        new = set(names) - self.all
        self.all |= new
        for name in new:
            self._of.setdefault(name.partition(".")[0], set()).add(name)
        self._begins += tuple(name for name in new if name[-1] == "_" != name[0])
        self._ends += tuple(name for name in new if name[0] == "_" != name[-1])
        self._middles += tuple(name for name in new if name[0] == "_" == name[-1])

    def within(self, bound: Collection[str]) -> set[str]:
        bound = [
            each for each in bound if each.strip("_")
        ]  # `_`, by which a notebook calls what it showed last, is no name
        found = {name for each in bound for name in self._of.get(each, ())}
        found |= {each for each in bound if each.startswith(self._begins) or each.endswith(self._ends)}
        return found | {each for each in bound if any(map(self._is_around, self._splits(each)))}

    def _splits(self, name: str) -> Iterator[tuple[str, str]]:
        """What is before and behind each part of a name that may be the middle of it."""
        for middle in self._middles:
            for place in range(1, len(name) - len(middle)):
                if name.startswith(middle, place):
                    yield name[:place], name[place + len(middle) :]

    def _is_around(self, sides: tuple[str, str]) -> bool:
        return any(side in self.all or side.isdecimal() for side in sides) and all(side.strip("_") for side in sides)


def asked_in(texts: Collection[str]) -> Asked:
    """The names in texts that may be put together with others.

    >>> asked_in(["x > @consts.LIM", "y > @"])
    Asked(marked=('*', 'consts.LIM'), words=('consts.LIM', 'x', 'y'), arguments=())
    """
    marked = {name for text in texts for name in marked_in(text)}
    marked |= {ANY for text in texts if _OPEN_MARK.search(text)}
    return Asked(tuple(sorted(marked)), tuple(sorted({name for text in texts for name in words_in(text)})))


def composed(told: str, of: Callable[[str], Collection[str] | None]) -> set[str] | None:
    r"""The texts that a told text may be, in which a name between NULs stands for the texts `of` it; None if one isn't told.

    >>> composed("a \0B\0", {"B": ["c", "d"]}.get) == {"a c", "a d"}
    True
    """
    pieces = told.split("\0")
    choices = [of(piece) if place % 2 else [piece] for place, piece in enumerate(pieces)]
    known = [each for each in choices if each]
    if len(known) < len(choices) or math.prod(map(len, known)) > _MOST:
        return None
    found = {"".join(chosen) for chosen in itertools.product(*known)}
    return found if max(map(len, found)) <= _LONGEST else None


def names_in(text: str, *kinds: str) -> set[str]:
    """The dotted names of some kinds in a told text.

    >>> sorted(names_in("x > @consts.LIMIT and y == 'me@here.example'", MARKED))
    ['consts.LIMIT']
    """
    return {name for kind in kinds for name in _IN[kind](text)}


def marked_in(text: str) -> set[str]:
    """The names after an `@` that is no part of a word; of one that goes on elsewhere, anything that is in it.

    >>> sorted(marked_in("x > @LIMIT and y < @consts."))
    ['LIMIT', 'consts.*']
    """
    found = _MARKED.findall(text) if "@" in text else []
    return {f"{name}*" if name.endswith(".") else name for name in found}


def words_in(text: str) -> set[str]:
    """Everything in a text that may be a dotted name."""
    return set(_NAME.findall(text))


class _Level:
    """What is known within an open parenthesis of SQL: the tokens so far, and the tables that are its own."""

    def __init__(self, function: str = "", *, is_next: bool = False) -> None:
        self.function = function
        self.is_list = is_next  # a list of tables goes on
        self.is_next = is_next  # a table comes next
        self.said: list[str] = []
        self.own: set[str] = set()
        self.makes = ""

    def made(self) -> str:
        """The table that `WITH name (columns) AS MATERIALIZED` makes of the parenthesis which opens now."""
        said = [each for each in self.said[-6:] if each not in ("materialized", "not")]
        if "with" not in self.said or said[-1:] != ["as"]:
            return ""
        return next((each for each in reversed(said[:-1]) if each not in "()"), "")


def tables_in(text: str) -> set[str]:
    """The names that stand where SQL takes a table, or the whole text.

    >>> sorted(tables_in('WITH a AS (FROM t) SELECT x, extract(year FROM d) FROM a, "u" JOIN v USING (x) WHERE y > 3'))
    ['t', 'u', 'v']
    >>> sorted(tables_in("SET threads=1; MERGE INTO t USING u ON a = b")), tables_in("WITH d AS (FROM d) FROM d")
    (['t', 'u'], {'d'})
    >>> sorted(tables_in("WITH a AS (FROM b), b AS (SELECT 1) FROM b")), tables_in("x IN (SELECT '--', y FROM t -- from u")
    (['b'], {'t'})
    >>> tables_in("SELECT 1 FROM range(3)"), tables_in("flights"), tables_in("FROM query_table(['a'])")
    (set(), {'flights'}, {'a'})
    """
    return {text} if _NAME.fullmatch(text) else set(_at_tables(text))


def _at_tables(text: str) -> Iterator[str]:
    levels = [_Level()]
    for token in _TOKEN.finditer(text):
        said, level = token[0].lower(), levels[-1]
        if said.startswith(("--", "/*")):
            continue
        last = level.said[-1] if level.said else ""
        is_column = said == "from" and (level.function in _TAKES_COLUMN or last == "distinct")
        name = token["quoted"] or token["name"] or token["text"]
        is_before = _OPENS.match(text, token.end()) is not None  # before a parenthesis
        is_taken = level.is_next and said not in _NO_TABLES and not (level.is_list and is_before)
        if name and is_taken and not any(name.lower() in each.own for each in levels):
            yield name
        if token["text"] and level.function in _TAKES_TEXT:
            yield from words_in(token["text"])
        if said == "(":
            levels.append(_Level(last, is_next=level.is_next))
            levels[-1].makes, level.is_next = level.made(), False
            level.own.update({levels[-1].makes} if "recursive" in level.said else ())
        elif said == ")":
            closed = levels.pop()
            levels = levels or [_Level()]
            levels[-1].own.add(closed.makes)
            levels[-1].said.append(said)
        elif said == ";":
            levels = [_Level()]
        else:
            _go_on(level, said, is_column=is_column or (said == "using" and is_before))
        level.said.append(said.strip('"'))


def _go_on(level: _Level, said: str, *, is_column: bool) -> None:
    """Note what a word, comma or sign says about the tokens after it."""
    if said == ",":
        level.is_next = level.is_list
    elif said in _BEFORE_TABLES and not is_column:
        level.is_list, level.is_next = said in ("from", "join", "using"), True
    elif said in _AFTER_LISTS:
        level.is_list = level.is_next = False
    elif said not in _BETWEEN and said != "[":
        level.is_next = False


def is_sql(text: str) -> bool:
    """Whether a statement of a text begins as SQL does."""
    firsts = [_NAME.match(each.lstrip(" \t\r\n(")[:12]) for each in text.split(";")]
    return any(first is not None and first[0].lower() in _FIRST_WORDS for first in firsts)


def texts_in(value: object) -> Iterator[str]:
    """The texts that a plain value holds, however deep.

    >>> cycle = ["a", {"b": ("c",)}]
    >>> cycle.append(cycle)
    >>> sorted(texts_in(cycle))
    ['a', 'b', 'c']
    """
    pending, met = [value], set[int]()
    while pending:
        each = pending.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, (list, tuple, set, frozenset, dict)) and id(each) not in met:
            met.add(id(each))
            pending += [*each, *each.values()] if isinstance(each, dict) else each


_IN = {MARKED: marked_in, TABLES: tables_in, WORDS: words_in}
