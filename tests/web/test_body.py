"""What is wrong with JSON of strangers is said with its place, as closely as is quickly found."""

from __future__ import annotations

import pytest

from mainspring.web import RequestError, read_json


@pytest.mark.parametrize(
    ("items", "said"),
    [
        (2, "This is not JSON: [0] is nan or too large for a number. Send null for what is missing."),
        (100_000, "This is not JSON: JSON is malformed: invalid character (byte 1)"),
    ],
)
def test_what_is_no_number_is_named_and_in_a_large_body_told_by_its_byte(items: int, said: str) -> None:
    with pytest.raises(RequestError) as refused:
        read_json(b"[" + b"NaN," * items + b"1]")
    assert (refused.value.status, refused.value.body["error"]) == (400, said)
