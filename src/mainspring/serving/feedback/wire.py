"""Labels over HTTP: what a request holds, and what is answered."""

from __future__ import annotations

from typing import Any

import msgspec

from mainspring.serving.feedback.intake import Taken
from mainspring.streams.wire import LINES, lines_of
from mainspring.web.app import JSON
from mainspring.web.body import read_json
from mainspring.web.request_error import RequestError

_FORMS = '{"labels": [{"prediction": ..., "label": ...}]}, a list of labels, or one'


def read_labels(body: bytes, kind: bytes) -> list[Any]:
    """The records of a request.

    Raises:
        RequestError: 415, it is of another media type; 400, it is no JSON; 422, there are no labels.
    """
    if kind.decode("latin-1") in LINES:
        return lines_of(body, read_json)
    if kind != JSON:
        raise RequestError(415, f"Send JSON, with `Content-Type: application/json`, or lines of it ({LINES[0]}).")
    given = read_json(body, _FORMS)
    if isinstance(given, dict):
        given = given["labels"] if given.keys() == {"labels"} else [given]
    if not isinstance(given, list):
        raise RequestError(422, f"Expected {_FORMS}.")
    return given


def expect_taken(taken: Taken) -> dict[str, Any]:
    """What is answered if all was right.

    Raises:
        RequestError: 422, something was refused; the rest is logged nevertheless.
    """
    told: dict[str, Any] = {"accepted": taken.accepted, "refused": taken.refused}
    if taken.refused:
        raise RequestError(422, str(taken.problems[0]), **told, problems=msgspec.to_builtins(taken.problems))
    return told
