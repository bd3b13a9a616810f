"""Compaction moves predictions and changes none: what is found, by id or as a frame, is the same before and after."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from mainspring.cli.main import cli
from mainspring.clock import from_us
from mainspring.errors import MainspringError, NotFoundError, StorageError
from mainspring.models import Field, Output, Signature, register
from mainspring.serving import bind, get_endpoint, parts
from mainspring.serving.predictions import (
    Entry,
    Logged,
    PredictionLog,
    Source,
    compact_predictions,
    find_prediction,
    get_prediction,
    scan_predictions,
)
from mainspring.serving.predictions._store import gc_roots
from mainspring.serving.predictions.frames import Rows
from mainspring.serving.predictions.ids import PredictionIds, id_at, ids_from
from mainspring.serving.predictions.log import predictions_folder
from mainspring.store import Segment, SegmentRecord, list_segments, read_segment
from mainspring.testing.plugin import Backend
from mainspring.workspace import Workspace


class Logs(SimpleNamespace):
    """Three writers' logs of two endpoints, whose ids are `ids` in the order in which they were given."""

    ids: list[str]
    writers: list[PredictionLog]


def registered() -> None:
    """A model, and two endpoints that serve it."""
    from sklearn.linear_model import LinearRegression

    signature = Signature((Field("x", "i64", nullable=True), Field("who", "str")), Output("number"))
    register(LinearRegression(), "m", signature=signature, input_kind="records")
    for name in ("one", "two"):
        bind(name, f"m@{name}", version="m/1")


@pytest.fixture
def logs(workspace: Workspace) -> Iterator[Logs]:
    registered()
    sources = [Source(get_endpoint(name)) for name in ("one", "two")]
    writers = [PredictionLog(predictions_folder(workspace)) for _ in range(3)]
    ids: list[str] = []
    for number in range(90):
        rows = number % 3 + 1
        columns: dict[str, Any] = {"x": [number, None, 7][:rows], "who": ["é", "", "c"][:rows]}
        entry = Entry(f"r{number}", "", 0.0, columns, rows)
        writers[number % 3].write(sources[number % 2], [(entry, [float(number)] * rows)])
        ids += ids_from(entry.first, rows)
        if number % 30 == 29:
            for writer in writers:
                writer.rotate()
    yield Logs(ids=ids, writers=writers)
    for writer in writers:
        writer.close()


def everything(workspace: Workspace) -> pl.DataFrame:
    return pl.concat([scan_predictions(name, workspace=workspace).collect() for name in ("one", "two")]).sort("id")


def test_compaction_changes_nothing_that_is_found(workspace: Workspace, logs: Logs) -> None:
    before = everything(workspace)
    rows = [find_prediction(each) for each in logs.ids[::7]]
    assert before["id"].to_list() == sorted(logs.ids)
    assert [row and row["output"] for row in rows] == [
        before.filter(id=each)["output"].item() for each in logs.ids[::7]
    ]
    done = compact_predictions()
    assert (done.rows, done.segments, done.parts) == (len(logs.ids), 9, 18)
    assert list_segments(predictions_folder(workspace)) == []
    assert_frame_equal(everything(workspace), before)
    assert [find_prediction(each) for each in logs.ids[::7]] == rows
    assert compact_predictions().segments == 0
    assert len({*gc_roots(workspace.database)}) == 18
    assert all(workspace.blobs.exists(blob) for blob in gc_roots(workspace.database))


def test_a_segment_that_is_written_to_is_left_alone_and_both_are_read(workspace: Workspace, logs: Logs) -> None:
    entry = Entry("last", "", 0.0, {"x": [1], "who": ["w"]}, 1)
    logs.writers[0].write(Source(get_endpoint("one")), [(entry, [5.0])])
    before = everything(workspace)
    compact_predictions()
    assert len(list_segments(predictions_folder(workspace))) == 1
    assert_frame_equal(everything(workspace), before)
    found = find_prediction(entry.first)
    assert found is not None
    assert found["request_id"] == "last"
    assert find_prediction(f"{entry.first[:22]}ffffffffff") is None
    assert find_prediction(f"{entry.first[:14]}ffffffff0000000000") is None


