"""From a prediction's id to the bytes: each station is the one that was recorded, and what isn't known is said."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from mainspring.cli.main import cli
from mainspring.data import dataset
from mainspring.errors import InvalidError, NotFoundError
from mainspring.features import materialize
from mainspring.models import get_model_version
from mainspring.models.versions import delete_version
from mainspring.runs import RunStore
from mainspring.serving import bind, explain, get_endpoint, outside_service
from mainspring.serving.feedback import log_labels
from mainspring.serving.feedback.intake import feedback_folder, feedback_log
from mainspring.serving.predictions import Entry, Source, compact_predictions, prediction_log
from mainspring.store import blob_digest
from mainspring.testing.plugin import Backend
from mainspring.workspace import Workspace
from tests.serving.explanation.conftest import Released, log_rows, register_by_hand

WHEN = datetime(2013, 1, 1, 5, tzinfo=UTC)


def test_every_station_of_the_way_is_the_one_that_was_recorded(workspace: Workspace, released: Released) -> None:
    found = explain(released.ids[1])
    run = RunStore(workspace.database, workspace.ledger).get(released.run)
    assert found.inputs == {"origin": "JFK", "dest": "EWR", "distance": 30.0}
    assert found.output == found.prediction["output"]
    assert found.binding is not None
    told = found.binding
    assert (told.target, told.generation, told.note) == ("delay@production", 1, "the first one")
    assert found.run is not None
    assert (found.run.id, found.run.task_name, found.run.code_digest) == (run.id, "train", run.code_digest)
    assert found.model == "delay/1"
    assert [(each.name, each.value, each.status, each.event_at, each.views) for each in found.features] == [
        ("wind", 7, "PRESENT", WHEN.replace(hour=4), ("weather_at/1",)),
        ("dest_wind", 5, "PRESENT", WHEN, ("weather_at/1",)),
    ]
    assert [(each.view, each.dataset_version) for each in found.views] == [("weather_at/1", "weather/1")]
    assert [(each.version, each.trained, each.served) for each in found.datasets] == [
        ("flights/1", True, False), ("weather/1", True, True),
    ]  # fmt: skip
    digests = {
        node.label.rpartition("/")[2]: node.content_digest for node in found.sources if node.kind == "source_file"
    }
    assert digests == {name: blob_digest(released.folder / name) for name in ("flights.csv", "weather.csv")}
    assert {node.content_digest for node in found.sources if node.kind == "code"} == {run.code_digest}
    assert found.gaps == ()


def test_an_explanation_is_the_same_compacted(workspace: Workspace, released: Released) -> None:
    prediction_log(workspace).rotate()
    before = explain(released.ids[0])
    assert compact_predictions().rows == 2
    assert explain(released.ids[0]) == before


def test_what_was_released_and_materialized_later_changes_no_explanation(
    workspace: Workspace, released: Released
) -> None:
    before = explain(released.ids[0])
    weather = pl.DataFrame({"origin": ["EWR"], "at": [WHEN.replace(day=2)], "wind": [50]})
    dataset("weather").append(weather)
    materialize("weather_at")
    later = log_rows(workspace)
    register_by_hand()
    bind("delays", version="delay/2", note="the second one")
    assert explain(released.ids[0]) == before
    now = explain(later[0])
    assert (now.features[0].value, now.features[0].event_at) == (50, WHEN.replace(day=2))
    assert now.views[0].dataset_version == "weather/2"
    assert {each.version for each in now.datasets if each.served} == {"weather/2"}


def test_labels_are_told(workspace: Workspace, released: Released) -> None:
    log_labels("delays", [{"prediction": released.ids[0], "label": 1}])
    (label,) = explain(released.ids[0]).labels
    assert (label["label"], label["counts"]) == (1, True)


def test_labels_that_cant_be_read_are_a_gap(workspace: Workspace, released: Released) -> None:
    log_labels("delays", [{"prediction": released.ids[0], "label": 1}])
    before = explain(released.ids[0])
    feedback_log(workspace).rotate()
    (path,) = feedback_folder(workspace).glob("*.segment")
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    found = explain(released.ids[0])
    assert (found.labels, found.gaps[1:]) == ((), before.gaps)
    assert f"Its labels can't be told: {path}: the segment is damaged at byte 8." in found.gaps[0]


def test_what_is_not_in_the_log_says_where_was_looked(workspace: Workspace, released: Released) -> None:
    first = released.ids[0]
    with pytest.raises(
        NotFoundError, match=r"is not in what its writer `[0-9a-f]{8}` left: 1 segment here and 0 compacted"
    ):
        explain(f"{first[:22]}00000000ff")
    with pytest.raises(
        NotFoundError, match=r"nothing of its writer `ffffffff` is in .*predictions or in the workspace's"
    ):
        explain(f"{first[:14]}ffffffff0000000000")
    with pytest.raises(NotFoundError, match="No prediction"):
        explain("f" * 32)  # of a time that no clock shows
    with pytest.raises(InvalidError, match="an id of 32 hexadecimal digits"):
        explain(first[:12])
    assert workspace.ledger.last_seq() > 0


def test_gaps_are_named_and_are_no_errors(workspace: Workspace, released: Released) -> None:
    bind("delays", redact=["distance"])
    redacted = explain(log_rows(workspace)[0])
    assert "distance" not in redacted.inputs
    assert redacted.gaps == ("Never logged here: `distance` (redacted).",)
    version = get_model_version("delay/1")
    assert version.encoded is not None
    workspace.blobs.condemn(version.encoded.blob)
    workspace.blobs.destroy(version.encoded.blob)
    assert any("no longer in the blob store" in gap for gap in explain(released.ids[0]).gaps)
    register_by_hand()
    bind("delays", version="delay/2", redact=[])
    entry = Entry("r", "", 0.0, {"distance": [1.0]}, 1)
    prediction_log(workspace).write(Source(get_endpoint("delays")), [(entry, [0.5])])
    gaps = " ".join(explain(entry.first).gaps)
    assert "No run made delay/2" in gaps
    assert "No version of a dataset is recorded" in gaps


def test_a_deleted_version_keeps_its_lineage(workspace: Workspace, released: Released) -> None:
    register_by_hand()
    before = explain(released.ids[0])
    bind("delays", version="delay/2")
    delete_version("delay/1")
    found = explain(released.ids[0])
    assert (found.edges, found.sources, found.run) == (before.edges, before.sources, before.run)
    assert any("The model version delay/1 was deleted" in gap for gap in found.gaps)
    assert workspace.ledger.last_seq() > 0


def test_an_outside_service_is_said_to_be_one(workspace: Workspace) -> None:
    (prediction,) = outside_service("fraud", "2024-03").log([{"card": "c1"}], [0.03])
    found = explain(prediction)
    assert (found.model, found.run, found.edges, found.inputs) == ("", None, (), {"card": "c1"})
    assert found.binding is not None
    assert "its version `2024-03` was made of is not recorded here" in found.gaps[0]
    assert workspace.ledger.last_seq() > 0


def test_the_command_draws_the_way_and_gives_it_as_data(backend: Backend, tmp_path: Path, released: Released) -> None:
    where = ["-C", str(tmp_path), "--set", f"database={backend.database_url}", "--set", f"blobs={backend.blob_url}"]

    def called(*args: str) -> str:
        done = CliRunner().invoke(cli, [*where, "explain", *args], env={"COLUMNS": "200"})
        assert done.exit_code == 0, done.output
        return done.stdout

    shown = called(released.ids[1])
    for told in (
        "delay@production, by ", ": the first one", "task train of run main", "trained on  flights/1, weather/1",
        "wind       7      PRESENT", "├─ answered by model version delay/1", "made by task train",
        "└─ read dataset version weather/1 as weather_at/1", "weather.csv",
    ):  # fmt: skip
        assert told in shown, told
    document = json.loads(called(released.ids[1], "--json"))
    assert document["run"]["id"] == released.run
    assert document["edges"][0]["src"] == released.ids[1]
    assert {node["kind"] for node in document["sources"]} == {"code", "source_file"}
    missing = CliRunner().invoke(cli, [*where, "explain", "0" * 32])
    assert (missing.exit_code, "Traceback" in missing.output) == (1, False)
