"""A table in CSV is what it would be in JSON, or is refused: no line is taken for what it isn't."""

from __future__ import annotations

import csv
import io
import json
from random import Random
from typing import Any

import polars as pl
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from mainspring.models import Field, Signature
from mainspring.models.records import RecordCheck
from mainspring.serving.protocols import Invocations
from mainspring.serving.protocols.call import Call
from mainspring.web.request_error import RequestError

WORDS = st.sampled_from(
    ["city", "City", " city", "0", "1", "5", "1.0", "nan", "", "a", "b", "true", "2013-01-31", "a,b"]
)
NAMES = WORDS | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff"), max_size=4)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "f64": st.floats(allow_nan=False, allow_infinity=False) | st.integers(0, 9),
    "i64": st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(0, 9),
    "bool": st.booleans(),
    "str": NAMES,
    'enum["a", "b", "city"]': st.sampled_from(["a", "b", "city"]),
    "date": st.dates().map(str),
}


@st.composite
def tables(draw: st.DrawFn) -> tuple[Signature, list[list[Any]]]:
    """A signature, and rows that it takes; where a column takes null, its empty text is one (CSV tells them not apart)."""
    names = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    fields = [Field(name, draw(st.sampled_from([*VALUES])), draw(st.booleans())) for name in names]
    rows = draw(
        st.lists(
            st.tuples(*(VALUES[each.dtype] | st.none() if each.nullable else VALUES[each.dtype] for each in fields)),
            max_size=3,
        )
    )
    kept = [
        [None if value == "" and field.nullable else value for field, value in zip(fields, row, strict=True)]
        for row in rows
    ]
    return Signature(tuple(fields)), kept


def reader(takes: Signature) -> Invocations:
    return Invocations(takes, RecordCheck(takes))


def written(*lines: Any) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerows(lines)
    return out.getvalue().encode()


def read(takes: Signature, body: bytes, header: str = "") -> Call:
    return reader(takes).read(body, b"text/csv", {"header": header} if header else {})


def told(takes: Signature, body: bytes, header: str = "") -> Any:
    """The columns of what is read, or how it is refused."""
    try:
        return read(takes, body, header).columns
    except RequestError as error:
        return error.status


@given(tables(), st.randoms(use_true_random=False))
@example((Signature((Field("0", "f64"), Field("1", "f64"))), [[1, 0]]), Random(1))
@example((Signature((Field("city", "str"), Field("weather", "str"))), [["City", "Weather"], ["a", "x"]]), Random(1))
def test_a_table_is_what_it_is_in_json_or_is_refused(table: tuple[Signature, list[list[Any]]], random: Random) -> None:
    takes, rows = table
    names = [field.name for field in takes.inputs]
    records = [dict(zip(names, row, strict=True)) for row in rows]
    meant = reader(takes).read(json.dumps({"dataframe_records": records}).encode(), b"application/json").columns
    order = random.sample(range(len(names)), len(names))
    headed = written([names[at] for at in order], *([row[at] for at in order] for row in rows))
    assert told(takes, headed, "present") == meant
    assert told(takes, headed) in (meant, 400)
    assume(rows)
    bare = written(*rows)
    assert told(takes, bare, "absent") == meant
    is_all_text = {field.dtype for field in takes.inputs} == {"str"}
    if not is_all_text or {*rows[0]} != {*names}:  # texts that are the names of all columns are a header
        assert told(takes, bare) in (meant, 400)


CITIES = Signature((Field("city", "str"), Field("weather", "str")))
NUMBERED = Signature((Field("0", "f64"), Field("1", "f64")))
MIXED = Signature((Field("city", "str"), Field("n", "f64", nullable=True)))


@pytest.mark.parametrize(
    ("takes", "body", "line"),
    [
        (NUMBERED, b"1,0\n", "`1,0`"),
        (NUMBERED, b"1,0\n5,6\n", "`1,0`"),
        (NUMBERED, b"0, 1\n5,6\n", "`0, 1`"),
        (CITIES, b"City,Weather\na,x\n", "`City,Weather`"),
        (CITIES, b"weather ,city \nx,a\n", "`weather ,city`"),
        (CITIES, b"a,x\n", "`a,x`"),
        (MIXED, b"Paris,\n", "`Paris,`"),
        (Signature((Field("0", "str"),)), b"0\n1\n", "`0`"),
    ],
    ids=range(8),
)  # fmt: skip
def test_a_first_line_that_may_be_either_is_refused(takes: Signature, body: bytes, line: str) -> None:
    with pytest.raises(RequestError) as caught:
        read(takes, body)
    assert caught.value.status == 400
    assert line in str(caught.value)
    assert "`Content-Type: text/csv; header=present`, or `header=absent`." in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("takes", "body", "header", "columns"),
    [
        (NUMBERED, b"1,0\n5,6\n", "present", {"0": [6.0], "1": [5.0]}),
        (NUMBERED, b"1,0\n5,6\n", "ABSENT", {"0": [1.0, 5.0], "1": [0.0, 6.0]}),
        (NUMBERED, b"5,6\n", "", {"0": [5.0], "1": [6.0]}),
        (CITIES, b"weather,city\nx,a\n", "", {"city": ["a"], "weather": ["x"]}),
        (CITIES, b"city,weather\n", "absent", {"city": ["city"], "weather": ["weather"]}),
        (MIXED, b"Paris,1\n", "", {"city": ["Paris"], "n": [1.0]}),
        (MIXED, b"n,city\n1,Paris\n\n,Rome\n", "", {"city": ["Paris", "Rome"], "n": [1.0, None]}),
        (MIXED, b"city,n\n", "", {"city": [], "n": []}),
    ],
    ids=range(8),
)
def test_a_header_is_what_is_told_or_shows(takes: Signature, body: bytes, header: str, columns: Any) -> None:
    assert read(takes, body, header).columns == columns


def test_a_header_that_is_none_of_the_model_is_refused() -> None:
    for body in (b"City,N\nParis,1\n", b"City,N\n", b"city\n", b"x,1,2\n"):
        for header in ("present", "") if body != b"x,1,2\n" else ("present", "absent", ""):
            assert told(MIXED, body, header) == 422
    with pytest.raises(RequestError, match=r"`header=maybe` is neither `header=present` nor `header=absent`") as caught:
        read(MIXED, b"city,n\n", "maybe")
    assert caught.value.status == 400


def test_an_empty_line_of_one_column_is_a_missing_value() -> None:
    takes = Signature((Field("a", "f64", nullable=True),))
    table = pl.DataFrame({"a": [1.0, None, 3.0, None]})
    assert read(takes, table.write_csv().encode()).columns == {"a": [1.0, None, 3.0, None]}
    assert read(takes, table.write_csv(include_header=False).encode()).columns == {"a": [1.0, None, 3.0, None]}
    for dtype in ("f64", "str"):
        required = Signature((Field("a", dtype),))  # which an empty line can't be a value of
        for body in (b"a\n1\n\n3\n", b"\na\n1\n3\n\n"):
            assert len(read(required, body).columns["a"]) == 2


def test_a_first_row_may_be_of_missing_values_alone() -> None:
    for names in ("xy", "a"):
        takes = Signature(tuple(Field(name, "f64", nullable=True) for name in names))
        body = ",".join("" for _ in names).encode() + b"\n" + b",".join(b"1" for _ in names) + b"\n"
        for header in ("", "absent"):
            assert read(takes, body, header).columns == {key: [None, 1.0] for key in names}
    unnamed = Signature((Field("", "f64", nullable=True), Field("x", "f64", nullable=True)))
    assert told(unnamed, b",\n1,2\n", "") == 400
