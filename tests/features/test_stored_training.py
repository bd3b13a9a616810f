"""Training sets larger than memory: the same rows, digest and report as in memory, in bounded memory."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from random import Random

import polars as pl
import pytest

from mainspring.artifacts import table_digest
from mainspring.artifacts.record import ArtifactStore
from mainspring.data import dataset
from mainspring.errors import InvalidError, NotFoundError, WrongTypeError
from mainspring.features import (
    Entity,
    FeatureService,
    FeatureView,
    OnDemandView,
    StoredTrainingSet,
    TrainingSet,
    agg,
    apply,
    get_definition,
    store_training_set,
    training_set,
)
from mainspring.testing.workspaces import Lab
from mainspring.workspace import Workspace, using
from tests.features.test_training import ARRIVALS, FLIGHTS, PIPELINE, START, WEATHER, service

MIB = 1 << 20
WIDTH = 128  # of an embedding of 32-bit floats
KINDS = [
    agg.count(windows="1h"), agg.sum("delay", "1h"), agg.mean("delay", ["1h", "6h"]), agg.std("delay", "6h"),
    agg.min("delay", "6h"), agg.max("delay", "6h"), agg.distinct("delay", "6h"), agg.last("delay", "6h", n=3),
    agg.top_k("delay", "6h", k=2),
]  # fmt: skip


def told(found: TrainingSet | StoredTrainingSet) -> tuple[object, ...]:
    return found.features, found.service, found.service_id, found.sources, found.reports


def made(seed: int) -> tuple[pl.DataFrame, pl.DataFrame, FeatureService]:
    """Events and rows of composite keys with nulls, ties, late and repeated events; a service of every aggregate."""
    random = Random(seed)

    def keys(count: int) -> dict[str, list[object]]:
        return {
            "carrier": [random.choice(["UA", "AA", "Ünited", None]) for _ in range(count)],
            "number": [random.choice([1, 2**40, None]) for _ in range(count)],
        }

    left = [START + timedelta(minutes=random.randrange(0, 600, 7)) for _ in range(400)]
    events = pl.DataFrame(
        {
            **keys(400), "left_at": left, "known_at": [at + timedelta(minutes=random.randrange(0, 90)) for at in left],
            "id": [random.randrange(300) for _ in range(400)],
            "delay": [random.choice([None, 0.1, 0.2, 0.3, random.gauss(0, 1e6)]) for _ in range(400)],
        },
        schema_overrides={"number": pl.Int64},
    )  # fmt: skip
    at = [START + timedelta(minutes=random.randrange(0, 700, 7)) for _ in range(150)]
    rows = pl.DataFrame({"row": range(150), **keys(150), "at": at}, schema_overrides={"number": pl.Int64})
    flight = Entity("flight", {"carrier": str, "number": int})
    times = {"event_time": "left_at", "created_time": "known_at"}
    view = FeatureView("delays", entity=flight, source="events", event_id="id", features=KINDS, **times)
    newest = FeatureView("newest", entity=flight, source="events", ttl="30m", features=["delay"], **times)
    share = pl.col("delay_mean_1h") / pl.col("row")
    demand = OnDemandView("relative", request={"row": "i64"}, inputs=[view["delay_mean_1h"]], features={"r": share})
    return rows, events, FeatureService("all", [view, newest, demand])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.one_backend("what is stored has its own tests")
def test_by_partition_the_set_has_the_bits_and_the_report_that_it_has_in_memory(
    workspace: Workspace, seed: int
) -> None:
    rows, events, every = made(seed)
    dataset("events").commit(events)
    apply(every)
    whole = training_set(rows, every, time="at")
    for partitions in (None, 1, 5):
        stored = store_training_set(rows.lazy(), every, time="at", to="set", partitions=partitions)
        assert stored.version.to_polars().equals(whole.frame)
        assert stored.version.content_digest == table_digest(whole.frame).digest
        assert told(stored) == told(whole)
    assert [str(report.view) for report in stored.reports] == ["delays", "newest", "delays"]
    assert stored.reports[0].guard.changed == stored.reports[0].guard.replaced + stored.reports[0].guard.lost > 0


def test_rows_of_a_version_are_kept_with_where_they_come_from(workspace: Workspace) -> None:
    dataset("weather").commit(WEATHER)
    dataset("arrivals").commit(ARRIVALS)
    flights = dataset("flights").commit(FLIGHTS)
    late = service()
    apply(late)
    stored = store_training_set(flights, late, time="leaves_at", to="set", note="May")
    again = dataset("again").commit(training_set(FLIGHTS, late, time="leaves_at").frame)
    assert stored.version.content_digest == again.content_digest
    read = {source.node for source in stored.version.source}
    assert read == {
        get_definition("service", "late").id, flights.id, dataset("weather").latest().id, dataset("arrivals").latest().id
    }  # fmt: skip
    assert (stored.version.note, str(stored).splitlines()[0]) == ("May", "set/1: 4 rows, 7 features of late/1")
    assert store_training_set(FLIGHTS.clear(), late, time="leaves_at", to="none").version.rows == 0  # fmt: skip


@pytest.mark.one_backend("nothing is stored")
def test_what_does_not_fit_is_said_and_nothing_is_stored(workspace: Workspace) -> None:
    dataset("weather").commit(WEATHER)
    dataset("arrivals").commit(ARRIVALS)
    late = service()
    apply(late)
    for rows, error in (
        (FLIGHTS.drop("carrier"), NotFoundError), (FLIGHTS.with_columns(hour=1), InvalidError),
        (FLIGHTS.with_columns(leaves_at=None), InvalidError), (FLIGHTS.with_columns(origin=1.5), WrongTypeError),
    ):  # fmt: skip
        with pytest.raises(error):
            store_training_set(rows.lazy(), late, time="leaves_at", to="set")
    with pytest.raises(InvalidError, match="partitions"):
        store_training_set(FLIGHTS, late, time="leaves_at", to="set", partitions=0)
    with pytest.raises(NotFoundError, match="set"):
        dataset("set").latest()


STORED = PIPELINE.replace("training_set(rows", "store_training_set(rows").replace(
    "training_set\n", "store_training_set\n"
)


def test_a_stored_set_is_its_version_in_the_lineage(lab: Lab) -> None:
    with using(lab.workspace):
        dataset("weather").commit(WEATHER)
        dataset("arrivals").commit(ARRIVALS)
        apply(service())
        text = STORED.replace("import mainspring as ms\n", "", 1).replace(
            'time="leaves_at"', 'time="leaves_at", to="set"'
        )
        lab.write(text)
        first = lab.run(params={"rows": FLIGHTS})
        stored = first.value
        assert isinstance(stored, StoredTrainingSet)
        version = dataset("set").latest()
        assert (version.made_by, stored.version) == (first.tasks[0].id, version)
        above = {edge.dst for edge in lab.workspace.ledger.walk(version.id, "up")}
        assert {get_definition("service", "late").id, dataset("weather").latest().id} <= above
        again = lab.run(params={"rows": FLIGHTS}).tasks[0]
        assert again.state == "reused", (again.reasons, first.tasks[0].seen)


MODEL = """
import polars as pl

