"""What a pipeline records: plain calls, several outputs, names, sub-pipelines, and the messages of misuse."""

from __future__ import annotations

import functools
import json
from typing import Any

import pytest

import mainspring as ms
from mainspring.errors import GraphError, MainspringError, NotFoundError
from mainspring.testing.workspaces import Lab, states


@ms.step
def add(a: int, b: int = 1) -> int:
    return a + b


@ms.step(outputs=("low", "high"))
def halves(values: list[int]) -> tuple[list[int], list[int]]:
    return values[: len(values) // 2], values[len(values) // 2 :]


def calls_of(function: Any, **params: Any) -> list[str]:
    return [call.name for call in ms.pipeline(function).record(params)[0]]


def test_a_step_stays_a_plain_function() -> None:
    assert add(1, b=2) == 3
    assert halves([1, 2, 3]) == ([1], [2, 3])
    assert add.map([1, 2], b=10) == [11, 12]
    assert add.__doc__ is None


def test_a_pipeline_called_plainly_runs_plainly() -> None:
    @ms.pipeline
    def main(n: int = 4) -> int:
        return add(add(n), 10)

    assert main(1) == 12


def test_calls_of_one_step_get_names_of_their_own() -> None:
    assert calls_of(lambda: add(add(1))) == ["add", "add-2"]


def test_a_sub_pipeline_gives_its_name_to_its_calls() -> None:
    @ms.pipeline
    def inner(n: int) -> int:
        return add(n)

    assert calls_of(lambda: inner(inner(add(1)))) == ["add", "inner/add", "inner-2/add"]


def test_recursion_is_named() -> None:
    @ms.pipeline
    def again(n: int = 1) -> int:
        return again(add(n))

    with pytest.raises(GraphError, match="`again` calls itself"):
        again.record({})


def test_a_pipeline_without_steps_is_named() -> None:
    with pytest.raises(GraphError, match="calls no step"):
        ms.pipeline(lambda: 1).record({})


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (lambda x: x + 1, "compute with it"),
        (lambda x: 1 if x else 2, "decide on it"),
        (len, "take its length"),
        (lambda x: x[0], "look up `0`"),
        (lambda x: x["key"], "look up `key`"),
        (lambda x: x.mean(), "read `.mean`"),
        (list, "iterate over it"),
        (lambda x: x > 3, "compare"),
        (lambda x: x == 3, "compare"),
        (lambda x: f"{x:.3f}", "format"),
        (lambda x: 3 in x, "iterate over it"),
        (int, "number"),
        (lambda x: x(), "call it"),
        (lambda x: {x: 1}, "use it as a key"),
    ],
)
def test_using_a_result_too_early_names_the_step_and_the_wish(use: Any, said: str) -> None:
    def main() -> Any:
        return use(add(1))

    with pytest.raises(GraphError, match=r"`add`.*not known yet") as caught:
        ms.pipeline(main).record({})
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("args", "kwargs", "said"),
    [
        ((), {}, "misses a value for parameter `a`"),
        ((1, 2, 3), {}, "takes 2 arguments"),
        ((1,), {"c": 3}, "no parameter `c`"),
        ((1,), {"a": 3}, "two values for parameter `a`"),
    ],
)
def test_wrong_arguments_name_step_and_parameter(args: Any, kwargs: Any, said: str) -> None:
    with pytest.raises(GraphError, match="`add`") as caught:
        ms.pipeline(lambda: add(*args, **kwargs)).record({})
    assert said in str(caught.value)


def test_an_unknown_option_of_a_step_is_named_with_the_nearest() -> None:
    with pytest.raises(NotFoundError, match=r"`retry`.*retries"):
        ms.step(retry=3)  # type: ignore[call-overload]  # that is the mistake


@pytest.mark.parametrize("thing", [3, "name", print, int])
def test_only_a_python_function_becomes_a_step(thing: Any) -> None:
    with pytest.raises(GraphError, match="function"):
        ms.step(thing)


def test_variadic_functions_are_refused() -> None:
    with pytest.raises(GraphError, match=r"\*args"):
        ms.step(lambda *args: args)


@pytest.mark.parametrize("options", [{"retries": -1}, {"timeout_s": "long"}, {"outputs": ("a", "a")}])
def test_a_wrong_option_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(MainspringError, match="@step"):
        ms.step(**options)


FLOW = """
@ms.step(outputs=("low", "high"))
def halves(values):
    return values[: len(values) // 2], values[len(values) // 2 :]

@ms.step(outputs=("low", "high"))
def named(values):
    return {"high": max(values), "low": min(values), "unused": 0}

@ms.step
def total(values):
    return sum(values)

@ms.step
def both(pair, extra):
    return [pair, extra]

@ms.pipeline
def unpacked():
    low, high = halves([1, 2, 3])
    return {"low": total(low), "high": total(high)}

@ms.pipeline
def picked():
    found = named([3, 1, 2])
    return {"by_name": found["high"], "by_attribute": found.low, "by_index": found[0], "all": found}

@ms.pipeline
def nested():
    low, high = halves([1, 2, 3])
    return both({"a": [low, (high, 7)]}, [total(low), 5])

@ms.pipeline
def inner(values):
    return total(values)

@ms.pipeline
def outer():
    return total([inner([1, 2]), inner([3, 4])])
"""


def test_several_outputs_are_unpacked_picked_and_returned(lab: Lab) -> None:
    lab.write(FLOW)
    assert lab.run("unpacked").value == {"low": 1, "high": 5}
    assert lab.run("picked").value == {"by_name": 3, "by_attribute": 1, "by_index": 1, "all": (1, 3)}


def test_results_pass_through_nested_lists_tuples_and_dicts(lab: Lab) -> None:
    lab.write(FLOW)
    assert lab.run("nested").value == [{"a": [[1], ([2, 3], 7)]}, [1, 5]]


def test_a_sub_pipeline_runs_as_part_of_the_outer(lab: Lab) -> None:
    lab.write(FLOW)
    result = lab.run("outer")
    assert result.value == 10
    assert set(states(result)) == {"inner/total", "inner-2/total", "total"}


def test_steps_of_one_factory_keep_their_own_closures(lab: Lab) -> None:
    result = lab.write_and_run(
        """
        def times(n):
            @ms.step
            def scale(x):
                return x * n
            return scale

        @ms.pipeline
        def main():
            return times(5)(times(3)(1)), (times(3))(7)
        """
    )
    assert result.value == (15, 21)


def test_an_argument_is_what_it_was_when_it_was_passed(lab: Lab) -> None:
    result = lab.write_and_run(
        """
        @ms.step
        def total(values):
            values.append(1000)
            return sum(values)

        @ms.pipeline
        def main():
            values = [1]
            first = total(values)
            values.append(2)
            return first, total(values)
        """
    )
    assert result.value == (1001, 1003)


def test_counts_and_nouns_agree() -> None:
    @ms.step
    def one(n: int) -> int:
        return n

    @ms.step
    def none() -> int:
        return 1

    with pytest.raises(GraphError, match=r"takes 1 argument \(n\), and 2 were given"):
        one.bind((1, 2), {})
    with pytest.raises(GraphError, match="takes no arguments, and 1 was given"):
        none.bind((1,), {})


def test_a_partial_that_is_no_step_is_named_by_its_function() -> None:
    with pytest.raises(GraphError, match=r"A `functools.partial` of `json.loads` is no Python function"):
        ms.step(functools.partial(json.loads))
