"""SQLite and PostgreSQL as sources: types, cursors and their ties, and that a reading is one snapshot."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from mainspring.data import dataset
from mainspring.data.ingestion import Batch, Limits, Progress, Retry, Sql, forget_cursor, ingest, list_cursors
from mainspring.errors import InvalidError, NotFoundError, UnavailableError
from mainspring.store.address import Address
from mainspring.testing.plugin import Backend
from mainspring.workspace import Workspace

Run = Callable[..., None]
AT_ONCE = Retry(sleep=lambda _: None)


@pytest.fixture
def url(backend: Backend, tmp_path: Path, workspace: Workspace) -> str:
    """A database of the kind of the workspace's, of its own."""
    if backend.name == "sqlite":
        sqlite3.connect(tmp_path / "app.db").close()
        return f"sqlite:///{tmp_path}/app.db"
    return f"{backend.database_url}_source"


@pytest.fixture
def run(url: str) -> Iterator[Run]:
    """Runs statements in that database."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as lite:

            def execute(*statements: str) -> None:
                for statement in statements:
                    lite.execute(statement)
                lite.commit()

            yield execute
        return
    base, _, schema = url.partition("&schema=")
    with psycopg.connect(base, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
        connection.execute(f"SET search_path = {schema}")

        def execute(*statements: str) -> None:
            for statement in statements:
                connection.execute(statement)

        yield execute


def rows(name: str = "flights") -> list[tuple[Any, ...]]:
    return dataset(name).to_polars().rows()


def equal(day: str, count: int) -> str:
    """So many equal rows, as SQL has them."""
    return ", ".join([f"('{day}', 5)"] * count)


def broken_off(monkeypatch: pytest.MonkeyPatch, batches: list[int]) -> None:
    """Let each reading fail behind so many batches; those after them go on to the end."""
    whole, failures = Sql.batches, iter(batches)

    def breaking(self: Sql, *args: Any) -> Iterator[Batch]:
        left = next(failures, None)
        for number, batch in enumerate(whole(self, *args)):
            if number == left:
                raise UnavailableError("the database", "the connection was lost")
            yield batch

    monkeypatch.setattr(Sql, "batches", breaking)


def test_a_table_is_read_as_it_is(url: str, run: Run) -> None:
    run(
        "CREATE TABLE flight (id INTEGER, carrier TEXT, delay DOUBLE PRECISION)",
        "INSERT INTO flight VALUES (1, 'UA', NULL)",
    )
    version = ingest(url, to="flights", table="flight").version
    assert rows() == [(1, "UA", None)]
    assert version is not None
    assert version.schema[2] == ("delay", "f64")
    assert "flight" in version.source[0].uri
    run("INSERT INTO flight VALUES (2, 'AA', 1.5)")
    ingest(url, to="flights", table="flight", mode="replace")
    assert rows() == [(1, "UA", None), (2, "AA", 1.5)]


def test_with_a_cursor_each_row_is_read_once_ties_included(url: str, run: Run) -> None:
    run(
        "CREATE TABLE flight (day TEXT, carrier TEXT)",
        "INSERT INTO flight VALUES ('2013-01-01', 'UA'), ('2013-01-02', 'AA')",
    )
    source = Sql(url, "flight", cursor="day", batch_rows=1)
    assert ingest(source, to="flights").rows == 2
    assert ingest(source, to="flights").rows == 0
    run("INSERT INTO flight VALUES ('2013-01-02', 'B6'), ('2013-01-03', 'DL')")
    assert ingest(source, to="flights").rows == 2
    assert ingest(source, to="flights").rows == 0
    assert [carrier for _, carrier in rows()] == ["UA", "AA", "B6", "DL"]


def test_an_upsert_takes_a_row_that_changed_back(url: str, run: Run) -> None:
    run("CREATE TABLE flight (id INTEGER, day TEXT, v TEXT)", "INSERT INTO flight VALUES (1, '2013-01-01', 'old')")
    source = Sql(url, "flight", cursor="day")
    for value in ("old", "new", "old"):
        run(f"UPDATE flight SET v = '{value}'")
        version = ingest(source, to="flights", mode="upsert", key="id").version
        assert rows() == [(1, "2013-01-01", value)]
    assert ingest(source, to="flights", mode="upsert", key="id").version == version


@pytest.mark.parametrize("key", ["", " PRIMARY KEY"])
def test_a_row_is_taken_once_whatever_types_columns_get(url: str, run: Run, key: str) -> None:
    run(
        f"CREATE TABLE sale (id INTEGER{key}, price NUMERIC(10, 2), code VARCHAR(10))",
        "INSERT INTO sale VALUES (1, 1.5, 'a')",
    )
    source = Sql(url, "sale", cursor="id")
    types = {"price": "decimal[12, 4]", "note": "str"}
    assert ingest(source, to="sales", types={"price": "decimal[12, 4]"}).rows == 1
    changes = ["ALTER TABLE sale ADD COLUMN note TEXT"]
    if url.startswith("postgres"):
        changes += ["ALTER TABLE sale ALTER price TYPE NUMERIC(12, 4)", "ALTER TABLE sale ALTER id TYPE BIGINT"]
        changes += ["ALTER TABLE sale ALTER code TYPE CHAR(10)"] if key else []
    run(*changes)
    assert ingest(source, to="sales", types=types).rows == 0
    run("INSERT INTO sale VALUES (2, 2, 'b', 'x')")
    assert ingest(source, to="sales", types=types).rows == 1


@pytest.mark.parametrize("counts", ["", " AUTOINCREMENT"])
def test_a_row_is_taken_that_got_the_number_of_a_deleted_one(url: str, run: Run, counts: str) -> None:
    kind = f"INTEGER PRIMARY KEY{counts}" if url.startswith("sqlite") else "SERIAL PRIMARY KEY"
    run(f"CREATE TABLE sale (id {kind}, v TEXT)", "INSERT INTO sale (v) VALUES ('a'), ('b')")
    source = Sql(url, "sale", cursor="id")
    assert ingest(source, to="sales").rows == 2
    run("DELETE FROM sale WHERE v = 'b'", "INSERT INTO sale (v) VALUES ('c')")
    assert [ingest(source, to="sales").rows for _ in range(2)] == [1, 0]
    assert dataset("sales").to_polars()["v"].to_list() == ["a", "b", "c"]


@pytest.mark.parametrize("batch_rows", [2, 50_000])
def test_equal_rows_are_as_many_as_there_are_wherever_batches_end(url: str, run: Run, batch_rows: int) -> None:
    run("CREATE TABLE sale (day TEXT, amount INTEGER)")
    run(f"INSERT INTO sale VALUES {equal('2013-01-01', 5)}")
    source = Sql(url, "sale", cursor="day", batch_rows=batch_rows)
    counts = [ingest(source, to="sales").rows for _ in range(2)]
    run(f"INSERT INTO sale VALUES {equal('2013-01-01', 1)}")
    counts += [ingest(source, to="sales").rows for _ in range(2)]
    run(f"INSERT INTO sale VALUES {equal('2013-01-01', 1)}, {equal('2013-01-02', 3)}")
    counts += [ingest(source, to="sales").rows for _ in range(2)]
    assert counts == [5, 0, 1, 0, 4, 0]


def _comparison(name: str, sign: str) -> str:
    body = f"AS 'SELECT lower($1::text) {sign} lower($2::text)' LANGUAGE sql IMMUTABLE STRICT"
    function = f"CREATE FUNCTION ci_{name}(ci, ci) RETURNS bool {body}"
    return f"{function}; CREATE OPERATOR {sign} (LEFTARG = ci, RIGHTARG = ci, PROCEDURE = ci_{name})"


ANY_CASE = (
    "CREATE TYPE ci",
    "CREATE FUNCTION ci_in(cstring) RETURNS ci AS 'textin' LANGUAGE internal IMMUTABLE STRICT",
    "CREATE FUNCTION ci_out(ci) RETURNS cstring AS 'textout' LANGUAGE internal IMMUTABLE STRICT",
    "CREATE TYPE ci (INPUT = ci_in, OUTPUT = ci_out, STORAGE = extended, COLLATABLE = true, CATEGORY = 'S')",
    "CREATE CAST (ci AS text) WITHOUT FUNCTION AS IMPLICIT",
    *(_comparison(*each) for each in (("lt", "<"), ("le", "<="), ("eq", "="), ("ge", ">="), ("gt", ">"))),
    "CREATE FUNCTION ci_cmp(ci, ci) RETURNS int AS 'SELECT bttextcmp(lower($1::text), lower($2::text))' LANGUAGE sql",
    """CREATE OPERATOR CLASS ci_ops DEFAULT FOR TYPE ci USING btree AS
    OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 ci_cmp(ci, ci)""",
)
"""A type of texts as `citext` is one, which the server of the tests has no library for."""


@pytest.mark.parametrize("batch_rows", [1, 2, 50_000])
@pytest.mark.parametrize("kind", ["TEXT", "TEXT COLLATE NOCASE", "TEXT COLLATE RTRIM", "ci"])
def test_values_that_are_the_same_to_the_database_are_taken_once(
    url: str, run: Run, kind: str, batch_rows: int
) -> None:
    if url.startswith("postgres"):
        kind = "ci" if kind != "TEXT" else kind
        run(*ANY_CASE)
    run(f"CREATE TABLE x (code {kind}, v INTEGER)", "INSERT INTO x VALUES ('a', 0), ('B', 1), ('b', 2), ('b ', 3)")
    sources = [Sql(url, "x", cursor="code", batch_rows=batch_rows)]
    sources += [Sql(url, query="SELECT code, v FROM x WHERE '5 %' LIKE '%'", cursor="code", batch_rows=batch_rows)]
    assert [ingest(each, to=each.table or "q").rows for each in sources * 2] == [4, 4, 0, 0]
    for last in ("max(code)", "upper(max(code))", "lower(max(code))"):
        run(f"INSERT INTO x SELECT {last}, 9 FROM x WHERE v < 9")
    run("INSERT INTO x VALUES ('c', 9), ('C', 9), ('c ', 9)")
    last = "SELECT code FROM x WHERE v < 9 ORDER BY code DESC LIMIT 1"
    fresh = ingest(url, to="new", query=f"SELECT v FROM x WHERE v = 9 AND code >= ({last})").rows
    assert fresh >= 3
    assert [ingest(each, to=each.table or "q").rows for each in sources * 2] == [fresh, fresh, 0, 0]


def test_equal_rows_are_counted_over_an_interruption(url: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("CREATE TABLE sale (day TEXT, amount INTEGER)", f"INSERT INTO sale VALUES {equal('2013-01-01', 7)}")
    broken_off(monkeypatch, [1, 2])
    assert ingest(Sql(url, "sale", cursor="day", batch_rows=2), to="sales", retry=AT_ONCE).retries == 2
    assert len(rows("sales")) == 7


def test_another_cursor_does_not_go_on_where_the_first_one_was(url: str, run: Run) -> None:
    run("CREATE TABLE flight (id INTEGER, day INTEGER)", "INSERT INTO flight VALUES (7, 1)")
    ingest(url, to="flights", table="flight", cursor="id")
    with pytest.raises(InvalidError, match="cursor: `day` is not `id`, by which it was read so far"):
        ingest(url, to="flights", table="flight", cursor="day")
    forget_cursor("flights", url, table="flight")
    assert ingest(url, to="flights", table="flight", cursor="day").rows == 1


def test_a_table_that_was_dropped_is_forgotten_by_the_name_it_was_read_with(url: str, run: Run) -> None:
    run("CREATE TABLE flight (id INTEGER)", "INSERT INTO flight VALUES (7)")
    ingest(url, to="flights", table="flight", cursor="id")
    run("DROP TABLE flight")
    forget_cursor("flights", url, table="flight")
    assert list_cursors("flights") == []


@pytest.mark.parametrize("mode", ["append", "replace"])
def test_a_cursor_does_not_go_on_where_reading_without_one_was(url: str, run: Run, mode: Any) -> None:
    run("CREATE TABLE flight (id INTEGER)", "INSERT INTO flight VALUES (1), (2)")
    ingest(url, to="flights", table="flight", mode=mode)
    run("INSERT INTO flight VALUES (3)")
    with pytest.raises(
        InvalidError, match=r"cursor: `id` is not what it was read by so far: it had no cursor.*replace"
    ):
        ingest(url, to="flights", table="flight", cursor="id")
    assert ingest(url, to="flights", table="flight", cursor="id", mode="replace").rows == 3
    assert ingest(url, to="flights", table="flight", cursor="id").rows == 0
    assert rows() == [(1,), (2,), (3,)]


def test_an_upsert_may_go_over_to_a_cursor(url: str, run: Run) -> None:
    run("CREATE TABLE flight (id INTEGER)", "INSERT INTO flight VALUES (1), (2)")
    ingest(url, to="flights", table="flight", mode="upsert", key="id")
    counts = [ingest(url, to="flights", table="flight", cursor="id", mode="upsert", key="id").rows for _ in range(2)]
    assert (counts, rows()) == ([2, 1], [(1,), (2,)])  # the last one may have changed at the same value


def test_a_table_without_rows_has_its_cursor(url: str, run: Run) -> None:
    run("CREATE TABLE flight (id INTEGER)")
    assert ingest(url, to="flights", table="flight", cursor="id").rows == 0
    run("INSERT INTO flight VALUES (1)")
    assert [ingest(url, to="flights", table="flight", cursor="id").rows for _ in range(2)] == [1, 0]


@pytest.mark.parametrize("cursor", ["", "id"])
@pytest.mark.parametrize("is_killed", [True, False])
def test_a_replacing_reading_that_was_broken_off_takes_what_is_there_then(
    url: str, run: Run, monkeypatch: pytest.MonkeyPatch, cursor: str, is_killed: bool
) -> None:
    run(
        "CREATE TABLE flight (id INTEGER, day TEXT)", "INSERT INTO flight VALUES (1, 'a'), (2, 'a'), (3, 'a'), (4, 'a')"
    )
    source = Sql(url, "flight", cursor=cursor, batch_rows=1)

    def meanwhile(_: float = 0) -> None:
        run("DELETE FROM flight WHERE id = 1", "UPDATE flight SET day = 'b' WHERE id = 2")

    broken_off(monkeypatch, [2])
    if is_killed:
        with pytest.raises(UnavailableError):
            ingest(source, to="flights", mode="replace", retry=Retry(attempts=1), limits=Limits(rows=1))
        meanwhile()
    done = ingest(source, to="flights", mode="replace", retry=Retry(sleep=meanwhile), limits=Limits(rows=1))
    assert (done.resumed_rows, sorted(rows())) == (0, [(2, "b"), (3, "a"), (4, "a")])
    if cursor:
        assert ingest(source, to="flights").rows == 0


@pytest.mark.parametrize("cursor", ["", "id"])
def test_a_table_that_is_empty_now_replaces_all_rows(url: str, run: Run, cursor: str) -> None:
    run("CREATE TABLE flight (id INTEGER, day TEXT)", "INSERT INTO flight VALUES (1, 'a')")
    ingest(url, to="flights", table="flight", cursor=cursor)
    run("DELETE FROM flight")
    done = ingest(url, to="flights", table="flight", cursor=cursor, mode="replace")
    assert done.version is not None
    assert (str(done.version), rows(), done.version.columns) == ("flights/2", [], ("id", "day"))
    run("INSERT INTO flight VALUES (1, 'a')")
    assert ingest(url, to="flights", table="flight", cursor=cursor).rows == 1


def test_a_query_may_end_with_a_comment(url: str, run: Run) -> None:
    run("CREATE TABLE flight (id INTEGER)", "INSERT INTO flight VALUES (1)")
    assert ingest(url, to="flights", query="SELECT id FROM flight -- all of them", cursor="id").rows == 1


def test_a_source_that_is_appended_again_is_told(url: str, run: Run) -> None:
    run("CREATE TABLE flight (id INTEGER)", "INSERT INTO flight VALUES (1)")
    assert ingest(url, to="flights", table="flight").warnings == ()
    again = ingest(url, to="flights", table="flight")
    assert (again.rows, len(again.warnings)) == (1, 1)
    assert "was read before and has no cursor: its rows were appended once more" in again.warnings[0]
    assert ingest(url, to="flights", table="flight", mode="replace").warnings == ()


def test_a_query_beside_a_table_of_the_same_database_is_told(url: str, run: Run) -> None:
    run(
        "CREATE TABLE t (id INTEGER)",
        "INSERT INTO t VALUES (1)",
        "CREATE TABLE u (id INTEGER)",
        "INSERT INTO u VALUES (2)",
    )
    sources: list[dict[str, Any]] = [
        {"table": "t"}, {"table": "u"}, {"query": "SELECT id FROM t"}, {"query": "SELECT id FROM t WHERE id > 0"}
    ]  # fmt: skip
    told = [ingest(url, to="flights", cursor="id", **given).warnings for given in sources]
    assert [len(each) for each in told] == [0, 0, 1, 1]
    assert "was read from its beginning: rows that both hold are there twice" in told[2][0]
    assert ingest(url, to="flights", cursor="id", query="SELECT id FROM t").warnings == ()


@pytest.mark.one_backend("it names a file")
def test_a_database_file_is_one_source_however_it_is_named(
    workspace: Workspace, url: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("CREATE TABLE flight (id INTEGER)", "INSERT INTO flight VALUES (1)")
    path = Path(url.removeprefix("sqlite:///"))
    monkeypatch.chdir(path.parent)
    named = ["app.db", path, url, "sqlite:///app.db", "sqlite:///../" + f"{path.parent.name}/app.db"]
    assert [ingest(name, to="flights", table="flight", cursor="id").rows for name in named] == [1, 0, 0, 0, 0]
    assert [cursor.source for cursor in list_cursors("flights")] == ["app.db flight"]


@pytest.mark.one_backend("SQLite's names of tables")
def test_a_table_of_sqlite_is_one_source_however_it_is_named(workspace: Workspace, url: str, run: Run) -> None:
    run("CREATE TABLE Sale (id INTEGER, price DECIMAL(10, 2))", "INSERT INTO Sale VALUES (1, 2)")
    named = ["sale", "main.Sale", "MAIN.SALE", "Sale"]
    assert [ingest(url, to="sales", table=name, cursor="id").rows for name in named] == [1, 0, 0, 0]
    assert [cursor.source for cursor in list_cursors("sales")] == ["app.db Sale"]
    assert dataset("sales").latest().schema == (("id", "i64"), ("price", "f64"))
    done = ingest(url, to="other", table="main.sale")
    assert done.version is not None
    assert done.version.schema == dataset("sales").latest().schema
    forget_cursor("sales", url, table="SALE")


class TestOnePostgresTable:
    """Host, port, database, schema and table are what makes it, not who reads it and how."""

    @pytest.fixture
    def addresses(self, workspace: Workspace, postgres: Any) -> Iterator[list[tuple[str, str]]]:
        """Ways to name one table."""
        base, _, schema = postgres.url().partition("&schema=")
        user = f"reader_{schema}"
        with psycopg.connect(base, autocommit=True) as connection:
            for statement in (
                f"CREATE SCHEMA {schema}", f"CREATE TABLE {schema}.sale (id INTEGER)", f"INSERT INTO {schema}.sale VALUES (1)",
                f"CREATE ROLE {user} LOGIN SUPERUSER", f"ALTER ROLE {user} SET search_path = {schema}",
            ):  # fmt: skip
                connection.execute(statement)
            other = base.replace("postgres:@", f"{user}@")
            yield [
                (f"{base}&schema={schema}", "sale"),
                (base, f"{schema}.sale"),
                (other, "sale"),
                (f"{base}&sslmode=prefer", f"{schema}.sale"),
                (f"{base.replace('postgresql:', 'postgres:')}&application_name=x", f"{schema}.sale"),
                (f"{base}&options=-csearch_path%3D{schema}", "sale"),
                (f"{base}&connect_timeout=3&schema=public", f"{schema}.sale"),
            ]
            connection.execute(f"DROP ROLE {user}")

    @pytest.mark.one_backend("the source is a server")
    def test_it_is_one_source_however_it_is_named(self, addresses: list[tuple[str, str]]) -> None:
        counts = [ingest(address, to="sales", table=table, cursor="id").rows for address, table in addresses]
        assert (counts, len(list_cursors("sales"))) == ([1] + [0] * (len(addresses) - 1), 1)
        assert list_cursors("sales")[0].source.endswith(f"/postgres {addresses[1][1]}")
        forget_cursor("sales", addresses[2][0], table="sale")

    @pytest.mark.one_backend("the source is a server")
    def test_a_query_beside_it_is_told_of_whoever_reads_it(self, addresses: list[tuple[str, str]]) -> None:
        ingest(addresses[0][0], to="sales", table="sale", cursor="id")
        (address, table), query = addresses[3], "SELECT id FROM {}"
        assert len(ingest(address, to="sales", query=query.format(table), cursor="id").warnings) == 1
        named = [(addresses[0][0], "sale"), (addresses[2][0], "sale;"), (addresses[5][0], "sale")]
        assert [ingest(each, to="q", query=query.format(name), cursor="id").rows for each, name in named] == [1, 0, 0]
        assert ingest(addresses[1][0], to="q", query="SELECT 1 AS id", cursor="id").rows == 1

    @pytest.mark.one_backend("the source is a server")
    def test_a_cursor_that_is_kept_under_the_address_is_gone_on_with(
        self, addresses: list[tuple[str, str]], workspace: Workspace
    ) -> None:
        address, table = addresses[0]
        ingest(address, to="sales", table=table, cursor="id")
        known = f"{Address(address).place} {table}"
        with workspace.database.transaction() as tx:
            tx.execute("UPDATE dataset_cursor SET source = ?", (known,))
        assert ingest(address, to="sales", table=table, cursor="id").rows == 0
        assert len(list_cursors("sales")) == 1


@pytest.mark.parametrize("cursor", ["", "id"])
def test_progress_tells_what_is_left_of_a_table(url: str, run: Run, cursor: str) -> None:
    run("CREATE TABLE flight (id INTEGER)", f"INSERT INTO flight VALUES {', '.join(f'({n})' for n in range(100))}")
    run("ANALYZE flight")
    told: list[Progress] = []
    ingest(Sql(url, "flight", cursor=cursor, batch_rows=40), to="flights", progress=told.append)
    assert [(each.rows, each.total_rows) for each in told[1:4]] == [(40, 100), (80, 100), (100, 100)]
    assert [each.eta_s is None or each.eta_s > 0 for each in told[1:3]] == [True, True]
    assert (told[1].eta_s is not None, told[3].eta_s) == (True, 0)
    if cursor:
        run("INSERT INTO flight VALUES (100)")
        ingest(Sql(url, "flight", cursor=cursor), to="flights", progress=told.append)
        assert told[-1].total_rows in (1, 2)  # the last one taken, too


def test_a_query_with_percent_signs_is_read_from_its_cursor_on(url: str, run: Run) -> None:
    run("CREATE TABLE flight (id INTEGER, carrier TEXT)", "INSERT INTO flight VALUES (1, 'UA'), (2, 'AA')")
    query = "SELECT id, carrier AS c FROM flight WHERE carrier LIKE '%A%';"
    for expected in (2, 0):
        assert ingest(url, to="flights", query=query, cursor="id").rows == expected


def test_rows_that_lack_the_cursor_are_counted(url: str, run: Run) -> None:
    run("CREATE TABLE t (id INTEGER, what TEXT)", "INSERT INTO t VALUES (1, '5 %')")
    for source in (
        Sql(url, table="t", cursor="id"),
        Sql(url, query="SELECT * FROM t WHERE what LIKE '%'", cursor="id"),
    ):
        name = source.table or "queried"
        assert ingest(source, to=name).warnings == ()
        run("INSERT INTO t VALUES (NULL, 'b'), (2, 'c')")
        done = [ingest(source, to=name) for _ in range(2)]
        assert [each.rows for each in done] == [1, 0]
        assert ["1 row of " in each.warnings[0] and "lacks the cursor `id`" in each.warnings[0] for each in done] == [
            True
        ] * 2
        run("DELETE FROM t WHERE id IS NULL OR id > 1")


def test_a_cursor_is_a_column_without_nulls(url: str, run: Run) -> None:
    run("CREATE TABLE flight (id INTEGER)", "INSERT INTO flight VALUES (NULL)")
    with pytest.raises(InvalidError, match="column `id`: `None` is not a cursor without nulls"):
        ingest(url, to="flights", table="flight", cursor="id")
    with pytest.raises(InvalidError, match=r"(cursor: `idd` is not a column of .* There is: id)|idd. does not exist"):
        ingest(url, to="flights", table="flight", cursor="idd")


def test_what_can_not_be_asked_says_why(url: str, run: Run) -> None:
    with pytest.raises(InvalidError, match="is not a query that can be run"):
        ingest(url, to="flights", table="nothing")
    with pytest.raises(InvalidError, match=r"is not one table or query .* table='…'"):
        ingest(url, to="flights")
    with pytest.raises(InvalidError, match="is not the name of a table"):
        ingest(url, to="flights", table="flight; DROP TABLE x")


def test_a_table_has_the_name_that_it_has_in_quotes(url: str, run: Run) -> None:
    run('CREATE TABLE "Daily Flights-2" (id INTEGER)', 'INSERT INTO "Daily Flights-2" VALUES (1)')
    source = Sql(url, "Daily Flights-2", cursor="id")
    assert ingest(source, to="flights").rows == 1
    run('INSERT INTO "Daily Flights-2" VALUES (2)')
    assert (ingest(source, to="flights").rows, rows()) == (1, [(1,), (2,)])


def test_no_rows_are_a_table_with_its_columns(url: str, run: Run) -> None:
    run("CREATE TABLE flight (id INTEGER, carrier TEXT)")
    version = ingest(url, to="flights", table="flight").version
    assert version is not None
    assert (version.rows, version.columns) == (0, ("id", "carrier"))


@pytest.mark.one_backend("it names a file")
def test_a_database_that_is_not_there_is_not_made(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="No database"):
        ingest(tmp_path / "nothing.db", to="flights", table="flight")
    assert not (tmp_path / "nothing.db").exists()


@pytest.mark.one_backend("it names a file")
def test_an_absolute_path_has_four_slashes(workspace: Workspace, url: str) -> None:
    with pytest.raises(NotFoundError, match=r"An absolute path has four slashes: sqlite:////.*/app\.db"):
        ingest(url.replace(":////", ":///"), to="flights", table="flight")


@pytest.mark.one_backend("SQLite keeps whole numbers in columns of decimals")
def test_declared_numbers_of_sqlite_are_floats(workspace: Workspace, url: str, run: Run) -> None:
    run(
        "CREATE TABLE sale (id INTEGER, price DECIMAL(10, 2), tax NUMERIC, size DOUBLE PRECISION, rate REAL)",
        "INSERT INTO sale VALUES (1, 10.0, 1, 2, 3), (2, 10.5, NULL, 2.5, 3.5)",
    )
    version = ingest(url, to="sales", table="sale", cursor="id").version
    assert version is not None
    assert [kind for _, kind in version.schema] == ["i64", "f64", "f64", "f64", "f64"]
    queried = ingest(url, to="prices", query="SELECT price FROM sale").version
    assert queried is not None
    assert queried.schema == (("price", "f64"),)
    run(f"INSERT INTO sale VALUES (3, {2**53 + 1}, 1, 1, 1)")
    with pytest.raises(InvalidError, match=f"column `price`: `{2**53 + 1}` is not a number that a float holds exactly"):
        ingest(url, to="sales", table="sale", cursor="id")


@pytest.mark.one_backend("SQLite has no decimals")
def test_decimals_are_declared_as_they_are_shown(workspace: Workspace, url: str, run: Run) -> None:
    run("CREATE TABLE sale (price DECIMAL(10, 2))", "INSERT INTO sale VALUES (10), (10.5), (0.07), (NULL)")
    done = ingest(url, to="sales", table="sale", types={"price": "decimal[10,2]"})
    assert done.version is not None
    assert done.version.schema == (("price", "decimal[10, 2]"),)
    assert [str(price) for (price,) in rows("sales")] == ["10.00", "10.50", "0.07", "None"]
    again = ingest(url, to="sales", table="sale", mode="replace", types={"price": dict(done.version.schema)["price"]})
    assert again.version is not None
    assert again.version.content_digest == done.version.content_digest
    run("INSERT INTO sale VALUES (0.125)")
    with pytest.raises(InvalidError, match=r"column `price`: `0\.125` is not its type, `decimal"):
        ingest(url, to="sales", table="sale", types={"price": "decimal[10, 2]"})


@pytest.mark.one_backend("SQLite keeps values of any type in a column")
def test_values_of_several_types_are_text_where_that_is_declared(workspace: Workspace, url: str, run: Run) -> None:
    run("CREATE TABLE flight (delay)", "INSERT INTO flight VALUES (1), ('late'), (2.5), (NULL)")
    source = Sql(url, "flight", batch_rows=1)
    with pytest.raises(InvalidError, match=r"column `delay`: `str` is not .* types=\{'delay': 'str'\}"):
        ingest(source, to="flights")
    ingest(source, to="flights", types={"delay": "str"})
    assert rows() == [("1",), ("late",), ("2.5",), (None,)]
    run("INSERT INTO flight VALUES (x'00')")
    with pytest.raises(InvalidError, match="row 5, column `delay`: `bin` is not its type, `str`"):
        ingest(source, to="flights", mode="replace", types={"delay": "str"})


@pytest.mark.one_backend("SQLite keeps values of any type in a column")
def test_values_of_another_type_than_their_column_are_named(workspace: Workspace, url: str, run: Run) -> None:
    run("CREATE TABLE flight (delay INTEGER)", "INSERT INTO flight VALUES (1), ('late')")
    with pytest.raises(InvalidError, match="column `delay`"):
        ingest(url, to="flights", table="flight")


def test_postgres_types_are_kept(workspace: Workspace, postgres: Any) -> None:
    query = (
        "SELECT 1::int2 AS small, 1.5::numeric AS bare, 1.50::numeric(6, 2) AS price, now() AS at, DATE '2013-01-01' AS day,"
        " ARRAY[1, 2] AS list, '\\x00ff'::bytea AS bytes, gen_random_uuid() AS id, '{\"a\": 1}'::jsonb AS doc, TRUE AS yes,"
        " INTERVAL '1 day' AS span, TIMESTAMP '2013-01-01 10:00' AS naive"
    )
    version = ingest(postgres.url(), to="types", query=query).version
    assert version is not None
    assert [kind for _, kind in version.schema] == [
        "i16", "decimal[38, 1]", "decimal[6, 2]", "datetime[us, UTC]", "date", "list[i32]", "bin", "str", "str", "bool",
        "duration[us]", "datetime[us]",
    ]  # fmt: skip


class TestPostgresAlone:
    """What only a server does."""

    def test_passwords_are_in_no_record(
        self, workspace: Workspace, postgres: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("INGEST_PASSWORD", "correct-horse")
        base = postgres.url().replace("postgres:@", "postgres:secret:env/INGEST_PASSWORD@")
        assert "secret:env" in base
        done = ingest(base, to="types", query="SELECT 1 AS n")
        assert done.version is not None
        recorded = workspace.database.query("SELECT source, state FROM dataset_cursor")
        assert "correct-horse" not in f"{recorded}{done.version.source}"
        assert "INGEST_PASSWORD" not in f"{recorded}{done.version.source}"

    def test_a_server_that_is_not_there_is_asked_again(self, workspace: Workspace) -> None:
        waits: list[float] = []
        with pytest.raises(UnavailableError, match="can't be reached"):
            ingest(
                "postgresql://nobody@127.0.0.1:9/nothing",
                to="flights",
                table="t",
                retry=Retry(attempts=3, sleep=waits.append),
            )
        assert waits == [0.5, 1.0]


def test_a_reading_that_was_broken_off_goes_on_behind_its_last_batch(
    url: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("CREATE TABLE flight (id INTEGER)", f"INSERT INTO flight VALUES {', '.join(f'({n})' for n in range(100))}")
    broken_off(monkeypatch, [3, 2])
    done = ingest(Sql(url, "flight", cursor="id", batch_rows=10), to="numbers", retry=AT_ONCE)
    assert (done.rows, done.retries, [n for (n,) in rows("numbers")]) == (100, 2, list(range(100)))
