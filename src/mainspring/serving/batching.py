"""Batches of what waits: while the model answers, calls queue up, and the next batch is all of them, up to a number of rows.

There is no timer: an idle model answers at once. The queue is bounded, so that a server that is asked too much says so early.
Invariant: what a batch's calls were answered is logged in one piece before any of them is told. The model is asked nothing for
those who were told already, or are gone.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, chain
from typing import Any, NamedTuple, Protocol

from mainspring.errors import counted
from mainspring.models.predictor import Prediction
from mainspring.models.signature import Columns, plain
from mainspring.serving.hanging import ANSWERED, Hanging, OwnThread, Question, tellable
from mainspring.web.request_error import RequestError

Answers = list[Prediction]
Log = Callable[[Sequence[tuple[Any, Answers]]], None]
MOST_ROWS = 1_024
"""Rows in one batch; a call with more is a batch of its own."""
MOST_WAITING = 65_536
"""Rows that may wait; however many a call has, it counts as an eighth of them at most."""
TIMEOUT_S = 30.0
SLOW_S = 0.002
"""A call that takes longer is worth a thread."""
_QUICK_S = 25e-6  # about what a turn of the loop and the merging of batches cost
MANY_ROWS = 256
"""Rows of a call, or of a batch, that are worth a thread, so that they hold up no other connection."""
_PLAIN = {tuple, list}
_LEFT = ConnectionResetError("nobody waits for the answer")
_HERE = Question(ANSWERED)  # what the event loop asks: nobody can look there whether it hangs


class _Waiting(NamedTuple):
    columns: Columns
    rows: int
    answered: asyncio.Future[Answers]
    until: float
    entry: Any


class Fill(Protocol):
    """What the model takes of an entry, if not the columns of the call: of one, which may raise, or of each of several."""

    def one(self, entry: Any) -> Columns:
        """The columns."""
        ...

    def together(self, entries: Sequence[Any]) -> Sequence[Columns | Exception]:
        """For each entry its columns, or what is raised to its call instead."""
        ...


class Batcher:
    """Answers the calls of one model, in the order in which they came. Used from one event loop.

    `answer` takes columns and their number of rows, and `names` are the columns that it needs. It takes about `call_s`:
    what is quick is not worth a turn of the loop in which others could join it, and what is slow is worth a thread. With
    `fill` the model's columns are made of the entries of a batch, where it is answered. A call is given up after
    `timeout_s`, whether it waits or is being answered. `log` gets the entries of calls with their answers before these
    are given; what it raises is raised to each of the calls.

    The model hangs if what it is asked at once takes it `timeout_s`, however long its calls waited before: `hanging` says how
    often it did, and is told what else the model is asked. With `give_up`, which ends that, all calls are made in a thread.
    """

    def __init__(
        self, answer: Callable[[Columns, int], Answers], names: Sequence[str], *, call_s: float,
        most_rows: int = MOST_ROWS, most_waiting: int = MOST_WAITING, timeout_s: float = TIMEOUT_S, fill: Fill | None = None,
        log: Log | None = None, give_up: Callable[[float], bool] | None = None, name: str = "the model",
    ) -> None:  # fmt: skip
        self._answer, self._names, self._fill, self._log = answer, tuple(names), fill, log
        self.hanging = Hanging(name, timeout_s, give_up)
        self.is_slow = call_s > SLOW_S or give_up is not None
        self.is_quick = call_s < _QUICK_S and not self.is_slow
        self._most_rows, self._most_waiting, self._timeout_s = most_rows, most_waiting, timeout_s
        self._most_weight = max(most_waiting // 8, 1)
        self._waiting: deque[_Waiting] = deque()
        self._rows_waiting = self._weight_waiting = 0
        self._running: list[_Waiting] = []
        self._is_scheduled = False
        self._thread: OwnThread | None = None
        self._begun_at = 0.0  # of the batch in the thread
        self._asked = _HERE  # what the model is asked there
        self._batch_s = 0.0
        self.batches = 0

    async def answer(self, columns: Columns, rows: int, entry: Any = None, *, is_alone: bool = False) -> Answers:
        """The answers to a call; the log gets the `entry` with them. One that `is_alone` waits for no others to join it.

        Raises:
            RequestError: 503, so many rows wait that this call would have to wait too long; 504, it was not answered in time.
            Exception: what the model raised on this call; other calls of the batch are not touched by it.
        """
        if self._waiting and self._weight_waiting + self._weight(rows) > self._most_waiting:
            raise RequestError(503, "So many requests wait that this one is not taken. Send it later.", self._retry())
        if (is_alone or self.is_quick) and not self.is_slow and rows <= MANY_ROWS and self.is_idle:
            try:
                answers = self._answer(columns if self._fill is None else self._fill.one(entry), rows)
            except BaseException as error:
                told = tellable(error)
                if told is error:
                    raise
                raise told from error
            if self._log is not None:
                self._log([(entry, answers)])
            return answers
        loop = asyncio.get_running_loop()
        call = _Waiting(columns, rows, loop.create_future(), time.monotonic() + self._timeout_s, entry)
        self._waiting.append(call)
        self._rows_waiting += rows
        self._weight_waiting += self._weight(rows)
        if not self._is_scheduled:
            self._is_scheduled = True
            loop.call_soon(self._run)  # behind the requests that came in the same turn of the loop
        return await call.answered

    def end_overdue(self) -> None:
        """Give up what took too long. To be called now and then."""
        now = time.monotonic()
        self._end_waiting(now)
        for call in self._running:
            if call.until < now and not call.answered.done():
                call.answered.set_exception(RequestError(504, self._late(call)))
        # A batch's calls came before it began, so that all of them are told by now if it hangs.
        self.hanging.end_overdue(now)

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing is being answered."""
        return not self._waiting and not self._running

    def close(self) -> None:
        """End the thread, if there is one, once it has answered what was begun; another is made if it is needed after all."""
        if self._thread is not None:
            self._thread.end()
            self._thread = None

    def _leave(self) -> None:
        """Go on in another thread: that of what runs hangs."""
        self._running = []
        self.close()
        self._run()

    def _weight(self, rows: int) -> int:
        """What a call counts of the rows that may wait: one large call refuses no small ones, nor they it."""
        return min(rows, self._most_weight)

    def _retry(self) -> tuple[tuple[bytes, bytes], ...]:
        batches = math.ceil(self._rows_waiting / self._most_rows)
        wait_s = min(batches * self._batch_s, self._timeout_s)  # what waits longer is given up, and makes room as well
        return ((b"retry-after", b"%d" % max(1, math.ceil(wait_s))),)

    def _late(self, call: _Waiting) -> str:
        """What is said to a call that was being answered when its time ran out."""
        waited_s = int(10 * (self._begun_at - call.until + self._timeout_s)) / 10
        share = f", for {waited_s:g} s of which the request waited" if waited_s else ""
        if self._asked.asked_at == ANSWERED:
            return f"The answer was not logged within {self._timeout_s:g} s{share}."
        return f"The model did not answer within {self._timeout_s:g} s{share}."

    def _end_waiting(self, now: float) -> None:
        """Give up the calls whose time ran out before they were begun; they are the first, since each may wait as long."""
        before = len(self._running)
        while self._waiting and self._waiting[0].until < now:
            call = self._first()
            if not call.answered.done():
                said = f"The request waited for {self._timeout_s:g} s, behind {counted(before, 'other')}, and was not begun."
                call.answered.set_exception(RequestError(504, said))
                before += 1

    def _first(self) -> _Waiting:
        """The call that waits longest, which waits no more."""
        call = self._waiting.popleft()
        self._rows_waiting -= call.rows
        self._weight_waiting -= self._weight(call.rows)
        return call

    def _run(self) -> None:
        """Answer batch after batch until nothing waits, or one is on its way in a thread."""
        while batch := self._taken():
            self.batches += 1
            if self.is_slow or sum(call.rows for call in batch) > MANY_ROWS:
                self._running = batch
                self._aside(batch)
                return
            _tell(batch, self._settled(batch, _HERE))
        self._is_scheduled = False

    def _taken(self) -> list[_Waiting]:
        """The next batch, of calls that somebody still waits for."""
        batch: list[_Waiting] = []
        rows = 0
        while self._waiting and (not batch or rows + self._waiting[0].rows <= self._most_rows):
            call = self._first()
            if not call.answered.done():  # its client is gone
                batch.append(call)
                rows += call.rows
        return batch

    def _settled(self, batch: Sequence[_Waiting], asked: Question) -> list[Answers | BaseException]:
        """What to tell each call, once that is logged; what is given up is not."""
        found = self._found(batch, asked)
        asked.asked_at = ANSWERED  # a log that stalls is no model that hangs
        kept = [
            (call.entry, answers)
            for call, answers in zip(batch, found, strict=True)
            if not isinstance(answers, BaseException) and not call.answered.done()
        ]
        if self._log is None or not kept:
            return found
        try:
            self._log(kept)
        except Exception as error:  # noqa: BLE001  # it is told to each of the calls
            return [answers if isinstance(answers, BaseException) else error for answers in found]
        return found

    def _found(self, batch: Sequence[_Waiting], asked: Question) -> list[Answers | BaseException]:
        """For each call its answers, or what is raised to it."""
        if self._fill is None:
            return self._answered([(call, call.columns) for call in batch], asked)
        filled = zip(batch, self._fill.together([call.entry for call in batch]), strict=True)
        columns = [_LEFT if call.answered.done() else own for call, own in filled]
        taken = [(call, own) for call, own in zip(batch, columns, strict=True) if not isinstance(own, Exception)]
        answers = iter(self._answered(taken, asked) if taken else ())
        return [own if isinstance(own, Exception) else next(answers) for own in columns]

    def _answered(self, calls: Sequence[tuple[_Waiting, Columns]], asked: Question) -> list[Answers | BaseException]:
        """For each call its answers, or what was raised on it: when a batch fails, each of its calls is answered by itself."""
        if len(calls) > 1 and not all(call.answered.done() for call, _ in calls):
            own = [(columns, call.rows) for call, columns in calls]
            asked.asked_at = time.monotonic()
            try:
                together = self._answer(merged(own, self._names), sum(rows for _, rows in own))
            except BaseException:  # noqa: BLE001  # which of the calls it was is found out below
                return [self._alone(*each, asked) for each in calls]
            ends = [*accumulate(rows for _, rows in own)]
            return [together[end - rows : end] for end, (_, rows) in zip(ends, own, strict=True)]
        return [self._alone(*each, asked) for each in calls]

    def _alone(self, call: _Waiting, columns: Columns, asked: Question) -> Answers | BaseException:
        """A call's answers, or what was raised on it; none if nobody waits for them any longer."""
        if call.answered.done():
            return []
        asked.asked_at = time.monotonic()
        try:
            return self._answer(columns, call.rows)
        except BaseException as error:  # noqa: BLE001  # it is told to who asked, and logged there
            return tellable(error)

    def _aside(self, batch: list[_Waiting]) -> None:
        if self._thread is None:
            self._thread = OwnThread("model")
        self._begun_at = time.monotonic()
        asked = self._asked = Question(self._begun_at, leave=self._leave)
        self.hanging.begin(asked)
        work = asyncio.get_running_loop().run_in_executor(self._thread, self._settled, batch, asked)

        def done(work: asyncio.Future[list[Answers | BaseException]]) -> None:
            self.hanging.end(asked)
            if asked.is_left or work.cancelled():  # others were begun
                return
            _tell(batch, work.result())
            now = time.monotonic()
            self._batch_s = now - self._begun_at
            self._end_waiting(now)
            self._running = []
            self._run()

        work.add_done_callback(done)


def merged(calls: Sequence[tuple[Columns, int]], names: Sequence[str]) -> Columns:
    """The rows of several calls below each other.

    >>> merged([({"x": [1, 2], "y": "ab"}, 2), ({"y": "c", "x": (3,)}, 1)], ["x", "y"])
    {'x': [1, 2, 3], 'y': ['a', 'b', 'c']}
    """
    given = [[columns[name] for columns, _ in calls] for name in names]
    return {name: list(chain.from_iterable(_plain_parts(parts))) for name, parts in zip(names, given, strict=True)}


def _plain_parts(parts: list[Sequence[Any]]) -> Iterable[Sequence[Any]]:
    """The parts of a column as Python's own values: to look at all types at once takes a fifth of asking each."""
    return parts if _PLAIN.issuperset(map(type, parts)) else map(plain, parts)


def _tell(batch: Sequence[_Waiting], found: Sequence[Answers | BaseException]) -> None:
    for call, answers in zip(batch, found, strict=True):
        if call.answered.done():
            continue
        if isinstance(answers, BaseException):
            call.answered.set_exception(answers)
        else:
            call.answered.set_result(answers)
