"""Sends requests at their instants over a fixed number of lanes, and takes down what became of each.

Invariant: when a request is due is decided before anything is sent; latency runs from there, also while it waits for a lane.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from array import array
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from mainspring.runners.resources import uncollected
from mainspring.serving.loadtest.connection import Connect, Lane
from mainspring.serving.loadtest.measured import LOST, TIMEOUT, Measured, is_good, quantiles_of
from mainspring.serving.loadtest.schedule import Step

Cpu = Callable[[], float | None]
T = TypeVar("T")
_REOPEN_S = 0.05


class Driver:
    """Drives steps one after the other, from one event loop; the requests are sent by turns."""

    def __init__(self, connect: Connect, requests: Sequence[bytes], *, connections: int, timeout_s: float) -> None:
        self._connect, self._requests = connect, requests
        self._connections, self._timeout_s = connections, timeout_s
        self._idle: deque[Lane] = deque()
        self._busy: dict[Lane, float] = {}
        self._opening: set[asyncio.Task[None]] = set()
        self._sent = 0
        self._is_open = True
        self._take: _Step | None = None
        self._loop = asyncio.get_running_loop()

    async def open(self) -> None:
        """Open the connections.

        Raises:
            OSError: nothing answers there.
        """
        for _ in range(self._connections):
            self._idle.append(await self._connect(self))

    async def close(self) -> None:
        """Close the connections."""
        self._is_open = False
        for task in self._opening:
            task.cancel()
        for lane in [*self._idle, *self._busy]:
            lane.close()
        await asyncio.sleep(0)  # so that each is told that it is lost

    async def drive(self, step: Step, cpu: Cpu = lambda: None) -> Measured:
        """Send the requests of a step, and wait for what becomes of the last."""
        server_s, own_s, begun = cpu(), time.process_time(), self._loop.time()
        self._take = take = _Step(step, begun, self._loop.create_future())
        sweep = asyncio.create_task(self._sweep(take))
        with uncollected():
            self._tick()
            try:
                await take.done
            finally:
                sweep.cancel()
        took_s = max(self._loop.time() - begun, step.duration_s)
        own_s, after = time.process_time() - own_s, cpu()
        server_cores = None if server_s is None or after is None else max(after - server_s, 0.0) / took_s
        return take.measured(took_s, server_cores, own_s / took_s)

    def answered(self, lane: Lane, outcome: str, *, stays: bool = True) -> None:
        """A request was answered; what waits takes the lane."""
        due = self._busy.pop(lane, None)
        if due is None or self._take is None:  # an answer to nothing
            return
        take = self._take
        take.end(outcome, self._loop.time() - due)
        if stays:
            self._free(lane)

    def lost(self, lane: Lane) -> None:
        """A connection is gone: another one is opened."""
        due = self._busy.pop(lane, None)
        if due is not None and self._take is not None:
            self._take.end(LOST, None)
        if lane in self._idle:
            self._idle.remove(lane)
        if self._is_open:
            task = asyncio.ensure_future(self._reopen())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    def _free(self, lane: Lane) -> None:
        if self._take is not None and self._take.waiting:
            self._send(lane, self._take.waiting.popleft())
        else:
            self._idle.append(lane)

    def _tick(self) -> None:
        """Send what is due, and come back when the next one is."""
        take = self._take
        assert take is not None
        now = self._loop.time()
        while take.next_at is not None and take.next_at <= now:
            due, take.next_at = take.next_at, take.following()
            if self._idle:
                take.late.append(now - due)
                self._send(self._idle.popleft(), due)
                now = self._loop.time()
            else:
                take.waiting.append(due)
        if take.next_at is not None:
            self._loop.call_at(take.next_at, self._tick)

    def _send(self, lane: Lane, due: float) -> None:
        self._busy[lane] = due
        self._sent += 1
        lane.send(self._requests[self._sent % len(self._requests)])

    async def _sweep(self, take: _Step) -> None:
        """Give up what waits for longer than the time limit."""
        while True:
            await asyncio.sleep(self._timeout_s / 20)
            before = self._loop.time() - self._timeout_s
            while take.waiting and take.waiting[0] <= before:
                take.end(TIMEOUT, self._loop.time() - take.waiting.popleft())
            for lane in [lane for lane, due in self._busy.items() if due <= before]:
                take.end(TIMEOUT, self._loop.time() - self._busy.pop(lane))
                lane.close()

    async def _reopen(self) -> None:
        while True:
            try:
                lane = await self._connect(self)
            except OSError:
                await asyncio.sleep(_REOPEN_S)
            else:
                self._free(lane)
                return


class _Step:
    """What is known of a step while it goes on. Instants are those of the event loop's clock."""

    def __init__(self, step: Step, begun: float, done: asyncio.Future[None]) -> None:
        self.step, self.done, self._begun = step, done, begun
        self._instants = step.instants()
        self.next_at = self.following()
        self.waiting: deque[float] = deque()
        self.late = array("d")
        self._latencies = array("d")
        self._outcomes: Counter[str] = Counter()
        self._left = step.requests

    def following(self) -> float | None:
        """When the next request is due, None behind the last."""
        instant = next(self._instants, None)
        return None if instant is None else self._begun + instant

    def end(self, outcome: str, latency_s: float | None) -> None:
        """Take down what became of a request."""
        self._outcomes[outcome] += 1
        if latency_s is not None and (outcome == TIMEOUT or is_good(outcome)):
            self._latencies.append(latency_s)
        self._left -= 1
        if not self._left and not self.done.done():
            self.done.set_result(None)

    def measured(self, took_s: float, server_cores: float | None, driver_cores: float) -> Measured:
        """All of it, as numbers."""
        mean_s = sum(self._latencies) / len(self._latencies) if self._latencies else None
        late_s = quantiles_of(self.late).get("p99", 0.0)
        return Measured(
            self.step.rate, self.step.requests, took_s, dict(sorted(self._outcomes.items())),
            quantiles_of(self._latencies), mean_s, server_cores, driver_cores, late_s,
        )  # fmt: skip


def precise_run(main: Coroutine[Any, Any, T]) -> T:
    """Run on a loop whose timers are exact to some ten microseconds: that of `epoll` rounds up to a millisecond."""
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        return runner.run(main)
