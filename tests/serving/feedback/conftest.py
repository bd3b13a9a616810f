"""An endpoint whose labels join by a flight and a day, and predictions of it at chosen instants."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import pytest

from mainspring import clock
from mainspring.clock import from_us
from mainspring.models import Field, Output, Signature, register
from mainspring.serving import Endpoint, bind, get_endpoint
from mainspring.serving.predictions import Entry, Source, prediction_log
from mainspring.workspace import Workspace

DAY_US = 86_400_000_000
START_US = 20_000 * DAY_US


class SetClock:
    """A clock that stands where it is set."""

    def __init__(self, at_us: int = START_US) -> None:
        self.at_us = at_us

    def now_us(self) -> int:
        return self.at_us


@contextmanager
def set_clock(at_us: int) -> Any:
    token = clock.clock.set(SetClock(at_us))
    try:
        yield
    finally:
        clock.clock.reset(token)


@pytest.fixture
def flights(workspace: Workspace) -> Endpoint:
    from sklearn.linear_model import LinearRegression

    signature = Signature((Field("flight", "str"), Field("day", "date"), Field("x", "f64")), Output("number"))
    register(LinearRegression(), "m", signature=signature, input_kind="records")
    return bind("delays", "m@production", version="m/1", label_key=["flight", "day"], label_window="3d")


@pytest.fixture
def ask(workspace: Workspace, flights: Endpoint) -> Callable[..., str]:
    """Log a prediction, and give its id."""

    def asked(at_us: int, flight: str = "UA1", day: str = "2024-10-04", output: float = 1.0, role: str = "") -> str:
        with set_clock(at_us):
            entry = Entry("r", "", 0.0, {"flight": [flight], "day": [day], "x": [1.0]}, 1, role=role)
            prediction_log(workspace).write(Source(get_endpoint("delays")), [(entry, [output])])
        return entry.first

    return asked


def at(days: float) -> Any:
    return from_us(START_US + int(days * DAY_US))
