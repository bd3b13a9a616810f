"""JSON of strangers: what is wrong with it is said with its place."""

from __future__ import annotations

import json
import math
from typing import Any

from mainspring.foreign import read_foreign
from mainspring.web.request_error import RequestError

_LARGE_BYTES = 65_536  # whose second reading, by Python's own reader, takes about a millisecond


def read_json(body: bytes, expected: str = "JSON") -> Any:
    """What a body says; an empty one is told what is `expected`.

    Raises:
        RequestError: 400, as it is empty, or not JSON.
    """
    if not body.strip():
        raise empty(expected)
    try:
        return read_foreign(body)
    except ValueError as error:
        raise RequestError(400, f"This is not JSON: {_not_finite(body) or str(error)[:200]}") from error


def empty(expected: str) -> RequestError:
    """The answer to a request without a body."""
    return RequestError(400, f"The body is empty, expected {expected}.")


def _not_finite(body: bytes) -> str:
    """Where a body holds `NaN` or an infinity, which Python's own writer of JSON lets through; empty if nowhere.

    Nothing is looked for in a large one: for as long as that takes, nobody else is answered.
    """
    if len(body) > _LARGE_BYTES:
        return ""
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    at: list[tuple[str, Any]] = [("", given)]
    while at:
        path, value = at.pop()
        if isinstance(value, float) and not math.isfinite(value):
            return f"{path or 'the body'} is {value} or too large for a number. Send null for what is missing."
        if isinstance(value, dict):
            at += [(f"{path}.{key}".lstrip("."), each) for key, each in reversed(value.items())]
        elif isinstance(value, list):
            at += [(f"{path}[{place}]", each) for place, each in reversed([*enumerate(value)])]
    return ""
