"""The last month as it would be lived through: arrivals are told as they come, and each hour's flights are asked about."""

import time
from datetime import datetime

import msgspec
import polars as pl

import mainspring as ms
from flights import features
from flights.training import LATER_FROM, arrivals, border
from mainspring.features import materialize, watermark_of
from mainspring.streams import open_log, send
from mainspring.workspace import current_workspace

ASKED = ["carrier", "origin", "dest", "tailnum", "time_hour", "distance"]
_PATIENCE_S = 60.0


class Hour(msgspec.Struct, frozen=True):
    """Flights that leave in an hour, and the arrivals that became known since the hour before this one."""

    begins: datetime
    flights: list[dict]
    arrivals: pl.DataFrame


def hours(later: pl.DataFrame, count: int) -> list[Hour]:
    """Hours through the month, one after the other, with about `count` flights in all."""
    events = arrivals(ms.dataset("flights").latest().to_polars()).filter(pl.col("known_at") > border(LATER_FROM))
    every = later.partition_by("time_hour", maintain_order=True, include_key=True)
    each = max(1, round(later.height / count))
    found, since = [], border(LATER_FROM)
    for flights in every[each - 1 :: each]:
        begins = flights["time_hour"][0]
        new = events.filter((pl.col("known_at") > since) & (pl.col("known_at") <= begins))
        found.append(Hour(begins, flights.to_dicts(), new))
        since = begins
    return found


def told(hour: Hour) -> None:
    """Send what became known to the stream. What is sent again has no effect."""
    for event in hour.arrivals.select("event_id", "event_time", *features.arrivals.fields).iter_slices(5_000):
        send(features.arrivals.name, event, id="event_id", time="event_time")


def settled(hour: Hour) -> None:
    """Bring the weather up to the hour, and wait until the feeder has taken what was sent."""
    materialize(features.weather.name, until=hour.begins)
    end = open_log(current_workspace()).end(features.arrivals.name)
    until = time.monotonic() + _PATIENCE_S
    for view in features.delays:
        while (mark := watermark_of(view.name)) is None or mark.offset < end:
            if time.monotonic() > until:
                raise TimeoutError(f"{view.name} was not fed within {_PATIENCE_S:.0f} s")
            time.sleep(0.005)
