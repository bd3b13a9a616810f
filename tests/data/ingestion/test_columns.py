"""Values of a database keep all that they say, or are refused by row, column and value."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import polars as pl
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.data import dataset
from mainspring.data.ingestion import Sql, ingest, list_cursors
from mainspring.data.ingestion.columns import Column
from mainspring.errors import InvalidError
from mainspring.workspace import Workspace

NEW_YORK = "America/New_York"
BIG = 2**53 + 1


@pytest.fixture
def made(workspace: Workspace, postgres: Any) -> str:
    """A database with types of its own."""
    url: str = postgres.url()
    base, _, schema = url.partition("&schema=")
    with psycopg.connect(base, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
        connection.execute(f"SET search_path = {schema}")
        connection.execute("CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN price AS numeric(8, 2)")
        connection.execute("CREATE DOMAIN whole AS int4; CREATE DOMAIN odd AS whole CHECK (VALUE % 2 = 1)")
        connection.execute("CREATE TYPE pair AS (a int4, b text)")
    return url


def read(url: str, given: str, dtype: Any = None, *, to: str = "t") -> list[Any]:
    """What a version holds in the column `x`, behind a reading of that expression."""
    types = {} if dtype is None else {"x": dtype}
    ingest(Sql(url, query=f"SELECT 1 AS id, {given} AS x"), to=to, types=types)
    return dataset(to).to_polars()["x"].to_list()


@pytest.mark.one_backend("the source is a server")
@pytest.mark.parametrize(
    ("given", "dtype", "value"),
    [
        ("1.005", "decimal[10, 2]", "1.005"), ("12345678901234567890.12345", "f64", "12345678901234567890.12345"),
        (f"{BIG}::numeric(20, 0)", "f64", str(BIG)), (f"{BIG}::int8", "f64", str(BIG)), ("0.1::float8", "f32", "0.1"),
        ("ARRAY[1.25, 9.999]", "list[decimal[10, 2]]", "9.999"), ("1.5", "i64", "1.5"), ("70000", "i16", "70000"),
        ("TIMESTAMP '2020-01-01 12:34:56.123456'", pl.Datetime("ms"), "2020-01-01 12:34:56.123456"),
        ("TIMESTAMP '2020-01-01 12:34'", "date", "2020-01-01 12:34:00"), ("TRUE", "i64", "bool"),
        ("TIME '12:00'", "str", "time"),
        ("'NaN'::numeric", None, "NaN"), ("'NaN'::numeric(6, 2)", None, "NaN"), ("'-Infinity'::numeric", None, "-Infinity"),
        ("ARRAY[1, 'NaN'::numeric]", None, "NaN"), ("1e60::numeric", None, "1000"), ("int4range(1, 3)", None, r"\[1, 3\)"),
        ("'12:00+02'::timetz", None, r"12:00:00\+02:00"), ("ARRAY['12:00+02'::timetz]", None, r"12:00:00\+02:00"),
        ("ARRAY[[NULL, '12:00+02'::timetz]]", None, r"12:00:00\+02:00"), ("ARRAY[int4range(1, 3)]", None, r"\[1, 3\)"),
    ],
)  # fmt: skip
def test_what_a_type_of_postgres_would_lose_is_refused(
    workspace: Workspace, postgres: Any, given: str, dtype: Any, value: str
) -> None:
    with pytest.raises(InvalidError, match=f"query, row 1, column `x`: `{value}.*` is not "):
        read(postgres.url(), given, dtype)


@pytest.mark.one_backend("the source is a server")
@pytest.mark.parametrize(
    ("given", "dtype", "value"),
    [
        ("1.500", "decimal[10, 2]", Decimal("1.50")), ("0.1", "f64", 0.1), ("0.125", "f32", 0.125),
        ("7::numeric", "i64", 7), ("'-Infinity'::numeric", "f64", float("-inf")), ("1e300::numeric", "f64", 1e300),
        ("ARRAY[1.25, NULL, 9.999]", None, [Decimal("1.250"), None, Decimal("9.999")]), ("70000::int8", "i32", 70000),
        ("TIMESTAMPTZ '2020-07-01 12:00+02'", "datetime", dt.datetime(2020, 7, 1, 10)), ("'5'::text", "i64", 5),
        ("15", "str", "15"), ("1.50", "str", "1.50"), ("DATE '2020-01-01'", "datetime", dt.datetime(2020, 1, 1)),
        ("TIMESTAMP '2020-01-01 12:34:56.123'", pl.Datetime("ms"), dt.datetime(2020, 1, 1, 12, 34, 56, 123000)),
    ],
)  # fmt: skip
def test_what_a_type_holds_is_kept(workspace: Workspace, postgres: Any, given: str, dtype: Any, value: Any) -> None:
    assert read(postgres.url(), given, dtype) == [value]


def test_a_numeric_goes_behind_others_only_as_it_is(workspace: Workspace, postgres: Any) -> None:
    assert read(postgres.url(), "10.25") == [Decimal("10.25")]
    for finer in ("9.999", "0.001"):
        with pytest.raises(InvalidError, match=rf"`{finer}` is not its type, `decimal\[38, 2\]`"):
            read(postgres.url(), finer)
    assert read(postgres.url(), "9.5") == [Decimal("10.25"), Decimal("9.50")]
    assert read(postgres.url(), "round(9.999, 2)") == [Decimal("10.25"), Decimal("9.50"), Decimal("10.00")]
    assert read(postgres.url(), "9.999", "decimal[38, 3]")[3] == Decimal("9.999")
    assert str(dataset("t").latest().schema[1]) == "('x', 'decimal[38, 3]')"
    (nan,) = read(postgres.url(), "'NaN'::numeric", "f64", to="floats")
    assert nan != nan
    rows = "(VALUES (1, 1.1), (2, 3.125), (3, 10)) AS v(id, x)"
    ingest(Sql(postgres.url(), query=f"SELECT * FROM {rows}", cursor="id", batch_rows=1), to="finer")
    assert dataset("finer").to_polars()["x"].to_list() == [Decimal("1.1"), Decimal("3.125"), Decimal(10)]


@pytest.mark.one_backend("the source is a server")
@pytest.mark.parametrize(
    ("given", "dtype", "value"),
    [
        ("ARRAY[1.5, NULL]::numeric(6, 2)[]", "list[decimal[6, 2]]", [Decimal("1.50"), None]),
        ("ARRAY[]::numeric(6, 2)[]", "list[null]", []), ("NULL::int4[]", "list[null]", None),
        ("ARRAY[NULL]::int8[]", "list[i64]", [None]),
        ("ARRAY[[NULL, 2.5], [3, 4]]::numeric(6, 2)[]", "list[list[decimal[6, 2]]]", [[None, 2.5], [3, 4]]),
        ("ARRAY[[1.25::numeric]]", "list[list[decimal[38, 2]]]", [[Decimal("1.25")]]),
        ("ARRAY[[1, 2], [3, NULL]]", "list[list[i32]]", [[1, 2], [3, None]]),
        ("ARRAY['\\x00ff'::bytea, NULL]", "list[bin]", [b"\x00\xff", None]), ("ARRAY['[1]'::jsonb]", "list[str]", ["[1]"]),
        ("ARRAY[TIME '12:00:00.5']", "list[time]", [dt.time(12, 0, 0, 500_000)]), ("ROW(1, NULL, 'a b')", "str", '(1,,"a b")'),
        ("ARRAY['ok', NULL]::mood[]", "list[str]", ["ok", None]), ("'ok'::mood", "str", "ok"), ("5::odd", "i32", 5),
        ("ARRAY[5, NULL]::odd[]", "list[i32]", [5, None]), ("ARRAY[1.5]::price[]", "list[decimal[38, 2]]", [Decimal("1.50")]),
        ("ARRAY[(1, 'x')::pair]", "list[str]", ["(1,x)"]),
    ],
)  # fmt: skip
def test_values_of_postgres_come_with_their_type(made: str, given: str, dtype: str, value: Any) -> None:
    assert read(made, given) == [value]
    assert dict(dataset("t").latest().schema)["x"] == dtype


@pytest.mark.one_backend("the source is a server")
@pytest.mark.parametrize(
    "element",
    ["int4", "text", "varchar", "uuid", "mood", "bytea", "jsonb", "bool", "date", "numeric", "odd"],
)
def test_arrays_of_several_dimensions_are_no_one_column(made: str, element: str) -> None:
    value = {"mood": "ok", "bool": "t", "date": "2020-01-01", "uuid": "0" * 32}.get(element, "1")

    def query(*arrays: str) -> str:
        rows = ", ".join(f"({n}, '{each.replace('v', value)}'::{element}[])" for n, each in enumerate(arrays, 1))
        return f"SELECT * FROM (VALUES {rows}, (9, NULL)) AS v(id, x)"

    for arrays, row in ((("{{v},{v}}", "{}", "{v}"), 3), (("{v}", "{{v,v}}"), 1), (("{NULL,v}", "{{{v}}}"), 1)):
        with pytest.raises(InvalidError, match=rf"row {row}, column `x`: `\[.*\]` is not values of one type"):
            ingest(Sql(made, query=query(*arrays)), to="t")
    ingest(Sql(made, query=query("{{v},{NULL}}", "{}", "{}")), to="t")
    (first, *others) = dataset("t").to_polars()["x"].to_list()
    assert (len(first), first[1], others) == (2, [None], [[], [], None])


@pytest.mark.one_backend("the source is a server")
@pytest.mark.parametrize("declared", [{}, {"x": "list[list[i64]]"}])
@pytest.mark.parametrize("batch_rows", [1, 2, 9])
def test_arrays_have_the_dimensions_of_the_first_that_has_an_item(
    made: str, declared: dict[str, str], batch_rows: int
) -> None:
    def given(*arrays: str | None) -> Sql:
        rows = ", ".join(f"({n}, {each}::int4[])" for n, each in enumerate(arrays, 1))
        return Sql(made, query=f"SELECT * FROM (VALUES {rows}) AS v(id, x)", cursor="id", batch_rows=batch_rows)

    arrays = ["NULL", "'{}'", "'{{1,2}}'", "'{}'", "NULL", "'{{3}}'"]
    values = [None, [], [[1, 2]], [], None, [[3]]]
    done = ingest(given(*arrays), to="t", types=declared)
    assert (dataset("t").to_polars()["x"].to_list(), done.widened) == (values, {})
    for number in range(1, len(arrays) + 1):
        ingest(given(*arrays[:number]), to="grown", types=declared, mode="upsert", key="id")
    assert dataset("grown").to_polars().sort("id")["x"].to_list() == values
    if not declared:
        with pytest.raises(InvalidError, match=r"row (id=)?4, column `x`: .* is not .*`list\[list\[i32\]\]`.*Cast it"):
            ingest(given("'{}'", "'{{1}}'", "NULL", "'{5}'"), to="mixed")


@pytest.mark.one_backend("the source is a server")
@pytest.mark.parametrize("batch_rows", [1, 2, 9])
def test_a_numeric_has_one_text_whatever_others_it_is_read_with(made: str, batch_rows: int) -> None:
    values = "(1, 1.5), (2, 1.500), (3, 1e10), (4, NULL), (5, 0.0000001), (6, 'NaN')"
    arrays = "CASE WHEN x <> 'NaN' THEN ARRAY[x, NULL, 2::numeric(4, 1)] END AS several, x::numeric(20, 8) AS held"
    query = f"SELECT *, {arrays} FROM (VALUES {values}) AS v(id, x)"
    types = {"x": "str", "several": "list[str]", "held": "str"}
    ingest(Sql(made, query=query, batch_rows=batch_rows), to="t", types=types)
    found = dataset("t").to_polars()
    assert found["x"].to_list() == ["1.5", "1.500", "10000000000", None, "0.0000001", "NaN"]
    assert found["several"][:2].to_list() == [["1.5", None, "2.0"], ["1.500", None, "2.0"]]
    assert found["held"][:2].to_list() == ["1.50000000", "1.50000000"]


@pytest.mark.one_backend("the source is a server")
def test_a_text_is_no_list_of_it(made: str) -> None:
    assert read(made, "ARRAY['a']") == [["a"]]
    with pytest.raises(InvalidError, match=r"row 1, column `x`: `str` is not its type, `list\[str\]`"):
        read(made, "'a'::text")
    with pytest.raises(InvalidError, match=r"row 1, column `x`: `str` is not its type, `list\[str\]`"):
        read(made, "ARRAY['a']", "list[list[str]]", to="deep")


@pytest.mark.one_backend("the source is a server")
def test_a_timestamp_without_a_zone_is_of_the_columns_zone(workspace: Workspace, postgres: Any) -> None:
    (found,) = read(postgres.url(), "TIMESTAMP '2020-07-01 12:00'", f"datetime[{NEW_YORK}]")
    assert found.isoformat() == "2020-07-01T12:00:00-04:00"
    read(postgres.url(), "TIMESTAMPTZ '2020-07-01 12:00+00'", f"datetime[{NEW_YORK}]", to="zoned")
    assert dataset("zoned").to_polars()["x"].to_list()[0].isoformat() == "2020-07-01T08:00:00-04:00"


@pytest.mark.one_backend("the source is a server")
def test_a_row_that_does_not_fit_is_named_by_its_cursor_or_its_number(workspace: Workspace, postgres: Any) -> None:
    query = "SELECT n AS id, CASE n WHEN 5 THEN 'NaN'::numeric ELSE n END AS x FROM generate_series(1, 8) AS n"
    with pytest.raises(InvalidError, match=r"row 5, column `x`: `NaN` .* types=\{'x': 'f64'\} reads it"):
        ingest(Sql(postgres.url(), query=query, batch_rows=3), to="t")
    with pytest.raises(InvalidError, match="row id=5, column `x`: `NaN`"):
        ingest(Sql(postgres.url(), query=query, batch_rows=3, cursor="id"), to="t")
    with pytest.raises(InvalidError, match=r"row 5, column `x`: `0\.75"):
        ingest(Sql(postgres.url(), query=query.replace("'NaN'", "0.75")), to="t", types={"x": "decimal[10, 1]"})


@pytest.mark.one_backend("the source is a server")
def test_the_hints_for_a_numeric_that_nothing_holds_lead_somewhere(workspace: Workspace, postgres: Any) -> None:
    def source(column: str) -> Sql:
        rows = "(VALUES (1, 1e30::numeric), (2, 1e-20), (3, 12345678901234567.25)) AS v(id, x)"
        return Sql(postgres.url(), query=f"SELECT id, {column} AS x FROM {rows}", batch_rows=1)

    ingest(Sql(postgres.url(), query="SELECT 1 AS id, 0.5 AS x"), to="t")
    with pytest.raises(InvalidError, match=r"`1E-20` .* `decimal\[38, 20\]`"):
        ingest(source("x"), to="t")
    with pytest.raises(
        InvalidError, match="No decimal holds it and 20 places: make text of the column in the source, with"
    ):
        ingest(source("x"), to="t", types={"x": "decimal[38, 20]"})
    with pytest.raises(
        InvalidError, match=r"`12345678901234567\.25` .* In the query a cast to text keeps its digits, and one"
    ):
        ingest(source("x"), to="f", types={"x": "f64"})
    ingest(source("x::float8"), to="f", types={"x": "f64"})
    assert dataset("f").to_polars()["x"].to_list() == [1e30, 1e-20, 12345678901234567.25]
    ingest(source("x::text"), to="t", mode="replace")
    assert dataset("t").to_polars()["x"].to_list()[2] == "12345678901234567.25"


DECIMALS = st.decimals(-(10**9), 10**9, places=6, allow_nan=False).map(lambda each: each.normalize())


@given(st.lists(st.none() | DECIMALS, min_size=1), st.integers(0, 6))
def test_decimals_come_out_as_they_went_in_or_not_at_all(values: list[Decimal | None], scale: int) -> None:
    column = Column("x", values, None, str)
    assert column.series(None).to_list() == values
    exact = all(value is None or value == round(value, scale) for value in values)
    wanted = pl.Decimal(38, scale)
    if exact:
        assert column.series(wanted).to_list() == values
        return
    first = next(row for row, value in enumerate(values) if value is not None and value != round(value, scale))
    with pytest.raises(InvalidError, match=f"^{first}, column `x`: `{values[first]:f}"):
        column.series(wanted)


@given(st.lists(st.none() | st.integers() | st.floats(allow_nan=False)))
def test_numbers_of_any_kind_are_the_same_numbers_or_refused(values: list[float | None]) -> None:
    try:
        found = Column("x", values, None, str).series(pl.Float64()).to_list()
    except InvalidError:
        return
    assert found == values


@pytest.mark.one_backend("the source is a server")
@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("TIMESTAMPTZ 'infinity'", "infinity"), ("DATE '0044-03-15 BC'", "0044-03-15 BC"),
        ("INTERVAL '1 year 2 days'", "1 year 2 days"), ("ARRAY[INTERVAL '1 month']", '{"1 mon"}'),
        ("'[2020-01-01,infinity]'::daterange", "2020-01-01,infinity"),
    ],
)  # fmt: skip
def test_a_time_that_python_has_no_value_for_is_named(
    workspace: Workspace, postgres: Any, given: str, value: str
) -> None:
    query = f"SELECT n AS id, CASE n WHEN 4 THEN {given} END AS x FROM generate_series(1, 5) AS n"
    with pytest.raises(InvalidError, match=f"row 4, column `x`: `.?{value}.* is not a value"):
        ingest(Sql(postgres.url(), query=query, batch_rows=3), to="t")


@pytest.mark.one_backend("the source is a server")
def test_a_socket_is_one_source_however_its_folder_is_written(workspace: Workspace, postgres: Any) -> None:
    folder = postgres.url().partition("host=")[2].partition("&")[0]
    for name, count in ((folder, 1), (f"{folder}/", 0), (f"{folder}/../{folder.rpartition('/')[2]}", 0)):
        source = Sql(postgres.url().replace(folder, name, 1), query="SELECT 1 AS id", cursor="id")
        assert ingest(source, to="t").rows == count
    assert len(list_cursors("t")) == 1
