"""The values that are secrets in this process: those that were resolved, and those of variables whose names say so."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import lru_cache

from mainspring.secrets.names import names_secret

SHORTEST_INSIDE = 8  # shorter ones stand in ordinary texts by chance
_SHORTEST = 4  # shorter values would blank out ordinary words
_SHORTEST_DIGITS = 6  # as would shorter numbers
_REFERENCE = ("secret:env/", "secret:file/")
# Set by whoever installs a database or a server: they hide nothing, and stand in ordinary texts.
_DEFAULTS = frozenset(
    """admin administrator changeme change-me change_me default disabled enabled example false guest localhost mainspring minio
    minioadmin mongodb mysql oracle passw0rd password placeholder postgres postgresql rabbitmq redis secret testing
    token unused your-password""".split()
)
_DEEPEST_QUOTED = 3  # JSON in JSON in the `repr` of an exception
# One for the process, as its log and its environment are: whoever resolved a secret, no thread may record it.
_known: dict[str, str] = {}


def remember(value: str, reference: str) -> None:
    """Take a value for a secret from here on, unless it is too short or well-known to hide anything."""
    if len(value) >= _SHORTEST and not _is_default(value):
        for each in _as_recorded(value):
            _known[each] = reference


def resolved_values() -> dict[str, str]:
    """The values that were resolved, in all their forms, with their references."""
    return _known


def secret_values() -> tuple[tuple[str, str], ...]:
    """The values that are secrets here, with their references, the longest first: one may be a part of another."""
    return _ordered(tuple(_in_environment()), len(_known))


@lru_cache(maxsize=4)  # asked for each text that is redacted; what is known only grows
def _ordered(in_environment: tuple[tuple[str, str], ...], count: int) -> tuple[tuple[str, str], ...]:  # noqa: ARG001  # says which are known
    found = {form: reference for reference, value in in_environment for form in _as_recorded(value)}
    return tuple(sorted((found | _known).items(), key=lambda known: -len(known[0])))


def _in_environment() -> Iterator[tuple[str, str]]:
    """The references to variables that hold secrets, with their values."""
    for name in os.environ:
        if not names_secret(name):
            continue
        value = os.environ.get(name, "")
        is_number = value.isdigit() and (len(value) < _SHORTEST_DIGITS or name.lower().endswith("tokens"))
        if len(value) > _SHORTEST and not is_number and not value.startswith(_REFERENCE) and not _is_default(value):
            yield f"secret:env/{name}", value


def _is_default(value: str) -> bool:
    return value.lower() in _DEFAULTS


@lru_cache(maxsize=4096)  # asked for each text that is redacted
def _as_recorded(value: str) -> tuple[str, ...]:
    """The value, as logs are read line by line each of its lines that says something by itself, and their other forms."""
    lines = value.splitlines() if "\n" in value else ()
    plain = [value, *(line for line in lines if len(line) >= SHORTEST_INSIDE and not line.startswith("-----"))]
    return tuple(dict.fromkeys([*plain, *(form for text in plain for form in _forms(text))]))


def _forms(text: str) -> Iterator[str]:
    """How others write a text: within URLs and HTML, as bytes, and in quotes, also those of a text within a text."""
    from html import escape
    from urllib.parse import quote, quote_plus

    data = text.encode("utf-8", "surrogatepass")
    for form in (quote(data), quote(data, safe=""), quote_plus(data), quote_plus(data, safe="/")):
        yield from (form, re.sub("%..", lambda match: match[0].lower(), form))
    yield from (escape(text), escape(text, quote=False))
    quoted = {text}
    for _ in range(_DEEPEST_QUOTED):
        quoted = {form for each in quoted for form in (each, *_quoted(each))}
    yield from quoted
    if len(data) >= SHORTEST_INSIDE:
        yield from (data.hex(), data.hex().upper(), *_in_base64(data))


def _quoted(text: str) -> tuple[str, ...]:
    """A text as JSON and Python write it between quotes; what stands before it may be why they escape its own."""
    import json

    data = ("\"'" + text).encode("utf-8", "surrogatepass")
    return (
        json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1], ascii(text)[1:-1],
        repr("\"'" + text)[4:-1], ascii("\"'" + text)[4:-1], repr(data[2:])[2:-1], repr(data)[5:-1],
    )  # fmt: skip


def _in_base64(data: bytes) -> Iterator[str]:
    """What bytes are in base64, whatever stands before and behind them there: the characters that they alone decide."""
    from base64 import b64encode, urlsafe_b64encode

    for encode in (b64encode, urlsafe_b64encode):
        yield encode(data).decode()
        for before in range(3):
            start, end = -(-before * 8 // 6), (before + len(data)) * 8 // 6
            yield encode(bytes(before) + data).decode()[start:end]
