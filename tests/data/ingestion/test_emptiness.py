"""Files without rows and columns without values: they leave open what others say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mainspring.data import dataset
from mainspring.data.ingestion import Progress, ingest
from mainspring.errors import InvalidError

pytestmark = [
    pytest.mark.usefixtures("workspace"),
    pytest.mark.one_backend("files are read before any backend is asked"),
]


@pytest.mark.parametrize("ending", ["csv", "parquet", "xlsx"])
def test_a_file_with_nothing_but_a_header_is_read_when_it_is_filled(raw: Path, ending: str) -> None:
    def write(name: str, frame: pl.DataFrame) -> None:
        writers: dict[str, Any] = {"csv": frame.write_csv, "parquet": frame.write_parquet, "xlsx": frame.write_excel}
        writers[ending](raw / f"{name}.{ending}")

    header = pl.DataFrame({"id": [], "item": []}, schema={"id": pl.Null, "item": pl.Null})
    for name in "ab":
        write(name, header)
    assert (ingest(raw, to="orders").rows, ingest(raw, to="orders").warnings) == (0, ())
    write("a", pl.DataFrame({"id": [1], "item": ["spring"]}))
    done = ingest(raw, to="orders")
    assert (done.rows, dataset("orders").latest().schema) == (1, (("id", "i64"), ("item", "str")))
    write("a", pl.DataFrame({"id": [1, 2], "item": ["spring", "cog"]}))
    with pytest.raises(InvalidError, match=rf"a\.{ending}: `changed since it was read"):
        ingest(raw, to="orders")


def test_a_column_of_the_dataset_without_values_may_be_declared_of_any_type(raw: Path) -> None:
    pl.DataFrame({"id": [1, 2], "note": pl.Series([None, None], dtype=pl.Float64)}).write_parquet(raw / "a.parquet")
    ingest(raw, to="notes")
    pl.DataFrame({"id": [3], "note": ["late"]}).write_parquet(raw / "b.parquet")
    with pytest.raises(InvalidError, match=r"b\.parquet, row 1, column `note`: `late` is not its type, `f64`"):
        ingest(raw, to="notes")
    ingest(raw, to="notes", types={"note": "str"})
    assert dataset("notes").to_polars().rows() == [(1, None), (2, None), (3, "late")]
    with pytest.raises(InvalidError, match=r"types\.note: `list\[i64\]` is not the column's type"):
        ingest(raw, to="notes", types={"note": "list[i64]"})


def test_an_interrupted_ingest_goes_on_with_columns_that_have_no_value_yet(raw: Path) -> None:
    for name, values in (("a", pl.Series([None], dtype=pl.Float64)), ("b", pl.Series(["x"]))):
        pl.DataFrame({"note": values}).write_parquet(raw / f"{name}.parquet")

    def stop(told: Progress) -> None:
        if told.rows:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(raw, to="notes", progress=stop)
    assert ingest(raw, to="notes").resumed_rows == 1
    assert dataset("notes").to_polars()["note"].to_list() == [None, "x"]