def test_a_compaction_that_was_killed_before_it_removed_a_segment_is_ended_by_the_next(
    workspace: Workspace, logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything(workspace)

    def killed(*_: Any) -> None:
        raise MainspringError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(parts, "remove_segment", killed)
        with pytest.raises(MainspringError, match="killed"):
            compact_predictions()
    assert_frame_equal(everything(workspace), before)
    compact_predictions()
    assert_frame_equal(everything(workspace), before)
    assert list_segments(predictions_folder(workspace)) == []
    assert len({*logs.ids}) == before.height


@pytest.mark.parametrize("is_read_first", [True, False])
def test_what_another_machine_compacts_meanwhile_is_in_parts_once(
    workspace: Workspace, logs: Logs, monkeypatch: pytest.MonkeyPatch, is_read_first: bool
) -> None:
    before = everything(workspace)

    def meanwhile(folder: Path, name: str) -> Iterator[SegmentRecord]:
        monkeypatch.undo()
        records = [*read_segment(folder, name)]
        monkeypatch.setitem(workspace.__dict__, "owner", "elsewhere:boot:1:1")
        assert compact_predictions().segments == 9
        monkeypatch.undo()
        yield from records if is_read_first else read_segment(folder, name)

    monkeypatch.setattr(parts, "read_segment", meanwhile)
    compact_predictions()
    assert_frame_equal(everything(workspace), before)
    assert len({*gc_roots(workspace.database)}) == 18
    assert list_segments(predictions_folder(workspace)) == []
    assert len({*logs.ids}) == before.height


@pytest.mark.one_backend("the frame is made of records alone")
@given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from(["x", "y", "xy"]), st.booleans()), max_size=12), st.data())
def test_the_same_records_give_the_same_table_however_they_are_cut(
    asked: list[tuple[int, str, bool]], data: st.DataObject
) -> None:
    """Requests of several rows, with other columns, with one answer or one for each class."""
    ids = PredictionIds("00c0ffee")
    records = [
        Logged(
            ids.take(rows, number), rows, number, f"r{number}", "e", 1, "v", "stable", "native", "", number,
            {name: [f"{name}{number}-{row}" for row in range(rows)] for name in names},
            [{"a": 0.25, "b": float(row)} if by_class else float(row) for row in range(rows)],
        )
        for number, (rows, names, by_class) in enumerate(asked)
    ]  # fmt: skip
    gathered = Rows()
    cut = data.draw(st.integers(0, len(records)))
    for some in (records[:cut], records[cut:]):
        gathered.add(some)
    expected = [
        {"id": id_at(record.id, row), "at": record.at_us, "request_id": record.request_id}
        | {f"input.{name}": values[row] for name, values in record.inputs.items()}
        | _answer(record.outputs[row])
        for record in records
        for row in range(record.rows)
    ]
    frame = gathered.frame({}).with_columns(pl.col("at").to_physical())
    assert [
        {name: row.get(name) for name in own} for own, row in zip(expected, frame.to_dicts(), strict=True)
    ] == expected
    for own, row in zip(expected, frame.to_dicts(), strict=True):
        assert all(row[name] is None for name in row.keys() - own.keys() if name.startswith(("input.", "output")))
    assert frame["latency_us"].to_list() == [record.latency_us for record in records for _ in range(record.rows)]


def _answer(output: Any) -> dict[str, Any]:
    return (
        {f"output.{name}": value for name, value in output.items()} if isinstance(output, dict) else {"output": output}
    )


