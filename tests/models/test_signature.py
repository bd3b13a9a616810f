"""Records against a signature: every problem has a path, and the fast way agrees with the slow one."""

from __future__ import annotations

from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.errors import InvalidError, WrongTypeError
from mainspring.models import Field, Output, Predictor, Signature
from mainspring.models.records import RecordCheck
from mainspring.models.rows import RowDecoder

SIGNATURE = Signature(
    (Field("dep_delay", "f64"), Field("carrier", "str"), Field("month", "i64", True), Field("late", "bool", True))
)
GOOD: dict[str, Any] = {"dep_delay": 1.5, "carrier": "UA", "month": 3, "late": True}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"dep_delay": "x"}, '[1].dep_delay: "x" is a str, expected a number'),
        ({"dep_delay": True}, "[1].dep_delay: True is a bool, expected a number"),
        ({"dep_delay": None}, "[1].dep_delay: null, expected a number"),
        ({"dep_delay": float("nan")}, "[1].dep_delay: null, expected a number"),
        ({"dep_delay": float("inf")}, "[1].dep_delay: inf is not a finite number"),
        ({"dep_delay": 10**400}, "[1].dep_delay: inf is not a finite number"),
        ({"carrier": 3}, "[1].carrier: 3 is an int, expected text"),
        ({"month": 1.5}, "[1].month: 1.5 is a float, expected a whole number"),
        ({"month": 2**63}, "[1].month: 9223372036854775808 does not fit i64"),
        ({"late": 1}, "[1].late: 1 is an int, expected true or false"),
        ({"carier": "UA", "carrier": ...}, "[1].carier: unknown column, nearest: carrier"),
        ({"extra": [[[]]]}, "[1].extra: unknown column"),
        ({"carrier": ...}, "[1].carrier: missing, expected text"),
    ],
)
def test_a_problem_is_named_by_its_path(change: dict[str, Any], problem: str) -> None:
    record = {name: value for name, value in (GOOD | change).items() if value is not ...}
    found = [str(each) for each in RecordCheck(SIGNATURE)([GOOD, record])[1]]
    assert found[0].replace("1" + "0" * 36 + "...", "inf") == problem


@pytest.mark.parametrize("record", [None, 3, "x", [1, 2], [["dep_delay", 1]]])
def test_what_is_no_record_is_named(record: object) -> None:
    assert "is not a record of columns" in str(RecordCheck(SIGNATURE)([record])[1][0])


@pytest.mark.parametrize(
    ("dtype", "told", "found"),
    [
        ("list[f64]", [1, 2.5, None], [1.0, 2.5, None]),
        ("list[f32]", np.array([0.5, 1.0]), [0.5, 1.0]),
        ("list[i8]", pl.Series([3, 4]), [3, 4]),
        ("list[i8]", "[3, null]", [3, None]),
        ("array[f64, 2]", (1.0, 2.0), [1.0, 2.0]),
        ("list[array[str, 1]]", [["a"], ["b"]], [["a"], ["b"]]),
        ("list[bin]", ["/w==", b"a"], [b"\xff", b"a"]),
        ('struct{"a": i64, "b": list[date]}', {"a": 1, "b": ["2013-01-31"]}, {"a": 1, "b": [date(2013, 1, 31)]}),
        ("decimal[4, 2]", "1.50", Decimal("1.50")),
        ("decimal[4, 2]", 12.25, Decimal("12.25")),
        ("decimal[4, 2]", 0, Decimal(0)),
        ("duration[us]", "-PT1.5S", timedelta(seconds=-1.5)),
        ("time", "08:30:00.000001", time(8, 30, 0, 1)),
        ("list[i8]", [300], "item 0: 300 does not fit i8"),
        ("list[f64]", [1.0, float("inf")], "item 1: inf is not a finite number"),
        ("list[f32]", [1e300], "item 0: 1e+300 does not fit f32"),
        ("list[str]", "a", "a list, each text"),
        ("array[f64, 2]", [1.0], "it has 1 item, expected a list of 2, each a number"),
        ("list[f64]", None, "null, expected"),
        ('struct{"a": i64}', {"b": 1}, "an object of `a`: a whole number"),
        ("decimal[4, 2]", "123", "does not fit decimal[4, 2]"),
        ("decimal[4, 2]", True, "True is a bool"),
        ("duration[us]", 3, "3 is an int, expected a duration (ISO 8601)"),
    ],
)  # fmt: skip
def test_values_with_parts_decimals_and_durations_are_read(dtype: str, told: object, found: object) -> None:
    field = Field("x", dtype)
    value, wrong = field.check(told)
    assert (value, wrong) == (found, "") if not isinstance(found, str) else found in wrong
    assert field.check(msgspec.json.decode(msgspec.json.encode(field.sample)))[1] == ""


