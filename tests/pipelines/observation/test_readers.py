"""Native readers, which raise no audit event, are seen however they were imported, and behave as before."""

import inspect
import io
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset
import pyarrow.feather
import pyarrow.json
import pyarrow.parquet as pq
import pytest
from polars import read_csv as read_csv_bound_before

from mainspring.pipelines.observation.observer import Observer

SRC = str(Path(__file__).parents[3] / "src")


@pytest.fixture
def observer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Observer:
    monkeypatch.chdir(tmp_path)
    frame = pl.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    frame.write_csv("x.csv")
    frame.write_parquet("x.parquet")
    frame.write_ipc("x.arrow", compression="uncompressed")
    frame.write_ndjson("x.ndjson")
    frame.write_json("x.json")
    frame.write_avro("x.avro")
    duckdb.connect("x.duckdb").execute("create table t (a int)").close()
    return Observer(
        project_root=tmp_path,
        declared_files=[tmp_path / "declared.csv", tmp_path / "declared.parquet"],
        declared_env=(),
        allowed_paths=(),
    )


def names(observer: Observer) -> list[tuple[str, str]]:
    return [(seen.kind, seen.name) for seen in observer.seen]


def rows(relation: duckdb.DuckDBPyRelation | None) -> list:
    assert relation is not None
    return relation.fetchall()


def from_database() -> object:
    with duckdb.connect("x.duckdb") as connection:
        return connection.execute("select * from t").fetchall()


READERS: list[tuple[str, Callable[[], object]]] = [
    ("x.csv", lambda: pl.read_csv("x.csv")),
    ("x.csv", lambda: pl.read_csv(source=Path("x.csv"))),
    ("x.csv", lambda: read_csv_bound_before("x.csv")),
    ("x.csv", lambda: pl.scan_csv(["x.csv"]).collect()),
    ("x.parquet", lambda: pl.read_parquet("x.parquet")),
    ("x.parquet", lambda: pl.scan_parquet("x.parquet").collect()),
    ("*.parquet", lambda: pl.scan_parquet("*.parquet").collect()),
    ("x.parquet", lambda: pl.read_parquet_schema("x.parquet")),
    ("x.arrow", lambda: pl.read_ipc("x.arrow")),
    ("x.arrow", lambda: pl.scan_ipc("x.arrow").collect()),
    ("x.ndjson", lambda: pl.read_ndjson("x.ndjson")),
    ("x.ndjson", lambda: pl.scan_ndjson("x.ndjson").collect()),
    ("x.json", lambda: pl.read_json("x.json")),
    ("x.avro", lambda: pl.read_avro("x.avro")),
    ("x.csv", lambda: pl.sql("select * from read_csv('x.csv')").collect()),
    ("x.csv", lambda: pl.SQLContext().execute("select * from read_csv('x.csv')", eager=True)),
    ("x.parquet", lambda: pq.read_table("x.parquet")),
    ("x.parquet", lambda: pq.ParquetFile("x.parquet").read()),
    ("x.parquet", lambda: pq.ParquetDataset("x.parquet").read()),
    ("x.parquet", lambda: pq.read_schema("x.parquet")),
    ("x.csv", lambda: pyarrow.csv.read_csv("x.csv")),
    ("x.ndjson", lambda: pyarrow.json.read_json("x.ndjson")),
    ("x.arrow", lambda: pyarrow.feather.read_table("x.arrow")),
    ("x.parquet", lambda: pyarrow.dataset.dataset("x.parquet").to_table()),
    ("x.arrow", lambda: pa.memory_map("x.arrow").close()),
    ("x.arrow", lambda: pa.OSFile("x.arrow").close()),
    ("x.arrow", lambda: pa.input_stream("x.arrow").close()),
    ("x.csv", lambda: rows(duckdb.sql("select * from 'x.csv'"))),
    ("x.csv", lambda: rows(duckdb.sql('select * from "x.csv"'))),
    ("*.parquet", lambda: rows(duckdb.query("select * from read_parquet('*.parquet')"))),
    ("x.csv", lambda: duckdb.execute("select * from read_csv(?)", ["x.csv"]).fetchall()),
    ("x.csv", lambda: duckdb.connect().execute("select * from 'x.csv'").fetchall()),
    ("x.csv", lambda: rows(duckdb.connect().sql("select * from 'x.csv'"))),
    ("x.csv", lambda: duckdb.read_csv("x.csv").fetchall()),
    ("x.parquet", lambda: duckdb.connect().read_parquet("x.parquet").fetchall()),
    ("x.duckdb", from_database),
    ("x.csv", lambda: pd.read_csv("x.csv")),
    ("x.csv", lambda: pd.read_csv("x.csv", engine="pyarrow")),
    ("x.parquet", lambda: pd.read_parquet("x.parquet")),
    ("x.arrow", lambda: pd.read_feather("x.arrow")),
    ("x.json", lambda: pd.read_json("x.json")),
    ("x.csv", lambda: np.fromfile("x.csv", dtype="u1")),
    ("x.csv", lambda: np.loadtxt("x.csv", dtype=str)),
    ("x.csv", lambda: np.memmap("x.csv", mode="r")),
]


