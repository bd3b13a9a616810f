"""Batches: calls that wait are answered together, in order, each with its own answers; the queue and the time are bounded."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.models.signature import Columns
from mainspring.serving.batching import Batcher
from mainspring.web.request_error import RequestError

pytestmark = pytest.mark.one_backend("no store is read")
SLOW, PLAIN, QUICK = 1.0, 0.001, 0.0


class Model:
    """Doubles its column, and remembers the sizes of its batches; a 13 makes it raise, and it can be held up."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, columns: Columns, rows: int) -> list[Any]:
        self.go.wait(10)
        self.batches.append(rows)
        if 13 in columns["x"]:
            raise ValueError("unlucky")
        return [2 * value for value in columns["x"]]


def batcher(model: Callable[[Columns, int], list[Any]], call_s: float, **limits: Any) -> Batcher:
    return Batcher(model, ["x"], call_s=call_s, **limits)


async def all_of(found: Batcher, calls: list[list[int]]) -> list[Any]:
    answers = [found.answer({"x": call}, len(call)) for call in calls]
    return await asyncio.gather(*answers, return_exceptions=True)


@given(
    calls=st.lists(st.lists(st.integers(0, 20), min_size=1, max_size=5), max_size=12),
    call_s=st.sampled_from([SLOW, PLAIN, QUICK]),
    most_rows=st.integers(1, 12),
)
def test_each_call_gets_its_own_answers_or_its_own_failure(
    calls: list[list[int]], call_s: float, most_rows: int
) -> None:
    found = asyncio.run(all_of(batcher(Model(), call_s, most_rows=most_rows), calls))
    for call, answers in zip(calls, found, strict=True):
        if 13 in call:
            assert isinstance(answers, ValueError)
        else:
            assert answers == [2 * value for value in call]


def test_calls_of_one_turn_are_one_batch_up_to_a_number_of_rows() -> None:
    model = Model()
    asyncio.run(all_of(batcher(model, PLAIN), [[1]] * 16))
    assert model.batches == [16]
    model = Model()
    asyncio.run(all_of(batcher(model, PLAIN, most_rows=10), [[1, 2, 3]] * 5 + [[0] * 30]))
    assert model.batches == [9, 6, 30]


def test_what_comes_while_the_model_answers_is_the_next_batch() -> None:
    model = Model()
    model.go.clear()

    async def ask() -> None:
        found = batcher(model, SLOW)
        first = asyncio.create_task(found.answer({"x": [1]}, 1))
        while found.is_idle or found._waiting:
            await asyncio.sleep(0)
        rest = [asyncio.create_task(found.answer({"x": [number]}, 1)) for number in range(2, 7)]
        await asyncio.sleep(0)
        rest[0].cancel()  # a client that goes away is not answered
        model.go.set()
        assert await first == [2]
        assert await asyncio.gather(*rest[1:]) == [[6], [8], [10], [12]]

    asyncio.run(ask())
    assert model.batches == [1, 4]


def test_a_full_queue_says_when_to_come_again() -> None:
    model = Model()
    model.go.clear()

    async def ask() -> list[Any]:
        found = batcher(model, SLOW, most_waiting=3)
        tasks = [asyncio.create_task(found.answer({"x": [number]}, 1)) for number in range(6)]
        await asyncio.sleep(0.01)
        tasks += [asyncio.create_task(found.answer({"x": [number]}, 1)) for number in range(6, 12)]
        await asyncio.sleep(0.01)
        model.go.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    answers = asyncio.run(ask())
    refused = [each for each in answers if isinstance(each, RequestError)]
    assert {each.status for each in refused} == {503}
    assert all(dict(each.headers)[b"retry-after"] == b"1" for each in refused)
    assert [each for each in answers if not isinstance(each, RequestError)] == [[0], [2], [4], [12], [14], [16]]


def test_however_large_a_call_is_it_waits_and_small_ones_beside_it() -> None:
    model = Model()
    model.go.clear()

    async def ask() -> list[Any]:
        found = batcher(model, SLOW, most_waiting=16)
        sizes = [1, 1, 100, 1, 200, 1, *[100] * 9]
        tasks = [asyncio.create_task(found.answer({"x": [1] * rows}, rows)) for rows in sizes]
        await asyncio.sleep(0.01)
        model.go.set()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        return [503 if isinstance(each, BaseException) else len(each) for each in answers]

    assert asyncio.run(ask()) == [1, 1, 100, 1, 200, 1, *[100] * 4, *[503] * 5]


def test_a_model_that_hangs_is_given_up_and_another_thread_answers() -> None:
    hung, model = threading.Event(), Model()

    def sometimes(columns: Columns, rows: int) -> list[Any]:
        if columns["x"][0] == 7:
            hung.wait(10)
        return model(columns, rows)

    async def ask() -> None:
        found = batcher(sometimes, SLOW, timeout_s=0.05)
        task = asyncio.create_task(found.answer({"x": [7]}, 1))
        until = time.monotonic() + 5
        while not task.done() and time.monotonic() < until:
            await asyncio.sleep(0.01)
            found.end_overdue()
        with pytest.raises(RequestError, match=r"within 0\.05 s") as refused:
            await task
        assert refused.value.status == 504
        assert (found.stuck, found.is_healthy) == (1, True)
        assert await found.answer({"x": [4]}, 1) == [8]
        hung.set()
        found.close()

    asyncio.run(ask())


@pytest.mark.parametrize("raised", [StopIteration("none"), asyncio.CancelledError(), SystemExit(3), GeneratorExit()])
@pytest.mark.parametrize("call_s", [SLOW, PLAIN, QUICK])
def test_whatever_a_model_raises_fails_its_call_alone(raised: BaseException, call_s: float) -> None:
    def model(columns: Columns, _: int) -> list[Any]:
        if 13 in columns["x"]:
            raise raised
        return [*columns["x"]]

    async def twice() -> list[Any]:
        found = batcher(model, call_s)
        return [await all_of(found, [[1], [13], [2]]) for _ in range(2)]

    for one, failed, two in asyncio.run(twice()):
        assert (one, two) == ([1], [2])
        assert isinstance(failed, RuntimeError)
        assert type(raised).__name__ in str(failed)


@pytest.mark.parametrize(("call_s", "waits"), [(QUICK, False), (PLAIN, False), (SLOW, True)])
def test_a_call_that_is_alone_is_answered_at_once(call_s: float, waits: bool) -> None:
    logged: list[Any] = []

    async def begun() -> None:
        found = batcher(Model(), call_s, log=logged.extend)
        answers = asyncio.ensure_future(found.answer({"x": [1]}, 1, "entry", is_alone=True))
        await asyncio.sleep(0)  # the task's own turn
        assert answers.done() is not waits
        assert await answers == [2]

    asyncio.run(begun())
    assert logged == [("entry", [2])]


def test_a_call_that_is_alone_waits_behind_others() -> None:
    async def begun() -> list[Any]:
        model = Model()
        found = batcher(model, PLAIN)
        await asyncio.gather(found.answer({"x": [1]}, 1), found.answer({"x": [2]}, 1, is_alone=True))
        return model.batches

    assert asyncio.run(begun()) == [2]
