"""Rows set apart: by a report, and on their way into a dataset."""

from __future__ import annotations

import json
import tempfile
from datetime import date, timedelta
from decimal import Decimal
from functools import partial, partialmethod
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import polars as pl
import pytest

from mainspring.artifacts.spool import Spool, batches_of
from mainspring.data import Report, check, dataset, find_report, list_datasets, validate
from mainspring.data._store import DatasetStore
from mainspring.data.validation import rows
from mainspring.data.validation.admission import Admission
from mainspring.errors import InvalidError, NotAllowedError
from mainspring.ledger import Replay, new_id, within_task
from mainspring.testing.threads import at_once
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


def test_a_row_alone_is_judged_as_in_a_table_of_any_batches() -> None:
    draw = Random(7)
    frame = pl.DataFrame({"id": range(200), "x": [draw.gauss(0, 9) for _ in range(200)]})
    # Just between what a division is alone and what it is among others.
    frame = frame.with_columns(bound=(pl.col("x") / 3.3))
    checks = [check.expression("as in a table", pl.col("x") / 3.3 == pl.col("bound"), severity="quarantine"),
              check.expression("in SQL", "x / 3.3 >= bound", severity="quarantine")]  # fmt: skip
    whole = validate(frame, checks).split()[1]["id"].to_list()
    alone = [at for at in range(200) if validate(frame[at : at + 1], checks).split()[1].height]
    chunks = pl.concat([frame[at : at + 1] for at in range(200)], rechunk=False)
    batches = validate(frame.lazy(), checks, batch_rows=1)
    assert alone == whole == validate(chunks, checks).split()[1]["id"].to_list() == []
    assert [each.failing for each in batches.results] == [0, 0]


@pytest.mark.parametrize("made", [pl.col("l").list.filter(pl.element() / 3 < 0).list.len() == 0,
                                  pl.col("l").list.filter(pl.element() < 0).list.sum() / 2 == 0])  # fmt: skip
def test_a_check_of_some_items_of_lists_shows_the_rows_that_fail(made: pl.Expr) -> None:
    frame = pl.DataFrame({"l": [[1.0, -2.0], [3.0]]})
    (result,) = validate(frame, [check.expression("none below zero", made)]).results
    assert (result.failing, result.examples) == (1, ({"l": "[1.0, -2.0]"},))


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
    assert (newest.rows, newest.note) == (6, "of flights: delay between -120 and 1440, id unique")
    assert newest.to_polars()["carrier"].to_list() == ["AA", "B6", "AA", "B6", None, None]
    assert newest.to_polars()["airline"].to_list() == [None] * 4 + ["AA", "B6"]


def test_rows_set_apart_before_stay_when_columns_go_or_become_text(workspace: Workspace) -> None:
    flights, checks = dataset("flights"), [check.unique("id", severity="quarantine")]
    flights.commit(FLIGHTS, checks=checks, quarantine="apart")
    flights.commit(FLIGHTS.select("id"), checks=checks, quarantine="apart")
    flights.commit(FLIGHTS.select("id", delay=pl.lit("late")).lazy(), checks=checks, quarantine="apart")
    apart = dataset("apart").to_polars()
    assert apart["id"].to_list() == [2] * 6
    assert apart["delay"].to_list() == ["9000", "7", None, None, "late", "late"]
    assert apart["quarantine_reasons"].to_list() == [["id unique"]] * 6


