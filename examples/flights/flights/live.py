"""The last two months as they would be lived through: arrivals are told, and flights of each evening asked about.

Whether they came late is known when they have arrived.
"""

import time
from datetime import datetime

import msgspec
import polars as pl

import mainspring as ms
from flights import features
from flights.training import LATER_FROM, arrivals, border, event_id
from mainspring.features import materialize, watermark_of
from mainspring.streams import open_log, send
from mainspring.workspace import current_workspace

ASKED = ["carrier", "origin", "dest", "tailnum", "time_hour", "distance"]
ASKED_AT = 20  # o'clock: the flights of all hours that arrived, 54,000, would be minutes of requests
_PATIENCE_S = 60.0


class Hour(msgspec.Struct, frozen=True):
    """Flights that leave in an hour, each with when its arrival is known, and the arrivals since the hour asked before."""

    begins: datetime
    flights: list[dict]
    arrivals: pl.DataFrame


def hours(later: pl.DataFrame) -> list[Hour]:
    """The hour of each day that is asked about, one after the other, each with all flights that leave New York in it."""
    events = arrivals(ms.dataset("flights").latest().to_polars()).filter(pl.col("known_at") > border(LATER_FROM))
    later = later.with_columns(event_id()).join(events.select("event_id", "known_at"), on="event_id", how="left")
    hour = pl.col("time_hour").dt.convert_time_zone(features.NEW_YORK).dt.hour()
    wanted = later.filter(hour == ASKED_AT)
    found, since = [], border(LATER_FROM)
    for flights in wanted.partition_by("time_hour", maintain_order=True):
        begins = flights["time_hour"][0]
        new = events.filter((pl.col("known_at") > since) & (pl.col("known_at") <= begins))
        found.append(Hour(begins, flights.to_dicts(), new))
        since = begins
    return found


def told(hour: Hour) -> None:
    """Send what became known to the stream. What is sent again has no effect."""
    for event in hour.arrivals.select("event_id", "event_time", *features.arrivals.fields).iter_slices(5_000):
        send(features.arrivals.name, event, id="event_id", time="event_time")


class Label(msgspec.Struct, frozen=True):
    """Whether a flight came late, of the prediction with this id, and when that was known."""

    prediction: str
    late: bool
    known_at: datetime


def labels(hour: Hour, predictions: list[str]) -> list[Label]:
    """What will be known of an hour's flights, whose predictions have these ids."""
    return [
        Label(prediction, flight["late"], flight["known_at"])
        for prediction, flight in zip(predictions, hour.flights, strict=True)
    ]


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