def test_nulls_pass_where_the_signature_takes_them() -> None:
    columns, problems = RecordCheck(SIGNATURE)([GOOD | {"month": None, "late": None}])
    assert (problems, columns["month"], columns["late"]) == ([], [None], [None])


def test_dates_and_categories_are_read() -> None:
    signature = Signature((Field("day", "date"), Field("at", "datetime[us, UTC]"), Field("kind", 'enum["a", "b"]')))
    columns, problems = RecordCheck(signature)([{"day": "2013-10-01", "at": "2013-10-01T05:00:00Z", "kind": "a"}])
    assert problems == []
    assert columns["day"] == [date(2013, 10, 1)]
    wrong = RecordCheck(signature)([{"day": "soon", "at": 3, "kind": "c"}])[1]
    assert [problem.path for problem in wrong] == ["[0].day", "[0].at", "[0].kind"]


def test_keys_of_every_type_are_read_alike_the_quick_way_and_the_careful_one() -> None:
    signature = Signature((Field("number", "i128"), Field("id", "uuid"), Field("raw", "bin")))
    record = {"number": 7, "id": "00000000-0000-0000-0000-000000000007", "raw": "AP8="}
    columns, problems = RecordCheck(signature)([record])
    assert problems == []
    assert {name: tuple(values) for name, values in columns.items()} == {
        "number": (7,), "id": (UUID(int=7),), "raw": (b"\0\xff",)
    }  # fmt: skip
    quick = RowDecoder(signature).decode(msgspec.json.encode({"records": [record]}))
    assert quick == ({name: tuple(values) for name, values in columns.items()}, 1)
    long = record | {"number": 1 << 100}
    assert RowDecoder(signature).decode(msgspec.json.encode({"records": [long]})) is None
    assert RecordCheck(signature)([long]) == ({**columns, "number": [1 << 100]}, [])
    wrong = RecordCheck(signature)([{"number": 1 << 127, "id": "7", "raw": "?"}])[1]
    assert [str(problem).partition(" ")[0] for problem in wrong] == ["[0].number:", "[0].id:", "[0].raw:"]


@pytest.mark.parametrize("value", [1e39, -1e39, 10**39])
def test_a_number_too_large_for_half_the_bits_is_named_the_quick_way_and_the_careful_one(value: float) -> None:
    signature = Signature((Field("n", "f32"), Field("m", "f64")))
    assert RecordCheck(signature)([{"n": 1e38, "m": value}])[1] == []
    (problem,) = RecordCheck(signature)([{"n": value, "m": 0.0}])[1]
    assert problem.path == "[0].n"
    assert problem.message.endswith("does not fit f32")
    quick = RowDecoder(signature)
    assert quick.decode(msgspec.json.encode({"records": [{"n": 1e38, "m": value}]})) is not None
    assert quick.decode(msgspec.json.encode({"records": [{"n": value, "m": 0.0}]})) is None


