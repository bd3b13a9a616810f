"""Batches: calls that wait are answered together, in order, each with its own answers; the queue and the time are bounded."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.models.signature import Columns
from mainspring.serving.batching import Batcher
from mainspring.web.request_error import RequestError

pytestmark = pytest.mark.one_backend("no store is read")
SLOW, PLAIN, QUICK = 1.0, 0.001, 0.0
LIMIT_S, TICK_S = 2.0, 0.25


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
        while not (task.done() and found.hanging.stuck) and time.monotonic() < until:  # the thread began after the call
            await asyncio.sleep(0.01)
            found.end_overdue()
        with pytest.raises(RequestError, match=r"within 0\.05 s") as refused:
            await task
        assert refused.value.status == 504
        assert (found.hanging.stuck, found.hanging.is_healthy) == (1, True)
        assert await found.answer({"x": [4]}, 1) == [8]
        hung.set()
        found.close()

    asyncio.run(ask())


class Held:
    """A model that answers what it is asked when it is let, each thread that asks it for itself; a 13 makes it raise.

    `asked` is when it was asked what, by the `clock` that batches go by.
    """

    def __init__(self) -> None:
        self.clock = 0.0
        self.asked: list[tuple[float, list[int]]] = []
        self.is_hanging: list[threading.Event] = []

    def __call__(self, columns: Columns, _: int) -> list[Any]:
        goes_on = threading.Event()
        self.is_hanging.append(goes_on)
        self.asked.append((self.clock, [*columns["x"]]))
        goes_on.wait(10)
        self.is_hanging.remove(goes_on)
        if 13 in columns["x"]:
            raise ValueError("unlucky")
        return [2 * value for value in columns["x"]]

    async def settled(self, found: Batcher, hang: int = 0) -> None:
        """Once all is done that can be done before it answers, while so many threads hang besides."""
        for _ in range(4):
            await asyncio.sleep(0)
        async with asyncio.timeout(20):
            while any(each.is_set() for each in self.is_hanging):
                await asyncio.sleep(0)
            while not (found.is_idle or len(self.is_hanging) > hang) or found.hanging.stuck != hang:
                await asyncio.sleep(0)

    def go_on(self, place: int = -1) -> None:
        """Answer what was asked, last if no other is said."""
        self.is_hanging[place].set()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    model = Held()
    monkeypatch.setattr("mainspring.serving.batching.time", SimpleNamespace(monotonic=lambda: model.clock))
    yield model
    for each in [*model.is_hanging]:
        each.set()


@given(
    bursts=st.lists(st.integers(0, 5), min_size=1, max_size=12),
    call_ticks=st.integers(1, 7),
    most_rows=st.integers(1, 4),
    unlucky=st.booleans(),
    isolated=st.booleans(),
)
def test_a_slow_model_under_bursts_is_not_taken_for_one_that_hangs(
    bursts: list[int], call_ticks: int, most_rows: int, unlucky: bool, isolated: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        model, ended = Held(), list[float]()
        patch.setattr("mainspring.serving.batching.time", SimpleNamespace(monotonic=lambda: model.clock))
        came: dict[int, float] = {}
        told: dict[int, int] = {}
        waited_s: dict[int, float] = {}

        async def ask(found: Batcher, number: int) -> None:
            came[number] = model.clock
            try:
                assert await found.answer({"x": [number]}, 1) == [2 * number]
            except RequestError as refused:
                told[number] = refused.status
                waited_s[number] = model.clock - came[number]
            except ValueError:
                told[number] = 13
            else:
                told[number] = 200
            assert model.clock - came[number] <= LIMIT_S + TICK_S

        def end(after_s: float) -> bool:
            ended.append(after_s)
            return True

        async def go() -> None:
            found = batcher(model, SLOW, timeout_s=LIMIT_S, most_rows=most_rows, give_up=end if isolated else None)
            numbers, tasks, left = iter(range(12 if unlucky else 100, 1000)), [], [*bursts]
            while left or not found.is_idle:
                calls = left.pop(0) if left else 0
                tasks += [asyncio.create_task(ask(found, next(numbers))) for _ in range(calls)]
                await model.settled(found)
                if model.is_hanging and model.clock - model.asked[-1][0] >= call_ticks * TICK_S:
                    model.go_on()
                    await model.settled(found)
                found.end_overdue()
                await model.settled(found)
                model.clock += TICK_S
            await asyncio.gather(*tasks)
            assert (found.hanging.stuck, found.hanging.given_up, ended) == (0, 0, [])
            assert found._rows_waiting == found._weight_waiting == 0
            found.close()

        asyncio.run(go())
        assert {each: number for each, number in told.items() if number == 13} in ({}, {13: 13})
        assert {*told.values()} <= {200, 504, 13}
        assert all(each > LIMIT_S for each in waited_s.values())
        assert all(
            at - min(came[each] for each in each_of) <= LIMIT_S for at, each_of in model.asked if len(each_of) > 1
        )
        assert all(at - came[number] <= LIMIT_S + TICK_S for at, each_of in model.asked for number in each_of)


def test_a_thread_that_hangs_is_found_in_time_and_one_that_comes_back_is_not_held_against_the_model(held: Held) -> None:
    async def ask() -> None:
        found = batcher(held, SLOW, timeout_s=LIMIT_S, most_rows=1)
        first, second, third = (asyncio.create_task(found.answer({"x": [each]}, 1)) for each in (1, 2, 3))
        await held.settled(found)
        held.clock = 1.5
        held.go_on()
        assert await first == [2]
        await held.settled(found)
        held.clock = 2.25
        found.end_overdue()
        with pytest.raises(RequestError, match=r"did not answer within 2 s, for 1\.5 s of which the request waited"):
            await second
        with pytest.raises(RequestError, match=r"waited for 2 s, behind 1 other, and was not begun"):
            await third
        assert (found.hanging.stuck, found.hanging.given_up) == (0, 0)
        for hang in (1, 2, 3):
            held.clock += LIMIT_S + TICK_S
            found.end_overdue()
            task = asyncio.create_task(found.answer({"x": [4]}, 1))
            await held.settled(found, hang)
            assert (found.hanging.stuck, found.hanging.given_up, found.hanging.is_healthy) == (hang, hang, hang < 3)
        held.go_on()  # the one that does not hang
        assert await task == [8]
        held.go_on(0)
        await held.settled(found, 2)
        assert (found.hanging.stuck, found.hanging.given_up, found.hanging.is_healthy) == (2, 3, True)
        assert held.asked == [(0.0, [1]), (1.5, [2]), (4.5, [4]), (6.75, [4]), (9.0, [4])]

    asyncio.run(ask())


def test_a_log_that_stalls_is_no_model_that_hangs(held: Held) -> None:
    goes_on, stalled = threading.Event(), threading.Event()

    def log(_: object) -> None:
        stalled.set()
        goes_on.wait(10)

    async def ask() -> None:
        found = batcher(held, SLOW, timeout_s=LIMIT_S, log=log)
        task = asyncio.create_task(found.answer({"x": [1]}, 1))
        await held.settled(found)
        held.go_on()
        await asyncio.to_thread(stalled.wait, 10)
        held.clock = LIMIT_S + TICK_S
        found.end_overdue()
        with pytest.raises(RequestError, match="The answer was not logged within 2 s"):
            await task
        assert (found.hanging.stuck, found.hanging.given_up) == (0, 0)
        goes_on.set()
        await held.settled(found)
        assert found.is_idle

    asyncio.run(ask())


def test_the_model_is_not_asked_for_those_who_leave_while_features_are_read(held: Held) -> None:
    goes_on, reads = threading.Event(), threading.Event()

    class Fill:
        def one(self, entry: Any) -> Columns:
            return {"x": [entry]}

        def together(self, entries: Sequence[Any]) -> list[Columns | Exception]:
            reads.set()
            goes_on.wait(10)
            return [self.one(entry) for entry in entries]

    async def ask() -> None:
        found = batcher(held, SLOW, timeout_s=LIMIT_S, fill=Fill())
        tasks = [asyncio.create_task(found.answer({}, 1, each)) for each in (1, 2, 3)]
        await asyncio.to_thread(reads.wait, 10)
        tasks[1].cancel()
        await asyncio.sleep(0)
        goes_on.set()
        while not held.asked:
            await asyncio.sleep(0)
        held.go_on()
        assert [await tasks[0], await tasks[2]] == [[2], [6]]
        assert held.asked == [(0.0, [1, 3])]

    asyncio.run(ask())


def test_the_process_of_a_model_is_given_up_if_one_call_takes_too_long(held: Held) -> None:
    ended: list[float] = []

    def end(after_s: float) -> bool:
        ended.append(after_s)
        held.go_on()
        return True

    async def ask() -> None:
        found = batcher(held, SLOW, timeout_s=LIMIT_S, most_rows=1, give_up=end)
        tasks = [asyncio.create_task(found.answer({"x": [each]}, 1)) for each in (1, 2)]
        await held.settled(found)
        held.clock = 1.0
        held.go_on()
        assert await tasks[0] == [2]
        await held.settled(found)
        for held.clock in (2.25, 3.0):
            found.end_overdue()
            assert (tasks[1].cancelling(), ended) == (0, [])
        held.clock = 3.25
        found.end_overdue()
        await held.settled(found)
        assert (found.is_idle, found.hanging.stuck, ended) == (True, 0, [LIMIT_S])
        with pytest.raises(RequestError, match="the request waited"):
            await tasks[1]

    asyncio.run(ask())


def test_what_was_given_up_while_it_waited_makes_room_and_what_is_refused_comes_when_there_is_some(held: Held) -> None:
    async def ask() -> None:
        found = batcher(held, SLOW, timeout_s=LIMIT_S, most_rows=1, most_waiting=4)
        begun = asyncio.create_task(found.answer({"x": [0]}, 1))
        await held.settled(found)
        held.clock = 1.0
        tasks = [asyncio.create_task(found.answer({"x": [each]}, 1)) for each in range(1, 6)]
        await held.settled(found)
        held.clock = 1.5
        held.go_on()
        assert await begun == [0]
        await held.settled(found)
        held.clock = 2.5
        tasks += [asyncio.create_task(found.answer({"x": [each]}, 1)) for each in (6, 7)]
        await held.settled(found)
        with pytest.raises(RequestError, match="Send it later") as refused:
            await tasks[-1]
        assert dict(refused.value.headers)[b"retry-after"] == b"2"  # not the six that four batches take
        held.clock = 3.25
        found.end_overdue()
        tasks.append(asyncio.create_task(found.answer({"x": [8]}, 1)))
        await held.settled(found)
        assert [task.done() for task in tasks] == [True, True, True, True, True, False, True, False]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(ask())


def test_a_batch_that_failed_is_not_asked_again_for_those_who_left(held: Held) -> None:
    async def ask() -> None:
        found = batcher(held, SLOW, timeout_s=LIMIT_S)
        tasks = [asyncio.create_task(found.answer({"x": [each]}, 1)) for each in (13, 2, 3)]
        await held.settled(found)
        tasks[1].cancel()
        await asyncio.sleep(0)
        for held.clock in (1.5, 3.0):
            held.go_on()
            await held.settled(found)
            found.end_overdue()
        await held.settled(found)
        assert (held.asked, found.hanging.given_up) == ([(0.0, [13, 2, 3]), (1.5, [13]), (3.0, [3])], 0)
        held.go_on()
        await asyncio.gather(*tasks, return_exceptions=True)

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
