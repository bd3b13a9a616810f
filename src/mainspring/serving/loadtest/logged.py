"""What callers asked an endpoint before, by the log of its predictions, as it can be asked again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from mainspring.errors import InvalidError
from mainspring.serving.predictions.ids import id_at
from mainspring.serving.predictions.record import STABLE
from mainspring.workspace import Workspace, current_workspace

if TYPE_CHECKING:
    import polars as pl

    from mainspring.serving.endpoint import Endpoint

_ELSE = "Send other records with --data or --dataset."
_INPUT = "input."


class Batch(NamedTuple):
    """The records of one request, with its caller's route key."""

    records: Sequence[Any]
    route_key: str = ""


def logged_batches(
    described: Mapping[str, Any], since: datetime | None, until: datetime | None, *, most: int,
    workspace: Workspace | None = None,
) -> list[Batch]:  # fmt: skip
    """The newest requests to an endpoint from one instant up to before another, in the order in which they came.

    They have at most so many rows together; the oldest is left out if not all of its rows are among them, unless it is the only
    one. Rows hold the columns that the endpoint takes now, as `described` by its server, and features that a caller gave,
    if it takes these. What load tests and comparisons of versions asked is left out.

    Raises:
        NotFoundError: the workspace has no such endpoint.
        InvalidError: nothing was logged in that time, or a column is not in the log.
        StorageError: the log can't be read.
    """
    from mainspring.serving.endpoint import get_endpoint

    workspace = workspace or current_workspace()
    endpoint = get_endpoint(described["endpoint"], workspace)
    features = described.get("features") or {}
    given = features["names"] if features.get("overrides") else []
    rows = _newest(endpoint.name, since, until, most + 1, workspace)
    requests = [list(each) for _, each in groupby(rows, _Together())]
    if len(rows) > most:  # the oldest row tells only whether the first request is whole
        requests[0] = requests[0][1:]
        if len(requests) > 1:
            del requests[0]
    if not rows:
        raise _nothing(endpoint, since, until)
    _expect_columns(endpoint, described["inputs"], [row for each in requests for row in each])
    taken = [field["name"] for field in described["inputs"]]
    return [Batch([_record(row, taken, given) for row in each], each[0]["route_key"]) for each in requests]


def _newest(
    name: str, since: datetime | None, until: datetime | None, most: int, workspace: Workspace
) -> list[dict[str, Any]]:
    """So many rows of the log, in the order of their ids; no more than twice as many are held at a time."""
    import polars as pl
    from polars import selectors

    from mainspring.serving.predictions.finding import prediction_frames

    found: list[dict[str, Any]] = []
    # What was logged last comes last: of what is older than all that was found, the columns are not even read.
    for frame in reversed(prediction_frames(name, since, until, role=STABLE, workspace=workspace)):
        asked = frame.select("id", "request_id", "route_key", selectors.starts_with(_INPUT))
        if len(found) == most:
            asked = asked.filter(pl.col("id") > found[0]["id"])
        found += _dicts(asked.top_k(most, by="id"))
        found = sorted(found, key=lambda row: row["id"])[-most:]
    return found


def _dicts(frame: pl.LazyFrame) -> list[dict[str, Any]]:
    return frame.collect(engine="streaming").to_dicts()


class _Together:
    """Numbers rows that come in the order of their ids by the request that they came in.

    The rows of a request have successive ids. Callers may send one request id several times.
    """

    def __init__(self) -> None:
        self._number, self._next = 0, ("", "")

    def __call__(self, row: Mapping[str, Any]) -> int:
        self._number += (row["id"], row["request_id"]) != self._next
        self._next = id_at(row["id"], 1), row["request_id"]
        return self._number


def _record(row: Mapping[str, Any], taken: Sequence[str], given: Sequence[str]) -> dict[str, Any]:
    overrides = {name: row[_INPUT + name] for name in given if row.get(_INPUT + name) is not None}
    return {name: row[_INPUT + name] for name in taken} | overrides


def _expect_columns(endpoint: Endpoint, inputs: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> None:
    """Go on only if the rows hold what the endpoint takes; a column that is redacted now may have been logged before."""
    missing = []
    for field in inputs:
        name = _INPUT + field["name"]
        is_none_right = field["nullable"] and field["name"] not in endpoint.redact
        if any(name not in row or (row[name] is None and not is_none_right) for row in rows):
            missing.append(field["name"])
    if missing:
        raise InvalidError(
            "logged",
            ", ".join(missing),
            f"in all that `{endpoint.name}` logged in that time: redacted, or not taken then",
            _ELSE,
        )


def _nothing(endpoint: Endpoint, since: datetime | None, until: datetime | None) -> InvalidError:
    times = [f" {word} {at:%Y-%m-%d %H:%M} UTC" for word, at in (("since", since), ("before", until)) if at]
    is_off = "It logs nothing: see `mainspring endpoints bind --log`. " if endpoint.log == "off" else ""
    within = "Name an earlier --since or a later --until. " if times and not is_off else ""
    return InvalidError(
        "logged", endpoint.name, f"an endpoint with requests in its log{''.join(times)}", f"{is_off}{within}{_ELSE}"
    )
