"""Several parts at once: what is made, told and raised is what one after another makes, tells and raises."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from contextvars import ContextVar
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import RandomForestRegressor

from mainspring.data import dataset
from mainspring.errors import InvalidError, MainspringError, ModelError, WrongTypeError
from mainspring.models import Predictor, register
from mainspring.serving import bind
from mainspring.serving.batch import BatchPrediction, BatchProgress, inputs, predict_batch
from mainspring.serving.batch.parts import MIGRATIONS
from mainspring.serving.batch.threads import at_once, read_ahead
from mainspring.workspace import Workspace
from tests.serving.flights import NOW, REQUEST, late

one = pytest.mark.one_backend("what differs between backends is the suites' of databases and blobs")
JOBS = (1, 2, 5)
NUMBER: ContextVar[int] = ContextVar("number")
RANDOM = np.random.default_rng(0)
TABLE = pl.DataFrame({"id": range(100), "a": RANDOM.normal(size=100), "b": RANDOM.normal(size=100)})
INPUTS = TABLE.select("a", "b")


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "BLOCK_ROWS", 7)


@pytest.fixture
def calls(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, blocks: None) -> list[int]:
    """A model whose calls take any time; how many are at work, told by each."""
    model = RandomForestRegressor(2, random_state=0).fit(INPUTS.to_numpy(), TABLE["a"])
    register(model, "model", signature=INPUTS)
    told: list[int] = []
    at_work = threading.Semaphore(0)

    def predict(_: Any, rows: Any) -> Any:
        at_work.release()
        told.append(at_work._value)
        time.sleep(0.03 + abs(float(rows[0, 0])) / 50)
        at_work.acquire()
        return rows[:, 0] * 2 + rows[:, 1]

    monkeypatch.setattr(RandomForestRegressor, "predict", predict)
    return told


def anew(workspace: Workspace, table: pl.DataFrame, jobs: int, **more: Any) -> BatchPrediction:
    """Predicted without parts of other jobs."""
    workspace.database.migrate("batch", MIGRATIONS)
    with workspace.database.transaction() as tx:
        tx.execute("DELETE FROM batch_part")
    return predict_batch("model/1", table, to=f"by-{jobs}", jobs=jobs, **more)


@pytest.mark.parametrize("rows", [0, 1, 7, 50, 100])
def test_any_number_of_jobs_makes_the_same_version(workspace: Workspace, calls: list[int], rows: int) -> None:
    odd = TABLE[:rows].with_columns(a=pl.when(pl.col("id") % 9 == 4).then(None).otherwise("a"))
    found = []
    for jobs in JOBS:
        told: list[BatchProgress] = []
        done = anew(workspace, odd, jobs, quarantine=f"odd-{jobs}", progress=told.append)
        counts = [each.rows for each in told]
        assert counts == sorted(counts)
        assert (counts[-1], told[-1].total, done.reused) == (rows, rows, 0)
        assert done.version.to_polars()["id"].to_list() == [row for row in range(rows) if row % 9 != 4]
        apart = done.quarantined and done.quarantined.content_digest
        found.append((done.version.content_digest, done.rows, done.apart, apart))
    assert found == found[:1] * len(JOBS)


@one
@pytest.mark.parametrize("jobs", JOBS)
def test_so_many_calls_are_at_work_and_few_blocks_in_memory(
    workspace: Workspace, calls: list[int], monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    read, ahead = inputs.read_input, []
    progress: list[BatchProgress] = []

    def counted(*given: Any) -> inputs.Input:
        found = read(*given)

        def blocks() -> Iterator[pl.DataFrame]:
            for number, block in enumerate(found.blocks):
                ahead.append(number - len(progress))
                yield block

        return found._replace(blocks=blocks())

    monkeypatch.setattr("mainspring.serving.batch.prediction.read_input", counted)
    anew(workspace, TABLE, jobs, progress=progress.append)
    assert max(calls) == jobs
    assert max(ahead) <= 2 * jobs  # all that are at work may be done before one is told


@one
@pytest.mark.parametrize("jobs", JOBS)
def test_the_problem_of_the_first_row_is_raised_with_its_rows(
    workspace: Workspace, calls: list[int], monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    answer = Predictor.answer

    def fails(self: Predictor, columns: Any, rows: int) -> Any:
        if TABLE["a"][14] in columns["a"]:
            time.sleep(0.3)
            raise ValueError("late")
        if TABLE["a"][28] in columns["a"]:
            raise ValueError("early")
        return answer(self, columns, rows)

    monkeypatch.setattr(Predictor, "answer", fails)
    with pytest.raises(ModelError, match="on rows 14 to 20: ValueError: late"):
        anew(workspace, TABLE, jobs)
    odd = TABLE.with_columns(a=pl.when(pl.col("id") == 30).then(None).otherwise("a"))
    with pytest.raises(ModelError, match="on rows 14 to 20: ValueError: late"):
        anew(workspace, odd, jobs)
    monkeypatch.undo()
    monkeypatch.setattr(inputs, "BLOCK_ROWS", 7)
    assert predict_batch("model/1", odd[:21], to="first", jobs=jobs).reused >= 14
    with pytest.raises(InvalidError, match="row 30, a: null"):
        anew(workspace, odd, jobs)


@one
@pytest.mark.parametrize("jobs", JOBS)
def test_an_interrupted_job_keeps_what_was_begun(workspace: Workspace, calls: list[int], jobs: int) -> None:
    told: list[str] = []

    def interrupts(progress: BatchProgress) -> None:
        told.append(progress.step)
        if progress.rows and progress.step == "predicting":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        anew(workspace, TABLE, jobs, progress=interrupts)
    assert told == ["reading", "predicting", "predicting", "stopping"]
    assert jobs <= len(calls) <= 2 * jobs
    before = len(calls)
    assert predict_batch("model/1", TABLE, to="then", jobs=3).reused == 7 * before
    assert len(calls) == 15


@one
def test_a_model_is_loaded_once_for_all_jobs(
    workspace: Workspace, calls: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    load, loads = Predictor.load, []

    def slowly(*given: Any, **more: Any) -> Predictor:
        loads.append(1)
        time.sleep(0.1)
        return load(*given, **more)

    monkeypatch.setattr(Predictor, "load", slowly)
    anew(workspace, TABLE, 5)
    assert len(loads) == 1


@one
def test_a_model_in_a_process_of_its_own_answers_one_part_after_another(workspace: Workspace, blocks: None) -> None:
    model = RandomForestRegressor(2, random_state=0).fit(INPUTS.to_numpy(), TABLE["a"])
    register(model, "model", signature=INPUTS)
    dataset("rows").commit(TABLE)
    bind("apart", "model@apart", version="model/1", isolated=True)
    expected = predict_batch("model/1", TABLE, to="here", column="late").version
    with workspace.database.transaction() as tx:
        tx.execute("DELETE FROM batch_part")
    done = predict_batch("apart", TABLE, to="there", column="late", jobs=5)
    assert (done.version.content_digest, done.reused) == (expected.content_digest, 0)


def test_features_are_read_by_several_threads(workspace: Workspace, blocks: None) -> None:
    late()
    keys = [2, 1, 9] * 10
    rows = pl.DataFrame([REQUEST | {"leaves_at": NOW}] * len(keys)).with_columns(
        flight=pl.Series(keys), id=pl.Series(range(len(keys)))
    )
    for time_column in ("", "leaves_at"):
        found = []
        for jobs in JOBS:
            told = rows.with_columns(jobs=pl.lit(jobs))  # so that no part is used again
            done = predict_batch("delay/1", told, to=f"by-{jobs}", time=time_column, keep=["id"], jobs=jobs)
            found.append((done.version.content_digest, done.rows))
        assert found == found[:1] * len(JOBS)


@one
@pytest.mark.parametrize("jobs", [0, -2, 1.5, 2.0, True, "2", None])
def test_a_number_of_jobs_is_at_least_one(workspace: Workspace, jobs: Any) -> None:
    kind, said = (InvalidError, "at least 1") if jobs in (0, -2) else (WrongTypeError, "expected a whole number")
    with pytest.raises(kind, match=f"^jobs: `{jobs}` is .*{said}"):
        predict_batch("model/1", TABLE, to="out", jobs=jobs)


@pytest.mark.parametrize("jobs", JOBS)
@pytest.mark.parametrize(("wrong", "expected"), [(3, ModelError), (None, InvalidError)])
def test_a_problem_of_reading_comes_after_that_of_an_earlier_item(
    jobs: int, wrong: int | None, expected: type[MainspringError]
) -> None:
    def items() -> Iterator[int]:
        yield from range(4)
        raise InvalidError("items", "4", "one that can be read")

    def call(item: int) -> int:
        time.sleep(0.05)
        if item == wrong:
            raise ModelError("model/1", "ValueError", "wrong")
        return item + NUMBER.get()

    made: list[int] = []
    token = NUMBER.set(10)
    try:
        with pytest.raises(expected), ExitStack() as stack:
            made.extend(at_once(call, read_ahead(items(), stack), jobs, stack))
    finally:
        NUMBER.reset(token)
    assert set(made) <= {10, 11, 12, 13}
    assert not [each for each in threading.enumerate() if each.name.startswith("batch")]
