"""What separates the parts of a header separates nothing within quotes, and no header of a stranger is too strange to read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.web.parameters import members_of, parameters_of, ranked

OFFERED = ("application/json", "text/csv", "text/html")


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("text/csv", {}),
        ("text/csv;;a=1; A=2;b", {"a": "1", "b": ""}),
        (r'text/csv; a="\";b=1\\"; b="2"', {"a": '";b=1\\', "b": "2"}),
        ('text/csv; a=";b=1', {"a": '";b=1'}),
    ],
)
def test_parameters_are_read_out_of_quotes(value: str, found: dict[str, str]) -> None:
    assert parameters_of(value) == found


@pytest.mark.parametrize(
    ("accept", "taken"),
    [
        (b"text/csv;q=0.2, text/*;q=0.8, */*;q=0.5", ("text/html", "application/json", "text/csv")),
        (b"*/*;q=0, text/*;q=0.1, text/html;q=0", ("text/csv",)),
        (b"text/html;level=1;q=0, text/html", ("text/html",)),
        (b"TEXT/HTML ; q=0.5 , Text/CSV", ("text/csv", "text/html")),
        (b"text/csv;q=2, text/html", ("text/csv", "text/html")),
        (b"image/png", ()),
        (b", ,", OFFERED),
        (b"*/json", OFFERED),
        (b"*/json, text/csv", ("text/csv",)),
        (b"text/, /csv, text/a/b, text csv/x", OFFERED),
    ],
)
def test_what_is_accepted_is_ranked_by_weight_then_by_name_then_by_place(accept: bytes, taken: tuple[str, ...]) -> None:
    assert ranked(accept, OFFERED) == taken


@given(st.text('ab/*;,="\\ q01.', max_size=40).map(str.encode) | st.binary(max_size=40))
def test_any_header_is_read(value: bytes) -> None:
    assert {*ranked(value, OFFERED)} <= {*OFFERED}
    assert all(value.count(each.encode("latin-1")) for each in members_of(value.decode("latin-1")))
    parameters_of(value.decode("latin-1"))
