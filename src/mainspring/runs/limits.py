"""What may be logged: how long keys and values may be, and which keys are ours. Said once, for every way to log."""

from __future__ import annotations

from typing import Any

from mainspring.errors import InvalidError, WrongTypeError
from mainspring.secrets import redact_value, refuse_name

KEY_CHARACTERS = 250
VALUE_CHARACTERS = 65_536  # of a parameter's text, a tag or a note; longer texts are files
NAME_CHARACTERS = 500
RESERVED = "mainspring."
"""Keys that begin so are the engine's own."""
_LONGER = "Keep longer texts with `log_text`."


def checked_key(kind: str, key: object, *, reserved: bool = True) -> str:
    """A key that can be kept: any text of one line, slashes, quotes and emoji included.

    Raises:
        WrongTypeError: it is no text.
        InvalidError: it is empty, too long, has control characters, or is the engine's and `reserved` says to refuse that.

    >>> checked_key("metric", "val/`loss` 🎯")
    'val/`loss` 🎯'
    """
    if not isinstance(key, str):
        raise WrongTypeError(f"name of a {kind}", key, "text")
    if reserved and key.startswith(RESERVED):
        raise InvalidError(f"name of a {kind}", key, f"a free name: `{RESERVED}…` is kept for Mainspring")
    return checked_name(f"name of a {kind}", key, KEY_CHARACTERS)


def checked_name(place: str, name: str, at_most: int = NAME_CHARACTERS) -> str:
    """A name of one line that holds no secret; raises as `checked_key` does, and SecretError."""
    _expect_text(place, name)
    refuse_name(place, name)
    if not name.strip() or any(ord(character) < 32 or ord(character) == 127 for character in name):
        raise InvalidError(place, name, "a text of one line without control characters")
    return checked_text(place, name, at_most)


def checked_text(place: str, text: str, at_most: int = VALUE_CHARACTERS, hint: str = "") -> str:
    """A text that can be kept.

    Raises:
        WrongTypeError: it is no text.
        InvalidError: it is too long, or holds a NUL or half of a character.
    """
    _expect_text(place, text)
    if len(text) > at_most:
        raise InvalidError(
            place, text, f"at most {at_most:,} characters long, but {len(text):,}", hint or _hint(at_most)
        )
    if "\0" in text:
        raise InvalidError(place, text, "text without a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidError(place, ascii(text), "text: it holds half of a character (a lone surrogate)") from error
    return text


def checked_param(key: str, value: object) -> Any:
    """The value of a parameter as it is kept: without secrets, in the terms of JSON; raises as `checked_key` does."""
    from mainspring.runs._rows import param_row, plain

    checked_key("parameter", key)
    try:
        shown = redact_value(key, plain(value))
        text = param_row(shown)[1]
    except RecursionError as error:
        raise InvalidError(
            f"parameter `{key}`", type(value).__name__, "nested less deeply: it may hold itself"
        ) from error
    except UnicodeEncodeError as error:
        raise InvalidError(f"parameter `{key}`", ascii(value), "text: it holds half of a character") from error
    checked_text(f"parameter `{key}`", text)
    return shown


def _expect_text(place: str, value: object) -> None:
    if not isinstance(value, str):
        raise WrongTypeError(place, value, "text")


def _hint(at_most: int) -> str:
    return _LONGER if at_most == VALUE_CHARACTERS else ""
