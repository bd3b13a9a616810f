"""The driver under simulated time: exact instants, and latencies equal to those of a queue computed by hand."""

from __future__ import annotations

import asyncio
import heapq
import selectors
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.serving.loadtest.connection import Answers, Connect, Lane
from mainspring.serving.loadtest.driver import Driver
from mainspring.serving.loadtest.measured import QUANTILES, Measured, quantiles_of
from mainspring.serving.loadtest.schedule import Step, ramp


class _Jumping(selectors.SelectSelector):
    """Waits by moving the clock on."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        self.now += max(timeout or 0.0, 0.0)
        return super().select(0)


class _SimulatedLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)
        self._clock_resolution = 1e-12

    def time(self) -> float:
        return self._jumping.now


def simulated(main: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=_SimulatedLoop) as runner:
        return runner.run(main)


class Server:
    """One server with a queue of its own; `serve` gives how long the n-th request that it takes up needs, from when."""

    def __init__(self, serve: Callable[[int, float], float], outcome: Callable[[int], str] = lambda _: "200") -> None:
        self.serve, self.outcome = serve, outcome
        self.free_at, self.taken, self.sent_at = 0.0, 0, list[float]()

    async def connect(self, answers: Answers) -> Lane:
        return _Wire(self, answers)


class _Wire:
    def __init__(self, server: Server, answers: Answers) -> None:
        self.server, self.answers = server, answers
        self.timer: asyncio.TimerHandle | None = None

    def send(self, request: bytes) -> None:
        server, loop = self.server, asyncio.get_running_loop()
        server.sent_at.append(loop.time())
        begun = max(server.free_at, loop.time())
        outcome = server.outcome(server.taken)
        server.free_at = begun + server.serve(server.taken, begun)
        server.taken += 1
        self.timer = loop.call_at(server.free_at, self.answers.answered, self, outcome)

    def close(self) -> None:
        if self.timer:
            self.timer.cancel()
        asyncio.get_running_loop().call_soon(self.answers.lost, self)


async def driven(
    connect: Connect, steps: Sequence[Step], connections: int = 4, timeout_s: float = 1e6
) -> list[Measured]:
    driver = Driver(connect, [b"ask"], connections=connections, timeout_s=timeout_s)
    await driver.open()
    found = [await driver.drive(step) for step in steps]
    await driver.close()
    return found


def queue(instants: Sequence[float], servings: Sequence[float]) -> list[float]:
    """The oracle: Lindley's recursion of one server that takes requests in their order."""
    free_at, found = 0.0, []
    for due, serving in zip(instants, servings, strict=True):
        free_at = max(free_at, due) + serving
        found.append(free_at - due)
    return found


@settings(max_examples=40, deadline=None)
@given(
    rate=st.sampled_from([1, 8, 64]), count=st.integers(1, 60), connections=st.integers(1, 8),
    servings=st.lists(st.integers(0, 64), min_size=60, max_size=60),
)  # fmt: skip
def test_latencies_are_those_of_the_queue_whatever_the_connections(
    rate: int, count: int, connections: int, servings: list[int]
) -> None:
    step, taken = Step(rate, count / rate), [each / 64 for each in servings][:count]
    (found,) = simulated(driven(Server(lambda number, _: taken[number]).connect, [step], connections))
    expected = queue(list(step.instants()), taken)
    assert found.quantiles_s == pytest.approx(quantiles_of(expected))
    assert found.mean_s == pytest.approx(sum(expected) / count)
    assert (found.requests, found.outcomes) == (count, {"200": count})


def test_a_stall_shows_in_every_request_that_was_due_within_it() -> None:
    stall_s, rate = 2.0, 100
    server = Server(lambda number, _: stall_s if number == 100 else 0.001)
    (found,) = simulated(driven(server.connect, [Step(rate, 10)]))
    # 200 of 1,000 requests were due in the stall: one that waits for answers would have seen 4 at most, one a connection.
    assert found.quantiles_s["max"] == pytest.approx(stall_s)
    assert found.quantiles_s["p90"] == pytest.approx(stall_s / 2, rel=0.15)
    assert found.quantiles_s["p50"] == pytest.approx(0.001)


def test_requests_leave_at_their_instants_and_steps_keep_their_rates() -> None:
    server = Server(lambda *_: 0.001)
    steps = ramp(10, 30, steps=3, duration_s=3)
    found = simulated(driven(server.connect, steps, connections=64))
    assert [each.requests for each in found] == [10, 20, 30]
    assert [each.answered_per_s for each in found] == pytest.approx([10, 20, 30], rel=0.01)
    assert server.sent_at[:10] == pytest.approx([number / 10 for number in range(10)])
    assert all(each.late_s < 1e-9 for each in found)


def test_refusals_are_errors_and_in_no_quantile() -> None:
    server = Server(lambda number, _: 0.0 if number % 2 else 0.5, lambda number: "503" if number % 2 else "200")
    (found,) = simulated(driven(server.connect, [Step(1, 10)]))
    assert (found.outcomes, found.errors_share) == ({"200": 5, "503": 5}, 0.5)
    assert found.quantiles_s == pytest.approx(dict.fromkeys(QUANTILES, 0.5))


def test_what_hangs_is_given_up_and_counts_as_it_waited() -> None:
    server = Server(lambda number, _: 1e9)
    (found,) = simulated(driven(server.connect, [Step(10, 1)], connections=2, timeout_s=2.0))
    assert found.outcomes == {"timeout": 10}
    assert 2.0 <= found.quantiles_s["p50"] <= found.quantiles_s["max"] <= 2.2


def test_a_broken_connection_is_an_error_and_is_replaced() -> None:
    server = Server(lambda *_: 0.01)

    async def breaking() -> Measured:
        driver = Driver(server.connect, [b"ask"], connections=1, timeout_s=5)
        await driver.open()
        lane = driver._idle[0]
        asyncio.get_running_loop().call_at(2.005, lane.close)
        found = await driver.drive(Step(1, 5))
        await driver.close()
        return found

    assert simulated(breaking()).outcomes == {"200": 4, "lost": 1}


def test_heavy_load_waits_for_connections_and_that_counts() -> None:
    async def connect(answers: Answers) -> Lane:  # each connection serves by itself
        return await Server(lambda *_: 1.0).connect(answers)

    free, expected = [0.0, 0.0], []
    for due in Step(4, 5).instants():
        begun = max(heapq.heappop(free), due)
        heapq.heappush(free, begun + 1.0)
        expected.append(begun + 1.0 - due)
    (found,) = simulated(driven(connect, [Step(4, 5)], connections=2))
    assert found.quantiles_s == pytest.approx(quantiles_of(expected))
