"""A server's own compaction: what is closed becomes parts while it runs, by one process at a time, or never."""

from __future__ import annotations

import threading
import time

import pytest

from mainspring.clock import now_us
from mainspring.serving import OutsideService, compaction, outside_service
from mainspring.serving.compaction import Order, _compact, compact_logs, compacting
from mainspring.serving.feedback.intake import feedback_folder, feedback_log
from mainspring.serving.predictions import find_prediction, prediction_log, scan_predictions
from mainspring.serving.predictions.log import predictions_folder
from mainspring.store import list_segments
from mainspring.workspace import Workspace


@pytest.fixture
def closed(workspace: Workspace) -> tuple[OutsideService, str]:
    """A service whose logs have a closed segment each, and the prediction in it."""
    service = outside_service("fraud", "1")
    (prediction,) = service.log([{"card": "c"}], [0.5])
    service.label({"prediction": prediction, "label": 1.0})
    prediction_log(workspace).rotate()
    feedback_log(workspace).rotate()
    return service, prediction


def segments(workspace: Workspace) -> int:
    return sum(len(list_segments(log(workspace))) for log in (predictions_folder, feedback_folder))


def order(workspace: Workspace) -> Order:
    settings = workspace.project.settings
    return Order(str(workspace.project.root), {name: each.value for name, each in settings.origins.items()})


def test_what_is_closed_becomes_parts_while_a_server_runs(
    workspace: Workspace, closed: tuple[OutsideService, str]
) -> None:
    service, prediction = closed
    before = find_prediction(prediction)
    (live,) = service.log([{"card": "d"}], [0.25])
    until_us = now_us() + 60_000_000
    with compacting(workspace, 0.01):
        while segments(workspace) > 1 and now_us() < until_us:
            time.sleep(0.01)
    assert [each.live for each in list_segments(predictions_folder(workspace))] == [True]
    assert list_segments(feedback_folder(workspace)) == []
    assert find_prediction(prediction) == before
    assert {*scan_predictions("fraud").collect()["id"]} == {prediction, live}


@pytest.mark.one_backend("threads and processes, as on any")
def test_it_is_turned_off(workspace: Workspace, closed: tuple[OutsideService, str]) -> None:
    with compacting(workspace, 0):
        assert [each.name for each in threading.enumerate() if each.name == "compaction"] == []
    assert segments(workspace) == 2
    assert find_prediction(closed[1]) is not None


def test_where_another_process_is_at_it_nothing_happens(
    workspace: Workspace, closed: tuple[OutsideService, str]
) -> None:
    folders = predictions_folder(workspace), feedback_folder(workspace)
    host = workspace.owner.split(":")[0]
    held = [workspace.leases.claim(f"{folder.name}/{host}/{folder}", workspace.owner, 60.0) for folder in folders]
    compact_logs(order(workspace))
    assert segments(workspace) == 2
    for lease in held:
        workspace.leases.release(lease)
    compact_logs(order(workspace))
    assert segments(workspace) == 0
    assert find_prediction(closed[1]) is not None


@pytest.mark.one_backend("the log is files")
def test_a_damaged_segment_is_said_and_stays(
    workspace: Workspace, closed: tuple[OutsideService, str], caplog: pytest.LogCaptureFixture
) -> None:
    (segment,) = list_segments(predictions_folder(workspace))
    path = predictions_folder(workspace) / segment.name
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    with caplog.at_level("WARNING", "mainspring.serving"):
        _compact(workspace, threading.Event())
    assert "the logs were not compacted" in caplog.text
    assert "damaged at byte" in caplog.text
    assert path.exists()
    assert closed[0].endpoint.name == "fraud"


@pytest.mark.one_backend("a process, as on any")
@pytest.mark.parametrize(("full", "niceness"), [(1, 19), (3, 9), (9, 0)])
def test_the_more_waits_the_less_willingly_others_go_first(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, full: int, niceness: int
) -> None:
    for number in range(full):
        path = predictions_folder(workspace) / f"{number:016x}-00000000.segment"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.truncate(64 << 20)
    asked: list[int] = []
    ended = threading.Event()

    def compact(_: Workspace, ended: threading.Event, niceness: int) -> None:
        asked.append(niceness)
        ended.set()

    monkeypatch.setattr(compaction, "_compact", compact)
    compaction._watch(workspace, 0.01, ended)
    assert asked == [niceness]
