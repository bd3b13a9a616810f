"""A value that is given with a prediction and with a label joins them, whatever its type, its spelling and its way in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import httpx
import msgspec
import numpy as np
import pandas as pd
import polars as pl
import pytest
from click.testing import CliRunner
from sklearn.dummy import DummyRegressor

from mainspring.cli.main import cli
from mainspring.data import dataset
from mainspring.data.tables.type_names import named_type
from mainspring.errors import InvalidError
from mainspring.models import Field, Output, Signature, register
from mainspring.serving import ServingApp, bind, get_endpoint, outside_service
from mainspring.serving.feedback import compact_feedback, labelled, labels_of, log_dataset, log_labels, scan_labels
from mainspring.serving.feedback.frames import frame_of, united
from mainspring.serving.feedback.intake import feedback_log
from mainspring.serving.feedback.record import Labels
from mainspring.serving.predictions import (
    Entry,
    Source,
    compact_predictions,
    frames,
    get_prediction,
    prediction_log,
    scan_predictions,
)
from mainspring.serving.predictions.frames import typed_column
from mainspring.serving.predictions.keys import key_texts, texts_of
from mainspring.workspace import Workspace, using

pytestmark = pytest.mark.one_backend("keys are compared above every store")

VALUES: dict[str, list[Any]] = {
    "bool": [True, False],
    "i8": [-7], "i64": [0, 1545, -(2**62)], "u64": [2**63 + 1], "i128": [2**80],
    "f64": [0.1, 12.0, -0.0, 1e20, 1e-7], "f32": [0.1, 16_777_217, 1e-7, 1e20, 3], "f16": [0.1, 2049, 6e-8],
    "str": ["a", "1", "1.0", "true", "0017", "2026-01-31"], 'enum["a", "b"]': ["a"],
    "date": ["2026-01-31"],
    "datetime[ms]": ["2026-01-31T08:30:00.123456", "2026-01-31T08:30:00Z", "1969-12-31T23:59:59.9995"],
    "datetime[us]": ["2026-01-31T08:30:00.123456", "2026-01-31T08:30:00+02:00"],
    "datetime[ns]": ["2026-01-31T08:30:00.123456"],
    "datetime[ms, UTC]": ["2026-01-31T08:30:00.123456Z"], "datetime[us, America/New_York]": ["2026-01-31T08:30:00"],
    "time": ["08:34:00Z", "08:34:00.5", "08:35"],
    "duration[ms]": ["PT0.0005S", "PT90M", "P1W", "-PT0.0015S"], "duration[us]": ["P0.5W", "PT0.0005S"],
    "duration[ns]": ["PT1.5S"],
    "decimal[10, 2]": ["12.30", 7, 0.5], "uuid": ["12345678123412341234123456789ABC"], "bin": ["YWJj", "1234"],
}  # fmt: skip
Send = Callable[["Lab", list[Any], float], None]


class Lab:
    """An endpoint whose labels join by one column `of` of a type, in a project."""

    def __init__(self, project: tuple[Path, Workspace], dtype: str) -> None:
        self.folder, self.workspace = project
        self.field = Field("of", dtype)
        signature = Signature((self.field,), Output("number"))
        kind: Any = "records" if dtype == "uuid" else "polars"
        register(DummyRegressor().fit([[0]], [1.0]), "typed", signature=signature, input_kind=kind)
        bind("typed", "typed@production", version="typed/1", label_key=["of"], label_window="1d")
        self.app = ServingApp(self.workspace, "typed")

    def post(self, path: str, document: Any) -> httpx.Response:
        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(cast(Any, self.app))
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
                return await client.post(path, content=msgspec.json.encode(document))

        return asyncio.run(asked())

    def predict(self, *values: Any) -> list[str]:
        answer = self.post("/predict", {"records": [{"of": value} for value in values]})
        assert answer.status_code == 200, answer.text
        return cast(list[str], answer.json()["ids"])

    def compact(self) -> None:
        prediction_log(self.workspace).rotate()
        feedback_log(self.workspace).rotate()
        compact_predictions(self.workspace)
        compact_feedback(self.workspace)

    def found(self) -> dict[str, float]:
        """The labels that count by prediction, which are the same for all and for each, live and compacted."""
        told = []
        for _ in range(2):
            frame = labelled("typed").filter(pl.col("label").is_not_null()).collect()
            told.append(dict(frame.select("id", "label").iter_rows()))
            for each in scan_predictions("typed").collect()["id"]:
                own = [label["label"] for label in labels_of(each) if label["counts"]]
                assert own == [told[0][each]] if each in told[0] else own == []
            self.compact()
        assert told[0] == told[1]
        return told[0]


@pytest.fixture
def folder(tmp_path: Path) -> Any:
    (tmp_path / "mainspring.toml").write_text('name = "p"\n')
    with Workspace.open(tmp_path) as workspace, using(workspace):
        yield tmp_path, workspace


def own(lab: Lab, value: Any) -> Any:
    """A value as Python has it."""
    return lab.field.check(value)[0]


def column(lab: Lab, values: list[Any]) -> pl.Series:
    """A table's column of the declared type."""
    dtype = pl.String() if lab.field.dtype == "uuid" else named_type(lab.field.dtype, "of")
    given = [str(each) if isinstance(each, UUID) else each for each in (own(lab, value) for value in values)]
    if isinstance(dtype, pl.Datetime):
        found = pl.Series(
            "of", given, dtype=pl.Datetime(dtype.time_unit, "UTC" if dtype.time_zone else None), strict=False
        )
        return found.dt.convert_time_zone(dtype.time_zone) if dtype.time_zone else found
    return pl.Series("of", given, dtype=dtype, strict=False)


