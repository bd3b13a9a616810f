"""Whatever kinds of values one input of an outside service has, its log stays readable, and compaction changes no row of it."""

from __future__ import annotations

import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from mainspring.serving import OutsideService, outside_service
from mainspring.serving.feedback import coverage, labelled, labels_of
from mainspring.serving.predictions import compact_predictions, find_prediction, prediction_log, scan_predictions
from mainspring.serving.predictions.frames import typed_column
from mainspring.workspace import Workspace, using

pytestmark = pytest.mark.one_backend("tables are made above every store")

PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=3),
    st.binary(max_size=3), st.dates(), st.datetimes(), st.datetimes(timezones=st.just(UTC)), st.timedeltas(),
    st.decimals(allow_nan=False, allow_infinity=False),
)  # fmt: skip
ANY = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
    max_leaves=4,
)
MOMENT = datetime(2026, 1, 31, tzinfo=UTC)


@settings(max_examples=12)
@given(first=ANY, second=ANY)
@example(first=1, second=[1])
@example(first=True, second={"a": 1})
@example(first=[1], second={"a": 1})
@example(first=b"a", second=1.5)
@example(first=MOMENT, second=False)
@example(first=MOMENT, second=2**63)
@example(first={}, second=None)
@example(first=[2**64], second=None)
@example(first=["a"], second=[[1]])
@example(first=date(2026, 1, 31), second=timedelta(days=1))
def test_values_of_any_two_kinds_are_read_back_before_and_after_compaction(first: Any, second: Any) -> None:
    with tempfile.TemporaryDirectory() as folder, Workspace.open(Path(folder)) as workspace, using(workspace):
        fraud = outside_service("fraud", "1", label_key=["card"], label_window="30d")
        other = outside_service("other", "1")
        ids = [
            *fraud.log([{"card": "c1", "x": first}, {"card": "c2", "x": second}], [0.5, 0.5]),
            *(each for card in (first, second) for each in fraud.log([{"card": card, "x": card}], [0.5])),
        ]
        of_other = other.log([{"x": 1}], [0.5])
        fraud.label({"key": {"card": "c1"}, "label": 1})
        before = _read(fraud, ids, of_other)
        assert before["labels"][:2] == [[1.0], []]
        prediction_log(workspace).rotate()
        assert compact_predictions(workspace).rows == len(ids) + 1
        after = _read(fraud, ids, of_other)
        assert_frame_equal(after.pop("table"), before.pop("table"))
        assert after == before


@settings(max_examples=12)
@given(first=ANY, second=ANY)
@example(first=1, second=[1])
@example(first=1, second={"a": 1})
@example(first=["a"], second=[[1]])
@example(first=MOMENT, second=2**63)
@example(first=b"a", second="a")
def test_values_of_any_two_kinds_that_lie_in_parts_of_their_own_are_read_as_one_table(first: Any, second: Any) -> None:
    with tempfile.TemporaryDirectory() as folder, Workspace.open(Path(folder)) as workspace, using(workspace):
        fraud = outside_service("fraud", "1", label_key=["card"], label_window="30d")
        ids = []
        for place, value in enumerate((first, second)):
            ids += fraud.log([{"card": f"c{place}", "x": value}], [0.5])
            assert scan_predictions("fraud").collect()["id"].sort().to_list() == ids
            prediction_log(workspace).rotate()
            compact_predictions(workspace)
        fraud.label({"key": {"card": "c1"}, "label": 1})
        assert _read(fraud, ids, [])["labels"] == [[], [1.0]]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([["a"], [{"a": 1}, {"b": 2}]], ["['a']", "[{'a': 1}, {'b': 2}]"]),
        ([[1, "a"], [{"a": 1}]], ["[1, 'a']", "[{'a': 1}]"]),
        ([["a"], [1, 2]], ["['a']", "[1, 2]"]),
        ([{"a": 1}, {"a": "x"}], ["{'a': 1}", "{'a': 'x'}"]),
        ([{}, {"a": 1}], [{"a": None}, {"a": 1}]),
        ([[1], None, [2.5]], [[1.0], None, [2.5]]),
    ],
    ids=range(6),
)
def test_nothing_within_a_value_is_lost_beside_others(values: list[Any], told: list[Any]) -> None:
    assert typed_column("input.x", values).to_list() == told


def _read(fraud: OutsideService, ids: list[str], of_other: list[str]) -> dict[str, Any]:
    """What every way to read tells of the predictions, which are all there."""
    table = scan_predictions("fraud").sort("id").collect()
    assert table["id"].to_list() == ids
    assert labelled("fraud").sort("id").collect()["id"].to_list() == ids
    if of_other:
        assert scan_predictions("other").collect()["id"].to_list() == of_other
    found = [find_prediction(each) for each in ids]
    assert [each and each["id"] for each in found] == ids
    labels = [[label["label"] for label in labels_of(each)] for each in ids]
    return {"table": table, "labels": labels, "coverage": coverage("fraud").share}
