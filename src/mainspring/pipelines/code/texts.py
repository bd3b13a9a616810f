"""Names in texts that a library looks up where it is called: `frame.query("x > @LIMIT")`, `duckdb.sql("from D")`.

Only the library knows which of a text's words are names. Any word may be one; those that nothing is called mean nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_CHAIN = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_NAME, _MARKED = re.compile(_CHAIN), re.compile(rf"@\s*({_CHAIN})")
_LONGEST = 50_000  # characters: longer is data
_FIRST_WORDS = frozenset("select with from insert create copy pivot unpivot summarize describe explain merge".split())
_FORMULA = " ~ "
# What looks up names that are marked by `@`, and what looks up any, whatever object it is taken from.
_OF_MARKED = frozenset({"query", "eval"})
_OF_ANY = frozenset(
    """sql SQLContext sql_expr execute executemany from_query query_df sqldf evaluate dmatrix dmatrices
    pandas.eval""".split()
)

_GIVEN_TABLES = frozenset({"sql", "query", "scan_query"})


def asked_in(text: str) -> set[str]:
    """The dotted names that a text asks for by itself: those after `@`, and any in SQL or a formula.

    >>> sorted(asked_in("x > @consts.LIMIT")), sorted(asked_in("the limit of x"))
    (['consts.LIMIT'], [])
    >>> sorted(asked_in("SELECT v FROM D"))
    ['D', 'FROM', 'SELECT', 'v']
    """
    found = set(_MARKED.findall(text)) if "@" in text else set()
    if is_sql(text) or _FORMULA in text:
        found |= words_in(text)
    return found


def is_sql(text: str) -> bool:
    """Whether a text begins as SQL does."""
    first = text.lstrip(" \t\n(")[:12].split(None, 1)[:1]
    return bool(first) and first[0].lower() in _FIRST_WORDS


def words_in(text: str) -> set[str]:
    """Everything in a text that may be a dotted name."""
    return set(_NAME.findall(text)) if len(text) <= _LONGEST else set()


def is_given_tables(name: str) -> bool:
    """Whether what has this resolved name is Mainspring's own SQL, which knows no tables but those that it is given."""
    return name.startswith("mainspring.") and name.rpartition(".")[2] in _GIVEN_TABLES


def texts_in(value: object, depth: int = 0) -> Iterator[str]:
    """The texts that a plain value holds."""
    if isinstance(value, str):
        yield value
    elif depth < 5 and isinstance(value, (list, tuple, set, frozenset, dict)):
        for each in [*value, *value.values()] if isinstance(value, dict) else value:
            yield from texts_in(each, depth + 1)


def looks_up(name: str, last: str) -> tuple[bool, bool]:
    """Whether what has this resolved name, and this last part, looks up names in texts, and whether unmarked ones too.

    >>> looks_up("duckdb.query", "query"), looks_up("", "query"), looks_up("mainspring.sql", "sql")
    ((True, True), (True, False), (False, False))
    """
    if is_given_tables(name):
        return False, False
    of_any = name.partition(".")[0] == "duckdb" or last in _OF_ANY or name in _OF_ANY
    return of_any or last in _OF_MARKED, of_any
