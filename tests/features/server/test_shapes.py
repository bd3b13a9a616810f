"""Answers say every value and time that was stored, also those for which JSON or ISO 8601 has no form."""

from __future__ import annotations

from typing import Any

import pytest

from mainspring import clock
from mainspring.errors import WrongTypeError
from mainspring.features.definitions.records import Field
from mainspring.features.online.vector import Vector
from mainspring.features.server.shapes import entities_of, online_answer, time_text

NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("dtype", "value", "told"),
    [
        ("f32", NAN, "NaN"),
        ("list[f64]", [1.0, None, -INFINITE], [1.0, None, "-Infinity"]),
        ("array[f32, 2]", [NAN, INFINITE], ["NaN", "Infinity"]),
        ("list[list[f32]]", [[NAN], []], [["NaN"], []]),
        ("struct[{'a': f64, 'b': i64}]", {"a": NAN, "b": 1}, {"a": "NaN", "b": 1}),
        ("list[i64]", [1], [1]),
    ],
)
def test_numbers_that_are_not_finite_are_texts_at_any_depth(dtype: str, value: Any, told: Any) -> None:
    answer = online_answer({"k": ["a"]}, {"k": "str"}, ["x"], [Field("x", dtype)], [Vector([value], ["PRESENT"], [0])])
    assert answer["results"][1]["values"] in ([told], (told,))


def test_bytes_of_a_request_are_base64_in_keys_and_columns() -> None:
    found = entities_of({"k": ["YQ=="], "data": ["AP8="]}, {"k": "bytes", "data": "bin"})
    assert found == [{"k": b"a", "data": b"\0\xff"}]
    with pytest.raises(WrongTypeError, match=r"data\[0\]: .* expected bytes in base64"):
        entities_of({"data": ["?"]}, {"data": "bin"})


@pytest.mark.parametrize(
    ("dtype", "given", "found"),
    [
        ("list[bin]", ["AP8=", None], [b"\0\xff", None]), ("list[bin]", None, None), ("list[list[bin]]", [["AA=="]], [[b"\0"]]),
        ("array[bin, 1]", ["AA=="], [b"\0"]), ('struct{"bin": i64, "b": bin}', {"bin": 3, "b": "AA=="}, {"bin": 3, "b": b"\0"}),
        ('struct{"bin": i64}', {"bin": "AA=="}, {"bin": "AA=="}), ("list[str]", ["AA=="], ["AA=="]),
    ],
)  # fmt: skip
def test_bytes_within_lists_and_structs_are_base64_as_answers_give_them(dtype: str, given: Any, found: Any) -> None:
    assert entities_of({"data": [given]}, {"data": dtype}) == [{"data": found}]
    with pytest.raises(WrongTypeError, match=r"data\[0\]\[1\]: .* expected bytes in base64"):
        entities_of({"data": [["AA==", "?"]]}, {"data": "list[bin]"})


def test_a_stored_time_that_no_text_says_fails_no_answer() -> None:
    assert time_text(clock.LAST_US + 1) == time_text(clock.LAST_US) == "9999-12-31T23:59:59.999999Z"
    assert time_text(-(1 << 63)) == "0001-01-01T00:00:00Z"
