"""The form for people: `POST /predict` with records, and one prediction for each."""

from __future__ import annotations

from typing import Any

from mainspring.serving.online import OnlinePredictor
from mainspring.serving.predictions.ids import ids_from
from mainspring.serving.protocols.call import Call, Outcome
from mainspring.web.app import Answer, encode
from mainspring.web.body import read_json
from mainspring.web.request_error import RequestError

_FORMS = '{"records": [{...}]}, a list of records, or one record'


def read_records(body: bytes, predictor: OnlinePredictor) -> Call:
    """What is asked: what is right by one quick pass of a decoder, any other form with care, and what is wrong by name.

    Raises:
        RequestError: 400, it is empty or no JSON; 422, there are no records, or they are not what the model takes.
    """
    if quick := predictor.decode(body):
        return Call(*quick)
    records, hint = _records(body, predictor)
    columns, problems = predictor.check(records)
    if problems:
        raise RequestError(422, f"{problems[0]}{hint}", problems=problems)
    return Call(columns, len(records))


def write_records(call: Call, outcome: Outcome, version: str) -> Answer:
    """The answer to a call."""
    answer: dict[str, Any] = {"predictions": outcome.answers, "model_version": version, "id": outcome.id}
    if outcome.first:
        answer["ids"] = ids_from(outcome.first, call.rows)
    if outcome.features is not None:
        answer["features"] = outcome.features
    return Answer(encode(answer), rows=call.rows)


def _records(body: bytes, predictor: OnlinePredictor) -> tuple[list[Any], str]:
    """The records of a body, and what to add to the first problem if this may have been meant to be another form."""
    given = read_json(body, f"{_FORMS}; GET / shows one")
    told = f"Expected {_FORMS}. GET / shows one."
    hint = ""
    if isinstance(given, dict):
        is_record = not given or any(field.name in given for field in predictor.takes.inputs)
        if not is_record and "records" in given:
            given = given["records"]
        else:
            given, hint = [given], "" if is_record else f". {told}"
    if not isinstance(given, list):
        raise RequestError(422, told)
    return given, hint