@pytest.mark.parametrize(
    ("name", "read"), READERS, ids=[f"{number}-{name}" for number, (name, _) in enumerate(READERS)]
)
def test_a_native_reader_is_seen(observer: Observer, name: str, read: Callable[[], object]) -> None:
    with observer:
        read()
    assert names(observer) == [("file", name)]
    assert observer.seen[0].by.startswith("test_readers.py:")


def test_a_folder_given_to_a_reader_is_a_folder(observer: Observer, tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    pl.DataFrame({"a": [1]}).write_parquet("parts/0.parquet")
    with observer:
        pl.read_parquet("parts/")
    assert names(observer) == [("directory", "parts")]


def test_a_declared_file_and_data_in_memory_are_no_inputs(observer: Observer, tmp_path: Path) -> None:
    (tmp_path / "declared.csv").write_text("a\n1\n")
    (tmp_path / "x.parquet").rename("declared.parquet")
    with observer:
        pl.read_csv("declared.csv")
        rows(duckdb.sql("select * from 'declared.csv'"))
        pl.read_csv(b"a\n1\n")
        pl.read_csv(io.StringIO("a\n1\n"))
        pl.read_json(io.StringIO('[{"a": 1}]'))
        rows(duckdb.sql("select 'x' where 'y' = 'parts'"))
        pa.dataset.dataset(pa.table({"a": [1]}))
        pq.read_table(pa.BufferReader(Path("declared.parquet").read_bytes()))
    assert observer.seen == ()


def test_what_a_native_writer_writes_is_the_steps_own(observer: Observer) -> None:
    frame = pl.DataFrame({"a": [1]})
    with observer:
        frame.write_parquet("own.parquet")
        frame.write_csv(file="own.csv")
        frame.lazy().sink_ipc("own.arrow")
        pq.write_table(pa.table({"a": [1]}), "own2.parquet")
        pd.DataFrame({"a": [1]}).to_parquet("own3.parquet")
        duckdb.sql("copy (select 1 as a) to 'own4.parquet'")
        duckdb.from_arrow(pa.table({"a": [1]})).write_parquet("own5.parquet")
        for name in ("own.parquet", "own2.parquet", "own3.parquet", "own4.parquet", "own5.parquet"):
            pl.read_parquet(name)
        pl.read_csv("own.csv")
        pl.read_ipc("own.arrow")
    assert observer.seen == ()


def test_remote_sources_are_named_without_credentials(observer: Observer) -> None:
    with observer:
        pl.scan_parquet("s3://bucket/year=2013/*.parquet")
        pl.scan_csv("https://ada:secret@example.org/x.csv?token=secret")
        with pytest.raises(duckdb.Error):
            duckdb.sql("select * from read_nothing('gs://bucket/x.csv')")
    assert names(observer) == [
        ("socket", "s3://bucket/year=2013/*.parquet"),
        ("socket", "https://example.org/x.csv"),
        ("socket", "gs://bucket/x.csv"),
    ]


def test_duckdb_still_finds_data_frames_in_the_callers_variables(observer: Observer) -> None:
    frame = pl.DataFrame({"a": [1, 2]})
    connection = duckdb.connect()
    with observer:
        found = [
            rows(duckdb.sql("select sum(a) from frame")),
            duckdb.execute("select sum(a) from frame").fetchall(),
            rows(connection.sql("select sum(a) from frame")),
            connection.execute("select sum(a) from frame").fetchall(),
        ]
    assert found == [[(3,)]] * 4
    assert observer.seen == ()
    assert frame.height == 2


def test_wrapped_readers_keep_their_names_and_signatures(observer: Observer) -> None:
    with observer:
        pass
    assert next(iter(inspect.signature(pl.read_csv).parameters)) == "source"
    assert "has_header" in inspect.signature(pl.read_csv).parameters
    assert (pl.read_csv.__name__, pl.read_csv.__doc__ is not None) == ("read_csv", True)
    assert read_csv_bound_before is pl.read_csv
    assert isinstance(pa.OSFile("x.csv"), pa.OSFile)
    assert isinstance(pa.input_stream("x.csv", compression=None), pa.OSFile)


def test_a_warning_names_the_line_that_called_the_library(observer: Observer) -> None:
    with observer, warnings.catch_warnings(record=True) as caught, pl.Config() as config:
        config.warn_unstable(True)
        warnings.simplefilter("always")
        pl.read_parquet("x.parquet", schema={"a": pl.Int64, "b": pl.String})
    assert {os.path.basename(warning.filename) for warning in caught} == {"test_readers.py"}


def in_fresh_process(code: str, folder: Path) -> str:
    script = folder / "script.py"
    script.write_text(
        "import os, sys\nfrom pathlib import Path\nfrom mainspring.pipelines.observation.observer import Observer\n"
        "def observed():\n"
        "    return Observer(project_root=Path.cwd(), declared_files=(), declared_env=(), allowed_paths=())\n" + code
    )
    environment = {**os.environ, "PYTHONPATH": SRC}
    command = [sys.executable, str(script)]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    "code",
    [
        "with observed() as seen:\n    from polars import read_csv\n    read_csv('x.csv')\n",
        "from polars import read_csv\nwith observed() as seen:\n    read_csv('x.csv')\n",
        "with observed(): pass\nfrom polars import read_csv\nwith observed() as seen:\n    read_csv('x.csv')\n",
        "with observed(): pass\nimport polars.io\nwith observed() as seen:\n    polars.io.read_csv('x.csv')\n",
    ],
)
def test_a_reader_is_seen_whether_bound_before_or_after(observer: Observer, tmp_path: Path, code: str) -> None:
    assert in_fresh_process(code + "print([one.name for one in seen.seen])", tmp_path) == "['x.csv']"
    assert observer.seen == ()


