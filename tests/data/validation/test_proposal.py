"""A proposed schema: what a table of any size passes, since all its rows were looked at."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.data import Schema, dataset, propose_schema, validate
from mainspring.data.validation import rows, validators
from mainspring.data.validation.shapes import Shapes
from mainspring.workspace import Workspace

texts = st.one_of(
    st.text(max_size=4),
    st.from_regex(r"[A-Z][0-9]{1,3}", fullmatch=True),
    st.sampled_from(["UA", "B6", "", "A-1", "\n"]),
)
columns = st.one_of(
    st.lists(st.one_of(st.none(), st.integers(-3, 3)), max_size=60),
    st.lists(st.integers(-(2**62), 2**62), min_size=20, max_size=60, unique=True),
    st.integers(20, 60).map(lambda n: list(range(n))),
    st.integers(20, 60).map(lambda n: [min(each, n - 2) for each in range(n)]),
    st.lists(st.floats(), max_size=60).map(sorted),
    st.lists(st.one_of(st.none(), st.floats(-5, 5)), max_size=60),
    st.lists(st.one_of(st.none(), texts), max_size=60),
    st.lists(texts, min_size=20, max_size=60, unique=True).map(lambda found: [*found, found[0]]),
    st.lists(texts, min_size=20, max_size=60, unique=True),
    st.lists(st.sampled_from(["UA", "AA"]), min_size=40, max_size=60).map(lambda found: [*found, *["B6"] * 20]),
)


class InPieces:
    """Rows that are read so many at a time."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self.frame, self.rows = frame, frame.height

    def scan(self) -> pl.LazyFrame:
        return self.frame.lazy()

    def batches(self, rows: int | None = None, /) -> Iterator[pl.DataFrame]:
        yield from self.frame.iter_slices(7) if self.rows else [self.frame]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "_WHOLE_BYTES", 0)
    monkeypatch.setattr(validators, "_BUCKET_BYTES", 500)


@pytest.mark.usefixtures("small")
@given(columns)
def test_of_pieces_the_same_is_proposed_as_of_the_whole(values: list) -> None:
    frame = pl.DataFrame({"a": values}, strict=False).with_columns(b=pl.col("a").reverse())
    found = propose_schema(InPieces(frame))
    assert found == propose_schema(frame)
    assert validate(InPieces(frame), found).failed == ()


def test_a_version_passes_its_schema_where_only_its_end_is_different(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a table ordered by time: another carrier, a gate that is null, longer tails and a late duplicate."""
    monkeypatch.setattr(rows, "_WHOLE_BYTES", 0)
    monkeypatch.setattr(rows, "_BATCH_BYTES", 4_000)
    count = 1_000
    frame = pl.DataFrame(
        {
            "day": [date(2013, 1, 1) + timedelta(days=n // 3) for n in range(count)],
            "carrier": ["UA"] * 600 + ["B6"] * 400,
            "gate": ["A1", "B2"] * 350 + [None] * 300,
            "tail": [f"N{n % 90}" for n in range(900)] + [f"NX{n:04}" for n in range(100)],
            "delay": [n % 60 for n in range(900)] + [900] * 100,
            "flight": [*range(count - 1, 0, -1), 7],
            "ticket": [f"T{n * 7919 % 1_000}" for n in range(count - 1)] + ["T0"],
            "id": range(count),
        }
    )
    version = dataset("flights").commit(frame)
    schema = propose_schema(version)
    assert validate(version, schema).failed == ()
    assert [one.name for one in schema.all_checks() if one.kind in ("is_in", "unique", "matches", "between")] == [
        "carrier in [B6, UA]", "gate in [A1, B2]", "tail matches ^[A-Z]{1,2}[0-9]{1,4}$",
        "delay between 0 and 990", "flight between 0 and 1100", "ticket matches ^[A-Z][0-9]{1,3}$", "id unique",
    ]  # fmt: skip
    assert [column.name for column in schema.columns if column.nullable] == ["gate"]
    assert isinstance(schema, Schema)


def test_wide_rows_come_fewer_at_a_time(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "_WHOLE_BYTES", 0)
    monkeypatch.setattr(rows, "_BATCH_BYTES", 10_000)
    version = dataset("wide").commit(pl.DataFrame({f"c{n}": range(100) for n in range(100)}))
    sizes = [batch.estimated_size() for batch in rows.Rows(version).batches()]
    assert (sum(sizes), max(sizes)) == (80_000, 9_600)


def test_long_texts_and_texts_of_many_shapes_have_no_pattern() -> None:
    for given_texts in (["A" * 5_000], ["A1", "1A", "A-", "-A"], ["free", "texts"]):
        shapes = Shapes()
        shapes.take(pl.Series(given_texts))
        assert shapes.pattern() is None
