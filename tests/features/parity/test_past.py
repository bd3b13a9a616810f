"""Reads in any order of levels are answered as if each saw just the rows that need no more than its own."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest

from mainspring.features.definitions.entity import Key
from mainspring.features.definitions.records import Field, Part, ViewRecord
from mainspring.features.parity.answers import AT, Asked, answers_as_of
from mainspring.features.parity.past import EVERYTHING, NEEDS, NOTHING, Past, chains

PART = Part(view="v", version="", content="", features=("value",), keys={})


def view(stream: dict[str, str] | None) -> ViewRecord:
    return ViewRecord(
        name="v", entities=("key",), keys=(Key("key", "str"),), source="s", stream=stream, event_time="at",
        created_time="known", event_id="", ttl_us=6, transform=None, fields=(Field("value", "i64"),),
    )  # fmt: skip


def seen(rows: list[dict[str, Any]], key: str, at: int, level: int) -> int | None:
    """The oracle, row by row."""
    found = [
        (row["at"], row["known"], place)
        for place, row in enumerate(rows)
        if row["key"] == key and row["at"] <= at and row["known"] <= at and row[NEEDS] <= level
    ]
    if not found or at - max(found)[0] > 6:
        return None
    value: int = rows[max(found)[2]]["value"]
    return value


@pytest.mark.parametrize("of_stream", [False, True])
def test_each_read_sees_what_its_level_gives(of_stream: bool) -> None:
    for seed in range(20):
        chance = random.Random(seed)
        known = (
            sorted(chance.randint(0, 12) for _ in range(20))
            if of_stream
            else [chance.randint(0, 12) for _ in range(20)]
        )
        rows: list[dict[str, Any]] = [
            {"key": chance.choice("ab"), "at": max(0, moment - chance.randint(0, 3)), "known": moment, "value": place,
             "event_offset": place + 1}
            for place, moment in enumerate(known)
        ]  # fmt: skip
        for row in rows:
            row[NEEDS] = row["event_offset"] if of_stream else max(row["at"], row["known"])
        frame = pl.DataFrame(rows).drop(NEEDS).with_columns(pl.col("at", "known").cast(pl.Datetime("us")))
        past = Past(view({} if of_stream else None), frame.lazy(), None)  # type: ignore[arg-type]  # no transform
        at = np.array([chance.randint(0, 15) for _ in range(40)])
        level = np.array([chance.choice((NOTHING, EVERYTHING, *range(20))) for _ in at])
        keys = [chance.choice("abc") for _ in at]
        asked = pl.DataFrame({"key": keys, AT: at}).with_columns(pl.col(AT).cast(pl.Datetime("us", "UTC")))
        found = answers_as_of(Asked(PART, past.record, asked, at), past, level).values["value"].to_list()
        assert found == [seen(rows, *read) for read in zip(keys, at.tolist(), level.tolist(), strict=True)], seed


def test_chains_never_go_back() -> None:
    for seed in range(50):
        chance = random.Random(seed)
        at = np.array([chance.randint(0, 9) for _ in range(30)])
        level = np.array([chance.randint(0, 9) for _ in range(30)])
        parts = chains(at, level)
        assert sorted(place for part in parts for place in part.tolist()) == list(range(30))
        for part in parts:
            pairs = sorted(zip(at[part].tolist(), level[part].tolist(), strict=True))
            assert all(
                one[1] == other[1] or (one[1] < other[1] and one[0] < other[0]) for one, other in pairwise(pairs)
            )