def text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def by_http(lab: Lab, values: list[Any], label: float) -> None:
    answer = lab.post("/feedback", [{"key": {"of": value}, "label": label} for value in values])
    assert answer.status_code == 200, answer.text


def by_python(lab: Lab, values: list[Any], label: float) -> None:
    log_labels("typed", [{"key": {"of": own(lab, value)}, "label": label} for value in values])


def by_polars(lab: Lab, values: list[Any], label: float) -> None:
    log_labels("typed", pl.DataFrame([column(lab, values)]).with_columns(label=label))


def by_pandas(lab: Lab, values: list[Any], label: float) -> None:
    log_labels("typed", pl.DataFrame([column(lab, values)]).with_columns(label=label).to_pandas())


def by_dataset(lab: Lab, values: list[Any], label: float) -> None:
    dataset("told").commit(pl.DataFrame([column(lab, values)]).with_columns(label=label))
    log_dataset("typed", "told")


def by_csv(lab: Lab, values: list[Any], label: float) -> None:
    path = lab.folder / "labels.csv"
    path.write_text(
        "".join(f"{text(value)},{told}\n" for value, told in [("of", "label"), *((each, label) for each in values)])
    )
    said(lab, "add", "typed", str(path))


def by_option(lab: Lab, values: list[Any], label: float) -> None:
    for value in values:
        said(lab, "add", "typed", "--key", f"of={text(value)}", "--label", str(label))


def said(lab: Lab, *args: str) -> None:
    found = CliRunner().invoke(cli, ["-C", str(lab.folder), "feedback", *args])
    assert found.exit_code == 0, found.output


WAYS: list[Send] = [by_http, by_python, by_polars, by_pandas, by_dataset, by_csv, by_option]


@pytest.mark.parametrize("dtype", VALUES)
def test_what_is_given_with_a_prediction_and_a_label_joins(dtype: str, folder: Any) -> None:
    lab, values = Lab(folder, dtype), VALUES[dtype]
    ids = lab.predict(*values[1:]) + lab.predict(values[0]) if values[1:] else lab.predict(values[0])
    wrong: dict[str, Any] = {}
    for number, way in enumerate(WAYS):
        if way is by_pandas and dtype in ("i128", "date"):
            continue  # pandas has none of them
        try:
            way(lab, values, float(number))
            found: Any = lab.found()
        except (AssertionError, InvalidError) as error:
            found = str(error)[-300:]
        if found != dict.fromkeys(ids, float(number)):
            wrong[way.__name__] = found
    assert not wrong


@pytest.mark.parametrize(
    ("dtype", "usual", "odd"),
    [
        ("duration[ms]", "PT90M", "PT0.0005S"), ("datetime[ms]", "2026-01-31T08:30:00", "2026-01-31T08:31:00.000001Z"),
        ("time", "08:30", "08:34:00Z"), ("f32", 0.1, 1e-9),
    ],
)  # fmt: skip
def test_what_one_caller_gives_changes_no_key_of_another(dtype: str, usual: Any, odd: Any, folder: Any) -> None:
    lab = Lab(folder, dtype)
    first = lab.predict(usual)[0]
    by_http(lab, [usual], 3.0)
    assert lab.found() == {first: 3.0}
    second, third = *lab.predict(odd), *lab.predict(usual)
    by_http(lab, [odd, usual], 4.0)
    assert lab.found() == {first: 3.0, second: 4.0, third: 4.0}


