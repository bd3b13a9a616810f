"""Services that run elsewhere: what they answer is logged, found, labelled and compacted as what our own servers answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner

from mainspring.cli.main import cli
from mainspring.errors import InvalidError, NotAllowedError, NotFoundError, StorageError, WrongTypeError
from mainspring.models import Field, Output, Signature, register
from mainspring.serving import (
    OutsideService,
    ServingApp,
    bind,
    explain,
    find_outside_service,
    get_endpoint,
    load_predictor,
    outside_service,
)
from mainspring.serving.batch import predict_batch
from mainspring.serving.feedback import coverage, labelled, labels_of
from mainspring.serving.predictions import compact_predictions, find_prediction, prediction_log, scan_predictions
from mainspring.serving.predictions.log import PredictionLog
from mainspring.workspace import Workspace, using


def test_predictions_of_an_outside_service_are_found_labelled_and_compacted(workspace: Workspace) -> None:
    fraud = outside_service("fraud", "2024-03", label_key=["card"], label_window="30d", redact=["name"])
    inputs = [{"card": "c1", "amount": 12.5, "name": "ada"}, {"card": "c2", "amount": None}]
    first, second = fraud.log(inputs, [{"0": 0.9, "1": 0.1}, {"0": 0.2, "1": 0.8}], route_key="u7", latency_s=0.25)
    fraud.label({"prediction": first, "label": 0}, {"key": {"card": "c2"}, "label": 1})
    found = find_prediction(second)
    assert found is not None
    told = ("version", "role", "runtime", "route_key", "input.card", "input.amount", "output.1")
    assert [found[name] for name in told] == ["2024-03", "stable", "outside", "u7", "c2", None, 0.8]
    assert "input.name" not in found
    assert 250_000 <= found["latency_us"] < 10_000_000
    outside_service("fraud", "2024-04")
    find_outside_service("fraud", "2024-03").log([{"card": "c1"}], [{"0": 0.5, "1": 0.5}])
    find_outside_service("fraud").log(pl.DataFrame({"card": ["c9"], "amount": [1.0]}), [{"0": 0.5, "1": 0.5}])
    before = labelled("fraud").select("id", "version", "label", "input.card").sort("id").collect()
    assert before["version"].to_list() == ["2024-03", "2024-03", "2024-03", "2024-04"]
    assert before["label"].to_list() == [0, 1, None, None]
    prediction_log(workspace).rotate()
    assert compact_predictions().rows == 4
    assert labelled("fraud").select("id", "version", "label", "input.card").sort("id").collect().equals(before)
    assert coverage("fraud").share == 0.5
    assert str(get_endpoint("fraud")) == "fraud: outside = 2024-04"


def test_declaring_a_service_again_changes_nothing_and_a_version_moves_it(workspace: Workspace) -> None:
    first = outside_service("fraud", "1", label_key=["card"], label_window="3d").endpoint
    assert outside_service("fraud", "1").endpoint == first
    moved = outside_service("fraud", "2").endpoint
    assert (moved.generation, moved.labels, moved.id) == (2, first.labels, first.id)
    kinds = [event.kind for event in workspace.ledger.events(0) if event.subject == first.id]
    assert kinds == ["endpoint.bound", "endpoint.moved"]


@pytest.mark.one_backend("what is refused is so before anything is asked of a store")
def test_what_is_no_prediction_is_refused_whole(workspace: Workspace) -> None:
    service = outside_service("fraud", "1")
    for inputs, outputs, said in (
        ([{"x": 1}], [], "one output for each of 1 input"), ([{"x": 1}], [None], r"outputs\[0\]"),
        ([{"x": 1}] * 2, [1.0, float("nan")], r"outputs\[1\]"), ([{"x": 1}] * 2, [{"a": 1.0}, {"b": 1.0}], r"outputs\[1\]"),
        ([{"x": 1}], 5, "one output for each"), ([{"x": 1}], [1 << 70], r"outputs\[0\]"),
    ):  # fmt: skip
        with pytest.raises(InvalidError, match=said):
            service.log(inputs, outputs)
    with pytest.raises(WrongTypeError, match=r"inputs\[1\]"):
        service.log([{"x": 1}, 5], [1.0, 2.0])
    assert service.log([], []) == []
    assert scan_predictions("fraud").collect().height == 0
    keyed = outside_service("keyed", "1", label_key=["card"], label_window="1d")
    for given, said in (
        ([{"card": None}, {"crad": 1, "x": 2}], r"inputs\[1\]: `crad, x` is not all columns, as `card` is missing"),
        (pl.DataFrame({"x": [1, 2]}), "inputs: `x` is not all columns, as `card` is missing"),
    ):
        with pytest.raises(InvalidError, match=said):
            keyed.log(given, [1.0, 2.0])
    assert scan_predictions("keyed").collect().height == 0
    assert len(keyed.log([{"card": None}], [1.0])) == 1
    for name, version in (("a/b", "1"), ("a", ""), ("a", "m/1"), ("a", "x" * 300)):
        with pytest.raises(InvalidError):
            outside_service(name, version)
    with pytest.raises(NotFoundError):
        find_outside_service("froud")


@pytest.mark.one_backend("names are one table")
def test_a_version_that_is_called_as_a_model_is_the_services_own(workspace: Workspace) -> None:
    from sklearn.linear_model import LinearRegression

    table = pl.DataFrame({"card": [1, 2], "amount": [1.0, 2.0]})
    model = register(LinearRegression().fit(table, [0.0, 1.0]), "m", input_example=table)
    ids = []
    for version in ("m", "m@production", model.id):
        service = outside_service("fraud", version, label_key=["card"], label_window="30d")
        ids += service.log([{"card": "0012", "amount": 2.5}], [0.03])
    service.label({"key": {"card": "12"}, "label": 0}, {"key": {"card": "0012"}, "label": 1})

    def told() -> list[Any]:
        found = [find_prediction(each) for each in ids]
        cards = [each["input.card"] for each in found if each is not None]
        labels = [[label["label"] for label in labels_of(each)] for each in ids]
        scanned = labelled("fraud").sort("id").select("input.card", "label").collect().rows()
        return [cards, labels, scanned]

    before = told()
    assert before == [["0012"] * 3, [[], [], [1]], [("0012", None), ("0012", None), ("0012", 1)]]
    for each in ids:
        found = explain(each, attribution=True)
        assert (found.model, found.model_id, found.edges, found.attribution) == ("", "", (), None)
        assert "is a service that runs outside" in found.gaps[0]
    prediction_log(workspace).rotate()
    assert compact_predictions().rows == 3
    assert told() == before


def test_a_name_is_either_an_outside_services_or_a_models(workspace: Workspace) -> None:
    from sklearn.linear_model import LinearRegression

    signature = Signature((Field("x", "f64"),), Output("number"))
    register(LinearRegression(), "m", signature=signature, input_kind="records")
    bind("ours", "m@production", version="m/1")
    outside_service("theirs", "1")
    for refused in (
        lambda: outside_service("ours", "1"), lambda: find_outside_service("ours"),
        lambda: bind("theirs", "m@other", version="m/1"), lambda: load_predictor("theirs"),
        lambda: ServingApp(workspace, "theirs"),
        lambda: predict_batch("theirs", pl.DataFrame({"x": [1.0]}), to="out"),
    ):  # fmt: skip
        with pytest.raises(NotAllowedError):
            refused()


@pytest.mark.one_backend("the log is files")
def test_a_full_disk_is_told_unless_best_effort_is_declared(workspace: Workspace, small_disk: Path) -> None:
    log = PredictionLog(small_disk / "predictions")
    rows: list[dict[str, Any]] = [{"x": "x" * 1_000}] * 2_000

    def served(**options: Any) -> OutsideService:
        service = outside_service("fraud", "1", **options)
        service._log = log
        return service

    with pytest.raises(StorageError, match="full"):
        served().log(rows, [1.0] * len(rows))
    assert len(served(log="best-effort").log(rows, [1.0] * len(rows))) == len(rows)
    assert log.counts["fraud", "unlogged"] == len(rows)
    assert served(log="off").log(rows[:1], [1.0]) == []


@pytest.mark.one_backend("the command line opens the workspace of a folder")
def test_how_long_an_answer_took_is_told_only_if_the_service_says_so(tmp_path: Path) -> None:
    (tmp_path / "mainspring.toml").write_text('name = "p"\n')
    with Workspace.open(tmp_path) as workspace, using(workspace):
        fraud = outside_service("fraud", "1", label_key=["card"], label_window="1d")
        ids = [fraud.log([{"card": "c1"}], [0.5])[0], fraud.log([{"card": "c1"}], [0.5], latency_s=0.25)[0]]
        fraud.label({"key": {"card": "c1"}, "label": 1})
        for _ in range(2):
            found = [find_prediction(each) for each in ids]
            known = [row["latency_us"] for row in found if row is not None]
            assert (known[0], known[1] // 250_000) == (None, 1)
            assert labels_of(ids[1])[0]["label"] == 1
            frame = scan_predictions("fraud").collect()
            assert (frame["latency_us"].null_count(), frame["latency_us"].mean()) == (1, known[1])
            told = [CliRunner().invoke(cli, ["-C", str(tmp_path), "explain", each]).output for each in ids]
            assert [" ms" in each for each in told] == [False, True], told
            prediction_log(workspace).rotate()
            assert compact_predictions().rows in (2, 0)


def test_a_service_says_which_role_its_predictions_have(workspace: Workspace) -> None:
    fraud = outside_service("fraud", "1", label_key=["card"], label_window="1d")
    ids = [fraud.log([{"card": "c1"}], [0.5], role=role)[0] for role in ("stable", "candidate", "shadow")]
    fraud.label({"key": {"card": "c1"}, "label": 1})
    for _ in range(2):
        for role, each in zip(("stable", "candidate", "shadow"), ids, strict=True):
            assert scan_predictions("fraud", role=role).collect()["id"].to_list() == [each]
        labels = labelled("fraud").sort("id").collect()
        assert dict(labels.select("role", "label").iter_rows()) == {"stable": None, "candidate": 1, "shadow": 1}
        prediction_log(workspace).rotate()
        compact_predictions()
    for role in ("loadtest", "", "canary"):
        with pytest.raises(InvalidError, match=f"role: `{role}` is not a role of a service: stable, candidate, shadow"):
            fraud.log([{"card": "c1"}], [0.5], role=role)
