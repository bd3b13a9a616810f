"""Processes that read beside one that materializes: no entity is ever missing, no vector is of two rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from mainspring.data import dataset
from mainspring.features import Entity, FeatureService, FeatureView, apply, materialize
from mainspring.testing.plugin import Backend
from mainspring.testing.processes import start_server
from mainspring.workspace import Workspace

COUNT, GENERATIONS = 100, 5
START = datetime(2013, 1, 1, tzinfo=UTC)
# A vector's values all name the generation of its row. Each process ends when it has seen the last one everywhere.
READERS = f"""
import os
from mainspring.features import FeatureReader, get_definition
from mainspring.workspace import Workspace

def read():
    workspace = Workspace.open()
    reader = FeatureReader(get_definition("service", "all", workspace), workspace)
    entities = [{{"user": n}} for n in range({COUNT})]
    newest, reads = [0] * {COUNT}, 0
    while min(newest) < {GENERATIONS - 1} and os.getppid() == started:
        for user, vector in enumerate(reader.read(entities)):
            assert set(vector.statuses) == {{"PRESENT"}}, (user, vector)
            generation, text, many, flag = vector.values
            assert (text, many, flag) == (f"{{generation}}" * 40, [generation] * 9, generation % 2 == 0), vector
            assert generation >= newest[user], (generation, newest[user])
            newest[user] = generation
        reads += 1
        if reads == 1:
            os.write(1, b"ready\\n")
    assert reads > 1 and min(newest) == {GENERATIONS - 1}

started, readers = os.getpid(), []
for _ in range(2):
    readers.append(os.fork())
    if not readers[-1]:
        read()
        os._exit(0)
for reader in readers:
    assert os.waitpid(reader, 0)[1] == 0
"""


def rows(generation: int) -> pl.DataFrame:
    at = START + timedelta(hours=generation)
    return pl.DataFrame(
        {"user": range(COUNT), "at": [at] * COUNT, "generation": [generation] * COUNT,
         "text": [f"{generation}" * 40] * COUNT, "many": [[generation] * 9] * COUNT, "flag": [generation % 2 == 0] * COUNT}
    )  # fmt: skip


def test_processes_read_whole_values_without_a_gap_while_views_are_materialized(
    workspace: Workspace, backend: Backend, tmp_path: Path
) -> None:
    view = FeatureView(
        "user", entity=Entity("user", {"user": int}), source="users", event_time="at",
        features=["generation", "text", "many", "flag"],
    )  # fmt: skip
    dataset("users").commit(rows(0))
    apply(FeatureService("all", [view]))
    materialize("user")
    where = {
        "MAINSPRING_DATABASE": backend.database_url, "MAINSPRING_BLOBS": backend.blob_url,
        "MAINSPRING_ONLINE": backend.online,
    }  # fmt: skip
    process, _ = start_server(READERS, tmp_path, **where)
    try:
        for generation in range(1, GENERATIONS):
            dataset("users").append(rows(generation))
            materialize("user", full=generation % 2 == 0)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
    finally:
        process.kill()
