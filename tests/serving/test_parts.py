"""A segment that can't become parts stays as it is, holds up no other one, and is told by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mainspring.errors import ConflictError, MainspringError, StorageError
from mainspring.serving import OutsideService, outside_service, parts
from mainspring.serving.feedback import compact_feedback, scan_labels
from mainspring.serving.feedback.intake import feedback_folder, feedback_log
from mainspring.serving.predictions import compact_predictions, prediction_log, scan_predictions
from mainspring.serving.predictions.log import predictions_folder
from mainspring.store import SegmentWriter, list_segments
from mainspring.workspace import Workspace


class Log:
    """One of the two logs: how something is written to it, and how it is compacted and read."""

    def __init__(self, workspace: Workspace, is_feedback: bool) -> None:
        self.service: OutsideService = outside_service("fraud", "1", label_key=["card"], label_window="30d")
        self.folder: Path = (feedback_folder if is_feedback else predictions_folder)(workspace)
        self.compact: Callable[..., parts.Compacted] = compact_feedback if is_feedback else compact_predictions
        self.workspace, self.is_feedback = workspace, is_feedback

    def write(self, card: str) -> Path:
        """A closed segment that holds one row, of this card."""
        before = {each.name for each in list_segments(self.folder)}
        if self.is_feedback:
            self.service.label({"key": {"card": card}, "label": 1})
            feedback_log(self.workspace).rotate()
        else:
            self.service.log([{"card": card}], [0.5])
            prediction_log(self.workspace).rotate()
        (name,) = {each.name for each in list_segments(self.folder)} - before
        return self.folder / name

    def cards(self) -> list[Any]:
        """The cards of all rows that are found."""
        frame, name = (
            (scan_labels("fraud"), "key.card") if self.is_feedback else (scan_predictions("fraud"), "input.card")
        )
        return frame.select(name).collect().to_series().sort().to_list()


@pytest.fixture(params=[False, True], ids=["predictions", "feedback"])
def log(workspace: Workspace, request: pytest.FixtureRequest) -> Log:
    return Log(workspace, request.param)


def test_a_segment_of_records_that_are_no_rows_holds_up_no_other(log: Log) -> None:
    log.write("c1")
    writer = SegmentWriter(log.folder, "00c0ffee")
    writer.append([b"\xc1"])
    writer.close()
    (path,) = log.folder.glob("*-00c0ffee.segment")
    held = path.read_bytes()
    log.write("c2")
    for is_past_damage in (False, True):
        with pytest.raises(StorageError, match=rf"{path.name}: the segment can't be compacted, and stays: DecodeError"):
            log.compact(past_damage=is_past_damage)
        assert [each.name for each in list_segments(log.folder)] == [path.name]
        assert [each for each in log.folder.iterdir() if each.suffix == ".damaged"] == []
        assert path.read_bytes() == held
    path.unlink()
    assert log.cards() == ["c1", "c2"]


@pytest.mark.parametrize(
    ("step", "error"),
    [
        ("stored_frame", ValueError("odd")), ("stored_frame", pl.exceptions.ComputeError("odd")),
        ("stored_frame", pl.exceptions.PanicException("odd")), ("stored_frame", MainspringError("odd.")),
        ("remove_segment", OSError(5, "odd")), ("remove_segment", ConflictError("odd.")),
    ],
)  # fmt: skip
def test_an_error_of_one_segment_loses_no_row_of_any(
    log: Log, step: str, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [log.write(card) for card in ("c1", "c2", "c3")]
    given: Iterator[BaseException | None] = iter([None, error, None])
    module = "feedback" if log.is_feedback else "predictions"
    place = f"mainspring.serving.{module}.compacting.stored_frame" if step == "stored_frame" else None
    real = getattr(parts, step)

    def failing(*args: Any) -> Any:
        raised = next(given)
        if raised is not None:
            raise raised
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(place or "mainspring.serving.parts.remove_segment", failing)
        with pytest.raises(StorageError, match=rf"{paths[1].name}: the segment can't be [a-z]+, and stays.*odd"):
            log.compact()
        assert [each.name for each in list_segments(log.folder)] == [paths[1].name]
        assert log.cards() == ["c1", "c2", "c3"]
    log.compact()
    assert list_segments(log.folder) == []
    assert log.cards() == ["c1", "c2", "c3"]
