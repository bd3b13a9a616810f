"""SQL and lazy frames as steps: cached by their text, run by every runner alike, repeatable."""

from __future__ import annotations

import pytest

from mainspring.data import dataset
from mainspring.testing.workspaces import Lab, digests, states, task_of

FLOW = """
import polars as pl

@ms.step
def flights(rows: int = 20_000):
    numbers = pl.DataFrame({{"id": range(rows)}})
    return numbers.with_columns(carrier=pl.col("id") % 7, delay=(pl.col("id").hash(1) % 1_000_003) / 7)

@ms.step({options})
@ms.sql('''
    SELECT carrier, count(*) AS n, sum(delay) AS delay FROM flights WHERE id >= $low {more} GROUP BY carrier
    ORDER BY carrier
''')
def totals(flights, low: int = 0): ...

@ms.step
def other(flights):
    return flights.height

@ms.pipeline
def main(low: int = 0):
    table = flights()
    return {{"totals": totals(table, low), "other": other(table)}}
"""


def write(lab: Lab, more: str = "", options: str = "") -> None:
    lab.write(FLOW.format(more=more, options=options))


@pytest.mark.one_backend("what a query gives and counts as is no matter of where its rows are kept")
def test_the_text_of_the_query_is_the_code_of_its_step(lab: Lab) -> None:
    write(lab)
    first = lab.run("main")
    assert first.value["totals"]["n"].sum() == 20_000
    assert states(lab.run("main")) == dict.fromkeys(("flights", "totals", "other"), "reused")
    write(lab, options="retries=2")
    assert states(lab.run("main"))["totals"] == "reused"
    write(lab, more="AND carrier < 3")
    changed = lab.run("main")
    assert states(changed) == {"flights": "reused", "totals": "succeeded", "other": "reused"}
    assert changed.value["totals"].height == 3
    narrowed = lab.run("main", params={"low": 19_999})
    assert (states(narrowed)["totals"], narrowed.value["totals"]["n"].to_list()) == ("succeeded", [1])


def test_the_release_of_the_engine_is_in_the_key(lab: Lab) -> None:
    write(lab)
    run = lab.run("main")
    store = run._store
    parts = {name: store.fingerprint_parts(task_of(run, name).fingerprint or "") for name in ("totals", "other")}
    assert ("distribution duckdb" in parts["totals"], "distribution duckdb" in parts["other"]) == (True, False)


@pytest.mark.one_backend("what a query gives and counts as is no matter of where its rows are kept")
def test_every_runner_gives_the_same_rows(lab: Lab) -> None:
    write(lab)
    inline, pooled = lab.run("main", reuse=False), lab.run("main", runner="pool", reuse=False)
    assert digests(inline) == digests(pooled)
    assert "SQL on 1 thread (sum of DOUBLE)" in inline.log_of(task_of(inline, "totals"))


def test_a_step_takes_a_version_by_reference(lab: Lab) -> None:
    lab.write("""
import polars as pl

@ms.step
def committed():
    return ms.dataset("flights").commit(pl.DataFrame({"id": range(10)}))

@ms.step
@ms.sql("SELECT max(id) AS last FROM flights ORDER BY last")
def last(flights): ...

@ms.pipeline
def main():
    return last(committed())
""")
    result = lab.run("main")
    assert result.value.item() == 9
    again = lab.run("main")
    assert states(again) == {"committed": "reused", "last": "reused"}, task_of(again, "last").reasons
    version = dataset("flights", result.workspace).latest()
    assert version.rows == 10


@pytest.mark.one_backend("what a query gives and counts as is no matter of where its rows are kept")
def test_a_lazy_output_is_computed_once_and_handed_on_lazily(lab: Lab) -> None:
    lab.write("""
import polars as pl

@ms.step
def lazy():
    return pl.LazyFrame({"n": range(1_000)}).filter(pl.col("n") % 2 == 0)

@ms.step
@ms.sql("SELECT n, n * 2 AS twice FROM t ORDER BY n", result="lazy")
def doubled(t): ...

@ms.step
def kind(frame):
    return type(frame).__name__, frame.select(pl.col("twice").sum()).collect().item()

@ms.pipeline
def main():
    return kind(doubled(lazy()))
""")
    for runner in ("inline", "pool"):
        assert lab.run("main", runner=runner, reuse=False).value == ("LazyFrame", 499_000)


@pytest.mark.parametrize("text", ["SELECT 1 AS a", "SELECT a FROM (SELECT 1 AS a ORDER BY a)"])
def test_a_query_without_an_order_is_refused_where_it_is_written(lab: Lab, text: str) -> None:
    lab.write(f'@ms.step\n@ms.sql("{text}")\ndef one(): ...\n@ms.pipeline\ndef main(): return one()\n')
    with pytest.raises(ValueError, match="ORDER BY"):
        lab.run("main")


@pytest.mark.one_backend("what a query gives and counts as is no matter of where its rows are kept")
def test_eager_and_lazy_polars_in_steps_repeat(lab: Lab) -> None:
    lab.write("""
import polars as pl

@ms.step
def grouped(number: int):
    numbers = pl.DataFrame({"id": range(300_000)})
    table = numbers.with_columns(key=pl.col("id") % 1_009, delay=(pl.col("id").hash(1) % 1_000_003) / 7)
    eager = table.group_by("key", maintain_order=True).agg(pl.col("delay").sum())
    lazy = table.lazy().group_by("key", maintain_order=True).agg(pl.col("delay").sum(), mean=pl.col("delay").mean())
    return eager, lazy.collect(), lazy

@ms.pipeline
def main():
    return grouped.map(list(range(10)))
""")
    result = lab.run("main")
    found = {task.outputs["result"] for task in result.tasks if task.map_index is not None}
    assert len(found) == 10
    assert len({result._values.artifact(each).content_digest for each in found}) == 1
