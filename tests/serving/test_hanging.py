"""Whatever a model is asked, it is given up when that takes too long, and who waits is told first."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading

import pytest

from mainspring.serving.failures import refusal_of
from mainspring.serving.hanging import ANSWERED, Hanging, OwnThread, Question, tellable

pytestmark = pytest.mark.one_backend("no store is read")


def asked(told: list[str], at: float = 0.0) -> Question:
    return Question(at, late=lambda: told.append("late"), leave=lambda: told.append("leave"))


def test_a_thread_that_hangs_is_left_once_and_counts_until_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []
    found, question = Hanging("line/1", 2.0), asked(told)
    found.begin(question)
    with caplog.at_level(logging.WARNING):
        for now in (1.0, 2.0, 2.5, 5.0):
            found.end_overdue(now)
    assert (told, found.stuck, found.given_up) == (["late", "leave"], 1, 1)
    assert caplog.messages == ["line/1 hangs: it has not answered for 2 s, and its thread is left"]
    found.end(question)
    assert (found.stuck, found.given_up) == (0, 1)


def test_what_is_answered_does_not_hang_whatever_its_thread_does_then() -> None:
    told: list[str] = []
    found, question = Hanging("line/1", 2.0), asked(told)
    found.begin(question)
    question.asked_at = ANSWERED
    found.end_overdue(1e9)
    assert told == []


def test_who_waits_is_told_before_a_process_is_ended_whose_threads_go_on() -> None:
    told: list[str] = []

    def give_up(after_s: float) -> bool:
        told.append(f"ended after {after_s}")
        return True

    found, question = Hanging("line/1", 2.0, give_up), asked(told)
    found.begin(question)
    found.begin(Question(1.0))
    found.end_overdue(2.5)
    assert (told, found.stuck, found.given_up) == (["late", "ended after 2.0"], 0, 0)
    found.end(question)
    found.end_overdue(2.9)
    assert len(told) == 2


def test_a_version_counts_on_from_the_one_before_and_hangs_for_itself() -> None:
    before, after = Hanging("line/1", 2.0), Hanging("line/2", 2.0)
    for each in range(2):
        before.begin(asked([], each))
        before.end_overdue(2.5 + each)
        after.go_on(before)
    assert (before.stuck, after.stuck, after.given_up) == (2, 0, 2)
    for _ in range(3):
        assert after.is_healthy
        after.begin(asked([]))
    after.end_overdue(9.0)
    assert (after.is_healthy, after.given_up) == (False, 5)


def test_a_thread_of_its_own_answers_in_order_tells_what_is_raised_and_ends() -> None:
    aside, told, goes_on = OwnThread("line/1"), list[int](), threading.Event()
    waits = aside.submit(goes_on.wait, 10)
    answers = [aside.submit(told.append, each) for each in range(3)]
    fails, who = aside.submit(int, "x"), aside.submit(threading.current_thread)
    answers[1].cancel()
    aside.end()
    goes_on.set()
    assert waits.result(10)
    with pytest.raises(ValueError, match="invalid literal"):
        fails.result(10)
    thread = who.result(10)
    thread.join(10)
    assert (told, thread.name, thread.daemon, thread.is_alive()) == ([0, 2], "line/1", True, False)


@pytest.mark.parametrize(
    "raised",
    [
        KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError, concurrent.futures.CancelledError,
        StopIteration, StopAsyncIteration,
    ],
)  # fmt: skip
def test_what_would_end_or_cancel_who_waits_is_told_as_a_failure(
    raised: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    def ask() -> None:
        raise raised("so")

    aside = OwnThread("line/1")

    async def waits() -> None:
        await asyncio.get_running_loop().run_in_executor(aside, ask)

    with pytest.raises(RuntimeError, match=f"The model raised {raised.__name__}: so") as caught:
        asyncio.run(waits())
    aside.end()
    assert isinstance(caught.value.__cause__, raised)
    told = refusal_of(caught.value, "some", "line/1")
    assert (told.status, str(told)) == (
        500, f"line/1 failed on this request ({raised.__name__}). The log of the server has more.",
    )  # fmt: skip
    assert f"{raised.__name__}: so" in caplog.text
    assert "RaisedError" not in caplog.text


def test_what_is_raised_without_a_text_is_told_without_a_colon() -> None:
    assert str(tellable(KeyboardInterrupt())) == "The model raised KeyboardInterrupt"
    assert str(tellable(KeyboardInterrupt("x"))) == "The model raised KeyboardInterrupt: x"
