"""What is known about a flight before it leaves, and whether it came late."""

from datetime import datetime
from zoneinfo import ZoneInfo

import polars as pl

import mainspring as ms
from mainspring.data import DatasetVersion, split_by_time

NEW_YORK = ZoneInfo("America/New_York")
LATE_MINUTES = 15
CATEGORIES = ["carrier", "origin", "dest"]
NUMBERS = [
    "month", "weekday", "hour", "distance", "plane_age", "seats",
    "temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib",
]  # fmt: skip
FEATURES = CATEGORIES + NUMBERS
WEATHER = ["temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib"]
KEYS = ["time_hour", "flight", "tailnum"]
PARTS = ("train", "validation", "test", "later")


@ms.step
def joined(flights: DatasetVersion, weather: DatasetVersion, planes: DatasetVersion) -> pl.DataFrame:
    """Flights that arrived, with the weather an hour before and the plane's facts, in order of departure."""
    hourly = weather.to_polars().unique(["origin", "time_hour"], keep="first", maintain_order=True)
    # The report of the hour before is the last one that is surely known when the flight leaves.
    known = hourly.select("origin", pl.col("time_hour") + pl.duration(hours=1), *WEATHER)
    facts = planes.to_polars().select("tailnum", pl.col("year").alias("built"), "seats")
    frame = (
        flights.to_polars()
        .filter(pl.col("arr_delay").is_not_null())
        .join(known, on=["origin", "time_hour"], how="left", maintain_order="left")
        .join(facts, on="tailnum", how="left", maintain_order="left")
        .with_columns(
            weekday=pl.col("time_hour").dt.convert_time_zone(NEW_YORK.key).dt.weekday(),
            plane_age=(pl.col("year") - pl.col("built")).cast(pl.Float64),
            late=pl.col("arr_delay") >= LATE_MINUTES,
        )
        .sort("time_hour", "carrier", "flight", "origin", "dest", maintain_order=True)
    )
    print(f"{frame.height:,} flights arrived, {frame['late'].mean():.1%} of them at least {LATE_MINUTES} minutes late")
    return frame.select(*KEYS, *CATEGORIES, *(pl.col(name).cast(pl.Float64) for name in NUMBERS), "arr_delay", "late")


@ms.step(outputs=PARTS)
def split(frame: pl.DataFrame, validation_from: str, test_from: str, later_from: str) -> tuple[pl.DataFrame, ...]:
    """The past to train on, later months to validate and to test on, and the last to send to the served model."""
    borders = [datetime.fromisoformat(day).replace(tzinfo=NEW_YORK) for day in (validation_from, test_from, later_from)]
    return tuple(split_by_time(frame, "time_hour", at=borders, names=PARTS).values())


@ms.step
def counted(train: pl.DataFrame, validation: pl.DataFrame, test: pl.DataFrame, later: pl.DataFrame) -> pl.DataFrame:
    """Of each part: its months, its flights, and the share of them that came late."""
    rows = [
        {
            "part": name,
            "first_month": int(part["month"].min()),
            "last_month": int(part["month"].max()),
            "flights": part.height,
            "late_share": part["late"].mean(),
        }
        for name, part in zip(PARTS, (train, validation, test, later), strict=True)
    ]
    for row in rows:
        print(f"{row['part']}: {row['flights']:,} flights, {row['late_share']:.1%} late")
    return pl.DataFrame(rows)