from mainspring.data import DatasetVersion
from mainspring.features import Definition, get_definition, training_set


@ms.step
def joined(rows: pl.DataFrame, weather: DatasetVersion, arrivals: DatasetVersion, service: Definition):
    return training_set(rows, service, time="leaves_at", sources={"weather": weather, "arrivals": arrivals})


@ms.step
def fitted(found):
    return {"mean": found.frame["wind"].mean()}


@ms.pipeline
def main(rows: pl.DataFrame):
    newest = [ms.dataset(name).latest() for name in ("weather", "arrivals")]
    return fitted(joined(rows, *newest, get_definition("service", "late")))
"""


@pytest.mark.one_backend("the ledger has its own tests")
def test_a_set_shows_its_report_and_leads_from_a_model_to_the_raw_data(lab: Lab) -> None:
    with using(lab.workspace):
        dataset("weather").commit(WEATHER)
        dataset("arrivals").commit(ARRIVALS)
        apply(service())
        lab.write(MODEL.replace("\n", "", 1))
        run = lab.run(params={"rows": FLIGHTS})
        ledger = lab.workspace.ledger
        above = ledger.nodes({edge.dst for edge in ledger.walk(run.tasks[1].id, "up")})
        labels = {(node.kind, node.label) for node in above.values()}
        assert {
            ("feature_service", "late/1"), ("feature_view", "weather_at/1"), ("dataset_version", "weather/1"),
            ("dataset_version", "arrivals/1"),
        } <= labels  # fmt: skip
        artifacts = ArtifactStore(lab.workspace.database, ledger)
        joined = [node.id for node in above.values() if node.kind == "artifact"]
        shown = [
            each.preview
            for each in artifacts.get_many(joined).values()
            if each.preview.detail.get("type") == "TrainingSet"
        ]
        assert shown[0].summary.startswith("4 rows, 7 features of late/1 weather_at of weather/1: 25.0% found")
        assert "carrier_delay of arrivals/1: 75.0% found" in shown[0].detail["text"]


# A source of rows and events is written in pieces, then looked up in a process that says how much memory it took at most.
CHILD = """
import os, sys, numpy as np, polars as pl
from pathlib import Path
from mainspring.artifacts import spool
from mainspring.data import dataset
from mainspring.features import lookups
from mainspring.features import Entity, FeatureService, FeatureView, agg, apply, store_training_set
from mainspring.runners.resources import ResourceMeter, peak_bytes, rss_bytes
from mainspring.workspace import Workspace, using
folder, pieces, width, partitions, batch_bytes = Path(sys.argv[1]), *map(int, sys.argv[2:])
spool.BATCH_BYTES = lookups.BATCH_BYTES = batch_bytes
spool._GROUP_BYTES = batch_bytes // 2
random = np.random.default_rng(0)
with Workspace.open(folder) as opened, using(opened):
    for piece in range(pieces):
        frame = pl.DataFrame({"k": random.integers(0, 5_000, 20_000), "ts": random.integers(0, 10**12, 20_000)})
        values = np.repeat(random.random((20_000, 1), dtype=np.float32), width, axis=1)  # quick to compress, wide in memory
        frame = frame.with_columns(pl.col("ts").cast(pl.Datetime("us")), v=pl.Series(values, dtype=pl.Array(pl.Float32, width)))
        frame.write_parquet(folder / f"{piece:04}.parquet")
    history = dataset("history").commit(pl.scan_parquet(sorted(folder.glob("*.parquet"))))
    rows = dataset("rows").commit(history.scan().select("k", at="ts").gather_every(8))
    key = Entity("k", {"k": int})
    plain = FeatureView("plain", entity=key, source="history", event_time="ts", features=["v"])
    some = FeatureView("some", entity=key, source="history", event_time="ts", features=[agg.count(windows="6h")])
    every = FeatureService("every", [plain, some])
    apply(every)
    del frame, values
    before = rss_bytes(os.getpid())
    with ResourceMeter() as meter:
        stored = store_training_set(rows, every, time="at", to="set", partitions=partitions)
    assert stored.reports[0].found == stored.reports[0].rows == stored.version.rows == 2_500 * pieces
print(before, meter.peak_memory_bytes)
"""


def growth_of(folder: Path, pieces: int, partitions: int, batch_bytes: int) -> tuple[float, float]:
    """How many bytes the source of so many pieces has in memory, and by how many the process grew at most."""
    ran = subprocess.run(
        [sys.executable, "-c", CHILD, *map(str, (folder, pieces, WIDTH, partitions, batch_bytes))],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    before, peak = map(int, ran.stdout.split())
    return pieces * 20_000 * (4 * WIDTH + 16), peak - before


ON_LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak can be set back on Linux only")


@pytest.mark.journey
@ON_LINUX
def test_a_source_of_twice_the_memory_is_looked_up_in_small_batches(tmp_path: Path) -> None:
    source, growth = growth_of(tmp_path, 16, 16, 4 * MIB)
    assert growth < source / 2


@ON_LINUX
@pytest.mark.soak
@pytest.mark.timeout(3_600)
def test_two_gigabytes_are_looked_up_in_a_quarter(tmp_path: Path) -> None:
    source, growth = growth_of(tmp_path, 204, 64, 64 * MIB)
    assert source > 2000 * MIB
    assert growth < source / 4
