"""What is said of values that don't fit their hints, with the form that text has to have."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from enum import IntEnum
from types import UnionType
from typing import Any, Union, get_args, get_origin

from mainspring.errors import InvalidError, MainspringError, SecretError, WrongTypeError, article
from mainspring.pipelines.fields import record_of
from mainspring.pipelines.hints import accepts, choices, kind_of, members_of, plain, shown
from mainspring.secrets import Secret, redact

FORMS = {  # of the values that are written as text, in JSON too
    "datetime.date": "a date (YYYY-MM-DD)",
    "datetime.datetime": "a time (YYYY-MM-DDTHH:MM:SS, with a zone such as Z if it has one)",
    "datetime.time": "a time of day (HH:MM:SS)",
    "datetime.timedelta": "a span of time (ISO 8601, such as PT90S or P1D)",
    "builtins.bytes": "bytes in base64",
    "builtins.bytearray": "bytes in base64",
    "decimal.Decimal": "a Decimal",
    "uuid.UUID": "a UUID",
}


class Source(IntEnum):
    """Where a value comes from, and so how much is read into it.

    PYTHON is strict; in DATA, which JSON or TOML gave, text may stand for numbers; TEXT, as on a command line, may be JSON.
    """

    PYTHON = 0
    DATA = 1
    TEXT = 2


def misfit(path: str, given: Any, hint: Any, source: Source) -> MainspringError:
    """What is said of a value that doesn't fit."""
    if accepts(hint, Secret):
        return no_reference(path)
    if _lists_values(hint):
        return InvalidError(
            path, redact(given) if isinstance(given, str) else given, f"one of {', '.join(choices(hint))}"
        )
    if isinstance(given, str) and (source is not Source.PYTHON or full_name(hint) in FORMS):
        return InvalidError(path, redact(given), _expected(hint))  # an option is always text: its type says nothing
    return WrongTypeError(path, given, shown(hint))


def _expected(hint: Any) -> str:
    if full_name(hint) in FORMS:
        return FORMS[full_name(hint)]
    if get_origin(hint) in (Union, UnionType):
        return f"one of {shown(hint)}"
    is_object = record_of(hint) is not None or kind_of(hint) in (dict, Mapping, MutableMapping)
    return f"{article(shown(hint))}, as a JSON object" if is_object else article(shown(hint))


def _lists_values(hint: Any) -> bool:
    """Whether a union has a part that says which values there are, as an Enum does."""
    is_union = get_origin(hint) in (Union, UnionType)
    return is_union and any(members_of(plain(part)) is not None for part in get_args(hint))


def no_reference(path: str) -> SecretError:
    """What is said of a secret that was given as its value."""
    return SecretError(
        f"{path}: a secret is given as a reference, secret:env/NAME or secret:file/PATH, not as its value"
        " (which is not shown here, nor kept)."
    )


def full_name(kind: Any) -> str:
    """A class with its module, so that one needn't be imported to be asked for."""
    return f"{getattr(kind, '__module__', '')}.{getattr(kind, '__qualname__', '')}"
