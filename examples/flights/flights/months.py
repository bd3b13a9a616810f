"""Flights as they would arrive in life: a file a month, held to its checks before its rows become part of the dataset.

Three deliveries are broken, as they are in life, and are made so here: a renamed column, a day that was sent twice, and
rows with delays that can't be. The first two are stopped, and the right file is sent later; of the third the rows are
set apart and the rest is taken.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import polars as pl

import mainspring as ms
from flights import raw
from mainspring.data import Dataset, DatasetVersion, check, find_report
from mainspring.errors import InvalidError

DATASET, APART = "months", "months-quarantine"
COLUMNS = (
    "year", "month", "day", "dep_time", "sched_dep_time", "dep_delay", "arr_time", "sched_arr_time", "arr_delay", "carrier",
    "flight", "tailnum", "origin", "dest", "air_time", "distance", "hour", "minute", "time_hour",
)  # fmt: skip
CHECKS = [
    check.only_columns(COLUMNS),
    check.row_count(at_least=20_000),
    check.unique(["time_hour", "carrier", "flight"]),
    check.is_in("origin", ["EWR", "JFK", "LGA"]),
    check.not_null("carrier", severity="quarantine"),
    check.between("arr_delay", -150, 1_440, severity="quarantine"),
    check.not_null("tailnum", severity="warn"),
]


class Delivery(msgspec.Struct, frozen=True):
    """A file and what became of it: the verdict, rows taken and set apart, the version it led to, and why not."""

    file: str
    verdict: str
    rows: int = 0
    apart: int = 0
    version: str = ""
    why: str = ""


def deliver(folder: Path) -> None:
    """Write the files as they come in, in the order of their names."""
    if folder.is_dir():
        return
    flights = raw.read("flights")
    unfinished = folder.with_name(f"{folder.name}.part")
    unfinished.mkdir(exist_ok=True)
    for (month,), frame in flights.group_by("month", maintain_order=True):
        for name, table in _broken(int(month), frame):
            table.write_parquet(unfinished / f"{name}.parquet")
    unfinished.rename(folder)


def _broken(month: int, frame: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    name = f"2013-{month:02}"
    if month == 4:
        yield f"{name}-first-try", frame.rename({"arr_delay": "arrival_delay"})
    if month == 6:
        yield f"{name}-first-try", pl.concat([frame, frame.filter(pl.col("day") == 1)])
    if month == 9:
        row = pl.int_range(pl.len())
        frame = frame.with_columns(
            arr_delay=pl.when(row % 500 == 7).then(99_999.0).otherwise("arr_delay").cast(frame["arr_delay"].dtype),
            carrier=pl.when(row % 1_000 == 3).then(None).otherwise("carrier"),
        )
    yield name, frame


def receive(folder: Path) -> list[Delivery]:
    """Take in what is new, file by file, in the order of the deliveries."""
    months = ms.dataset(DATASET)
    known = {version.note: version for version in months.versions()}
    files = sorted(folder.glob("*.parquet"), key=lambda file: (file.stem[:7], "first-try" not in file.stem))
    return [_known(months, known[file.stem]) if file.stem in known else _received(months, file) for file in files]


def _received(months: Dataset, file: Path) -> Delivery:
    frame = pl.read_parquet(file)
    try:
        version = months.append(frame, source=file, checks=CHECKS, quarantine=APART, note=file.stem)
    except InvalidError as error:
        why = str(error).rpartition("that passes its checks. ")[2]
        return Delivery(file.stem, "stopped", why=why)
    if version.note != file.stem:  # nothing of it was taken, so that the version is the one before
        return Delivery(file.stem, "stopped", apart=frame.height, why=f"all {frame.height:,} rows are in `{APART}`")
    return _known(months, version, verdict="taken")


def _known(months: Dataset, version: DatasetVersion, verdict: str = "taken before") -> Delivery:
    before = months.version(version.number - 1).rows if version.parent else 0
    report = find_report(version)
    apart = report.rows - (version.rows - before) if report else 0
    return Delivery(version.note, verdict, version.rows - before, apart, str(version))