@pytest.mark.parametrize(
    ("dtype", "value", "logged"),
    [
        ("time", "08:34:00Z", "08:34:00+02:00"),
        ("duration[ms]", "PT90M", "soon"),
        ("i8", 7, 300),
        ("date", "2026-01-31", "x"),
    ],
)
def test_a_logged_value_that_its_type_does_not_hold_changes_no_key_beside_it(
    dtype: str, value: Any, logged: Any, folder: Any
) -> None:
    lab = Lab(folder, dtype)
    entries = [Entry("r", "", 0.0, {"of": [each]}, 1) for each in (value, logged)]
    for entry in entries:
        prediction_log(lab.workspace).write(Source(get_endpoint("typed")), [(entry, [1.0])])
    by_http(lab, [value], 5.0)
    assert lab.found() == {entries[0].first: 5.0}
    assert get_prediction(entries[1].first)["input.of"] == str(logged)


def test_values_that_a_type_does_not_hold_have_the_texts_that_each_has_alone() -> None:
    given = [
        300,
        "08:30",
        "08:34:00+02:00",
        "2026-01-31T08:30:00+02:00",
        "0001-01-01T00:00:00+05:00",
        7,
        1.5,
        True,
        "x",
        None,
    ]
    for dtype in VALUES:
        alone = [texts_of(typed_column("of", [each], dtype))[0] for each in given]
        for order in (1, -1):
            assert typed_column("of", given[::order], dtype).to_list() == alone[::order], dtype


def test_many_values_that_a_type_does_not_hold_are_read_in_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def counted(column: pl.Series) -> pl.Series:
        made.append(column.name)
        return texts_of(column)

    monkeypatch.setattr(frames, "texts_of", counted)
    values = [f"08:34:{each % 60:02}{'+02:00' if each % 2 else ''}" for each in range(10_000)]
    assert typed_column("of", values, "time").to_list()[:2] == ["08:34:00", "08:34:01+02:00"]
    assert len(made) < 5


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("time", "08:34:00+02:00"),
        ("datetime[ns]", "2300-01-01T00:00:00"),
        ("datetime[us]", "0001-01-01T00:00:00+05:00"),
        ("datetime[ms, UTC]", "9999-12-31T23:00:00-05:00"),
        ("duration[ns]", "P200000D"),
        ("duration[us]", "P999999999D"),
        ("duration[us]", "P99999999999W"),
        ("duration[us]", "P1M"),
        ("bool", "yes"),
    ],
)
def test_what_a_type_does_not_hold_is_refused_with_either(dtype: str, value: Any, folder: Any) -> None:
    lab = Lab(folder, dtype)
    for path, document in (
        ("/predict", {"records": [{"of": value}]}),
        ("/feedback", [{"key": {"of": value}, "label": 1}]),
    ):
        answer = lab.post(path, document)
        assert answer.status_code == 422, answer.text
        assert value in answer.json()["error"]
    found = CliRunner().invoke(
        cli, ["-C", str(lab.folder), "feedback", "add", "typed", "--key", f"of={value}", "--label", "1"]
    )
    assert found.exit_code == 1
    assert value in found.output


@pytest.mark.parametrize("kind", ["FP32", "FP64", "FP16"])
def test_tensors_and_records_hold_the_same_key(kind: str, folder: Any) -> None:
    lab = Lab(folder, "f16" if kind == "FP16" else "f32")
    tensor = {"name": "of", "datatype": "FP64" if kind == "FP16" else kind, "shape": [2], "data": [0.1, 1e-7]}
    answer = lab.post("/v2/models/typed/infer", {"inputs": [tensor]})
    assert answer.status_code == 200, answer.text
    for way in (by_http, by_polars, by_csv):
        way(lab, [0.1, 1e-7], 1.0)
        assert len(lab.found()) == 2


@pytest.mark.parametrize("is_first", [False, True], ids=["labels behind", "labels first"])
def test_values_of_an_outside_service_have_the_key_that_each_has_alone(is_first: bool, folder: Any) -> None:
    _, workspace = folder
    fraud = outside_service("fraud", "1", label_key=["of"], label_window="1d,1d", label_match="all", label_type="str")
    given = [1, "1", 1.0, True, "true", 2**60, 1.5, "1.50", "0017", None, datetime(2026, 1, 31, 8, 30, tzinfo=UTC)]
    keys = {"1": 3, "true": 2, 2**60: 1, 1.5: 1, "1.50": 1, "0017": 1, "2026-01-31T08:30:00Z": 1, False: 0}
    labels = [{"key": {"of": key}, "label": str(key)} for key in keys]
    if is_first:
        fraud.label(*labels)
    for value in given:
        fraud.log([{"of": value}], [1.0])
        if value == 1.5:
            prediction_log(workspace).rotate()
    if not is_first:
        fraud.label(*labels)
    live = _told()
    assert {key: live[1].count(str(key)) for key in keys} == keys
    compact_predictions(workspace)
    assert _told() == live
    prediction_log(workspace).rotate()
    feedback_log(workspace).rotate()
    compact_predictions(workspace)
    compact_feedback(workspace)
    assert _told() == live


