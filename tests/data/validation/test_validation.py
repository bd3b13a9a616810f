"""Checks: what they count, that none takes another down, and what a report says."""

from __future__ import annotations

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.data import Check, Report, check, dataset, validate
from mainspring.data.validation.validation import failing_rows
from mainspring.errors import InvalidError, WrongTypeError
from mainspring.workspace import Workspace

FRAME = pl.DataFrame(
    {
        "id": [1, 2, 2, 4],
        "delay": [5.0, float("nan"), 2000.0, None],
        "carrier": ["UA", "AA", "??", None],
    }
)


def only(*checks: Check, frame: pl.DataFrame = FRAME) -> list[tuple[bool, int]]:
    return [(result.passed, result.failing) for result in validate(frame, checks).results]


@pytest.mark.parametrize(
    ("wanted", "failing"),
    [
        (check.not_null("delay"), 1),
        (check.not_null("id"), 0),
        (check.unique("id"), 2),
        (check.unique(["id", "carrier"]), 0),
        (check.between("delay", 0, 1440), 2),
        (check.between("delay", low=0), 1),
        (check.between("delay", high=1440), 2),
        (check.is_in("carrier", {"UA", "AA"}), 1),
        (check.matches("carrier", "^[A-Z]{2}$"), 1),
        (check.expression("small ids", "id < 4"), 1),
        (check.expression("small ids", pl.col("id") < 4), 1),
        (check.row_count(1, 10), 0),
        (check.dtype("id", pl.Int64), 0),
        (check.dtype("id", "i64"), 0),
    ],
    ids=lambda value: value.name if isinstance(value, Check) else "",
)
def test_a_check_counts_the_rows_that_fail(wanted: Check, failing: int) -> None:
    assert only(wanted) == [(failing == 0, failing)]
    if failing:
        assert failing_rows(FRAME, wanted).height == failing


def test_what_is_said_of_a_table_as_a_whole() -> None:
    report = validate(FRAME, [check.row_count(at_least=10), check.dtype("id", "str")])
    assert [result.message for result in report.results] == ["the table has 4 rows", "the column is i64"]


@pytest.mark.parametrize(
    "broken",
    [
        check.not_null("dleay"),
        check.between("carrier", 0, 1),
        check.is_in("id", ["a"]),
        Check(kind="matches", name="of a stored report", columns=("carrier",), pattern="("),
        check.expression("x", "nothing > 1"),
        Check(kind="expression", name="of a stored one, too", formula="id >"),
        check.expression("x", "id + 1"),
        check.between("id", "a", "b"),
    ],
    ids=lambda value: value.name,
)
def test_a_check_that_cannot_be_applied_fails_alone(broken: Check) -> None:
    report = validate(FRAME, [broken, check.not_null("carrier"), check.not_null("id")])
    first, second, third = report.results
    assert not first.passed
    assert first.message
    assert (second.failing, third.passed) == (1, True)


def test_a_missing_column_names_the_nearest() -> None:
    (result,) = validate(FRAME, [check.not_null("dleay")]).results
    assert result.message == "there is no column `dleay` (nearest: delay)"


def test_examples_show_failing_rows() -> None:
    (result,) = validate(FRAME, [check.unique("id")]).results
    assert result.examples == ({"id": 2}, {"id": 2})
    assert result.share == 0.5


def test_stops_raise_and_warnings_do_not() -> None:
    warned = validate(FRAME, [check.unique("id", severity="warn")], subject="flights")
    assert warned.passed
    warned.raise_for_stop()
    stopped = validate(FRAME, [check.unique("id"), check.not_null("id")], subject="flights")
    with pytest.raises(InvalidError, match=r"flights: `1 of 2 checks failed` .* id unique: 2 rows fail \(50 %\)"):
        stopped.raise_for_stop()


def test_a_report_is_data_text_and_html() -> None:
    report = validate(FRAME, [check.matches("carrier", "<&>")], subject="flights")
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report
    assert str(report).splitlines()[0] == "flights: 0 of 1 checks passed on 4 rows"
    assert repr(report) == "<report on flights, 0 of 1 checks passed on 4 rows, stopped>"
    assert "&lt;&amp;&gt;" in report._repr_html_()


def test_an_empty_table_and_no_checks() -> None:
    assert only(check.not_null("id"), check.unique("id"), frame=FRAME.clear()) == [(True, 0), (True, 0)]
    assert validate(FRAME, []).passed


def test_a_version_can_be_held_to_checks(workspace: Workspace) -> None:
    assert validate(dataset("t").commit(FRAME), [check.not_null("id")]).subject == "t/1"


def test_a_wrong_declaration_is_refused_at_once() -> None:
    with pytest.raises(InvalidError, match="`stop`, `quarantine` or `warn`"):
        check.not_null("a", severity="fatal")  # type: ignore[arg-type]  # what is tested
    with pytest.raises(InvalidError, match="no bound"):
        check.between("a")
    with pytest.raises(WrongTypeError, match="expected a Check"):
        validate(FRAME, ["not_null"])


values = st.lists(st.one_of(st.none(), st.integers(-5, 5)), max_size=30)


@given(values)
def test_counts_agree_with_a_slow_obvious_count(numbers: list[int | None]) -> None:
    frame = pl.DataFrame({"n": numbers}, schema={"n": pl.Int64})
    present = [number for number in numbers if number is not None]
    assert [failing for _, failing in only(
        check.not_null("n"), check.between("n", -2, 3), check.is_in("n", [1, 2]), check.unique("n"), frame=frame
    )] == [
        numbers.count(None),
        sum(not -2 <= number <= 3 for number in present),
        sum(number not in (1, 2) for number in present),
        sum(numbers.count(number) > 1 for number in numbers),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "formula", ["avg(id) > 10", pl.col("id").mean() > 10, "count(*) > 10", (pl.col("id") > 9).any()]
)
@pytest.mark.parametrize("batch_rows", [2, 100])
def test_an_expression_of_one_value_is_of_the_table(formula: str | pl.Expr, batch_rows: int) -> None:
    frame = pl.DataFrame({"id": [1, 2, 3, 4]})
    for table in (frame, frame.lazy(), frame.head(1), frame.clear()):
        (result,) = validate(table, [check.expression("sane", formula)], batch_rows=batch_rows).results
        assert (result.failing, result.examples) == (0, ())
        assert result.passed == (table is not frame and isinstance(table, pl.DataFrame) and _is_null(table, formula))
        assert result.passed or str(result).endswith("sane: it is false of the table")
    report = validate(frame, [check.expression("sane", formula, severity="quarantine")], batch_rows=batch_rows)
    with pytest.raises(InvalidError, match="sane: it has one value for the whole table, so no rows can be set apart"):
        report.split()


def _is_null(table: pl.DataFrame, formula: str | pl.Expr) -> bool:
    return table.select(pl.sql_expr(formula) if isinstance(formula, str) else formula).item() is None
