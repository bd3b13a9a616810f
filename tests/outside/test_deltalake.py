"""A user of Delta Lake reads what we export, with deltalake and PyArrow alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from mainspring.data import dataset
from mainspring.data.interchange import delta_export
from mainspring.data.interchange.delta_export import export_delta
from mainspring.data.interchange.pinned import pin_delta
from mainspring.workspace import Workspace, using
from tests.outside.environments import Environment

READ = """
import json, sys
from deltalake import DeltaTable
table = DeltaTable(sys.argv[1])
rows = table.to_pyarrow_table().sort_by("n")
print(json.dumps({
    "version": table.version(), "rows": rows.num_rows, "n": rows.column("n").to_pylist()[:3],
    "types": [str(kind) for kind in rows.schema.types], "at": [str(at) for at in rows.column("at").to_pylist()[:2]],
    "sum": sum(rows.column("n").to_pylist()), "origin": table.history()[0]["mainspring.version"],
    "nested": rows.column("nested").to_pylist()[0],
}))
"""
CHANGE = """
import sys
from deltalake import DeltaTable
table = DeltaTable(sys.argv[1])
table.delete("n < 5")
table.optimize.compact()
table.create_checkpoint()
"""


@pytest.mark.timeout(1_200)
def test_deltalake_reads_an_export_and_a_pin_outlives_its_changes(
    client: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delta_export, "FILE_ROWS", 4_000)
    frame = pl.DataFrame({"n": range(10_000)}).with_columns(
        at=pl.when(pl.col("n") > 0).then(pl.lit(datetime(2013, 1, 1, tzinfo=UTC))),
        nested=pl.struct(a=pl.concat_list("n"), b=pl.lit("é")),
        count=pl.col("n").cast(pl.UInt32),
    )
    with Workspace.open(tmp_path / "project") as workspace, using(workspace):
        version = dataset("flights").commit(frame)
        written = export_delta(version, tmp_path / "lake")
        assert (written.files, written.cast) == (3, (("count", "Int64"),))
        found = json.loads(client.run("python", "-c", READ, str(tmp_path / "lake"), cwd=tmp_path))
        assert found == {
            "version": 0, "rows": 10_000, "n": [0, 1, 2], "sum": sum(range(10_000)), "origin": "flights/1",
            "types": ["int64", "timestamp[us, tz=UTC]", "struct<a: list<element: int64>, b: string>", "int64"],
            "at": ["None", "2013-01-01 00:00:00+00:00"], "nested": {"a": [0], "b": "é"},
        }  # fmt: skip
        pinned = pin_delta("lake", tmp_path / "lake")
        client.run("python", "-c", CHANGE, str(tmp_path / "lake"), cwd=tmp_path)
        assert pinned.to_polars().height == 10_000
        assert pin_delta("lake", tmp_path / "lake").rows == 9_995
        export_delta(dataset("flights").append(frame), tmp_path / "lake", mode="overwrite")
        found = json.loads(client.run("python", "-c", READ, str(tmp_path / "lake"), cwd=tmp_path))
        assert (found["rows"], found["origin"]) == (20_000, "flights/2")