@pytest.mark.parametrize("count", [1, 4_096, 4_097, 10_000])
def test_many_rows_are_read_alike_in_both_forms_and_both_ways(count: int) -> None:
    signature = Signature((Field("n", "i64"), Field("who", "str", nullable=True)))
    records = [{"n": number, "who": f"{number}" if number % 3 else None} for number in range(count)]
    careful, _ = RecordCheck(signature)(records)
    for form in (records, {"records": records}):
        quick = RowDecoder(signature).decode(msgspec.json.encode(form))
        assert quick is not None
        assert ({name: list(values) for name, values in quick[0].items()}, quick[1]) == (careful, count)


def test_problems_are_counted_to_twenty() -> None:
    assert len(RecordCheck(SIGNATURE)([{}] * 1000)[1]) == 20


values = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=3), st.just(10**400)
)


@given(st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys([*GOOD, "extra"], values)), max_size=4))
def test_the_fast_check_agrees_with_the_slow_one(records: list[dict[str, Any]]) -> None:
    columns, problems = RecordCheck(SIGNATURE)(records)
    slow_columns, slow_problems = RecordCheck(SIGNATURE)._slowly(records)
    assert problems == slow_problems
    if not problems:
        assert columns == slow_columns


class Answers:
    classes_ = np.array([0, 1])

    def __init__(self, given: object) -> None:
        self.given = given

    def predict(self, rows: object) -> Any:
        return self.given

    predict_proba = predict


@pytest.mark.parametrize("given_", [[float("nan")], [1.0, 2.0], [[1.0, 2.0]], 3.0])
def test_a_model_that_answers_wrongly_is_found(given_: object) -> None:
    signature = Signature((Field("n", "f64"),))
    with pytest.raises(InvalidError, match="model:"):
        Predictor(Answers(given_), signature, "numpy")([{"n": 1}])


def test_a_table_is_no_list_of_records() -> None:
    predictor = Predictor(Answers([1.0]), Signature((Field("n", "f64"),)), "numpy")
    for table in (pl.DataFrame({"n": [1.0]}), pl.DataFrame({"n": [1.0]}).to_pandas(), "n"):
        with pytest.raises(WrongTypeError, match=r"records.*to_dicts\(\)"):
            predictor(table)  # type: ignore[arg-type]  # what is refused


def test_outputs_are_plain_values() -> None:
    inputs = (Field("n", "f64"),)
    labels = Predictor(Answers(np.array(["late"])), Signature(inputs, Output("label", ("late", "on time"))), "numpy")
    assert labels([{"n": 1}]) == ["late"]
    three = Signature(inputs, Output("probabilities", ("a", "b", "c")))
    assert Predictor(Answers([[0.5, 0.25, 0.25]]), three, "numpy")([{"n": 1}]) == [{"a": 0.5, "b": 0.25, "c": 0.25}]
    assert labels([]) == []
    with pytest.raises(WrongTypeError, match="`predict`"):
        Predictor(3, three, "numpy")
    with pytest.raises(InvalidError, match=r"\[0\]\.n"):
        labels([{"n": "x"}])


@pytest.mark.parametrize("kind", ["numpy", "pandas", "polars", "records"])
def test_columns_may_come_in_any_order_and_more_of_them(kind: Any) -> None:
    seen = []

    class Model:
        def predict(self, table: Any) -> list[float]:
            seen.append(list(table[0]) if kind in ("numpy", "records") else list(table.columns))
            return [1.0]

    predictor = Predictor(Model(), Signature((Field("a", "f64"), Field("b", "f64"))), kind)
    assert predictor.answer({"b": (2.0,), "key": ("x",), "a": (1.0,)}, 1) == [1.0]
    assert seen == [[1.0, 2.0] if kind == "numpy" else ["a", "b"]]


@pytest.mark.parametrize("value", [b"[\xf5]", b"[" * 100_000, "[\udcf5]"])
def test_a_text_of_json_that_is_none_is_refused(value: object) -> None:
    assert "a list" in Field("x", "list[str]").check(value)[1]
