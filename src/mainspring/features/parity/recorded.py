"""The newest verification of each service's version, as the ledger has it: for gates, and as lines of `/metrics`."""

from __future__ import annotations

import msgspec

from mainspring.features._store import DefinitionStore
from mainspring.features.definitions.records import Definition
from mainspring.web.metrics import gauge
from mainspring.workspace import Workspace, current_workspace

VERIFIED = "features.verified"
_PAGE = 1000


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """How many vectors of a service's version were logged, are verified (some within rounding), and differ.

    When that was, is in microseconds since 1970.
    """

    service: str
    at_us: int
    vectors: int
    verified: int
    rounded: int = 0
    mismatched: int
    stale: int


def find_verification(service: str | Definition, workspace: Workspace | None = None) -> Verification | None:
    """The newest verification of a version of a service; None if there was none.

    Raises:
        NotFoundError: there is no such service.
    """
    workspace = workspace or current_workspace()
    if isinstance(service, str):
        service = DefinitionStore(workspace.database, workspace.ledger).get("service", service)
    found, after = None, 0
    while events := workspace.ledger.events(after, subject=service.id, limit=_PAGE):
        after = events[-1].seq
        found = next((each for each in reversed(events) if each.kind == VERIFIED), found)
    return None if found is None else msgspec.convert({**found.payload, "at_us": found.at}, Verification)


def parity_lines(workspace: Workspace) -> list[str]:
    """The newest verification of each service's newest version as lines of `/metrics`: the share that is verified, and how many
    vectors differ.
    """
    heads = DefinitionStore(workspace.database, workspace.ledger).heads()
    services = [definition for (kind, _), definition in sorted(heads.items()) if kind == "service"]
    found = [each for service in services if (each := find_verification(service, workspace)) is not None]
    if not found:
        return []
    judged = [(each, each.verified + each.mismatched) for each in found]
    shares = [({"service": each.service}, each.verified / of) for each, of in judged if of]
    differing = [({"service": each.service}, each.mismatched) for each in found]
    share = "Share of served feature vectors that the offline path gives, by the newest verification."
    count = "Served feature vectors that differ from what the offline path gives, by the newest verification."
    return [
        *gauge("mainspring_feature_parity", share, shares),
        *gauge("mainspring_feature_parity_mismatches", count, differing),
    ]