def test_keys_of_labels_that_were_compacted_in_their_types_are_the_same_texts() -> None:
    moment = datetime(2026, 1, 31, 8, 30, tzinfo=UTC)
    values: dict[Any, Any] = {
        pl.Int64: 1545,
        pl.Float64: 1545.0,
        pl.String: "UA1",
        pl.Datetime("us", "UTC"): moment,
        pl.Boolean: True,
    }
    for dtype, value in values.items():
        now = frame_of([Labels("e", 0, "s", ["1"], [None], {"of": [value]}, [1.0], [0], [0])])
        before = now.with_columns(pl.Series("key.of", [value], dtype=dtype))
        of_each = [united([frame.lazy()], ["of"]).collect()["key.of"].to_list() for frame in (before, now)]
        assert of_each[0] == of_each[1]


def _told() -> tuple[list[Any], list[Any]]:
    """Inputs and labels of the service's predictions, in their order."""
    found = labelled("fraud").sort("id").collect()
    ids = found["id"].to_list()
    own = [[label["label"] for label in labels_of(each)] for each in ids]
    assert [each[:1] for each in own] == [[] if label is None else [label] for label in found["label"]]
    return found["input.of"].to_list(), found["label"].to_list()


def test_a_table_of_narrow_floats_is_of_the_keys_that_json_has(folder: Any) -> None:
    fraud = outside_service("fraud", "1", label_key=["of"], label_window="1d")
    narrow = pl.DataFrame({"of": [0.1]}, schema={"of": pl.Float32})
    fraud.log([{"of": 0.1}], [1.0])
    log_labels("fraud", narrow.with_columns(label=1.0))
    fraud.log(narrow, [1.0])
    fraud.label({"key": {"of": 0.1}, "label": 2.0})
    assert sorted(labelled("fraud").collect()["label"]) == [1.0, 2.0]


def test_a_number_in_a_file_of_pandas_is_the_one_that_its_table_has(folder: Any) -> None:
    fraud = outside_service("fraud", "1", label_key=["of"], label_window="1d", label_type="f64")
    path = folder[0] / "labels.csv"
    for numbers in ([17.0, 1e-5, 17.5, 1e15, 1e22], [True, False]):
        fraud.log(pd.DataFrame({"of": numbers}), [1.0] * len(numbers))
        pd.DataFrame({"of": numbers, "label": range(len(numbers))}).to_csv(path, index=False)
        found = CliRunner().invoke(cli, ["-C", str(folder[0]), "feedback", "add", "fraud", str(path)])
        assert found.exit_code == 0, found.output
        assert _told()[1][-len(numbers) :] == [float(each) for each in range(len(numbers))]


def test_a_text_is_a_key_of_its_own_however_it_would_read_as_a_number(folder: Any) -> None:
    texts = ["1.10", "1.1", "1", "1e5", "12e4", "100000", "120000", "-0", "0", " 5", "5 ", "5", "0017", "true"]
    fraud = outside_service("fraud", "1", label_key=["of"], label_window="1d", label_type="str")
    fraud.log([{"of": each} for each in texts], [1.0] * len(texts))
    path = folder[0] / "labels.csv"
    pl.DataFrame({"of": texts, "label": [f"csv {each}" for each in texts]}).write_csv(path)
    runs = [[str(path)], *(["--key", f"of={each}", "--label", f"option {each}"] for each in texts)]
    for number, args in enumerate(runs):
        found = CliRunner().invoke(cli, ["-C", str(folder[0]), "feedback", "add", "fraud", *args])
        assert found.exit_code == 0, found.output
        if number in (0, len(runs) - 1):
            way = "option" if number else "csv"
            assert _told() == (texts, [f"{way} {each}" for each in texts])


@pytest.mark.parametrize("given", [7, 0.1, -5.25, 1e-7, True, 2**60])
def test_a_text_that_spells_a_number_as_json_does_is_its_key(given: Any, folder: Any) -> None:
    fraud = outside_service("fraud", "1", label_key=["of"], label_window="1d")
    fraud.log([{"of": given}], [1.0])
    told = msgspec.json.encode(given).decode()
    args = ["-C", str(folder[0]), "feedback", "add", "fraud", "--key", f"of={told}", "--label", "1"]
    assert CliRunner().invoke(cli, args).exit_code == 0
    assert _told()[1] == [1]


