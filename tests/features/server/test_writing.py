"""What is pushed over HTTP: each row with its own times, into every view that takes it, or nothing of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from mainspring.data import dataset
from mainspring.errors import InvalidError, NotAllowedError, NotFoundError
from mainspring.features import (
    Entity,
    FeatureReader,
    FeatureService,
    FeatureView,
    agg,
    apply,
    get_definition,
    materialize,
    push,
)
from mainspring.features.server.shapes import PushRequest, WriteRequest
from mainspring.features.server.writing import push_rows, write_features
from mainspring.workspace import Workspace

pytestmark = pytest.mark.one_backend("what is written follows from the request")
START = datetime(2026, 1, 1, tzinfo=UTC)
USER = Entity("user")


def told(seconds: int) -> str:
    return (START + timedelta(seconds=seconds)).isoformat()


@pytest.fixture(autouse=True)
def views(workspace: Workspace) -> None:
    dataset("rows").commit(pl.DataFrame({"user": ["z"], "at": [START], "known": [START], "value": [1.0]}))
    newest = FeatureView(
        "newest", entity=USER, source="rows", event_time="at", created_time="known", features=["value"]
    )  # fmt: skip
    counts = FeatureView("counts", entity=USER, source="rows", event_time="at", features=[agg.count(windows="1h")])
    apply(FeatureService("values", [newest]), counts)


def value(user: str, workspace: Workspace) -> Any:
    return FeatureReader(get_definition("service", "values"), workspace).read([{"user": user}])[0].values[0]


def write(workspace: Workspace, **columns: list[Any]) -> None:
    write_features(WriteRequest("newest", columns), workspace)


def test_a_row_without_a_created_time_leaves_those_of_others_alone(workspace: Workspace) -> None:
    write(workspace, user=["a", "b"], event_timestamp=[told(10)] * 2, created=[told(100), None], value=[1.0, 2.0])
    write(workspace, user=["a", "b"], event_timestamp=[told(10)] * 2, created=[told(50)] * 2, value=[3.0, 4.0])
    assert (value("a", workspace), value("b", workspace)) == (1.0, 4.0)


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"created": [None]}, "a column `event_timestamp` of newest/1"),
        ({"event_timestamp": [told(1)]}, "a column `created` of newest/1"),
        ({"event_timestamp": [10**15], "created": [1]}, r"df.event_timestamp\[0\]: `1000000000000000` is not seconds"),
        ({"event_timestamp": [told(1)] * 2, "created": [None]}, "2 of event_timestamp"),
    ],
)
def test_times_that_are_missing_or_beyond_are_named_as_they_were_sent(
    workspace: Workspace, columns: dict[str, list[Any]], problem: str
) -> None:
    with pytest.raises(InvalidError, match=problem):
        write(workspace, user=["a"], value=[1.0], **columns)
    assert value("a", workspace) is None


def test_a_pushed_time_that_nobody_could_be_shown_is_refused(workspace: Workspace) -> None:
    beyond = pl.Series([0, 1_795_286_135_540_752_000]).cast(pl.Datetime("us", "UTC"))
    for at, known, path in ((beyond, [START] * 2, "newest.at"), ([START] * 2, beyond, "newest.known")):
        rows = pl.DataFrame({"user": ["a", "b"], "at": at, "known": known, "value": [1.0, 2.0]})
        with pytest.raises(InvalidError, match=f"{path}: `1795286135540752000` is not microseconds.*1 row"):
            push("newest", rows)
    assert value("a", workspace) is None


def test_a_value_that_nobody_could_be_shown_is_refused(workspace: Workspace) -> None:
    dataset("seen").commit(pl.DataFrame({"user": ["a"], "at": [START], "seen": [START]}))
    apply(FeatureView("seen", entity=USER, source="seen", event_time="at", features=["seen"]))
    beyond = pl.Series([1_795_286_135_540_752_000]).cast(pl.Datetime("us", "UTC"))
    rows = pl.DataFrame({"user": ["b"], "at": [START], "seen": beyond})
    with pytest.raises(InvalidError, match=r"seen.seen: `1795286135540752000` is not microseconds"):
        push("seen", rows)
    dataset("seen").append(rows)
    with pytest.raises(InvalidError, match=r"seen.seen: `1795286135540752000`"):
        materialize("seen")


def test_aggregates_over_a_source_keep_no_push_from_its_other_views(workspace: Workspace) -> None:
    row: dict[str, list[Any]] = {"user": ["a"], "at": [told(1)], "known": [told(2)], "value": [5.0]}
    for name in ("counts", "rows"):
        request = PushRequest(name, row, "online_and_offline")
        if name == "counts":
            with pytest.raises(InvalidError, match="`counts` is not a view of columns or expressions"):
                push_rows(request, workspace)
            assert dataset("rows").latest().number == 1
        else:
            done = push_rows(request, workspace)
            assert (done["online"], done["offline"]) == ({"newest/1": 1}, {"rows": "rows/2"})
    assert value("a", workspace) == 5.0
    assert push_rows(PushRequest("counts", row, "offline"), workspace)["offline"] == {"rows": "rows/3"}


def test_rows_without_a_key_alone_are_refused_and_no_version_has_them(workspace: Workspace) -> None:
    row: dict[str, list[Any]] = {"user": [None], "at": [told(1)], "known": [told(2)], "value": [5.0]}
    with pytest.raises(InvalidError, match=r"newest.user: `1 null` is not a key in every row"):
        push_rows(PushRequest("rows", row, "online_and_offline"), workspace)
    assert dataset("rows").latest().number == 1


def test_a_retired_view_that_nobody_uses_takes_no_rows(workspace: Workspace) -> None:
    row = {"user": ["a"], "at": [START], "known": [START], "value": [5.0]}
    apply(FeatureView("other", entity=USER, source="rows", event_time="at", features=["value"]), retire=True)
    with pytest.raises(NotAllowedError, match="retired"):
        push("newest", pl.DataFrame(row))
    with pytest.raises(NotFoundError, match="It is retired; its last version is `newest/1`"):
        write(workspace, user=["a"], event_timestamp=[told(1)], created=[told(1)], value=[1.0])
    assert push("newest/1", pl.DataFrame(row)) == 1
