"""Whether MLflow's client was asked by code or looks something up itself is told by who called."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from mainspring.server.mlflow.caller import is_asked_by_code, threads_inside

CLIENT = """
import functools

def wraps(function):
    @functools.wraps(function)
    def wrapper(*given):
        return function(*given)
    return wrapper

@wraps
def search(answer):
    return [each for each in (answer() for _ in range(1))][0]

@wraps
def register(answer):
    return search(answer)

def tried(function):
    return function()
"""


def client(name: str = "mlflow.tracking.client") -> dict[str, Callable[..., bool]]:
    space: dict[str, Any] = {"__name__": name}
    exec(CLIENT, space)
    return space


def test_a_function_that_code_calls_is_asked_by_it_and_one_that_mlflow_calls_is_not() -> None:
    made = client()
    assert made["search"](lambda: is_asked_by_code("search"))
    assert not made["register"](lambda: is_asked_by_code("search"))


def test_code_that_mlflow_calls_back_asks_itself() -> None:
    made = client()
    assert made["tried"](lambda: made["search"](lambda: is_asked_by_code("search")))


def test_a_client_of_another_process_is_asked_by_code() -> None:
    assert is_asked_by_code("search")
    assert client("mlflow_of_mine")["register"](lambda: is_asked_by_code("search"))


def test_a_thread_is_inside_for_as_long_as_it_is_in_mlflow() -> None:
    goes_in, comes_out = threading.Event(), threading.Event()

    def wait() -> bool:
        goes_in.set()
        return comes_out.wait()

    inside = threading.Thread(target=client()["tried"], args=(wait,))
    elsewhere = threading.Thread(target=comes_out.wait)
    inside.start()
    elsewhere.start()
    goes_in.wait()
    assert threads_inside() == [inside]
    comes_out.set()
    inside.join()
    elsewhere.join()
    assert threads_inside() == []
