"""Decisions on versions over HTTP: what waits for one, what a version is judged on, and people's word, by their tokens."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import msgspec

from mainspring.errors import NotAllowedError
from mainspring.evaluation import Approval, approve, evidence_of, is_approved, list_waiting, reject, withdraw
from mainspring.ledger import current_actor
from mainspring.models import get_model_version
from mainspring.server.mlflow.records import Records
from mainspring.server.mlflow.wire import Route, Told


class _Waiting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    max_results: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100


class _Version(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: str


class _Withdrawal(_Version, frozen=True):
    comment: str = ""


class _Decision(_Version, frozen=True):
    role: str
    comment: str = ""
    evidence: str = ""


def _wait(records: Records, asked: _Waiting) -> Told:
    found = list_waiting(limit=asked.max_results, workspace=records.workspace)
    return {"waiting": [_told(each) for each in found]}


def _show(records: Records, asked: _Version) -> Told:
    version = get_model_version(asked.version, records.workspace)
    return {
        "approval": _told(is_approved(version, workspace=records.workspace)),
        "evidence": msgspec.to_builtins(evidence_of(version, workspace=records.workspace)),
        "run": version.run, "made_by": version.actor, "created_at": version.created_at,
    }  # fmt: skip


def _decide(verb: Callable[..., Approval], records: Records, asked: _Decision) -> Told:
    _expect_known()
    found = verb(
        asked.version, role=asked.role, comment=asked.comment, evidence=asked.evidence, workspace=records.workspace
    )
    return {"approval": _told(found)}


def _withdraw(records: Records, asked: _Withdrawal) -> Told:
    _expect_known()
    return {"approval": _told(withdraw(asked.version, comment=asked.comment, workspace=records.workspace))}


def _expect_known() -> None:
    """Refuse who isn't known: whoever reaches the server would decide as the one who started it."""
    actor = current_actor()
    if not actor.verified:
        raise NotAllowedError(
            f"{actor} decides nothing over HTTP: bear a token of a person, which `mainspring tokens create NAME` makes."
        )


def _told(found: Approval) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(found)
    document["reasons"] = found.reasons
    for told, decision in zip(document["decisions"], found.decisions, strict=True):
        told["state"] = decision.state
        del told["evidence"]  # a digest of each part, which says nothing to a reader: `changed` is what differs
    return document


_OF = "/approvals/{version...}"
ROUTES = (
    Route("GET", "/approvals", _Waiting, _wait, "1.0"),
    Route("GET", _OF, _Version, _show, "1.0"),
    Route("POST", f"{_OF}/approve", _Decision, partial(_decide, approve), "1.0"),
    Route("POST", f"{_OF}/reject", _Decision, partial(_decide, reject), "1.0"),
    Route("POST", f"{_OF}/withdraw", _Withdrawal, _withdraw, "1.0"),
)