def test_nothing_heavy_is_loaded_by_observing(tmp_path: Path) -> None:
    heavy = {"polars", "pyarrow", "duckdb", "numpy", "pandas", "joblib", "multiprocessing", "asyncio"}
    code = f"with observed(): pass\nheavy = {sorted(heavy)}\n"
    assert in_fresh_process(code + "print([name for name in heavy if name in sys.modules])", tmp_path) == "[]"


def test_fitting_with_scikit_learn_is_no_input_though_it_starts_programs_and_workers(tmp_path: Path) -> None:
    code = """
started = []
sys.addaudithook(lambda event, args: started.append(args[1]) if event == "subprocess.Popen" else None)
with observed() as seen:
    import numpy as np
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    X = np.random.default_rng(0).random((300, 4))
    y = (X[:, 0] > 0.5).astype(int)
    HistGradientBoostingClassifier(max_iter=5).fit(X, y)
    counted = [os.path.basename(words[0]) for words in started]  # so that what is known is really started
    RandomForestClassifier(n_estimators=5, n_jobs=2).fit(X, y)
    make_pipeline(ColumnTransformer([("s", StandardScaler(), [0])]), LogisticRegression()).fit(X, y)
    GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, n_jobs=2, cv=2).fit(X, y)
print(counted, seen.seen)
"""
    program = "lscpu" if sys.platform.startswith("linux") else "sysctl"
    assert in_fresh_process(code, tmp_path) == f"['{program}'] ()"


def test_lscpu_started_by_the_project_is_an_input(tmp_path: Path) -> None:
    program = tmp_path / "lscpu"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    code = "import subprocess\nwith observed() as seen:\n    subprocess.run(['./lscpu', '-p'], check=True)\n"
    assert in_fresh_process(code + "print([one.name for one in seen.seen])", tmp_path) == "['./lscpu -p']"


def test_joblib_workers_that_the_project_asks_for_are_seen_each_time(tmp_path: Path) -> None:
    code = """
from joblib import Parallel, delayed
for _ in range(2):
    with observed() as seen:
        Parallel(n_jobs=2)(delayed(abs)(number) for number in range(2))
    print([one.name for one in seen.seen])
"""
    assert in_fresh_process(code, tmp_path).splitlines() == ["['joblib workers (2)']"] * 2
