"""From datasets to training rows: what was known of each flight when it was asked about, and whether it came late."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import polars as pl

import mainspring as ms
from flights import features
from mainspring.data import DatasetVersion, split_by_time
from mainspring.features import Definition, TrainingSet, apply, get_definition, training_set

LATE_MINUTES = 15
TAXI_MINUTES = 20
LATER_FROM = "2013-11-01"
PARTS = ("train", "validation", "test", "later")
KEYS = ["time_hour", "flight", "tailnum"]


def border(day: str) -> datetime:
    """The start of a day in New York."""
    return datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(features.NEW_YORK)).astimezone(UTC)


def event_id() -> pl.Expr:
    """What names a flight's arrival in the stream."""
    return pl.concat_str(pl.col("time_hour").dt.strftime("%Y%m%dT%H"), "carrier", "flight", separator="-").alias(
        "event_id"
    )


def arrivals(flights: pl.DataFrame) -> pl.DataFrame:
    """Of each flight that arrived an event, in the order in which they became known: when it left, and how late it came."""
    arrived = flights.filter(pl.col("arr_delay").is_not_null())
    departs = pl.col("time_hour") + pl.duration(minutes=pl.col("minute"))
    minutes = pl.col("dep_delay") + pl.col("air_time").fill_null(pl.col("distance") / 8) + TAXI_MINUTES
    known_at = departs + pl.duration(minutes=minutes.cast(pl.Int64))
    return arrived.select(
        event_id(), event_time=departs, received_at=known_at, event_offset=pl.lit(0),
        carrier="carrier", origin="origin", tailnum="tailnum", delay=pl.col("arr_delay").cast(pl.Float64), known_at=known_at,
    ).with_columns(pl.col("event_offset").cast(pl.Int64)).sort("known_at", "event_id")  # fmt: skip


@ms.step
def told(flights: DatasetVersion, until: str) -> DatasetVersion:
    """The history of the stream: the arrivals that were known by a day. What comes later is sent to it."""
    known = arrivals(flights.to_polars()).filter(pl.col("known_at") <= border(until))
    print(f"{known.height:,} arrivals were known by {until}")
    return ms.dataset(features.arrivals.name).commit(known)


@ms.step
def defined(weather: DatasetVersion, planes: DatasetVersion, arrivals: DatasetVersion) -> Definition:
    """The definitions, held to their data; the version of the service that they make."""
    sources = {version.dataset: version for version in (weather, planes, arrivals)}
    for change in apply(features, sources=sources).changes:
        print(f"{change.action}: {change.kind} {change.after}")
    return get_definition("service", features.late.name)


@ms.step(outputs=("past", "later"))
def asked(flights: DatasetVersion, later_from: str) -> tuple[pl.DataFrame, ...]:
    """Flights that arrived, in order of departure, and whether they came late: the past, and those to ask the served model."""
    arrived = (
        flights.to_polars()
        .filter(pl.col("arr_delay").is_not_null())
        .sort("time_hour", "carrier", "flight", "origin", "dest", maintain_order=True)
        .select(
            *KEYS, *features.CATEGORIES, pl.col("distance").cast(pl.Float64), "arr_delay",
            late=pl.col("arr_delay") >= LATE_MINUTES,
        )
    )  # fmt: skip
    print(
        f"{arrived.height:,} flights arrived, {arrived['late'].mean():.1%} of them {LATE_MINUTES} minutes late or more"
    )
    return tuple(split_by_time(arrived, "time_hour", at=border(later_from), names=("past", "later")).values())


@ms.step
def known(
    past: pl.DataFrame, service: Definition, weather: DatasetVersion, planes: DatasetVersion, arrivals: DatasetVersion,
    guard: bool = True,
) -> TrainingSet:  # fmt: skip
    """Each flight with the features as they were known when the hour of its departure began."""
    sources = {version.dataset: version for version in (weather, planes, arrivals)}
    made = training_set(past, service, time="time_hour", guard=guard, sources=sources)
    print(made)
    return made


@ms.step(outputs=PARTS[:3])
def split(made: TrainingSet, validation_from: str, test_from: str) -> tuple[pl.DataFrame, ...]:
    """The past to train on, later months to validate and to test on."""
    borders = [border(day) for day in (validation_from, test_from)]
    return tuple(split_by_time(made.frame, "time_hour", at=borders, names=PARTS[:3]).values())


@ms.step
def counted(train: pl.DataFrame, validation: pl.DataFrame, test: pl.DataFrame, later: pl.DataFrame) -> pl.DataFrame:
    """Of each part: its months, its flights, and the share of them that came late."""
    rows = []
    for name, part in zip(PARTS, (train, validation, test, later), strict=True):
        months = part["time_hour"].dt.convert_time_zone(features.NEW_YORK).dt.month()
        counts = {"first_month": months.min(), "last_month": months.max(), "flights": part.height}
        rows.append({"part": name, **counts, "late_share": part["late"].mean()})
    for row in rows:
        print(f"{row['part']}: {row['flights']:,} flights, {row['late_share']:.1%} late")
    return pl.DataFrame(rows)
