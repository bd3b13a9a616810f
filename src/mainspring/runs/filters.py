"""The grammar of searches, MLflow's: from text to conditions and orders, without a look at any table.

    metrics.auc > 0.9 AND params.`a b` = 'x' AND attributes.status IN ('FINISHED', 'FAILED') AND tags.team IS NOT NULL

An identifier is a kind and a key, `metrics.auc`; attributes need no kind. A key that is no plain word stands in backticks
or double quotes. Texts stand in quotes, doubled inside; numbers don't.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

import msgspec

from mainspring.errors import InvalidError, close_names, listed

Kind = Literal["metric", "param", "tag", "attribute", "dataset"]
Operator = Literal["=", "!=", ">", ">=", "<", "<=", "LIKE", "ILIKE", "IN", "NOT IN", "IS NULL", "IS NOT NULL"]

_MOST_CHARACTERS = 50_000
_MOST_CONDITIONS = 100
_MOST_VALUES = 1_000  # in one list
_SAID: dict[str, Kind] = {
    "metric": "metric", "metrics": "metric", "param": "param", "params": "param", "parameter": "param",
    "parameters": "param", "tag": "tag", "tags": "tag", "attribute": "attribute", "attributes": "attribute",
    "attr": "attribute", "run": "attribute", "dataset": "dataset", "datasets": "dataset",
}  # fmt: skip
_DATASET_KEYS = ("name", "digest", "context")
_NUMBERS: tuple[Operator, ...] = ("=", "!=", ">", ">=", "<", "<=")
_TEXTS: tuple[Operator, ...] = ("=", "!=", "LIKE", "ILIKE", "IN", "NOT IN")
_PRESENCE: tuple[Operator, ...] = ("IS NULL", "IS NOT NULL")
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<text>'(?:[^']|'')*') | (?P<quoted>"(?:[^"]|"")*") | (?P<ticked>`[^`]*`)
      | (?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]))
      | (?P<word>[^\W\d][\w/-]*) | (?P<dot>\.) | (?P<sign>!=|>=|<=|=|>|<) | (?P<mark>[(),])
    )""",
    re.VERBOSE,
)
_PLAIN_KEY = re.compile(r"[\w./-]+")


class Kinds(msgspec.Struct, frozen=True):
    """What a search of some records may speak of: attributes by name with their types, and other kinds."""

    records: str
    attributes: Mapping[str, Literal["text", "number"]]
    others: tuple[Kind, ...] = ()


class Condition(msgspec.Struct, frozen=True):
    """One comparison. `value` is a number of a metric, else a text or a number by the attribute; a tuple of a list."""

    kind: Kind
    key: str
    operator: Operator
    value: str | float | tuple[str | float, ...] | None = None


class Order(msgspec.Struct, frozen=True):
    """One key of an order; what has no value comes last, either way."""

    kind: Kind
    key: str
    is_descending: bool


def parse_filter(text: str, kinds: Kinds) -> tuple[Condition, ...]:
    """The conditions of a filter, all of which must hold; none of an empty one.

    Raises:
        InvalidError: it breaks the grammar; the place and what was expected there are named.

    >>> parse_filter("metrics.auc > 0.9 and tags.`a b` ilike 'x%'", Kinds("runs", {}, ("metric", "tag")))[1].key
    'a b'
    """
    reader = _Reader(text, kinds, "filter")
    found: list[Condition] = []
    while not reader.is_done():
        if found:
            reader.take_word("AND")
        found.append(reader.condition())
        if len(found) > _MOST_CONDITIONS:
            raise InvalidError("filter", text, f"one of at most {_MOST_CONDITIONS} conditions")
    return tuple(found)


def parse_order(text: str, kinds: Kinds) -> Order:
    """One key of an order: an identifier, and ASC (the default) or DESC; raises as `parse_filter` does.

    >>> parse_order("metrics.auc DESC", Kinds("runs", {}, ("metric",)))
    Order(kind='metric', key='auc', is_descending=True)
    """
    reader = _Reader(text, kinds, "order")
    kind, key = reader.identifier()
    word = "ASC" if reader.is_done() else reader.take_word("ASC", "DESC")
    if not reader.is_done():
        raise reader.wrong("the end")
    return Order(kind, key, word == "DESC")


