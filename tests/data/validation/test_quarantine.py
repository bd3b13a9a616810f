"""Rows set apart: by a report, and on their way into a dataset."""

from __future__ import annotations

import msgspec
import polars as pl
import pytest

from mainspring.data import Report, check, dataset, find_report, list_datasets, validate
from mainspring.errors import InvalidError
from mainspring.workspace import Workspace

FLIGHTS = pl.DataFrame({"id": [1, 2, 2, 4], "delay": [5, 9000, 7, None], "carrier": ["UA", "AA", "B6", "??"]})
CHECKS = [
    check.between("delay", -120, 1440, severity="quarantine"),
    check.unique("id", severity="quarantine"),
    check.matches("carrier", "^[A-Z0-9]{2}$", severity="warn"),
    check.not_null("id"),
]


def test_rows_are_set_apart_with_their_reasons() -> None:
    report = validate(FLIGHTS, CHECKS)
    assert (report.verdict, report.passed) == ("quarantined", True)
    good, bad = report.split()
    assert good["id"].to_list() == [1, 4]
    assert bad.to_dicts() == [
        {"id": 2, "delay": 9000, "carrier": "AA",
         "quarantine_reasons": ["delay between -120 and 1440", "id unique"]},
        {"id": 2, "delay": 7, "carrier": "B6", "quarantine_reasons": ["id unique"]},
    ]  # fmt: skip


def test_nothing_to_set_apart_keeps_the_columns() -> None:
    good, bad = validate(FLIGHTS[:1], CHECKS).split()
    assert (good.height, bad.height, bad.columns[-1]) == (1, 0, "quarantine_reasons")
    assert bad.schema == validate(FLIGHTS, CHECKS).split()[1].schema


def test_a_stored_report_is_split_with_its_table() -> None:
    read = msgspec.json.decode(msgspec.json.encode(validate(FLIGHTS, CHECKS)), type=Report)
    assert read.split(FLIGHTS)[1].height == 2
    with pytest.raises(InvalidError, match="A stored report doesn't hold it"):
        read.split()
    with pytest.raises(InvalidError, match="the one of 4 rows that was validated"):
        read.split(FLIGHTS[:2])


def test_a_table_that_is_stopped_is_not_split() -> None:
    with pytest.raises(InvalidError, match="id unique: 2 rows fail"):
        validate(FLIGHTS, [check.unique("id")]).split()


def test_a_check_that_cannot_be_applied_sets_nothing_apart_and_stops() -> None:
    report = validate(FLIGHTS, [check.not_null("dleay", severity="quarantine")])
    assert report.verdict == "stopped"
    assert str(report).splitlines()[1].startswith("  STOP ")
    with pytest.raises(InvalidError, match="nearest: delay"):
        report.raise_for_stop()


def test_a_column_of_reasons_must_be_free() -> None:
    with pytest.raises(InvalidError, match="free for the reasons"):
        validate(FLIGHTS.with_columns(quarantine_reasons=None), CHECKS).split()


def test_a_commit_sets_rows_apart_and_keeps_the_report(workspace: Workspace) -> None:
    flights = dataset("flights")
    first = flights.commit(FLIGHTS, checks=CHECKS, quarantine="flights-quarantine")
    assert first.to_polars()["id"].to_list() == [1, 4]
    apart = dataset("flights-quarantine").latest()
    assert apart.to_polars()["id"].to_list() == [2, 2]
    assert apart.note == "of flights: delay between -120 and 1440, id unique"
    found = find_report(first)
    assert found is not None
    assert (found.verdict, found.rows, found.subject) == ("quarantined", 4, "flights")

    flights.append(FLIGHTS[1:3], checks=CHECKS, quarantine="flights-quarantine")
    assert dataset("flights-quarantine").latest().rows == 4
    assert flights.latest().rows == 2
    renamed = FLIGHTS.rename({"carrier": "airline"})
    flights.commit(renamed, checks=CHECKS[:2], quarantine="flights-quarantine")
    newest = dataset("flights-quarantine").latest()
    assert (newest.rows, newest.note[:38]) == (2, "of flights, with other columns than be")
    assert dataset("flights-quarantine").version(2).rows == 4


def test_what_is_stopped_commits_nothing(workspace: Workspace) -> None:
    with pytest.raises(InvalidError, match="delay is not null"):
        dataset("flights").commit(FLIGHTS, checks=[*CHECKS, check.not_null("delay")], quarantine="apart")
    with pytest.raises(InvalidError, match="quarantine='flights-quarantine'"):
        dataset("flights").commit(FLIGHTS, checks=CHECKS)
    with pytest.raises(InvalidError, match="free of rows to set apart"):
        dataset("flights").commit(FLIGHTS, checks=CHECKS, quarantine="flights")
    assert list_datasets() == []


def test_a_commit_is_compared_with_the_version_before(workspace: Workspace) -> None:
    checks = [check.compare_previous("rows", change=0.1)]
    flights = dataset("flights")
    flights.commit(FLIGHTS, checks=checks)
    with pytest.raises(InvalidError, match=r"2 rows, 4 before \[flights/1\]"):
        flights.commit(FLIGHTS[:2], checks=checks)
    assert find_report(flights.latest()) is not None
    assert find_report(flights.commit(FLIGHTS[:2])) is None


def test_unchanged_content_gets_the_newest_report(workspace: Workspace) -> None:
    version = dataset("t").commit(FLIGHTS)
    assert dataset("t").commit(FLIGHTS, checks=[check.not_null("id")]) == version
    found = find_report(version)
    assert found is not None
    assert found.passed
