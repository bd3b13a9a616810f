"""The log of predictions: what is answered is in it before, in one write for what is answered together; nothing redacted."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.data.tables.type_names import named_type
from mainspring.errors import InvalidError, StorageError
from mainspring.models import Field, Output, Signature, register
from mainspring.serving import ServingApp, bind, get_endpoint
from mainspring.serving.predictions import Logged, compact_predictions, prediction_log, scan_predictions
from mainspring.serving.predictions.frames import typed_column
from mainspring.serving.predictions.ids import PredictionIds, ids_from, place_from, writer_of
from mainspring.serving.predictions.log import PredictionLog, predictions_folder
from mainspring.serving.predictions.record import Entry, Source, decode
from mainspring.store import SegmentWriter, read_segments
from mainspring.workspace import Workspace
from tests.serving.flights import ANSWER, REQUEST, late

one_backend = pytest.mark.one_backend("the log is files")


@dataclass
class Double:
    """Twice its number."""

    factor: int = 2

    def predict(self, rows: list[dict[str, Any]]) -> list[float]:
        return [self.factor * row["x"] for row in rows]


def registered() -> None:
    signature = Signature((Field("x", "f64"), Field("who", "str")), Output("number"))
    register(Double(), "double", signature=signature, input_kind="records")


def served(workspace: Workspace, **options: Any) -> ServingApp:
    bind("doubles", "double@production", version="double/1", **options)
    return ServingApp(workspace, "doubles")


async def post(app: ServingApp, body: Any, path: str = "/predict", **headers: str) -> tuple[int, dict[str, str], Any]:
    """The status, the headers and the body that are answered."""
    given = {"content-type": "application/json", **headers}
    scope: dict[str, Any] = {"type": "http", "method": "POST", "path": path}
    scope["headers"] = [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items()]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": msgspec.json.encode(body)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], told, msgspec.json.decode(b"".join(each.get("body", b"") for each in sent))


def asked(app: ServingApp, body: Any, path: str = "/predict", **headers: str) -> tuple[int, dict[str, str], Any]:
    return asyncio.run(post(app, body, path, **headers))


def logged(workspace: Workspace) -> list[Logged]:
    return [decode(each.record) for each in read_segments(predictions_folder(workspace))]


def rows_of(records: Sequence[Logged]) -> dict[str, tuple[dict[str, Any], Any]]:
    """The inputs and the output of every id."""
    return {
        each_id: ({name: values[place] for name, values in record.inputs.items()}, record.outputs[place])
        for record in records
        for place, each_id in enumerate(ids_from(record.id, record.rows))
    }


@given(
    st.lists(
        st.tuples(st.integers(1, 5), st.integers(0, 1 << 52)), max_size=20
    )
)  # fmt: skip
def test_ids_of_a_writer_increase_whatever_its_clock_does(takes: list[tuple[int, int]]) -> None:
    ids = PredictionIds()
    given = [each for rows, at_us in takes for each in ids_from(ids.take(rows, at_us), rows)]
    assert given == sorted(set(given))
    assert all(len(each) == 32 and writer_of(each) == ids.writer for each in given)
    first = ids.take(300, 0)
    assert [place_from(first, each) for each in ids_from(first, 300)] == list(range(300))


def test_what_is_no_id_is_refused() -> None:
    with pytest.raises(InvalidError, match="32 hexadecimal digits"):
        writer_of("mine")


@one_backend
@pytest.mark.parametrize("call_s", [0.0, 0.001, 1.0])
def test_every_answered_row_is_in_the_log_with_its_id_in_each_protocol(workspace: Workspace, call_s: float) -> None:
    registered()
    app = served(workspace)
    app.live["doubles"].batcher.is_quick = call_s == 0
    app.live["doubles"].batcher.is_slow = call_s == 1
    tensors = [
        {"name": "x", "shape": [2], "datatype": "FP64", "data": [5, 6]},
        {"name": "who", "shape": [2], "datatype": "BYTES", "data": ["a", "b"]},
    ]

    async def all_of() -> list[tuple[int, dict[str, str], Any]]:
        records = [[{"x": number, "who": "me"}] * (number % 4 + 1) for number in range(20)]
        return await asyncio.gather(
            post(app, {"instances": [{"x": 7, "who": "me"}]}, "/invocations"),
            post(app, {"inputs": tensors}, "/v2/models/doubles/infer"),
            *[post(app, each, x_route_key="k") for each in records],
        )

    answers = asyncio.run(all_of())
    found = rows_of(logged(workspace))
    assert [found[each] for each in ids_from(answers[0][1]["x-prediction-id"], 1)] == [({"x": 7, "who": "me"}, 14)]
    assert [found[each][1] for each in ids_from(answers[1][1]["x-prediction-id"], 2)] == [10, 12]
    for status, headers, answer in answers[2:]:
        assert (status, headers["x-prediction-id"]) == (200, answer["ids"][0])
        assert [found[each][1] for each in answer["ids"]] == answer["predictions"]
    assert len(found) == 3 + sum(number % 4 + 1 for number in range(20))
    one = next(each for each in logged(workspace) if each.route_key)
    assert (one.endpoint, one.generation, one.role, one.runtime, one.route_key) == (
        "doubles",
        1,
        "stable",
        "native",
        "k",
    )
    assert one.version == app.live["doubles"].version.id
    assert f'mainspring_predictions_logged_total{{endpoint="doubles"}} {len(found)}' in "\n".join(app.told())


@one_backend
def test_what_is_answered_together_is_one_write(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    registered()
    app = served(workspace)
    app.live["doubles"].batcher.is_quick = False
    writes = []
    plain = SegmentWriter.append

    def append(own: SegmentWriter, records: Sequence[bytes]) -> Any:
        writes.append(len(records))
        return plain(own, records)

    monkeypatch.setattr(SegmentWriter, "append", append)

    async def all_of() -> None:
        await asyncio.gather(*[post(app, {"x": 1, "who": "me"}) for _ in range(16)])

    asyncio.run(all_of())
    assert writes == [16]


@one_backend
@pytest.mark.parametrize("call_s", [0.0, 0.001, 1.0])
def test_what_cant_be_logged_is_not_answered_unless_that_is_declared(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, call_s: float
) -> None:
    registered()
    app = served(workspace)

    def full(_own: Any, _records: Any) -> None:
        raise StorageError("disk", "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(SegmentWriter, "append", full)
        app.live["doubles"].batcher.is_quick, app.live["doubles"].batcher.is_slow = call_s == 0, call_s == 1
        status, headers, answer = asked(app, {"x": 1, "who": "me"})
        assert (status, headers["retry-after"], "can't be logged" in answer["error"]) == (503, "1", True)
        other = served(workspace, log="best-effort")
        assert asked(other, {"x": 1, "who": "me"})[2]["predictions"] == [2]
        assert 'mainspring_predictions_unlogged_total{endpoint="doubles"} 1' in "\n".join(other.told())
    assert asked(app, {"x": 1, "who": "me"})[0] == 200
    assert len(logged(workspace)) == 1


@one_backend
def test_an_unwritable_folder_is_a_503(workspace: Workspace) -> None:
    registered()
    app = served(workspace)
    predictions_folder(workspace).parent.mkdir(parents=True, exist_ok=True)
    predictions_folder(workspace).write_text("no folder")
    assert asked(app, {"x": 1, "who": "me"})[0] == 503


@one_backend
def test_a_share_is_logged_or_nothing(workspace: Workspace) -> None:
    registered()
    app = served(workspace, log_share=0.5)
    answered = {each for _ in range(100) for each in asked(app, {"x": 1, "who": "me"})[2]["ids"]}
    assert 20 < len(logged(workspace)) < 80
    assert {each.id for each in logged(workspace)} < answered
    status, headers, answer = asked(served(workspace, log="off"), {"x": 1, "who": "me"})
    assert (status, "ids" in answer, "x-prediction-id" in headers) == (200, False, False)


@one_backend
def test_a_request_claims_the_role_of_a_load_test_and_no_other(workspace: Workspace) -> None:
    registered()
    app = served(workspace)
    marked = asked(app, {"x": 1, "who": "me"}, mainspring_role="loadtest")[2]["ids"]
    plain = asked(app, {"x": 2, "who": "me"})[2]["ids"]
    status, _, answer = asked(app, {"x": 3, "who": "me"}, mainspring_role="shadow")
    assert (status, "`shadow` is not `loadtest`" in answer["error"]) == (422, True)
    assert {each.id: each.role for each in logged(workspace)} == {marked[0]: "loadtest", plain[0]: "stable"}
    assert scan_predictions("doubles").collect()["id"].to_list() == plain
    prediction_log(workspace).rotate()
    assert compact_predictions(workspace).rows == 2
    assert scan_predictions("doubles").collect()["id"].to_list() == plain
    with pytest.raises(
        InvalidError, match="role: `foo` is not a role of predictions: stable, candidate, shadow, loadtest"
    ):
        scan_predictions("doubles", role="foo")
    assert scan_predictions("doubles", role="loadtest").collect()["id"].to_list() == marked


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


@one_backend
def test_what_is_redacted_is_never_written(workspace: Workspace) -> None:
    registered()
    app = served(workspace, redact=["who"])
    asked(app, [{"x": 1, "who": "somebody in particular"}])
    assert b"somebody" not in everything_in(workspace.segments)
    assert [each.inputs for each in logged(workspace)] == [{"x": [1.0]}]
    assert served(workspace).live["doubles"].endpoint.redact == ("who",)
    with pytest.raises(InvalidError, match="Nearest: who"):
        served(workspace, redact=["whom"])


def test_features_are_logged_as_they_were_read(workspace: Workspace) -> None:
    late()
    bind("delays", "delay@production", version="delay/1")
    app = ServingApp(workspace, "delays")
    assert asked(app, [REQUEST, REQUEST | {"origin": "XXX"}])[2]["predictions"] == pytest.approx([ANSWER, ANSWER - 6])
    (one,) = logged(workspace)
    assert one.features is not None
    assert one.features.names == ("wind", "dest_wind", "seats", "hour")
    assert [list(row) for row in one.features.values] == [[5, 7, 200, 6], [None, 7, 200, 6]]
    assert one.features.statuses[1][0] == "NOT_FOUND"
    assert sum(mark is not None for mark in one.features.watermarks) >= 2
    assert len(one.features.views) == len(one.features.watermarks)
    bind("delays", redact=["origin", "seats"])
    app = ServingApp(workspace, "delays")
    asked(app, REQUEST)
    last = logged(workspace)[-1]
    assert last.features is not None
    assert ("origin" in last.inputs, last.features.names) == (False, ("wind", "dest_wind", "hour"))
    assert [list(row) for row in last.features.values] == [[5, 7, 6]]
    assert app.live["delays"].predictor.log is None


@one_backend
def test_a_request_that_is_larger_than_a_record_is_several(workspace: Workspace) -> None:
    registered()
    bind("doubles", "double@production", version="double/1")
    log = PredictionLog(predictions_folder(workspace))
    columns: dict[str, Any] = {"x": list(range(9)), "who": ["w" * (5 << 20)] * 9}
    entry = Entry("r", "", 0.0, columns, 9)
    log.write(Source(get_endpoint("doubles")), [(entry, [2 * x for x in range(9)])])
    found = rows_of(logged(workspace))
    assert [found[each][1] for each in ids_from(entry.first, 9)] == [2 * x for x in range(9)]


@one_backend
def test_a_forked_child_writes_under_a_name_of_its_own(workspace: Workspace) -> None:
    registered()
    app = served(workspace)
    first = asked(app, {"x": 1, "who": "me"})[2]["ids"][0]
    child = os.fork()
    if not child:
        os._exit(0 if asked(app, {"x": 2, "who": "me"})[0] == 200 else 1)
    assert os.waitpid(child, 0)[1] == 0
    asked(app, {"x": 3, "who": "me"})
    writers = {writer_of(each): record[0]["x"] for each, record in rows_of(logged(workspace)).items()}
    assert sorted(writers.values()) == [2, 3]
    assert writers[writer_of(first)] == 3
    assert len(rows_of(logged(workspace))) == 3


@one_backend
def test_a_large_request_holds_up_no_other(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    registered()
    app = served(workspace)
    predictor, small_is_answered = app.live["doubles"].predictor, threading.Event()
    decode_body = predictor.decode

    def late(body: bytes) -> Any:
        assert len(body) < 1_000 or small_is_answered.wait(10)
        return decode_body(body)

    monkeypatch.setattr(predictor, "decode", late)

    async def both() -> tuple[Any, Any]:
        large = asyncio.create_task(post(app, [{"x": 1, "who": "me"}] * 5_000))
        small = await post(app, [{"x": 2, "who": "me"}])
        small_is_answered.set()
        return small, await large

    small, large = asyncio.run(both())
    assert (small[2]["predictions"], large[2]["predictions"]) == ([4.0], [2.0] * 5_000)
    assert len(set(large[2]["ids"])) == 5_000


@one_backend
def test_threads_of_a_forked_child_that_log_first_write_as_one(workspace: Workspace) -> None:
    registered()
    bind("doubles", "double@production", version="double/1")
    log, source = prediction_log(workspace), Source(get_endpoint("doubles"))
    child = os.fork()
    if not child:
        ids, start = log._ids, threading.Barrier(4)

        def write() -> None:
            start.wait()
            log.write(source, [(Entry("r", "", 0.0, {"x": [1.0], "who": ["me"]}, 1), [2.0])])

        threads = [threading.Thread(target=write) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        os._exit(0 if log._ids is ids else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert len({each.id[14:22] for each in logged(workspace)}) == 1
    assert len(logged(workspace)) == 4


@pytest.mark.parametrize(
    ("dtype", "told"),
    [
        ("duration[us]", ["PT1H", None]), ("list[duration[us]]", [["PT1H"], []]), ("decimal[10, 2]", ["1.50"]),
        ("time", ["01:02:03"]), ("array[f32, 2]", [[0.5, 1.0], None]), ('struct{"a": i64}', [{"a": 1}]),
    ],
)  # fmt: skip
def test_logged_values_with_parts_decimals_and_durations_have_the_declared_type(dtype: str, told: list[Any]) -> None:
    found = typed_column("input.x", told, dtype)
    assert found.dtype == named_type(dtype, "x")
    assert found.null_count() == told.count(None)
