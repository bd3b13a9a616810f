"""Hints as a check of what steps receive."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NewType

import msgspec
import numpy as np
import polars as pl
import pytest

from mainspring.errors import WrongTypeError
from mainspring.pipelines.hints import check_arguments
from mainspring.testing.runners import POOL
from mainspring.testing.workspaces import Lab

UserId = NewType("UserId", int)


def checked(hint: Any, value: Any) -> None:
    def step(x: Any) -> None: ...

    step.__annotations__["x"] = hint
    check_arguments("step", step, {"x": value})


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (int, 3), (int, np.int64(3)), (float, 3), (float, np.float32(3)), (str, "a"), (list[int], [1]), (list[int], (1,)),
        (Sequence[int], [1]), (dict[str, int], {"a": 1}), (int | None, None), (pl.DataFrame, pl.DataFrame()), (object, 1),
        (Any, 1), (Literal["a"], "b"), ("unknown", 1), (pl.LazyFrame, pl.DataFrame()), (Path, Path("a")), (None, None),
        (Annotated[int, "a count"], 2), (Annotated[int, msgspec.Meta(gt=0)] | None, 2), (UserId, 2),
        (Annotated[int, 1] | None, None), (list[Annotated[int, 1]], [1]), (Annotated[Annotated[UserId, 1] | None, 2], 3),
    ],
)  # fmt: skip
def test_what_may_be_meant_passes(hint: Any, value: Any) -> None:
    checked(hint, value)


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (int, "3"), (float, "3"), (str, 3), (list[int], "abc"), (dict, [1]), (int | None, "a"), (pl.DataFrame, [1]),
        (Path, "a"), (list[int], pl.DataFrame()), (bool, "yes"), (Annotated[int, "a count"], "a"), (UserId, "a"),
        (Annotated[int, 1] | None, "a"),
    ],
)  # fmt: skip
def test_what_is_plainly_of_another_type_is_named(hint: Any, value: Any) -> None:
    with pytest.raises(WrongTypeError, match="Step `step`, parameter `x`"):
        checked(hint, value)


FLOW = """
from typing import Annotated

@ms.step
def gives() -> str:
    return "text"

@ms.step
def takes(x: Annotated[list[int], "a count"]) -> int:
    return len(x)

@ms.pipeline
def main():
    return takes(gives())
"""


@pytest.mark.parametrize("runner", ["inline", POOL])
def test_a_result_of_the_wrong_type_fails_where_it_is_received(lab: Lab, runner: str) -> None:
    lab.write(FLOW)
    result = lab.run(runner=runner)
    (failed,) = [task for task in result.tasks if task.error]
    assert failed.name == "takes"
    assert (
        failed.error
        == "WrongTypeError: Step `takes`, parameter `x`: `text` is a str, expected Annotated[list[int], 'a count']."
    )
    assert "Traceback" not in result.log_of(failed)
