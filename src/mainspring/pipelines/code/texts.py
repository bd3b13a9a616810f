"""Names in texts that a library looks up where it is called: `frame.query("x > @LIMIT")`, `duckdb.sql("from D")`.

Only what stands where such a name can: after `@`, or where SQL takes a table. All other words are columns or prose.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from mainspring.pipelines.code.facts import LONE, MARKED, TABLES, WORDS

_CHAIN = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_NAME, _MARKED = re.compile(_CHAIN), re.compile(rf"(?<!\w)@\s*({_CHAIN})")
_LONGEST = 50_000  # characters: longer is data

_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_TOKEN = re.compile(rf"'(?:[^']|'')*'|\"(?P<quoted>[^\"]+)\"|(?P<name>{_CHAIN})|\S")
_FIRST_WORDS = frozenset(
    "select with from insert create copy pivot unpivot summarize describe explain merge update delete table values".split()
)
_BEFORE_TABLES = frozenset("from join into update table copy describe summarize pivot unpivot".split())
_BETWEEN = frozenset("lateral only into from table or replace overwrite temp temporary if not exists".split())
_AFTER_LISTS = frozenset(
    """select where group order having limit union intersect except set values window qualify returning offset sample
    """.split()
)
_TAKES_COLUMN = re.compile(
    r"\bdistinct\s+from\b|\b(?:extract|trim|substring|overlay|position)\s*\([^()]*?\bfrom\b", re.IGNORECASE
)
_WITHIN = re.compile(r"\b([^\W\d]\w*)\s*(?:\([^()]*\)\s*)?as\s+(?:not\s+)?(?:materialized\s+)?\(", re.IGNORECASE)
_MADE = re.compile(rf"\b(?:table|view)\s+(?:if\s+not\s+exists\s+)?({_CHAIN})\s+as\b", re.IGNORECASE)


def names_in(text: str, *kinds: str) -> set[str]:
    """The dotted names of some kinds in a text.

    >>> sorted(names_in("x > @consts.LIMIT and y == 'me@here.example'", MARKED))
    ['consts.LIMIT']
    """
    return {name for kind in kinds for name in _IN[kind](text)}


def marked_in(text: str) -> set[str]:
    """The names after an `@` that is no part of a word."""
    return set(_MARKED.findall(text)) if "@" in text else set()


def tables_in(text: str) -> set[str]:
    """The names that stand where SQL takes a table, in a text of which a statement begins as SQL does.

    >>> sorted(tables_in('WITH a AS (FROM t) SELECT x, extract(year FROM d) FROM a, "u" JOIN v USING (x) WHERE y > 3'))
    ['t', 'u', 'v']
    >>> sorted(tables_in("SET threads=1; MERGE INTO t USING u ON a = b")), tables_in("WITH d AS (FROM d) FROM d")
    (['t', 'u'], {'d'})
    >>> tables_in("SELECT 1 FROM range(3)"), tables_in("a word from the model")
    (set(), set())
    """
    text = _COMMENT.sub(" ", text[:_LONGEST])
    if not is_sql(text):
        return set()
    text = _TAKES_COLUMN.sub("(", text)
    own = {name.lower() for name in _MADE.findall(text)}
    for made in _WITHIN.finditer(text):  # `WITH d AS (FROM d)` reads another d
        if made[1].lower() not in {name.lower() for name in _at_tables(_enclosed(text[made.end() :]))}:
            own.add(made[1].lower())
    return {name for name in _at_tables(text) if name.lower() not in own}


def is_sql(text: str) -> bool:
    """Whether a statement of a text begins as SQL does."""
    firsts = [_NAME.match(each.lstrip(" \t\r\n(")[:12]) for each in text.split(";")]
    return any(first is not None and first[0].lower() in _FIRST_WORDS for first in firsts)


def _enclosed(text: str) -> str:
    """What is before the parenthesis that closes one open before the text."""
    depth = 1
    for place, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if not depth:
            return text[:place]
    return text


def _at_tables(text: str) -> Iterator[str]:
    # Per open parenthesis: whether a list of tables goes on, and whether a table comes next.
    levels = [(False, False)]
    for token in _TOKEN.finditer(text):
        said, (is_list, is_next) = token[0].lower(), levels[-1]
        if said == "(":
            levels.append((is_next, is_next))
            levels[-2] = (is_list, False)
        elif said == ")":
            levels = levels[:-1] or [(False, False)]
        elif said == ",":
            levels[-1] = (is_list, is_list)
        elif said in _BEFORE_TABLES or (said == "using" and not text[token.end() :].lstrip().startswith("(")):
            levels[-1] = (said in ("from", "join", "using"), True)
        elif said in _AFTER_LISTS:
            levels[-1] = (False, False)
        elif is_next and said not in _BETWEEN:
            levels[-1] = (is_list, False)
            name = token["quoted"] or token["name"]
            if name and not (is_list and text[token.end() :].lstrip().startswith("(")):  # else a function
                yield name


def formula_in(text: str) -> set[str]:
    """The functions that a formula calls.

    >>> sorted(formula_in("y ~ scale(x) + z")), sorted(formula_in("takes ~ 5 s (with load)"))
    (['scale'], [])
    """
    left, tilde, right = text.partition("~")
    if not tilde or len(text) > _LONGEST:
        return set()
    try:
        trees = [ast.parse(side.strip(), mode="eval") for side in (left, right) if side.strip()]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    calls = [node.func for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {ast.unparse(function) for function in calls if isinstance(function, (ast.Name, ast.Attribute))}


def words_in(text: str) -> set[str]:
    """Everything in a text that may be a dotted name."""
    return set(_NAME.findall(text)) if len(text) <= _LONGEST else set()


def lone_in(text: str) -> set[str]:
    """The text, if it is a dotted name."""
    return {text} if len(text) <= _LONGEST and _NAME.fullmatch(text) else set()


_IN = {MARKED: marked_in, TABLES: tables_in, WORDS: words_in, LONE: lone_in}


def texts_in(value: object, depth: int = 0) -> Iterator[str]:
    """The texts that a plain value holds."""
    if isinstance(value, str):
        yield value
    elif depth < 5 and isinstance(value, (list, tuple, set, frozenset, dict)):
        for each in [*value, *value.values()] if isinstance(value, dict) else value:
            yield from texts_in(each, depth + 1)
