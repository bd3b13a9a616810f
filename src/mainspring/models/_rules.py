"""What names, tags and texts of the registry may be, and how far back a rollback goes. No I/O."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from mainspring.errors import InvalidError, WrongTypeError, close_names
from mainspring.models.version import STAGES, Stage

_LONGEST_NAME = 250
_LONGEST_TEXT = 100_000
_RESERVED = frozenset("/:@")


def check_model_name(name: str) -> str:
    """Refuse a name of a model that no reference could say, and give it as it is compared (Unicode NFC).

    Raises:
        InvalidError: it is empty or too long, has `/`, `:`, `@` or a character that can't be seen, or spaces around it.
    """
    name = unicodedata.normalize("NFC", name)
    # A zero-width joiner (a format character) is a part of emoji.
    seen = all(char == "\u200d" or unicodedata.category(char)[0] != "C" for char in name)
    if not name or len(name) > _LONGEST_NAME or name != name.strip() or _RESERVED & set(name) or not seen:
        expected = f"a name of 1 to {_LONGEST_NAME} visible characters without `/`, `:`, `@` and spaces around it"
        raise InvalidError("model", name, expected)
    return name


def check_alias(alias: str) -> None:
    """Refuse an alias that could not be told from a version.

    Raises:
        InvalidError: it is empty, a number, `latest`, or has characters other than letters, digits, `_`, `-` and `.`.
        WrongTypeError: it is no text.
    """
    if not isinstance(alias, str):
        raise WrongTypeError("alias", alias, "a text")
    plain = alias.replace("_", "a").replace("-", "a").replace(".", "a")
    if not (plain.isascii() and plain.isalnum()) or alias.removeprefix("v").isdecimal() or alias == "latest":
        raise InvalidError("alias", alias, "a name of letters, digits, `_`, `-` and `.`, and not a version")


def check_stage(stage: str) -> Stage:
    """A stage however its letters are cased; raises `InvalidError`."""
    for known in STAGES:
        if known.lower() == stage.lower():
            return known
    near = close_names(stage, STAGES)
    raise InvalidError("stage", stage, f"one of {', '.join(STAGES)}", f"Nearest: {near[0]}." if near else "")


def check_tags(tags: Mapping[str, Any]) -> dict[str, str]:
    """Tags as they are kept, values as text.

    Raises:
        InvalidError: a key is empty or too long, or a value is too long; the key is named.
        WrongTypeError: a key is no text.
    """
    for key, value in tags.items():
        if not isinstance(key, str):
            raise WrongTypeError("tags", key, "a text")
        if not key or len(key) > _LONGEST_NAME:
            raise InvalidError("tag", key, f"a key of 1 to {_LONGEST_NAME} characters")
        check_text(f"tags.{key}", str(value))
    return {key: str(value) for key, value in tags.items()}


def without(tags: Mapping[str, str], key: str) -> dict[str, str]:
    """Tags without one."""
    return {name: value for name, value in tags.items() if name != key}


def check_text(path: str, text: str) -> str:
    """Refuse a text that is no text for people: too long, or with a NUL.

    Raises:
        InvalidError: it is.
    """
    if len(text) > _LONGEST_TEXT:
        raise InvalidError(path, f"{len(text):,} characters", f"at most {_LONGEST_TEXT:,}", "Log it as a file.")
    if "\0" in text:
        raise InvalidError(path, text, "text without NUL")
    return text


def before_last(moves: Sequence[tuple[str | None, bool]]) -> list[str]:
    """What an alias pointed at before, nearest first, of its moves from the oldest on: a target, and whether it rolled back.

    A rollback undoes the move before it, so that a second one goes one further and not forth again.

    >>> before_last([("a", False), ("b", False), ("c", False), ("b", True)])
    ['a']
    """
    stack: list[str] = []
    for target, rolled_back in moves:
        if rolled_back:
            while stack and stack[-1] != target:
                stack.pop()
        elif target is not None:
            stack.append(target)
    return stack[-2::-1]