def test_one_is_found_in_a_damaged_segment_and_what_is_damaged_says_so(workspace: Workspace, logs: Logs) -> None:
    folder = predictions_folder(workspace)
    segment = list_segments(folder)[0].name
    own = [each for each in logs.ids if segment.endswith(f"-{each[14:22]}.segment")]
    path = folder / segment
    size = path.stat().st_size
    whole = path.read_bytes()
    path.write_bytes(whole[: size - 3] + bytes([whole[size - 3] ^ 1]) + whole[size - 2 :])
    assert find_prediction(own[0]) is not None
    with pytest.raises(StorageError, match="damaged"):
        [find_prediction(each) for each in own]


def test_one_is_found_though_another_record_holds_no_text_where_its_id_is(workspace: Workspace) -> None:
    registered()
    writer = PredictionLog(predictions_folder(workspace))
    ids = [written(writer, rows) for rows in (2, 2, 2, 1)]
    writer.close()
    (segment,) = list_segments(predictions_folder(workspace))
    path = predictions_folder(workspace) / segment.name
    path.write_bytes(path.read_bytes().replace(ids[2].encode(), b"\xff" + ids[2].encode()[1:]))
    for first in ids[:2]:
        assert find_prediction(id_at(first, 1)) is not None
    with pytest.raises(StorageError, match="damaged"):
        find_prediction(id_at(ids[2], 1))


def grown(length: bytes) -> bytes:
    """A length that reaches beyond the end of its segment."""
    return (int.from_bytes(length, "little") + 4096).to_bytes(4, "little")


def flipped(held: bytes) -> bytes:
    """Bytes of which none is what it was."""
    return bytes(each ^ 0xFF for each in held)


def closed_segment(workspace: Workspace, *, records: int, rows: int) -> tuple[Path, Segment, list[str]]:
    """Of so many records of so many rows each; with the folder that it is in, and the id of each record."""
    registered()
    folder = predictions_folder(workspace)
    writer = PredictionLog(folder)
    ids = [written(writer, rows) for _ in range(records)]
    writer.close()
    (segment,) = list_segments(folder)
    return folder, segment, ids


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("harmed", [0, 1])
@pytest.mark.parametrize(("at", "harm"), [(0, grown), (4, flipped), (60, flipped), (8, flipped)])
def test_what_is_whole_is_found_behind_a_damaged_record_and_that_one_is_told(
    workspace: Workspace, live: bool, harmed: int, at: int, harm: Callable[[bytes], bytes]
) -> None:
    registered()
    folder = predictions_folder(workspace)
    writer = PredictionLog(folder)
    ids = [written(writer, 2) for _ in range(3)]
    (segment,) = list_segments(folder)
    path, place = folder / segment.name, [*read_segment(folder, segment.name)][harmed].offset + at
    with path.open("r+b") as file:
        file.seek(place)
        held = file.read(4)
        file.seek(place)
        file.write(harm(held))
    if not live:
        writer.close()
    for number, first in enumerate(ids):
        for row in range(2):
            if number == harmed:
                with pytest.raises(StorageError, match="damaged at byte"):
                    find_prediction(id_at(first, row))
            else:
                assert find_prediction(id_at(first, row)) is not None
    writer.close()
    with pytest.raises(StorageError, match="damaged at byte"):
        compact_predictions()
    assert path.exists()


@pytest.mark.parametrize("harmed", [range(3, 4), range(8), range(4096)])
def test_what_is_whole_is_found_behind_a_damaged_head(workspace: Workspace, harmed: range) -> None:
    registered()
    folder = predictions_folder(workspace)
    writer = PredictionLog(folder)
    ids = [written(writer, 2) for _ in range(60)]
    writer.close()
    (segment,) = list_segments(folder)
    path, records = folder / segment.name, [*read_segment(folder, segment.name)]
    with path.open("r+b") as file:
        file.seek(harmed.start)
        file.write(bytes(each + 1 for each in range(len(harmed))) if len(harmed) == 1 else bytes(len(harmed)))
    for first, record in zip(ids, records, strict=True):
        if record.offset < harmed.stop:
            with pytest.raises(StorageError, match="damaged at byte 0"):
                find_prediction(first)
        else:
            assert find_prediction(id_at(first, 1)) is not None
    assert records[-1].offset >= harmed.stop
    with pytest.raises(StorageError, match=f"{path.name}: the segment is damaged at byte 0"):
        compact_predictions()


