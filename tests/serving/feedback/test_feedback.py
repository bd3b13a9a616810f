"""Labels: whatever their way in and their layout, the same ones count; none is lost, and none comes from the future."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from sklearn.linear_model import LinearRegression

from mainspring.data import dataset
from mainspring.errors import ConflictError, InvalidError, NotFoundError, StorageError
from mainspring.models import Field, Output, Signature, register
from mainspring.serving import Endpoint, bind, get_endpoint
from mainspring.serving.feedback import (
    LabelIntake,
    alike,
    compact_feedback,
    compacting,
    coverage,
    datasets,
    labelled,
    labels_of,
    log_dataset,
    log_labels,
    scan_labels,
)
from mainspring.serving.feedback._store import FeedbackParts, gc_roots
from mainspring.serving.feedback.intake import FeedbackLog, feedback_log
from mainspring.serving.feedback.joining import known_labels
from mainspring.serving.feedback.tables import read_file, read_table
from mainspring.serving.label_rule import LabelRule, changed_rule
from mainspring.serving.predictions import Entry, Source, compact_predictions, get_prediction, prediction_log
from mainspring.serving.predictions.log import predictions_folder
from mainspring.workspace import Workspace
from tests.serving.feedback.conftest import DAY_US, START_US, at, set_clock

Ask = Callable[..., str]
one_backend = pytest.mark.one_backend("the rules are those of one function over files")


def found(*span: Any, **known: Any) -> dict[str, float]:
    """The labels that count, by prediction."""
    frame = labelled("delays", *span, **known).filter(pl.col("label").is_not_null()).collect()
    return dict(frame.select("id", "label").iter_rows())


def by_key(label: Any, flight: Any = "UA1", day: str = "2024-10-04", **more: Any) -> dict[str, Any]:
    return {"key": {"flight": flight, "day": day}, "label": label, **more}


def test_a_label_joins_by_id_or_by_key_within_its_window(ask: Ask) -> None:
    first, second, other = ask(START_US), ask(START_US + DAY_US), ask(START_US, "UA2")
    taken = log_labels("delays", [by_key(5, event_at=at(3)), {"prediction": other, "label": 7.5}])
    assert (taken.accepted, taken.refused) == (2, 0)
    assert found() == {second: 5.0, other: 7.5}
    log_labels("delays", [by_key(6, event_at=at(0.5)), by_key(9, event_at=at(5), id="too late for any")])
    assert found() == {first: 6.0, second: 5.0, other: 7.5}
    told = coverage("delays")
    assert (told.predictions, told.labelled, told.share, told.waiting) == (3, 3, 1.0, 1)


def test_a_label_by_key_passes_over_what_a_load_test_asked(ask: Ask) -> None:
    real, driven = ask(START_US), ask(START_US + DAY_US, role="loadtest")
    log_labels("delays", [by_key(5, event_at=at(1))])
    assert found() == {real: 5.0}
    assert (coverage("delays").predictions, coverage("delays").labelled) == (1, 1)
    assert labels_of(driven) == []
    log_labels("delays", [{"prediction": driven, "label": 3}])
    assert [each["label"] for each in labels_of(driven)] == [3.0]


@one_backend
@pytest.mark.parametrize("rule", [{}, {"label_match": "all"}, {"label_match": "first"}, {"label_window": "2d,1d"}])
def test_the_labels_of_one_prediction_are_those_that_the_whole_log_gives_it(
    workspace: Workspace, ask: Ask, rule: dict[str, Any]
) -> None:
    bind("delays", **rule)
    random = np.random.default_rng(7)
    days, names = random.integers(0, 8, 40), random.choice(["UA1", "UA2", "UA3"], 40)
    ids = []
    for number, (day, name) in enumerate(zip(days, names, strict=True)):
        ids.append(ask(START_US + int(day) * DAY_US // 2, name))
        if number == 20:
            prediction_log(workspace).rotate()
            compact_predictions(workspace)
    told = [by_key(number, random.choice(["UA1", "UA2"]), event_at=at(number / 3)) for number in range(15)]
    log_labels("delays", [*told, {"prediction": ids[3], "label": 100}])
    whole = dict(labelled("delays").select("id", "label_id").collect().iter_rows())
    counting = {each: [label["id"] for label in labels_of(each) if label["counts"]] for each in ids}
    assert counting == {each: [label] if label else [] for each, label in whole.items()}
    assert 5 < len(list(filter(None, whole.values()))) < 40


@one_backend
def test_no_other_prediction_is_read_for_one_whose_key_has_no_label(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    own = ask(START_US)
    log_labels("delays", [by_key(5, "UA2", event_at=at(1)), {"prediction": own, "label": 2}])
    monkeypatch.delattr(alike, "read_records")
    assert [each["label"] for each in labels_of(own)] == [2.0]
    log_labels("delays", [by_key(5, event_at=at(1))])
    with pytest.raises(NameError):
        labels_of(own)


@one_backend
@pytest.mark.parametrize("harmed", [b"UA1", b"\xa3UA1"])
def test_what_is_damaged_of_another_prediction_makes_labels_no_others(
    workspace: Workspace, ask: Ask, harmed: bytes
) -> None:
    first, last = ask(START_US), ask(START_US + DAY_US)
    other = ask(START_US, "UA2")
    log_labels("delays", [by_key(5, event_at=at(2)), {"prediction": other, "label": 7}])
    assert [[each["label"] for each in labels_of(one)] for one in (first, last)] == [[], [5.0]]
    prediction_log(workspace).rotate()
    (path,) = predictions_folder(workspace).glob("*.segment")
    data = bytearray(path.read_bytes())
    data[data.rindex(harmed)] ^= 1
    path.write_bytes(data)
    for _ in range(2):
        with pytest.raises(StorageError, match=f"{path.name}: the segment is damaged at byte"):
            labels_of(first)
    labels, gaps = known_labels(get_prediction(first), workspace)
    assert (labels, len(gaps)) == ([], 1)
    assert "Its labels can't be told: " in gaps[0]
    assert [each["label"] for each in labels_of(other)] == [7.0]  # by its id: no other prediction is looked at


@pytest.mark.parametrize("value", ["UA1", "a number 7", 1545, 1545.0, "1545", -70_000, 1 << 40])
def test_a_value_of_a_key_is_in_its_record_in_one_of_its_forms(value: Any) -> None:
    text = str(int(value)) if isinstance(value, float) else str(value)
    forms = alike.forms_of({"input.flight": value}, {"flight": text}, {})
    assert forms
    assert any(each in msgspec.msgpack.encode(["r", {"flight": [1, value]}]) for each in forms)


def test_a_text_of_a_key_is_in_no_record_of_a_longer_one() -> None:
    (form,) = alike.forms_of({"input.flight": "user 12"}, {"flight": "user 12"}, {})
    assert form not in msgspec.msgpack.encode(["r", {"flight": ["user 123", "a user 12"]}])


@pytest.mark.parametrize("value", [True, 7, 1.5, "1.50", "nan", "2026-01-31T08:30:00Z", "a", date(2024, 10, 4)])
def test_a_value_that_may_be_written_otherwise_is_looked_for_in_every_record(value: Any) -> None:
    assert not alike.forms_of({"input.flight": value}, {"flight": str(value)}, {})


def test_a_repeat_changes_nothing_and_a_correction_keeps_what_was(ask: Ask) -> None:
    prediction = ask(START_US)
    for day, label in ((1, 5.0), (2, 6.0), (3, 5.0)):
        with set_clock(START_US + day * DAY_US):
            log_labels("delays", [{"prediction": prediction, "label": label}])
    assert found() == {prediction: 6.0}, "the third is the first again"
    assert [(each["label"], each["counts"]) for each in labels_of(prediction)] == [(6.0, True), (5.0, False)]
    assert [found(as_of=at(day)) for day in (0.5, 1, 2)] == [{}, {prediction: 5.0}, {prediction: 6.0}]
    with set_clock(START_US + 4 * DAY_US):
        log_labels("delays", [{"prediction": prediction, "label": 5.0, "known_at": at(4)}])
    assert found() == {prediction: 5.0}
    assert labelled("delays", as_of=at(-1)).collect().height == 0


def test_a_label_that_comes_before_its_prediction_waits(ask: Ask) -> None:
    unknown = "0" * 32
    log_labels("delays", [by_key(5, event_at=at(1)), {"prediction": unknown, "label": 1}])
    assert (coverage("delays").labelled, coverage("delays").waiting) == (0, 2)
    assert scan_labels("delays").collect().height == 2
    prediction = ask(START_US)
    assert found() == {prediction: 5.0}
    assert coverage("delays").waiting == 1


def test_what_is_wrong_is_refused_with_its_place_and_the_rest_is_logged(flights: Endpoint, ask: Ask) -> None:
    right = {"prediction": ask(START_US), "label": 1}
    wrong = {
        "[1].label": {**right, "label": "late"}, "[2].label": {**right, "label": None}, "[3].label": {**right, "label": True},
        "[4].prediction": {"prediction": "mine", "label": 1}, "[5].day": {"flight": "UA1", "label": 1},
        "[6].key.day": by_key(1, day="soon"), "[7].key.flight": by_key(1, flight=5), "[8]": ["label", 1],
        "[9].lable": {**right, "lable": 2}, "[10].known_at": {**right, "known_at": "2999-01-01"},
        "[11].event_at": {**right, "event_at": "noon"}, "[12].label": by_key(float("inf")), "[13].id": {**right, "id": 7},
        "[14].key": {**right, "key": {"flight": "UA1", "day": "2024-10-04"}}, "[15].label": {"prediction": right["prediction"]},
        "[16].key": {"key": "UA1", "label": 1}, "[17].key.carrier": {"key": {"carrier": "UA"}, "label": 1},
    }  # fmt: skip
    intake = LabelIntake(flights, workspace=_workspace())
    taken = intake(enumerate([right, *wrong.values()]), "python")
    assert [each.path for each in taken.problems] == [*wrong]
    assert (taken.accepted, taken.refused) == (1, len(wrong))
    assert found() == {right["prediction"]: 1.0}
    with pytest.raises(InvalidError, match=r'\[0\].label: "late" is a str, expected a number. Logged: 1\.'):
        log_labels("delays", [wrong["[1].label"], right])


@one_backend
@pytest.mark.parametrize("number", [1_795_286_135, 1_795_286_135_540, 1_795_286_135_540_752, 1.5, True])
def test_a_time_that_is_a_number_is_refused_whatever_its_unit_is(flights: Endpoint, ask: Ask, number: Any) -> None:
    right = {"prediction": ask(START_US), "label": 1.0}
    told = LabelIntake(flights, _workspace())(
        enumerate([{**right, "known_at": number}, {**right, "event_at": number}, right]), "python"
    )
    assert [each.path for each in told.problems] == ["[0].known_at", "[1].event_at"]
    assert "is a number" in told.problems[0].message
    assert "a time such as 2026-01-31T09:00:00Z" in told.problems[0].message
    assert told.accepted == 1


@one_backend
def test_a_column_of_integers_is_no_column_of_times(flights: Endpoint, ask: Ask, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(f"prediction,label,known_at\n{ask(START_US)},1.0,1795286135\n")
    intake = LabelIntake(flights, _workspace())
    for table in (read_file(path, intake.check, {}), read_table(pl.read_csv(path), intake.check, {})):
        (problem,) = intake(table.records, "cli").problems
        assert str(problem).startswith("[0].known_at: 1795286135 is a number")


def _workspace() -> Workspace:
    from mainspring.workspace import current_workspace

    return current_workspace()


@one_backend
def test_an_outside_word_is_no_label_key(flights: Endpoint) -> None:
    for wrong, said in (
        ({"label_key": ["flght"]}, "Nearest: flight"), ({"label_key": "flight"}, "a list of columns"),
        ({"label_window": "soon"}, "a length of time"), ({"label_match": "best"}, "`nearest`, `first`, `last`, `all`"),
        ({"redact": ["flight"]}, "redacted"),
    ):  # fmt: skip
        with pytest.raises(InvalidError, match=said):
            bind("delays", **wrong)
    with pytest.raises(InvalidError, match="needs a time"):
        changed_rule(LabelRule(), key=["flight"])
    assert get_endpoint("delays").labels == flights.labels == LabelRule(("flight", "day"), 3 * DAY_US)
    assert bind("delays", label_key=[]).labels.key == ()
    with pytest.raises(InvalidError, match=r"\[0\].key: unknown field|declares no `label_key`"):
        log_labels("delays", [by_key(1)])


@one_backend
def test_labels_are_what_the_answers_are(workspace: Workspace) -> None:
    from sklearn.linear_model import LogisticRegression

    for name, output, right, wrong in (
        ("numbers", Output("number"), 1, "one"), ("names", Output("label", ("a", "b")), "c", 1),
        ("chances", Output("probability", (0, 1)), 1, 0.5), ("truths", Output("label", (False, True)), True, 1),
    ):  # fmt: skip
        register(LogisticRegression(), name, signature=Signature((Field("x", "f64"),), output), input_kind="records")
        bind(name, f"{name}@production", version=f"{name}/1")
        log_labels(name, [{"prediction": "0" * 32, "label": right}])
        with pytest.raises(InvalidError, match=r"\[0\].label"):
            log_labels(name, [{"prediction": "0" * 32, "label": wrong}])
        assert scan_labels(name).collect()["label"].to_list() == [right]
    bind("names", label_type="i64")
    log_labels("names", [{"prediction": "0" * 32, "label": 1}])
    assert sorted(scan_labels("names").collect()["label"].to_list()) == ["1", "c"]


def test_a_span_is_the_whole_cut_and_compaction_changes_nothing(workspace: Workspace, ask: Ask) -> None:
    ids = [ask(START_US + day * DAY_US, f"UA{day % 3}") for day in range(20)]
    for day in range(25):
        with set_clock(START_US + (day + 1) * DAY_US):
            log_labels("delays", [by_key(float(day), f"UA{day % 4}", event_at=at(day - 0.5))])
            log_labels("delays", [{"prediction": ids[day % 7], "label": -float(day)}])
        if day % 10 == 9:
            feedback_log(workspace).rotate()
    whole = labelled("delays").sort("id").collect()
    parts = [
        labelled("delays", at(start), at(start + 3.5)).collect() for start in (-7.0, -3.5, 0, 3.5, 7, 10.5, 14, 17.5)
    ]
    assert_frame_equal(pl.concat(parts, how="diagonal_relaxed").sort("id"), whole, check_column_order=False)
    assert 7 < whole["label"].drop_nulls().len() < 20
    before = coverage("delays"), scan_labels("delays").sort("id").collect()
    feedback_log(workspace).rotate()
    prediction_log(workspace).rotate()
    assert compact_feedback().rows == 50
    compact_predictions()
    assert_frame_equal(labelled("delays").sort("id").collect(), whole)
    assert coverage("delays") == before[0]
    assert_frame_equal(scan_labels("delays").sort("id").collect(), before[1])
    assert compact_feedback().segments == 0
    assert all(workspace.blobs.exists(blob) for blob in gc_roots(workspace.database))


@one_backend
def test_delays_are_those_of_labels_behind_their_predictions(ask: Ask) -> None:
    for day in range(11):
        prediction = ask(START_US)
        with set_clock(START_US + day * 1_000_000):
            log_labels("delays", [{"prediction": prediction, "label": 1}])
    ask(START_US)
    told = coverage("delays")
    assert (told.labelled, told.predictions, told.delay_s) == (11, 12, (5.0, 9.0, 9.9))
    assert coverage("delays", at(1)).share is None


def test_a_dataset_gives_each_of_its_rows_once(workspace: Workspace, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    predictions = [ask(START_US, f"UA{number}") for number in range(5)]
    arrivals = pl.DataFrame({"flight": ["UA0", "UA1", "UA2"], "day": [date(2024, 10, 4)] * 3, "late": [1.0, None, 3.0]})
    columns = {"label": "late", "event_at": "landed"}
    landed = pl.lit(datetime(2024, 10, 5, tzinfo=UTC))
    dataset("arrivals").commit(arrivals.with_columns(landed=landed, gate=pl.lit("A")))
    taken = log_dataset("delays", "arrivals", columns=columns)
    assert (taken.accepted, taken.empty) == (2, 1)
    assert found() == {predictions[0]: 1.0, predictions[2]: 3.0}
    assert log_dataset("delays", "arrivals", columns=columns).accepted == 0
    more = pl.DataFrame({"flight": ["UA1", "UA2"], "day": [date(2024, 10, 4)] * 2, "late": [2.0, 4.0]})
    dataset("arrivals").append(more.with_columns(landed=landed, gate=pl.lit("B")))

    def killed(*_: Any) -> None:
        raise StorageError("here", "killed")

    with monkeypatch.context() as patch:
        patch.setattr(FeedbackParts, "take", killed)
        with pytest.raises(StorageError, match="killed"):
            log_dataset("delays", "arrivals", columns=columns)
    assert found() == {predictions[0]: 1.0, predictions[2]: 3.0}
    assert log_dataset("delays", "arrivals", columns=columns).accepted == 2
    assert found() == {predictions[0]: 1.0, predictions[1]: 2.0, predictions[2]: 4.0}
    assert len(scan_labels("delays").collect()) == 4
    with pytest.raises(InvalidError, match="among those of the table"):
        log_dataset("delays", "arrivals")


def test_a_dataset_that_another_process_took_meanwhile_is_refused(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(START_US, "UA0")
    dataset("arrivals").commit(pl.DataFrame({"flight": ["UA0"], "day": [date(2024, 10, 4)], "label": [1.0]}))
    part_of = compacting.part_of

    def beaten(*given: Any) -> Any:
        monkeypatch.setattr(datasets, "part_of", part_of)
        log_dataset("delays", "arrivals")
        return part_of(*given)

    monkeypatch.setattr(datasets, "part_of", beaten)
    with pytest.raises(ConflictError, match="Try again"):
        log_dataset("delays", "arrivals")
    assert len(scan_labels("delays").collect()) == 1


@one_backend
@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl", "json"])
def test_files_of_each_kind_give_the_same_labels(tmp_path: Path, flights: Endpoint, ask: Ask, suffix: str) -> None:
    one, other = ask(START_US, "0017"), ask(START_US, "UA2")
    path = tmp_path / f"labels.{suffix}"
    frame = pl.DataFrame(
        {"flight": ["0017", "UA2"], "day": ["2024-10-04"] * 2, "delay": [3.0, 4.5], "landed": ["2024-10-05"] * 2}
    )
    if suffix == "csv":
        frame.write_csv(path)
    elif suffix == "parquet":
        frame.write_parquet(path)
    else:
        rows = frame.to_dicts()
        path.write_text(json.dumps(rows) if suffix == "json" else "\n".join(map(json.dumps, rows)))
    intake = LabelIntake(flights, _workspace())
    taken = intake(read_file(path, intake.check, {"label": "delay", "event_at": "landed"}).records, "cli")
    assert taken.problems == ()
    assert found() == {one: 3.0, other: 4.5}


@one_backend
def test_a_text_among_numbers_of_a_csv_file_is_refused_by_its_value(
    tmp_path: Path, flights: Endpoint, ask: Ask
) -> None:
    prediction = ask(START_US)
    path = tmp_path / "labels.csv"
    path.write_text(f"prediction,label,gate\n{prediction},1.5,A\n{prediction},late,B\n{prediction},,C\n")
    intake = LabelIntake(flights, _workspace())
    table = read_file(path, intake.check, {})
    taken = intake(table.records, "cli")
    assert (taken.accepted, table.empty) == (1, 1)
    assert [str(each) for each in taken.problems] == ['[1].label: "late" is a str, expected a number']
    with pytest.raises(NotFoundError):
        read_file(tmp_path / "none.csv", intake.check, {})
    with pytest.raises(InvalidError, match=r"\.parquet"):
        read_file(tmp_path / "none.xls", intake.check, {})


@one_backend
def test_labels_of_a_full_disk_are_not_acknowledged(small_disk: Path, flights: Endpoint) -> None:
    log = FeedbackLog(small_disk / "feedback")
    intake = LabelIntake(flights, _workspace())
    intake._log = log
    records = [by_key(float(number), f"UA{number}") for number in range(20_000)]
    with pytest.raises(StorageError, match="full"):
        intake(enumerate(records), "python")


@one_backend
@pytest.mark.parametrize(
    ("dtype", "asked"),
    [
        ("datetime[us, UTC]", ["2026-01-31T08:30:00Z", "2026-01-30T08:30:00", "2026-01-29T08:30:00+02:00"]),
        ("datetime[us, UTC]", ["2026-01-30T08:30:00", "2026-01-31T08:30:00Z"]),
        ("datetime[us, America/New_York]", ["2026-01-30T08:30:00", "2026-01-31T08:30:00Z"]),
        ("datetime[us]", ["2026-01-31T08:30:00", "2026-01-30T08:30:00Z", "2026-01-30T08:30:00+02:00"]),
        ("uuid", ["12345678-1234-1234-1234-123456789abc", "12345678-1234-1234-1234-123456789abd"]),
    ],
)
def test_spellings_of_one_type_are_read_as_it_also_beside_each_other(
    dtype: str, asked: list[str], workspace: Workspace
) -> None:
    field = Field("of", dtype)
    register(LinearRegression(), "typed", signature=Signature((field,), Output("number")), input_kind="records")
    bind("typed", "typed@production", version="typed/1", label_key=["of"], label_window="1d")
    entries = [Entry("r", "", 0.0, {"of": [field.check(each)[0]]}, 1) for each in asked]
    for entry in entries:
        prediction_log(workspace).write(Source(get_endpoint("typed")), [(entry, [1.0])])
    log_labels("typed", [{"key": {"of": each}, "label": number} for number, each in enumerate(asked)])
    expected = {entry.first: float(number) for number, entry in enumerate(entries)}
    for _ in range(2):
        assert dict(labelled("typed").collect().select("id", "label").iter_rows()) == expected
        assert {each: label["label"] for each in expected for label in labels_of(each)} == expected
        prediction_log(workspace).rotate()
        compact_predictions(workspace)


@one_backend
@pytest.mark.parametrize("is_compacted", [False, True], ids=["live", "compacted"])
@pytest.mark.parametrize(
    ("dtype", "asked", "told"),
    [
        ("duration[us]", "PT1H30M", "PT90M"),
        ("datetime[us]", "2026-01-31T08:30:00", "2026-01-31 08:30"),
        ("datetime[us]", "2026-01-31T08:30:00", datetime(2026, 1, 31, 8, 30)),
        ("datetime[us, UTC]", "2026-01-31T08:30:00Z", "2026-01-31T09:30:00+01:00"),
        ("decimal[10, 2]", "12.30", "12.3"),
        ("decimal[10, 2]", 100, "100.00"),
        ("decimal[10, 2]", "-0.00", 0),
        ("decimal[38, 10]", "1234567890123456789012345678.10", "1234567890123456789012345678.1"),
        ("time", "08:30:00.500", "08:30:00.5"),
        ("date", "2026-01-31", date(2026, 1, 31)),
        ("bin", "YWJj", b"abc"),
        ("f64", 12.0, 12),
        ("u64", 2**63, 2**63),
        ("i128", 2**80, 2**80),
    ],
)
def test_a_label_joins_however_its_key_is_spelt(
    dtype: str, asked: Any, told: Any, is_compacted: bool, workspace: Workspace
) -> None:
    field = Field("of", dtype)
    register(LinearRegression(), "typed", signature=Signature((field,), Output("number")), input_kind="records")
    bind("typed", "typed@production", version="typed/1", label_key=["of"], label_window="1d")
    value, wrong = field.check(asked)
    assert not wrong
    entry = Entry("r", "", 0.0, {"of": [value]}, 1)
    prediction_log(workspace).write(Source(get_endpoint("typed")), [(entry, [1.0])])
    assert log_labels("typed", [{"key": {"of": told}, "label": 5}]).accepted == 1
    if is_compacted:
        prediction_log(workspace).rotate()
        feedback_log(workspace).rotate()
        compact_predictions(workspace)
        compact_feedback(workspace)
    assert labelled("typed").collect()["label"].to_list() == [5.0]
    assert [each["label"] for each in labels_of(entry.first) if each["counts"]] == [5.0]
