"""The OpenAPI description of a server of predictions: what each endpoint takes and gives, by its signature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from mainspring.models import Field, Signature
from mainspring.models.signature import FLOATS, INTEGERS, Output
from mainspring.serving.live import Live
from mainspring.serving.protocols.paths import FEEDBACK, INVOCATIONS, PREDICT

Schema = dict[str, Any]
_MOVED = {"409": "Another version answers than the one that `X-Model-Version` demands"}
_SENT = {
    "400": "This is not the protocol", "408": "The body did not arrive in time", "413": "The body is too large",
    "415": "The body is of a media type, an encoding or a compression that is not read",
}  # fmt: skip
_WRONG = {
    **_MOVED, **_SENT, "422": "The rows are not what the model takes; `problems` names each",
    "500": "The model failed, or the reading of its features; the log of the server has more",
    "503": "Too much is asked at once, or features can't be read: send it again after `Retry-After`",
    "504": "The model took too long",
}  # fmt: skip
_NOT_TAKEN = {
    **_MOVED, **_SENT, "422": "Labels are refused; `problems` names each, and the others are logged",
    "503": "Labels can't be logged now: send all of them again",
}  # fmt: skip
_NOT_ACCEPTED = {"406": "The model answers in no form that is accepted"}
_REFUSED = {"401": "The token is missing, or another"}
_PROBES = {"/live": "Whether the server runs", "/ready": "Whether it answers", "/ping": "The same, as SageMaker asks"}


def document(served: Sequence[Live], *, with_token: bool, version: str) -> Schema:
    """The whole description, OpenAPI 3.1. The paths of the first endpoint stand also without its name."""
    paths: Schema = {}
    for place, live in enumerate(served):
        name = live.endpoint.name
        for suffix in ("", f"/{name}") if place == 0 else (f"/{name}",):
            paths[PREDICT + suffix] = {"post": _predict(live)}
            paths[INVOCATIONS + suffix] = {"post": _invocations(live)}
            paths[FEEDBACK + suffix] = {"post": _feedback(live)}
        told = _operation(live, "What the model takes and gives", {"type": "object"}, wrong=_MOVED)
        paths[f"/v2/models/{name}"] = {"get": told}
        paths[f"/v2/models/{name}/infer"] = {"post": _infer(live)}
    paths["/metrics"] = {"get": _of_server("Prometheus")}
    if with_token:
        for told in (each for path in paths.values() for each in path.values()):
            told["responses"] = dict(sorted({**told["responses"], **_answers(_REFUSED)}.items()))
    for path, said in _PROBES.items():
        paths[path] = {"get": _of_server(said) | {"security": []}}
        if path != "/live":
            paths[path]["get"]["responses"] |= {"503": {"description": "Not now: a model hangs, or the server stops"}}
    return _document(served, paths, with_token=with_token, version=version)


def _document(served: Sequence[Live], paths: Schema, *, with_token: bool, version: str) -> Schema:
    told: Schema = {
        "openapi": "3.1.0",
        "info": {"title": ", ".join(live.endpoint.name for live in served), "version": version},
        "paths": paths,
        "components": {"schemas": {"Error": _ERROR}},
    }
    if with_token:
        told["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        told["security"] = [{"token": []}]
    return told


def record_schema(signature: Signature) -> Schema:
    """A record, as JSON Schema."""
    return {
        "type": "object",
        "properties": {field.name: _schema(field) for field in signature.inputs},
        "required": [field.name for field in signature.inputs],
        "additionalProperties": False,
    }


_ERROR: Schema = {
    "type": "object",
    "properties": {
        "error": {"type": "string"},
        "id": {"type": "string"},
        "problems": {
            "type": "array",
            "items": {"type": "object", "properties": {"path": {"type": "string"}, "message": {"type": "string"}}},
        },
    },
}


def _schema(field: Field) -> Schema:
    kind: Schema = {"type": "string"}
    if field.dtype in INTEGERS:
        bits, signed = INTEGERS[field.dtype]
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        kind = {"type": "integer", "minimum": low, "maximum": high}
    elif field.dtype in FLOATS:
        kind = {"type": "number"}
    elif field.dtype == "bool":
        kind = {"type": "boolean"}
    elif field.item is not None:
        kind = {"type": "array", "items": _schema(field.item)}
        kind |= {"minItems": field.size, "maxItems": field.size} if field.size is not None else {}
    elif field.fields is not None:
        parts = {name: _schema(each) for name, each in field.fields.items()}
        kind = {"type": "object", "properties": parts, "additionalProperties": False}
    elif field.dtype.startswith("decimal"):
        kind = {"type": ["string", "number"]}
    elif field.dtype.startswith("enum"):
        kind["enum"] = msgspec.json.decode(field.dtype.removeprefix("enum"))
    elif field.dtype == "bin":
        kind["contentEncoding"] = "base64"
    elif field.dtype in ("date", "uuid", "time") or field.dtype.startswith("duration"):
        kind["format"] = field.dtype.partition("[")[0]
    elif field.dtype.startswith("datetime"):
        kind["format"] = "date-time"
    if field.nullable:
        kind["type"] = [*([kind["type"]] if isinstance(kind["type"], str) else kind["type"]), "null"]
        if "enum" in kind:
            kind["enum"] = [*kind["enum"], None]
    return kind


def _gives(output: Output) -> Schema:
    if output.kind == "probabilities":
        chances = {str(name): {"type": "number"} for name in output.classes}
        return {"type": "object", "properties": chances, "required": list(chances)}
    if output.kind == "label":
        return {"enum": list(output.classes)} if output.classes else {}
    return {"type": "number"}


def _predict(live: Live) -> Schema:
    takes = record_schema(live.predictor.takes)
    records = {"type": "object", "properties": {"records": {"type": "array", "items": takes}}, "required": ["records"]}
    body = {"application/json": {"schema": records, "example": {"records": live.example[:1]}}}
    gives = {
        "type": "object",
        "properties": {
            "predictions": {"type": "array", "items": _gives(live.predictor.predictor.signature.output)},
            "model_version": {"type": "string"},
            "id": {"type": "string"},
            "ids": {"type": "array", "items": {"type": "string"}},
        },
    }
    told = _operation(
        live, f"One prediction for each record, by {live.name}", gives, body, wrong=_WRONG | _NOT_ACCEPTED
    )
    if live.predictor.predictor.streams:
        told["responses"]["200"]["content"] |= _PARTS
    return told


_PARTS: Schema = {
    "text/event-stream": {
        "schema": {
            "type": "string",
            "description": "For one record: an event with {part} each, then the event `end` with {id, ids}, or `error`.",
        }
    },
    "application/x-ndjson": {
        "schema": {"type": "object", "properties": {"part": {}, "end": {"type": "object"}, "error": {"type": "object"}}}
    },
}


def _invocations(live: Live) -> Schema:
    forms = {
        "type": "object",
        "properties": {"dataframe_records": {"type": "array", "items": record_schema(live.predictor.takes)}},
    }
    body = {"application/json": {"schema": forms, "example": {"dataframe_records": live.example[:1]}}, "text/csv": {}}
    gives = {"type": "object", "properties": {"predictions": {"type": "array"}}}
    return _operation(live, "The same in MLflow's scoring protocol", gives, body)


def _infer(live: Live) -> Schema:
    body = {"application/json": {"schema": {"type": "object", "required": ["inputs"]}}, "application/octet-stream": {}}
    return _operation(
        live, "The same in the Open Inference Protocol v2, tensors as JSON or bytes", {"type": "object"}, body
    )


def _feedback(live: Live) -> Schema:
    text: Schema = {"type": "string"}
    key: Schema = {"type": "object", "required": list(live.endpoint.labels.key), "additionalProperties": False}
    key["properties"] = {name: {} for name in live.endpoint.labels.key}
    field = live.intake.check.label
    moment: Schema = {"type": "string", "format": "date-time"}
    one: Schema = {
        "type": "object",
        "properties": {
            "prediction": text, **({"key": key} if live.endpoint.labels.key else {}),
            "label": _schema(field) if field else {}, "event_at": moment, "known_at": moment, "id": text,
        },
        "required": ["label"],
    }  # fmt: skip
    labels = {"type": "object", "properties": {"labels": {"type": "array", "items": one}}, "required": ["labels"]}
    counts = {"accepted": {"type": "integer"}, "refused": {"type": "integer"}, "id": text}
    body = {"application/json": {"schema": labels}}
    gives: Schema = {"type": "object", "properties": counts}
    return _operation(live, "Labels of predictions, whenever they come", gives, body, wrong=_NOT_TAKEN)


def _operation(
    live: Live, summary: str, gives: Schema, body: Schema | None = None, wrong: dict[str, str] = _WRONG
) -> Schema:
    answers = {
        "200": {"description": "Answered", "content": {"application/json": {"schema": gives}}},
        **_answers(wrong),
    }
    told: Schema = {"summary": summary, "tags": [live.endpoint.name], "responses": answers}
    return told | ({"requestBody": {"required": True, "content": body}} if body else {})


def _answers(wrong: dict[str, str]) -> Schema:
    """Refusals by their status."""
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {code: {"description": said, "content": error} for code, said in sorted(wrong.items())}


def _of_server(said: str) -> Schema:
    return {"summary": said, "tags": ["server"], "responses": {"200": {"description": "Yes"}}}