@pytest.mark.parametrize("is_compacted", [False, True])
def test_one_is_found_though_the_clock_was_set_back(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, is_compacted: bool
) -> None:
    registered()
    writer = PredictionLog(predictions_folder(workspace))
    ids = [written(writer, rows) for rows in (1, 3, 1)]
    for hours in (1, 2):
        writer.close()
        now = time.time_ns() - hours * 3_600_000_000_000
        monkeypatch.setattr(time, "time_ns", lambda now=now: now)
        ids += [written(writer, rows) for rows in (1, 3, 1)]
        monkeypatch.undo()
    writer.close()
    if is_compacted:
        compact_predictions()
    every = [one for first, rows in zip(ids, (1, 3, 1) * 3, strict=True) for one in ids_from(first, rows)]
    assert [one for one in every if find_prediction(one) is None] == []
    assert find_prediction(id_at(ids[-1], 1)) is None


@pytest.mark.parametrize("before", [0, 2])
def test_a_segment_that_is_damaged_holds_up_no_other(workspace: Workspace, before: int) -> None:
    registered()
    writer, ids = PredictionLog(predictions_folder(workspace)), []
    for _ in range(3):
        for _ in range(before):
            written(writer, 2)
        ids.append(written(writer, 2))
        writer.close()
    path = predictions_folder(workspace) / list_segments(predictions_folder(workspace))[1].name
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    for _ in range(2):
        assert [find_prediction(ids[place]) is not None for place in (0, 2)] == [True, True]
        with pytest.raises(StorageError, match=f"{path.name}: the segment is damaged"):
            find_prediction(ids[1])
        with pytest.raises(StorageError, match=f"{path.name}: the segment is damaged"):
            compact_predictions()
    assert [each.name for each in list_segments(predictions_folder(workspace))] == [path.name]


@pytest.mark.parametrize(("at", "harm"), [(0, grown), (4, flipped), (60, flipped), (8, flipped)])
def test_past_damage_what_is_whole_is_compacted_and_every_byte_is_kept(
    workspace: Workspace, at: int, harm: Callable[[bytes], bytes]
) -> None:
    folder, segment, ids = closed_segment(workspace, records=3, rows=2)
    path = folder / segment.name
    record = [*read_segment(folder, segment.name)][1]
    data = bytearray(path.read_bytes())
    data[record.offset + at : record.offset + at + 4] = harm(bytes(data[record.offset + at : record.offset + at + 4]))
    path.write_bytes(data)
    with pytest.raises(StorageError, match=f"{path.name}: the segment is damaged at byte {record.offset}"):
        compact_predictions()
    done = compact_predictions(past_damage=True)
    (kept,) = done.kept_aside
    assert (done.segments, done.rows, done.passed_bytes) == (1, 4, record.end - record.offset)
    assert Path(kept).read_bytes() == data
    assert list_segments(folder) == []
    assert [find_prediction(each) is not None for each in ids] == [True, False, True]
    assert scan_predictions("one").collect()["id"].sort().to_list() == [*ids_from(ids[0], 2), *ids_from(ids[2], 2)]
    with pytest.raises(NotFoundError, match=r"What of its writer was damaged is kept: .*\.segment\.damaged"):
        get_prediction(ids[1])
    again = compact_predictions(past_damage=True)
    assert (again.segments, again.kept_aside, Path(kept).exists()) == (0, (), True)