FOREIGN: list[tuple[Any, str]] = [
    (np.float32(0.1), "0.1"), (np.float16(0.5), "0.5"), (np.float64(0.1), "0.1"), (np.bool_(True), "true"), (np.int64(5), "5"),
    (np.str_("a"), "a"), (np.datetime64("2026-01-31T08:30:00", "ns"), "2026-01-31T08:30:00"),
    (pd.Timestamp("2026-01-31 08:30:00.123456789"), "2026-01-31T08:30:00.123456"),
    (pd.Timestamp("2026-01-31 08:30", tz="Europe/Berlin"), "2026-01-31T07:30:00Z"),
    (datetime(2026, 1, 31, 8, 30, tzinfo=timezone(timedelta(hours=2))), "2026-01-31T06:30:00Z"),
    (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5))), "0001-01-01T00:00:00+05:00"),
    (time(8, 30, tzinfo=UTC), "08:30:00"), (Decimal("12.30"), "12.30"), (Decimal("1E+5"), "100000"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "key"), FOREIGN, ids=[f"{type(value).__name__} {key}" for value, key in FOREIGN])
def test_a_value_of_any_library_has_one_key_in_records_and_tables(value: Any, key: str, folder: Any) -> None:
    fraud = outside_service("fraud", "1", label_key=["of"], label_window="1d", label_match="all", label_type="str")
    own = pd.DataFrame({"of": [value]}) if key[:4] != "0001" else [{"of": value}]  # which tables don't hold
    fraud.log([{"of": value}], [1.0])
    fraud.log(own, [1.0])
    fraud.label({"key": {"of": value}, "label": "record"})
    assert scan_labels("fraud").collect()["key.of"].to_list() == [key]
    assert _told()[1] == ["record"] * 2
    log_labels(
        "fraud", own.assign(label="table") if isinstance(own, pd.DataFrame) else [{"of": value, "label": "table"}]
    )
    assert _told()[1] == ["table"] * 2


def test_bytes_and_the_text_of_them_are_one_key_for_one_prediction_and_for_all(folder: Any) -> None:
    fraud = outside_service("fraud", "1", label_key=["of"], label_window="1d", label_type="str")
    fraud.log([{"of": "bG9uZ2VyIGtleQ=="}], [1.0])
    fraud.log([{"of": b"longer key"}], [1.0])
    fraud.label({"key": {"of": b"longer key"}, "label": "it"})
    assert _told()[1] == [None, "it"]


NONE_OF_THEM = [float("nan"), np.float32("nan"), np.float64("nan"), Decimal("NaN"), np.datetime64("NaT"), pd.NaT]


@pytest.mark.parametrize("beside", [[], [1.5], ["a"]], ids=["alone", "beside a number", "beside a text"])
@pytest.mark.parametrize("given", NONE_OF_THEM, ids=[f"{type(each).__name__} {each}" for each in NONE_OF_THEM])
def test_what_is_no_number_is_no_key(given: Any, beside: list[Any], folder: Any) -> None:
    _, workspace = folder
    fraud = outside_service("fraud", "1", label_key=["of"], label_window="1d,1d", label_match="all", label_type="str")
    records = [{"of": each} for each in [given, *beside]]
    for inputs in (records, pd.DataFrame(records[:1]), *([{"of": each}] for each in [given, *beside])):
        fraud.log(inputs, [1.0] * len(inputs))
    fraud.label(*({"key": {"of": text}, "label": text} for text in ("NaN", "nan", "NaT", "None", "null")))
    path = folder[0] / "labels.csv"
    path.write_text("of,label\nNaN,1\nnan,2\n")
    found = CliRunner().invoke(cli, ["-C", str(folder[0]), "feedback", "add", "fraud", str(path)])
    assert found.exit_code == 0, found.output
    for _ in range(2):
        assert set(_told()[1]) == {None}
        prediction_log(workspace).rotate()
        compact_predictions(workspace)


@pytest.mark.parametrize("dtype", [pl.Float32, pl.Float64])
def test_what_is_no_number_has_no_text_in_a_column_of_numbers(dtype: Any) -> None:
    assert texts_of(pl.Series("of", [float("nan"), 1.5, None], dtype=dtype)).to_list() == [None, "1.5", None]


def test_what_is_no_number_has_no_text_beside_other_values() -> None:
    assert key_texts("of", [float("nan"), "a", 1.0, None]).to_list() == [None, "a", "1", None]