class _Reader:
    """Reads a text token by token."""

    def __init__(self, text: str, kinds: Kinds, what: str) -> None:
        if len(text) > _MOST_CHARACTERS:
            raise InvalidError(what, text, f"at most {_MOST_CHARACTERS:,} characters long")
        self._text = text.rstrip()
        self._kinds = kinds
        self._what = what
        self._at = 0

    def is_done(self) -> bool:
        return self._at >= len(self._text)

    def wrong(self, expected: str, hint: str = "", at: int | None = None) -> InvalidError:
        """The error for what stands here, or at a place before."""
        at = self._at if at is None else at
        rest = self._text[at:].lstrip()
        place = f"{self._what}, at character {len(self._text) - len(rest) + 1}"
        return InvalidError(place, rest[:40] or "the end", expected, hint)

    def take_word(self, *words: str) -> str:
        match = _TOKEN.match(self._text, self._at)
        if match is None or (match["word"] or "").upper() not in words:
            hint = "Only AND joins conditions." if words == ("AND",) else ""
            raise self.wrong(" or ".join(f"`{word}`" for word in words), hint)
        self._at = match.end()
        return match["word"].upper()

    def condition(self) -> Condition:
        began = self._at
        kind, key = self.identifier()
        number = kind == "metric" or (kind == "attribute" and self._kinds.attributes[key] == "number")
        before = self._at
        operator = self._operator()
        allowed = _PRESENCE + (_NUMBERS if number else _TEXTS)
        if operator not in allowed:
            raise self.wrong(
                f"an operator for `{self._text[began:before].strip()}`", f"It takes {', '.join(allowed)}.", before
            )
        if operator in _PRESENCE:
            return Condition(kind, key, operator)
        if operator in ("IN", "NOT IN"):
            return Condition(kind, key, operator, self._values())
        return Condition(kind, key, operator, self._value(number=number))

    def identifier(self) -> tuple[Kind, str]:
        """A kind and a key, or an attribute's name alone."""
        began = self._at
        first = self._name("an identifier such as `metrics.auc`")
        match = _TOKEN.match(self._text, self._at)
        kind = _SAID.get(first.lower())
        if match is None or not match["dot"]:
            return "attribute", self._attribute(first, began)
        if kind is None or (kind != "attribute" and kind not in self._kinds.others):
            known = [f"{each}s" for each in self._kinds.others] + (["attributes"] if self._kinds.attributes else [])
            raise self.wrong(f"one of {listed(known)} of {self._kinds.records}", at=began)
        self._at = match.end()
        key = self._key()
        if kind == "attribute":
            return kind, self._attribute(key, began)
        if kind == "dataset" and key not in _DATASET_KEYS:
            raise self.wrong(f"a key of a dataset: {', '.join(_DATASET_KEYS)}", at=began)
        return kind, key

    def _attribute(self, name: str, began: int) -> str:
        if name not in self._kinds.attributes:
            near = close_names(name, self._kinds.attributes) or list(self._kinds.attributes)
            raise self.wrong(f"an attribute of {self._kinds.records}", f"Nearest: {', '.join(near)}.", began)
        return name

    def _name(self, expected: str) -> str:
        match = _TOKEN.match(self._text, self._at)
        if match is None or match.lastgroup not in ("word", "quoted", "ticked"):
            raise self.wrong(expected)
        self._at = match.end()
        return _unquoted(match[0].strip())

    def _key(self) -> str:
        plain = _PLAIN_KEY.match(self._text, self._at)
        if plain is None:
            return self._name("a key; one that is no plain word stands in backticks")
        self._at = plain.end()
        return plain[0]

    def _operator(self) -> str:
        match = _TOKEN.match(self._text, self._at)
        if match is None or match.lastgroup not in ("sign", "word"):
            raise self.wrong("an operator")
        if match["sign"]:
            self._at = match.end()
            return match["sign"]
        word = self.take_word("LIKE", "ILIKE", "IN", "NOT", "IS")
        if word == "NOT":
            return f"NOT {self.take_word('IN')}"
        if word == "IS":
            return "IS NOT NULL" if self.take_word("NULL", "NOT") == "NOT" and self.take_word("NULL") else "IS NULL"
        return word

    def _value(self, *, number: bool) -> str | float:
        match = _TOKEN.match(self._text, self._at)
        wanted = ("number",) if number else ("text", "quoted")
        if match is None or match.lastgroup not in wanted:
            raise self.wrong("a number" if number else "a text in quotes")
        self._at = match.end()
        return _number(match["number"]) if number else _unquoted(match[0].strip())

    def _values(self) -> tuple[str | float, ...]:
        self._mark("(")
        values = [self._value(number=False)]
        while self._mark(",", ")") == ",":
            values.append(self._value(number=False))
            if len(values) > _MOST_VALUES:
                raise self.wrong(f"the end of a list of at most {_MOST_VALUES:,} values")
        return tuple(values)

    def _mark(self, *marks: str) -> str:
        match = _TOKEN.match(self._text, self._at)
        if match is None or match["mark"] not in marks:
            raise self.wrong(" or ".join(f"`{mark}`" for mark in marks))
        self._at = match.end()
        return match["mark"]


def _unquoted(token: str) -> str:
    return token[1:-1].replace(token[0] * 2, token[0]) if token[0] in "'\"`" else token


def _number(text: str) -> float:
    return int(text) if text.lstrip("+-").isdigit() and len(text) < 19 else float(text)