def test_that_all_rows_were_set_apart_is_said(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    checks = [check.unique("id", severity="quarantine")]
    version = dataset("flights").commit(FLIGHTS[1:3], checks=checks, quarantine="apart")
    assert version.rows == 0
    assert caplog.messages == ["all 2 rows of flights were set apart: the version gets none of them"]
    dataset("flights").commit(FLIGHTS, checks=checks, quarantine="apart")
    assert len(caplog.messages) == 1


@pytest.mark.one_backend("values are the same wherever they lie")
def test_rows_set_apart_keep_their_values_beside_those_of_any_type(workspace: Workspace) -> None:
    """Values were rounded, nested ones invented, and some types could not be set apart at all."""
    large, day = 2**53 + 1, timedelta(days=1)
    pairs: list[tuple[Any, Any, list[Any]]] = [
        (pl.Series([1.5]), pl.Series([large]), ["1.5", str(large)]),
        (pl.Series([large]), pl.Series([1.5]), [str(large), "1.5"]),
        (pl.Series([7]), pl.Series([1.5]), [7.0, 1.5]),
        (pl.Series([7], dtype=pl.Int8), pl.Series([large]), [7, large]),
        (pl.Series([2**63 + 1], dtype=pl.UInt64), pl.Series([-1]), [str(2**63 + 1), "-1"]),
        (pl.Series([None]), pl.Series(["a"]), [None, "a"]),
        (pl.Series([{"a": 1}]), pl.Series([5]), ['{"a": 1}', "5"]),
        (pl.Series([{"a": 1}]), pl.Series([{"a": 2, "b": "é"}]), [{"a": 1, "b": None}, {"a": 2, "b": "é"}]),
        (pl.Series([["a"]]), pl.Series([[5]]), ['["a"]', "[5]"]),
        (pl.Series([5]), pl.Series([[1, None]]), ["5", "[1, null]"]),
        (pl.Series([[1, 2]], dtype=pl.Array(pl.Int64, 2)), pl.Series([[3]], dtype=pl.Array(pl.Int64, 1)), ["[1, 2]", "[3]"]),
        (pl.Series([b"\xff\xfe"]), pl.Series(["a"]), ["fffe", "a"]),
        (pl.Series([4]), pl.Series([day]), ["4", "P1D"]),
        (pl.Series([Decimal("1.5")], dtype=pl.Decimal(9, 1)), pl.Series([Decimal("0.25")], dtype=pl.Decimal(9, 2)),
         [Decimal("1.50"), Decimal("0.25")]),
        (pl.Series([date(2013, 1, 1)]), pl.Series([True]), ["2013-01-01", "true"]),
    ]  # fmt: skip
    bad = [check.expression("good", "id > 0", severity="quarantine")]
    for at, (one, other, wanted) in enumerate(pairs):
        for values in (one, other):
            frame = pl.DataFrame({"id": [1, -1], "x": pl.concat([values, values])})
            dataset(f"t{at}").commit(frame.lazy() if at % 2 else frame, checks=bad, quarantine=f"q{at}")
        assert dataset(f"q{at}").to_polars()["x"].to_list() == wanted, (one.dtype, other.dtype)


@pytest.mark.one_backend("what a value is as text")
def test_nested_values_set_apart_are_whole_and_json(workspace: Workspace) -> None:
    moments = pl.Series([[1577836800123456789]])
    nested: dict[str, tuple[pl.Series, str | None]] = {
        "times": (moments.cast(pl.List(pl.Datetime("ns"))), '["2020-01-01 00:00:00.123456789"]'),
        "spans": (moments.cast(pl.List(pl.Duration("ns"))), '["P18262DT0.123456789S"]'),
        "clocks": (pl.Series([[123456789]]).cast(pl.List(pl.Time)), '["00:00:00.123456789"]'),
        "floats": (pl.Series([[float("nan"), 1e300, -float("inf"), None, 0.1]]), '["NaN", 1e+300, "-inf", null, 0.1]'),
        "structs": (
            pl.Series([{"a": [{"b": b"\x01", "é": True}], "c": None, "d": Decimal("1.50")}]),
            '{"a": [{"b": "01", "é": true}], "c": null, "d": "1.50"}',
        ),
        "arrays": (pl.Series([[[1, 2], [3, None]]], dtype=pl.Array(pl.Int64, (2, 2))), "[[1, 2], [3, null]]"),
        "clock": (pl.Series([123456789]).cast(pl.Time), "00:00:00.123456789"),
        "wide": (pl.Series([[1 << 70]], dtype=pl.List(pl.Int128)), f"[{1 << 70}]"),
        "quotes": (pl.Series([['"\\', ""], [], None])[:1], r'["\"\\", ""]'),
        "empty": (pl.Series([[]], dtype=pl.List(pl.List(pl.Null))), "[]"),
        "gone": (pl.Series([None], dtype=pl.List(pl.Int8)), None),
    }  # fmt: skip
    known = pl.DataFrame({"x": [-1], **{name: values for name, (values, _) in nested.items()}})
    bad = [check.between("x", 0, 1, severity="quarantine")]
    dataset("t").commit(known, checks=bad, quarantine="apart")
    as_text = {name: ["plain"] for name in nested}
    dataset("t").commit(pl.DataFrame({"x": [-1], **as_text}), checks=bad, quarantine="apart")
    first, second = dataset("apart").latest().to_polars().to_dicts()
    for name, (_, text) in nested.items():
        assert (first[name], second[name]) == (text, "plain"), name
        assert text is None or name == "clock" or json.loads(text) is not None


@pytest.mark.parametrize("head", [pl.DataFrame(), pl.DataFrame(height=2)])
def test_rows_are_set_apart_behind_a_version_without_columns(head: pl.DataFrame, workspace: Workspace) -> None:
    dataset("apart").commit(head)
    dataset("t").commit(FLIGHTS, checks=CHECKS, quarantine="apart")
    assert dataset("t").latest().rows == 2
    apart = dataset("apart").latest()
    assert apart.to_polars()["id"].to_list() == [*[None] * head.height, 2, 2]
    assert apart.columns == (*FLIGHTS.columns, "quarantine_reasons")


@pytest.mark.one_backend("values are the same wherever they lie")
def test_many_columns_that_become_floats_are_looked_at_in_one_pass(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []
    collect = pl.LazyFrame.collect
    bad = [check.between("x", 0, 1, severity="quarantine")]
    whole = {f"c{n}": [2**53 + n % 2] for n in range(50)}
    dataset("t").commit(pl.DataFrame({"x": [-1], **whole}), checks=bad, quarantine="apart")

    def counted(*given: Any, **named: Any) -> Any:
        passes.append(1)
        return collect(*given, **named)

    monkeypatch.setattr(pl.LazyFrame, "collect", counted)
    floats = pl.DataFrame({"x": [-1], **{name: [0.5] for name in whole}})
    dataset("t").commit(floats, checks=bad, quarantine="apart")
    assert len(passes) < 20
    schema = dict(dataset("apart").latest().schema)
    assert [schema[f"c{n}"] for n in range(4)] == ["f64", "str"] * 2


def test_rows_are_set_apart_beside_those_that_come_meanwhile(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other writer's rows have other columns, and what is set apart was fitted to those before."""
    commit, checks = DatasetStore.commit, [check.unique("id", severity="quarantine")]
    first = pl.DataFrame({"id": [1, 1]})
    for at, before in enumerate(((), (first,))):
        for frame in before:
            dataset("one").commit(frame, checks=checks, quarantine=f"apart{at}")

        def outrun(self: DatasetStore, writes: Any, at: int = at) -> Any:
            monkeypatch.setattr(DatasetStore, "commit", commit)
            dataset("two").commit(FLIGHTS[1:3].select("id", "carrier"), checks=checks, quarantine=f"apart{at}")
            return commit(self, writes)

        monkeypatch.setattr(DatasetStore, "commit", outrun)
        dataset("one").append(pl.DataFrame({"id": [3, 3]}), checks=checks, quarantine=f"apart{at}")
        found = dataset(f"apart{at}").to_polars()
        assert found["id"].to_list() == [*[1, 1][: 2 * at], 2, 2, 3, 3]
        assert found["carrier"].drop_nulls().to_list() == ["AA", "B6"]


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


def test_a_key_that_stands_in_the_dataset_is_not_appended_again(workspace: Workspace) -> None:
    flights = dataset("flights")
    keys = check.unique(["id", "carrier"])
    flights.append(FLIGHTS[:2], checks=[keys])
    with pytest.raises(InvalidError, match=r"id, carrier unique: 1 row fails \(50 %\) \[flights/1\]"):
        flights.append(FLIGHTS[1:3], checks=[keys])
    with pytest.raises(InvalidError, match="id, carrier unique: 2 rows fail"):
        flights.append(pl.concat([FLIGHTS[3:], FLIGHTS[3:]]), checks=[keys])
    apart = [check.unique("id", severity="quarantine")]
    version = flights.append(FLIGHTS[1:], checks=apart, quarantine="apart")
    assert version.to_polars()["id"].to_list() == [1, 2, 4]
    assert dataset("apart").to_polars()["id"].to_list() == [2, 2]
    nulls = FLIGHTS[:1].with_columns(id=pl.lit(None, pl.Int64))
    flights.append(nulls, checks=apart, quarantine="apart")
    assert dataset("flights").append(nulls, checks=apart, quarantine="apart").rows == 4
    assert dataset("apart").latest().rows == 3


@pytest.mark.parametrize("keep", ["none", "first", "last"])
def test_keys_in_batches_are_held_to_those_of_a_version_as_the_whole_is(workspace: Workspace, keep: Any) -> None:
    head = dataset("t").commit(pl.DataFrame({"k": [1, 2, None], "f": [0.0, float("nan"), None]}))
    given = pl.DataFrame({"k": [3, 2, 3, None, 5, 1, 2], "f": [1.0, float("nan"), 1.0, None, 2.0, -0.0, 9.0]})
    for columns, failing in (("k", 6), (["k", "f"], 5)):
        wanted = [check.unique(columns, keep=keep)]
        (whole,) = validate(given, wanted, behind=head).results
        (walked,) = validate(given.lazy(), wanted, behind=head, batch_rows=2).results
        assert whole.failing == walked.failing == failing - (keep != "none")
        assert whole.against == "t/1"


def test_an_upsert_is_checked_as_what_it_makes(workspace: Workspace) -> None:
    people = dataset("people")
    people.commit(pl.DataFrame({"id": [1, 2], "mail": ["a", "b"]}))
    checks = [check.unique("mail"), check.unique("id"), check.matches("mail", "^[a-z]$", severity="quarantine")]
    swapped = pl.DataFrame({"id": [1, 2], "mail": ["b", "a"]})
    assert people.upsert(swapped, key="id", checks=checks).to_polars()["mail"].to_list() == ["b", "a"]
    with pytest.raises(InvalidError, match=r"mail unique: 1 row fails .*\[people/2\]"):
        people.upsert(pl.DataFrame({"id": [3], "mail": ["a"]}), key="id", checks=checks)
    mixed = pl.DataFrame({"id": [3, 4], "mail": ["c", "?"]})
    version = people.upsert(mixed, key="id", checks=checks, quarantine="apart")
    assert (version.rows, dataset("apart").to_polars()["id"].to_list()) == (3, [4])
    found = find_report(version)
    assert found is not None
    assert found.verdict == "quarantined"
    for _ in range(2):
        with pytest.raises(InvalidError, match="must be there once"):
            people.upsert(pl.concat([mixed, mixed]), key="id", checks=checks[2:], quarantine="apart")
    assert dataset("apart").latest().rows == 1


def test_rows_to_append_are_compared_with_the_version_and_their_number_with_what_it_added(workspace: Workspace) -> None:
    months = [pl.DataFrame({"delay": [float(n % 7) for n in range(rows)]}) for rows in (1000, 100, 90, 30)]
    checks = [check.compare_previous("rows", change=0.2), check.compare_previous("mean", "delay", change=0.5)]
    flights = dataset("flights")
    flights.commit(months[0])
    flights.append(months[1])
    flights.append(months[2], checks=checks)
    with pytest.raises(InvalidError, match=r"30 rows, 90 before \[flights/3\]"):
        flights.append(months[3], checks=checks)
    with pytest.raises(InvalidError, match="mean of delay within"):
        flights.append(months[2] * 3, checks=checks)


@pytest.mark.parametrize("step", [2, 100])
def test_a_lazy_table_is_computed_once_and_divided_on_disk(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    computed = []

    def seen(frame: pl.DataFrame) -> pl.DataFrame:
        computed.append(frame.height)
        return frame

    if step == 2:
        monkeypatch.setattr(rows, "_WHOLE_BYTES", 0)
        monkeypatch.setattr(Spool, "batches", partialmethod(lambda self, _=None: batches_of(self.scan(), self.rows, 2)))
    lazy = FLIGHTS.lazy().map_batches(seen, schema=FLIGHTS.schema)
    version = dataset("flights").commit(lazy, checks=CHECKS, quarantine="apart")
    assert (computed, version.to_polars()["id"].to_list()) == ([4], [1, 4])
    bad = dataset("apart").to_polars()
    assert bad["id"].to_list() == [2, 2]
    assert bad["quarantine_reasons"].to_list() == [["delay between -120 and 1440", "id unique"], ["id unique"]]
    again = dataset("flights").append(lazy, checks=CHECKS[2:3], quarantine="apart")
    assert (again.rows, len(computed)) == (6, 2)


@pytest.mark.one_backend("files beside the state")
def test_rows_that_are_judged_anew_leave_nothing_of_before_on_disk(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(rows, "_WHOLE_BYTES", 0)
    heads = [dataset("flights").append(FLIGHTS[:1].with_columns(id=pl.lit(n, pl.Int64))) for n in (10, 11)]
    with (
        Spool(FLIGHTS.lazy()) as spooled,
        Admission("flights", spooled, CHECKS, workspace, behind=True, quarantine="apart") as admission,
    ):
        folders = []
        for head in heads:
            admission.judge(head)
            folders.append(len(list(tmp_path.glob("mainspring-scratch-*"))))
    assert folders == [folders[0]] * 2


@pytest.mark.one_backend("what an error says")
def test_where_rows_are_set_apart_must_be_a_table(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    dataset("notes").add(tmp_path / "a.txt")
    with pytest.raises(InvalidError) as stopped:
        dataset("flights").commit(FLIGHTS, checks=CHECKS, quarantine="notes")
    assert str(stopped.value) == (
        "quarantine: `notes` is not a table. 2 of 4 rows of flights are to be set apart there. Name another dataset for them:"
        " quarantine='flights-quarantine'."
    )


def test_nothing_is_set_apart_if_the_rest_cannot_be_committed(workspace: Workspace) -> None:
    dataset("flights").commit(FLIGHTS)
    wider = FLIGHTS.with_columns(gate=pl.lit(1))
    for table in (wider, wider.lazy()):
        with pytest.raises(InvalidError, match="`gate`"):
            dataset("flights").append(table, checks=CHECKS, quarantine="apart")
    assert [version.dataset for version in list_datasets()] == ["flights"]


def test_checks_hold_of_the_version_that_rows_come_to_stand_behind(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another writer is faster, with the same key: what was unique when it was looked at no longer is."""
    flights, commit = dataset("flights"), DatasetStore.commit
    flights.commit(pl.DataFrame({"id": [1]}))

    def outrun(self: DatasetStore, writes: Any) -> Any:
        monkeypatch.setattr(DatasetStore, "commit", commit)
        dataset("flights").append(pl.DataFrame({"id": [2]}))
        return commit(self, writes)

    given = pl.DataFrame({"id": [2, 3]})
    monkeypatch.setattr(DatasetStore, "commit", outrun)
    with pytest.raises(InvalidError, match="id unique: 1 row fails"):
        flights.append(given, checks=[check.unique("id")])
    assert flights.latest().to_polars()["id"].to_list() == [1, 2]

    monkeypatch.setattr(DatasetStore, "commit", outrun)
    kept = flights.append(
        pl.DataFrame({"id": [2, 4]}), checks=[check.unique("id", severity="quarantine")], quarantine="apart"
    )
    assert kept.to_polars()["id"].to_list() == [1, 2, 2, 4]
    assert dataset("apart").latest().to_polars()["id"].to_list() == [2]


def test_many_writers_of_one_key_keep_it_unique(workspace: Workspace) -> None:
    flights, refused = dataset("flights"), []

    def append(writer: int) -> None:
        given = pl.DataFrame({"id": [0, writer + 1]})
        try:
            dataset("flights", workspace).append(given, checks=[check.unique("id")])
        except InvalidError:
            refused.append(writer)

    at_once(*[partial(append, writer) for writer in range(6)])
    assert len(refused) == 5
    assert flights.latest().to_polars()["id"].is_unique().all()


def test_rows_are_set_apart_in_the_transaction_of_the_others(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(DatasetStore, "write_report", stop)
        with pytest.raises(KeyboardInterrupt):
            dataset("flights").commit(FLIGHTS, checks=CHECKS, quarantine="apart")
    assert list_datasets() == []
    dataset("flights").commit(FLIGHTS, checks=CHECKS, quarantine="apart", source="https://example.org/flights")
    apart = dataset("apart").latest()
    assert [source.uri for source in apart.source] == ["https://example.org/flights"]


def test_a_replay_checks_behind_the_version_of_that_time(workspace: Workspace) -> None:
    flights, checks = dataset("flights"), [check.unique("id")]
    flights.commit(pl.DataFrame({"id": [1]}))
    second = flights.append(pl.DataFrame({"id": [2]}), checks=checks)
    flights.append(pl.DataFrame({"id": [3]}), checks=checks)
    with within_task(new_id(), replay=Replay("then")):
        again = dataset("flights").append(pl.DataFrame({"id": [2]}), checks=checks)
        assert again.id == second.id
        with pytest.raises(NotAllowedError, match="it differs"):
            dataset("flights").append(pl.DataFrame({"id": [7]}), checks=checks)


def test_how_a_version_is_walked_over_depends_on_its_memory_not_on_its_bytes(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = dataset("t").commit(pl.DataFrame({"n": pl.zeros(200_000, dtype=pl.Int64, eager=True)}))
    assert version.size_bytes < 20_000
    monkeypatch.setattr(rows, "_WHOLE_BYTES", 1 << 20)
    assert not rows.Rows(version).is_whole
    monkeypatch.setattr(rows, "_WHOLE_BYTES", 2 << 20)
    assert rows.Rows(version).is_whole
