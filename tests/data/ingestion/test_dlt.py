"""Resources of dlt: rows of any form, and its incremental state kept in ours."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dlt
import polars as pl
import pyarrow as pa
import pytest

from mainspring.data import dataset
from mainspring.data.ingestion import Dlt, Retry, ingest
from mainspring.errors import StorageError, UnavailableError

pytestmark = [pytest.mark.usefixtures("workspace"), pytest.mark.one_backend("no backend is asked before rows are read")]
THERE: list[dict[str, Any]] = []

SINCE: Any = dlt.sources.incremental("at", initial_value=datetime(2013, 1, 1, tzinfo=UTC))


@dlt.resource(name="flights")
def flights(at: Any = SINCE) -> Iterator[Any]:
    """The newest first, as many APIs give them."""
    yield [each for each in reversed(THERE) if each["at"] >= at.last_value]


def test_only_what_is_new_is_taken() -> None:
    THERE[:] = [{"id": n, "at": datetime(2013, 1, n, tzinfo=UTC)} for n in (1, 2)]
    assert ingest(Dlt(flights()), to="flights").rows == 2
    THERE.append({"id": 3, "at": datetime(2013, 1, 2, tzinfo=UTC)})
    assert ingest(Dlt(flights()), to="flights").rows == 1
    assert ingest(Dlt(flights()), to="flights").rows == 0
    assert dataset("flights").to_polars()["id"].to_list() == [2, 1, 3]
    assert str(dataset("flights").to_polars().schema["at"]) == "Datetime(time_unit='us', time_zone='UTC')"


def test_a_resource_without_records_replaces_all_rows() -> None:
    assert ingest(Dlt(dlt.resource([{"n": 1}], name="numbers")), to="numbers").rows == 1
    done = ingest(Dlt(dlt.resource([], name="numbers")), to="numbers", mode="replace")
    assert done.version is not None
    assert (done.version.rows, done.version.schema) == (0, (("n", "i64"),))


def test_a_resource_that_keeps_nothing_in_mind_is_appended_once_more_which_is_told() -> None:
    numbers = [ingest(Dlt(dlt.resource([{"n": 1}], name="numbers")), to="numbers") for _ in range(2)]
    assert [len(each.warnings) for each in numbers] == [0, 1]
    assert "was read before and has no cursor: its rows were appended once more" in numbers[1].warnings[0]


def test_frames_are_taken_as_they_are() -> None:
    frames = [pa.table({"n": [1]}), pl.DataFrame({"n": [2]}).to_pandas(), [{"n": 3}, {"n": None}], {"n": 4}]
    resource = dlt.resource(iter(frames), name="frames")
    assert ingest(Dlt(resource), to="numbers").rows == 5
    assert sorted(n for (n,) in dataset("numbers").to_polars().rows() if n) == [1, 2, 3, 4]


def test_a_resource_that_breaks_off_is_read_anew() -> None:
    attempts = iter(range(9))

    @dlt.resource(name="breaking")
    def breaking() -> Iterator[Any]:
        yield {"n": 1}
        if next(attempts) < 2:
            raise ConnectionError("the line is dead")
        yield {"n": 2}

    done = ingest(Dlt(breaking), to="numbers", retry=Retry(sleep=lambda _: None))
    assert (done.rows, done.retries, dataset("numbers").to_polars()["n"].to_list()) == (2, 2, [1, 2])


@pytest.mark.parametrize(
    ("error", "kind"), [(ValueError("odd"), StorageError), (TimeoutError("late"), UnavailableError)]
)
def test_what_goes_wrong_in_it_is_said(error: Exception, kind: type[Exception]) -> None:
    @dlt.resource(name="wrong")
    def wrong() -> Iterator[Any]:
        raise error
        yield {}

    with pytest.raises(kind, match=rf"dlt .*wrong: it failed \({type(error).__name__}: "):
        ingest(Dlt(wrong), to="numbers", retry=Retry(attempts=1))
