"""What is known when a forecast is made: one definition for training, for the back-test and for the model that is registered.

A forecast is made at the end of an origin, a day, for the 28 days after it. Nothing here reads rides after the origin, but
for the truth; calendar and schedule of games are known ahead, the weather isn't, so it is left out.
"""

from datetime import date, timedelta

import msgspec
import numpy as np
import pandas as pd
import polars as pl
from pandas.tseries.holiday import USFederalHolidayCalendar

from forecast.raw import GAMES, STATIONS
from mainspring.data import DatasetVersion

HORIZON = 28
HISTORY = 56
WEEKS = 4
YEAR = 364
LEAST_LEVEL = 0.05
CALENDAR = ["weekday", "day_sin", "day_cos", "holiday", "beside_holiday", *(name.lower() for name in GAMES)]
LAGS = [*(f"week_{week}" for week in range(1, WEEKS + 1)), "last_year", "holiday_last_year", "mean_7", "mean_28"]
KNOWN = ["horizon", *CALENDAR, *LAGS]
FEATURES = ["station", *KNOWN]
PAST = [f"day_{days}" for days in range(HISTORY, 0, -1)]


class Panel(msgspec.Struct):
    """Rides as days × stations, and the calendar of these days and of those after them as days × columns."""

    first: date
    rides: np.ndarray
    calendar: np.ndarray

    @classmethod
    def of(cls, rides: DatasetVersion, games: DatasetVersion) -> "Panel":
        """All days of rides, and 28 more: of days that the schedule does not name, no game is known."""
        table = rides.to_polars().pivot("station", index="date", values="rides").sort("date")
        first = table["date"][0]
        last = table["date"][-1] + timedelta(days=HORIZON)
        days = pl.DataFrame({"date": pl.date_range(first, last, eager=True)})
        known = days.join(games.to_polars(), on="date", how="left", maintain_order="left").fill_null(0)
        return cls(first, table.select(STATIONS).to_numpy(), _calendar(known))

    def place(self, day: date) -> int:
        """The number of a day."""
        return (day - self.first).days

    def day(self, place: int) -> date:
        """The day of a number."""
        return self.first + timedelta(days=int(place))

    def before(self, origin: int, years: int, every: int = 7) -> tuple[np.ndarray, np.ndarray]:
        """Origins and stations to learn from: of some years, all whose 28 days are over at an origin, oldest first."""
        last = origin - HORIZON
        origins = np.arange(last - years * YEAR, last + 1, every)
        return np.repeat(origins, len(STATIONS)), np.tile(np.arange(len(STATIONS)), origins.size)


class Windows(msgspec.Struct):
    """Windows, one for each origin and station, all relative to the mean of its last 56 days, the level.

    `history` is windows × 56 days, `known` windows × 28 days × `KNOWN`, `truth` windows × 28 days if it is there yet.
    """

    station: np.ndarray
    level: np.ndarray
    history: np.ndarray
    known: np.ndarray
    truth: np.ndarray | None = None

    @property
    def rows(self) -> np.ndarray:
        """One row for each window and day, with the columns of `FEATURES`."""
        station = np.broadcast_to(self.station[:, None, None], (*self.known.shape[:2], 1))
        return np.concatenate([station, self.known], axis=2).reshape(-1, len(FEATURES))


def windows(panel: Panel, origins: np.ndarray, stations: np.ndarray, *, truth: bool) -> Windows:
    """What is known at each origin of its station; and what came then, if that is asked for."""
    at, one = origins[:, None], stations[:, None]
    ahead = np.arange(1, HORIZON + 1)
    target = at + ahead
    past = panel.rides[at + np.arange(1 - HISTORY, 1), one]
    level = _level(past)
    weeks = 7 * -(-ahead // 7)  # back to the last such weekday that is known
    lags = [panel.rides[target - weeks - 7 * week, one] / level[:, None] for week in range(WEEKS)]
    year_level = _level(panel.rides[at - YEAR + np.arange(1 - HISTORY, 1), one])
    lags.append(panel.rides[target - YEAR, one] / year_level[:, None])
    lags.append(panel.calendar[target - YEAR, CALENDAR.index("holiday")])
    lags += [np.repeat(past[:, -days:].mean(axis=1)[:, None] / level[:, None], HORIZON, axis=1) for days in (7, 28)]
    horizon = np.broadcast_to(ahead, target.shape)
    known = np.concatenate([horizon[..., None], panel.calendar[target], np.stack(lags, axis=2)], axis=2)
    came = panel.rides[target, one] / level[:, None] if truth else None
    return Windows(stations, level, past / level[:, None], known, came)


def _level(past: np.ndarray) -> np.ndarray:
    return np.maximum(past.mean(axis=1), LEAST_LEVEL)


def _calendar(known: pl.DataFrame) -> np.ndarray:
    """The columns of `CALENDAR`."""
    day = known["date"]
    turn = 2 * np.pi * day.dt.ordinal_day().to_numpy() / 365.25
    off = USFederalHolidayCalendar().holidays(pd.Timestamp(day[0]), pd.Timestamp(day[-1]))
    holiday = day.is_in(pl.Series([each.date() for each in off]).implode()).to_numpy()
    beside = np.zeros_like(holiday)
    beside[:-1] |= holiday[1:]
    beside[1:] |= holiday[:-1]
    columns = [day.dt.weekday().to_numpy(), np.sin(turn), np.cos(turn), holiday, beside & ~holiday]
    return np.stack([*columns, *(known[name].to_numpy() for name in GAMES)], axis=1).astype(np.float64)
