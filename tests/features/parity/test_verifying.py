"""What was served is what the offline path gives; each planted skew is found, with its likely cause."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import polars as pl
import pytest

from mainspring.data import dataset
from mainspring.features import (
    Definition,
    Entity,
    FeatureReader,
    FeatureService,
    FeatureView,
    OnDemandView,
    apply,
    get_definition,
    materialize,
    push,
    verify,
)
from mainspring.features.online.packing import Packing
from mainspring.features.online.places import values_prefix, watermark_place
from mainspring.features.online.watermark import Running, Watermark, watermark_of
from mainspring.features.parity import Cause, VectorLog
from mainspring.workspace import Workspace

START = datetime(2013, 1, 1, tzinfo=UTC)


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def us(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)


def weather(**changed: Any) -> FeatureView:
    given: dict[str, Any] = {
        "entity": Entity("origin"), "source": "weather", "event_time": "at", "created_time": "known", "ttl": "4h",
        "features": ["wind", (pl.col("temp") < 32).alias("is_freezing")],
    }  # fmt: skip
    return FeatureView("weather_at", **given | changed)


def service(view: FeatureView) -> FeatureService:
    calendar = OnDemandView(
        "calendar", request={"leaves_at": "datetime[us, UTC]"}, inputs=[view["wind"]],
        features={"hour": pl.col("leaves_at").dt.hour(), "windy_hour": pl.col("wind") * pl.col("leaves_at").dt.hour()},
    )  # fmt: skip
    return FeatureService("late", [view, view["wind"].keyed(origin="dest").prefixed("dest_"), calendar])


def history(chance: random.Random, rows: int = 60, *, late: bool = True) -> pl.DataFrame:
    moments = sorted(chance.randint(0, 20) for _ in range(rows))
    return pl.DataFrame(
        {
            "origin": [chance.choice("abc") for _ in moments],
            "at": [at(moment) for moment in moments],
            "known": [at(moment + (chance.choice((0, 0, 1, 5)) if late else 0)) for moment in moments],
            "wind": [chance.choice((None, 1, 2, 3)) for _ in moments],
            "temp": [chance.uniform(0, 60) for _ in moments],
        },
        schema_overrides={"wind": pl.Int64},
    )


class Served:
    """A service whose reads are all logged."""

    def __init__(self, workspace: Workspace, frame: pl.DataFrame, view: FeatureView | None = None) -> None:
        self.workspace, self.frame = workspace, frame
        dataset("weather").commit(frame)
        apply(service(view or weather()))
        self.reader = FeatureReader(get_definition("service", "late"), workspace)
        self.log = VectorLog(workspace, share=1)
        self.count = 0

    def bring(self, until: float) -> None:
        materialize("weather_at", until=at(until))
        marked("weather_at", until, self.workspace)

    def read(self, when: float, origins: str = "abcd") -> None:
        asked = [{"origin": one, "dest": other, "leaves_at": at(when)} for one in origins for other in origins]
        self.count += len(asked)
        self.log.read(self.reader, asked, [f"{when}/{n}" for n in range(len(asked))], at_us=us(at(when)))


def marked(view: str, until: float, workspace: Workspace) -> None:
    definition = get_definition("view", view)
    if watermark_of(definition) is None or watermark_of(definition).until_us < us(at(until)):
        mark = Watermark(source="weather", version=str(dataset("weather").latest()), until_us=us(at(until)))
        workspace.online.write([(watermark_place(definition), mark.packed())])


@pytest.mark.parametrize("seed", range(4))
def test_what_was_served_is_what_the_offline_path_gives(workspace: Workspace, seed: int) -> None:
    chance = random.Random(seed)
    frame = history(chance)
    served = Served(workspace, frame[:30], weather(ttl=f"{chance.randint(1, 6)}h"))
    when = 0.0
    for known in (30, 45, 60):
        if known > 30:
            dataset("weather").append(frame[served.frame.height : known])
            served.frame = frame[:known]
        for _ in range(3):
            when += chance.choice((0, 0.5, 3))
            served.bring(when)
            for _ in range(2):
                when += chance.choice((0, 0.25, 2))
                served.read(when)
    report = verify("late")
    assert report.mismatches == ()
    assert (report.vectors, report.verified, report.passed) == (served.count, served.count, True)
