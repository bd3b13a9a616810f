"""SQL over versions and frames: the same rows as Polars, the same digest each time, nothing but its tables."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest

from mainspring.artifacts import table_digest
from mainspring.data import dataset
from mainspring.data.etl.duckdb import opened
from mainspring.data.etl.sql import query, scan_query, sql
from mainspring.errors import GraphError, InvalidError, NotAllowedError, WrongTypeError
from mainspring.workspace import Workspace

pytestmark = pytest.mark.one_backend("SQL runs on DuckDB over local files, whatever they were fetched from")
ROWS = 300_000


@pytest.fixture(scope="module")
def flights() -> pl.DataFrame:
    chance = random.Random(7)
    return pl.DataFrame(
        {
            "id": range(ROWS),
            "carrier": [chance.choice(("AA", "B6", "UA", None)) for _ in range(ROWS)],
            "delay": [chance.gauss(0, 30) for _ in range(ROWS)],
            "miles": [chance.randrange(5_000) for _ in range(ROWS)],
        }
    )


def threads_of(text: str, frame: pl.DataFrame, parameters: dict[str, Any] | None = None, **options: Any) -> int:
    with opened(
        text, {"flights": frame}, parameters or {}, threads=2, memory_mb=None, exact=options.get("exact", True)
    ) as found:
        return found.threads.count


def digests(make: Callable[[], Any], times: int = 10) -> set[str]:
    return {
        table_digest(frame.collect() if isinstance(frame := make(), pl.LazyFrame) else frame).digest
        for _ in range(times)
    }


def test_versions_of_many_parts_answer_as_the_frame_does(workspace: Workspace, flights: pl.DataFrame) -> None:
    table = dataset("flights", workspace)
    table.commit(flights[:1000])
    for at in range(1000, 20_000, 3_800):
        table.append(flights[at : at + 3_800])
    text = "SELECT carrier, count(*) AS n, sum(miles) AS miles, avg(delay) AS mean FROM t GROUP BY carrier ORDER BY carrier"
    version = table.latest()
    found = query(text, {"t": version})
    assert found.equals(query(text, {"t": flights[:20_000]}))
    expected = (
        flights[:20_000].group_by("carrier").agg(pl.len(), pl.col("miles").sum()).sort("carrier", nulls_last=True)
    )
    assert found["n"].to_list() == expected["len"].to_list()
    assert found["miles"].to_list() == expected["miles"].to_list()
    assert found.schema["miles"] == pl.Int64


def test_deleted_rows_are_not_seen(workspace: Workspace, flights: pl.DataFrame) -> None:
    table = dataset("flights", workspace)
    table.commit(flights[:500])
    table.append(flights[500:900])
    table.append(flights[900:1000])
    version = table.delete([3, 7, 500, 899, 42], key="id")
    assert query("SELECT * FROM t ORDER BY id", {"t": version}).equals(version.to_polars().sort("id"))


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("SELECT carrier, count(*) n, sum(miles) m, max(delay) d FROM flights GROUP BY carrier ORDER BY carrier", 2),
        ("SELECT carrier, sum(delay) FROM flights GROUP BY carrier ORDER BY carrier", 1),
        ("SELECT avg(delay), stddev(miles) FROM flights ORDER BY 1", 1),
        ("SELECT sum(miles / 3) FROM flights ORDER BY 1", 1),
        ("SELECT id, row_number() OVER (ORDER BY carrier) FROM flights ORDER BY id", 1),
        ("SELECT list(id) FROM flights ORDER BY 1", 1),
        ("SELECT * FROM (SELECT id FROM flights LIMIT 10) ORDER BY id", 1),
        ("SELECT id FROM flights ORDER BY carrier LIMIT 10", 2),
        ("SELECT DISTINCT carrier FROM flights ORDER BY carrier", 2),
    ],
)
def test_what_depends_on_the_order_of_rows_runs_on_one_thread(text: str, count: int, flights: pl.DataFrame) -> None:
    assert threads_of(text, flights[:100]) == count


def test_a_tolerance_lets_threads_sum_floats(flights: pl.DataFrame) -> None:
    text = "SELECT sum(delay) FROM flights ORDER BY 1"
    counted = "SELECT carrier, count(*) FROM flights WHERE id > $low GROUP BY ALL ORDER BY 1"
    assert threads_of(counted, flights[:9], {"low": 3}) == 2
    assert (threads_of(text, flights[:9]), threads_of(text, flights[:9], exact=False)) == (1, 2)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM t ORDER BY carrier",
        "SELECT * FROM t ORDER BY carrier LIMIT 1000 OFFSET 20",
        "SELECT carrier, sum(delay) s, avg(delay) a, stddev(delay) d FROM t GROUP BY carrier ORDER BY carrier",
        "SELECT miles, sum(delay) s FROM t GROUP BY miles",
        "SELECT carrier, miles FROM t",
        "SELECT id, sum(delay) OVER (PARTITION BY carrier ORDER BY id) s FROM t ORDER BY ALL",
    ],
)
def test_ten_repetitions_give_one_digest(text: str, workspace: Workspace, flights: pl.DataFrame) -> None:
    version = dataset("flights", workspace).commit(flights)
    assert len(digests(lambda: query(text, {"t": version}))) == 1


def test_a_lazy_result_is_that_of_the_query(workspace: Workspace, flights: pl.DataFrame) -> None:
    version = dataset("flights", workspace).commit(flights)
    text = "SELECT carrier, id, delay * 2 AS twice FROM t WHERE miles > 100 ORDER BY carrier"
    assert digests(lambda: scan_query(text, {"t": version}), 3) == digests(lambda: query(text, {"t": version}), 1)
    empty = scan_query("SELECT id, sum(miles) m FROM t WHERE id < 0 GROUP BY id ORDER BY id", {"t": version}).collect()
    assert empty.equals(pl.DataFrame(schema={"id": pl.Int64, "m": pl.Int64}))


def test_it_spills_when_memory_is_short(workspace: Workspace, flights: pl.DataFrame) -> None:
    version = dataset("flights", workspace).commit(flights)
    text = "SELECT * FROM t ORDER BY delay"
    small = scan_query(text, {"t": version}, memory_mb=24, threads=1).collect()
    assert small.equals(flights.sort("delay"))


def test_a_query_needs_an_order_or_says_that_it_has_none() -> None:
    with pytest.raises(GraphError, match="ORDER BY"):
        sql("SELECT a FROM (SELECT a FROM t ORDER BY a)")
    with pytest.raises(GraphError, match="several statements"):
        sql("SELECT 1 ORDER BY 1; DROP TABLE t")
    with pytest.raises(GraphError, match="empty"):
        sql("-- nothing")
    sql("SELECT a FROM t", ordered=False)
    sql("WITH x AS (SELECT ';' AS a -- ; ORDER BY\n) SELECT a FROM x ORDER /* by a */ BY a;  -- the end")


def test_parameters_that_are_no_tables_are_values() -> None:
    @sql("SELECT n FROM t WHERE n >= $low ORDER BY n DESC -- newest first")
    def above(t: pl.DataFrame, low: int = 2) -> Any: ...

    frame = pl.DataFrame({"n": [1, 2, 3]})
    assert (above(frame)["n"].to_list(), above(frame, low=3)["n"].to_list()) == ([3, 2], [3])


@pytest.mark.parametrize(
    "text", ["SELECT now()", "SELECT random()", "SELECT current_date", "SELECT * FROM t USING SAMPLE 2"]
)
def test_what_changes_by_itself_is_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="same each time"):
        query(text, {"t": pl.DataFrame({"n": [1, 2, 3]})})


def test_a_query_sees_its_tables_and_nothing_else(tmp_path: Path, workspace: Workspace) -> None:
    other = pl.DataFrame({"n": [1]})
    other.write_parquet(tmp_path / "other.parquet")
    version = dataset("t", workspace).commit(other)
    for text in (f"SELECT * FROM '{tmp_path}/other.parquet'", f"SELECT * FROM read_csv('{tmp_path}/x.csv')"):
        with pytest.raises(NotAllowedError, match="only the tables"):
            query(text, {"t": version})
    with pytest.raises(NotAllowedError, match="only the tables"):
        query("SELECT * FROM 'http://localhost/x.parquet'", {"t": version})
    with pytest.raises(InvalidError, match="other"):
        query("SELECT * FROM other", {"t": version})
    with pytest.raises(InvalidError):
        query("CREATE TABLE x AS SELECT 1", {"t": version})


def test_wrong_tables_and_queries_are_named(workspace: Workspace) -> None:
    with pytest.raises(WrongTypeError, match="table `t`"):
        query("SELECT 1", {"t": [1, 2]})
    with pytest.raises(InvalidError, match="delayed"):
        query("SELECT delayed FROM t", {"t": pl.DataFrame({"delay": [1]})})
    with pytest.raises(InvalidError, match="with columns"):
        query("SELECT 1", {"t": pl.DataFrame()})
    with pytest.raises(InvalidError, match="INTERVAL"):
        query("SELECT INTERVAL 1 DAY AS span", {})
    with pytest.raises(InvalidError, match="Cast"):
        query("SELECT sum(n) AS s FROM t", {"t": pl.DataFrame({"n": [2**63 - 1, 2**63 - 1]})})


def test_frames_and_versions_of_odd_types_answer_alike(workspace: Workspace) -> None:
    frame = pl.DataFrame(
        {
            "cat": pl.Series(["a", "b", None], dtype=pl.Categorical),
            "enum": pl.Series(["x", "y", "x"], dtype=pl.Enum(["y", "x"])),
            "span": pl.Series([1, 2, None]).cast(pl.Duration("us")),
            "at": pl.Series([0, 1, None]).cast(pl.Datetime("us", "Europe/Berlin")),
            "list": [[1, 2], [], None],
            "struct": [{"a": 1}, {"a": 2}, None],
            "money": pl.Series(["1.10", "2.20", None]).cast(pl.Decimal(10, 2)),
            "nothing": [None, None, None],
        }
    )
    version = dataset("odd", workspace).commit(frame)
    text = "SELECT * FROM t ORDER BY cat"
    found = query(text, {"t": version})
    assert found.equals(query(text, {"t": frame}))
    assert found.equals(query(text, {"t": frame.lazy()}))
    assert found.schema["at"] == pl.Datetime("us", "UTC")
    assert found["money"].to_list() == frame["money"].to_list()
    assert query("SELECT sum(n) AS s FROM t", {"t": pd.DataFrame({"n": [1, 2]})}).item() == 3
    assert query("SELECT sum(n) AS s FROM t", {"t": pl.DataFrame({"n": [1, 2]}).to_arrow()}).item() == 3