def test_a_compaction_past_damage_may_be_killed_at_any_instant(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, segment, ids = closed_segment(workspace, records=2, rows=1)
    data = (folder / segment.name).read_bytes()[:-1] + b"\xff"
    (folder / segment.name).write_bytes(data)

    def killed(*_: Any) -> None:
        raise MainspringError("killed")

    for step in ("keep_aside", "remove_segment"):
        with monkeypatch.context() as patch:
            patch.setattr(parts, step, killed)
            with pytest.raises(MainspringError, match="killed"):
                compact_predictions(past_damage=True)
    compact_predictions()
    assert [find_prediction(each) is not None for each in ids] == [True, False]
    assert (folder / f"{segment.name}.damaged").read_bytes() == data
    assert list_segments(folder) == []


def test_a_segment_that_lost_its_end_is_told_and_kept_aside(workspace: Workspace) -> None:
    folder, segment, ids = closed_segment(workspace, records=2, rows=1)
    first, second = read_segment(folder, segment.name)
    os.truncate(folder / segment.name, first.end)
    for asked in (compact_predictions, lambda: scan_predictions("one")):
        with pytest.raises(StorageError, match=rf"at byte {first.end}\. It was closed with {second.end} bytes"):
            asked()
    done = compact_predictions(past_damage=True)
    assert (done.rows, done.passed_bytes, done.kept_aside) == (1, 0, (str(folder / f"{segment.name}.damaged"),))
    assert [find_prediction(each) is not None for each in ids] == [True, False]


def test_the_command_tells_what_it_passed_over(backend: Backend, tmp_path: Path, workspace: Workspace) -> None:
    registered()
    folder = predictions_folder(workspace)
    writer = PredictionLog(folder)
    written(writer, 1)
    writer.close()
    (segment,) = list_segments(folder)
    (folder / segment.name).write_bytes(b"\xff" + (folder / segment.name).read_bytes()[1:])
    where = ["-C", str(tmp_path), "--set", f"database={backend.database_url}", "--set", f"blobs={backend.blob_url}"]
    refused = CliRunner().invoke(cli, [*where, "predictions", "compact"])
    assert (refused.exit_code, "the segment is damaged at byte 0" in refused.stderr) == (1, True)
    done = CliRunner().invoke(cli, [*where, "predictions", "compact", "--past-damage"])
    told = f"8 bytes of damaged segments were passed over, which are kept:\n  {folder / segment.name}.damaged\n"
    assert done.stdout == f"1 rows of 1 segments are 1 parts.\n{told}"


def written(writer: PredictionLog, rows: int) -> str:
    """The id of the first of so many rows, logged together."""
    entry = Entry("", "", 0.0, {"x": [*range(rows)], "who": ["w"] * rows}, rows)
    writer.write(Source(get_endpoint("one")), [(entry, [5.0] * rows)])
    return entry.first


def test_a_span_is_the_rows_between_its_instants(workspace: Workspace, logs: Logs) -> None:
    whole = scan_predictions("one").collect().sort("id")
    compact_predictions()
    instants = whole["at"].unique().sort()
    since, until = instants[len(instants) // 3], instants[len(instants) // 3 * 2]
    found = scan_predictions("one", since, until).collect().sort("id")
    assert_frame_equal(found, whole.filter(pl.col("at") >= since, pl.col("at") < until))
    assert scan_predictions("one", from_us(0), from_us(1)).collect().height == 0
    assert {*logs.ids} > {*whole["id"]}


def test_the_commands_show_what_python_finds(backend: Backend, tmp_path: Path, logs: Logs) -> None:
    where = ["-C", str(tmp_path), "--set", f"database={backend.database_url}", "--set", f"blobs={backend.blob_url}"]

    def told(*args: str) -> Any:
        found = CliRunner().invoke(cli, [*where, "predictions", *args, "--json"])
        assert found.exit_code == 0, found.output
        return json.loads(found.stdout)

    listed = told("list", "one", "--limit", "3")["predictions"]
    assert [each["id"] for each in listed] == sorted(scan_predictions("one").collect()["id"], reverse=True)[:3]
    assert told("compact")["rows"] == len(logs.ids)
    assert told("show", listed[0]["id"])["prediction"]["output"] == listed[0]["output"]
