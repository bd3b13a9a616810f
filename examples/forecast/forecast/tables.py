"""From the raw file to versioned, checked datasets."""

import mainspring as ms
from forecast import raw
from mainspring.data import DatasetVersion, Report, check, validate

RIDES_CHECKS = [
    check.row_count(at_least=100_000),
    check.unique(["date", "station"]),
    check.is_in("station", raw.STATIONS),
    check.not_null("rides"),
    check.between("rides", 0, 40),
    check.between("rides", 0.05, 40, severity="warn"),  # a station that is closed
]


@ms.step(outputs=("rides", "games"))
def ingest() -> tuple[DatasetVersion, DatasetVersion]:
    """A version of both datasets; the same rows again are the same version."""
    rides, games = raw.read()
    print(f"{rides.height:,} rows of rides, {games.height:,} days of games")
    return (
        ms.dataset("rides").commit(rides, source=raw.FILE, note="modeldata: Chicago"),
        ms.dataset("games").commit(games, source=raw.FILE, note="modeldata: Chicago"),
    )


@ms.step(outputs=("version", "report"))
def checked(version: DatasetVersion) -> tuple[DatasetVersion, Report]:
    """The version, if no check that stops has failed."""
    report = validate(version, RIDES_CHECKS)
    print(report)
    report.raise_for_stop()
    return version, report
