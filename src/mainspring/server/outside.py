"""Predictions and labels of services that run elsewhere, over HTTP: they are logged before anything is answered."""

from __future__ import annotations

from typing import Any

import msgspec

from mainspring.server.mlflow.records import Records
from mainspring.server.mlflow.wire import Route, Told
from mainspring.serving import find_outside_service
from mainspring.serving.endpoint import named_endpoint
from mainspring.serving.feedback import LabelIntake
from mainspring.serving.feedback.wire import expect_taken


class _Predictions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    endpoint: str
    records: list[Any]
    predictions: list[Any]
    version: str = ""
    route_key: str = ""
    request_id: str = ""
    latency_s: float | None = None
    role: str = "stable"


class _Labels(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    endpoint: str
    labels: list[Any]


def _log(records: Records, asked: _Predictions) -> Told:
    service = find_outside_service(asked.endpoint, asked.version, records.workspace)
    ids = service.log(
        asked.records,
        asked.predictions,
        route_key=asked.route_key,
        request_id=asked.request_id,
        latency_s=asked.latency_s,
        role=asked.role,
    )
    return {"ids": ids, "version": service.endpoint.version}


def _label(records: Records, asked: _Labels) -> Told:
    name = asked.endpoint
    declared = (
        f"`mainspring endpoints outside {name} --version VERSION` declares a service that runs elsewhere, and "
        f"`mainspring endpoints bind {name} MODEL@ALIAS` makes an endpoint of a model."
    )
    intake = LabelIntake(named_endpoint(name, records.workspace, declared=declared), records.workspace)
    return expect_taken(intake(enumerate(asked.labels), "http"))


ROUTES = (
    Route("POST", "/predictions/{endpoint}", _Predictions, _log, "1.0"),
    Route("POST", "/feedback/{endpoint}", _Labels, _label, "1.0"),
)
