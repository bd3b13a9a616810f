"""What a model raises at its warm-up is its failure, whatever it is; who interrupts the process interrupts it."""

from __future__ import annotations

import signal
from typing import NoReturn

import pytest

from mainspring.errors import InvalidError, ModelAwayError, ModelError
from mainspring.serving.warming import warmed_up

pytestmark = pytest.mark.one_backend("no store is read")


def raising(error: BaseException) -> NoReturn:
    raise error


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (GeneratorExit("x"), "GeneratorExit: x"),
        (
            InvalidError("model", "answers of shape (1,)", "answers of shape (2,)"),
            "InvalidError: model: `answers of shape ",
        ),
    ],
)
def test_what_a_model_raises_is_told_with_its_place(raised: BaseException, said: str) -> None:
    with pytest.raises(ModelError) as caught:
        warmed_up("line/1", lambda: raising(raised))
    assert str(caught.value).startswith(f"line/1 failed at its warm-up: {said}")
    assert (caught.value.kind, "in raising" in caught.value.trace) == (type(raised).__name__, True)


def test_an_interrupt_is_one_also_while_a_model_warms_up() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        warmed_up("line/1", lambda: signal.raise_signal(signal.SIGINT))
    assert signal.getsignal(signal.SIGINT) is before


def test_what_its_own_process_tells_stays_as_it_is() -> None:
    away = ModelAwayError("line/1", "its process ended", 1.0)
    with pytest.raises(ModelAwayError) as caught:
        warmed_up("line/1", lambda: raising(away))
    assert caught.value is away
    assert warmed_up("line/1", lambda: 3) == 3
