"""What is known about a flight before it leaves: one definition, for training and for the served model."""

import polars as pl

from mainspring.features import Entity, FeatureService, FeatureView, OnDemandView, Stream, agg

NEW_YORK = "America/New_York"
CATEGORIES = ["carrier", "origin", "dest"]
WEATHER = ["temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib"]
WINDOWS = ["1h", "6h", "7d"]

origin, carrier, plane = Entity("origin"), Entity("carrier"), Entity("plane", {"tailnum": str})


def reports(weather: pl.LazyFrame) -> pl.LazyFrame:
    """Hourly reports. One is surely known when its hour is over."""
    return weather.with_columns(known_at=pl.col("time_hour") + pl.duration(hours=1))


def facts(planes: pl.LazyFrame) -> pl.LazyFrame:
    """What a plane is, true since the year in which it was built."""
    year = pl.col("year").cast(pl.Int32)
    return planes.with_columns(built=year, since=pl.datetime(year.fill_null(1900), 1, 1, time_zone="UTC"))


weather = FeatureView(
    "weather",
    entity=origin,
    source="weather",
    transform=reports,
    event_time="time_hour",
    created_time="known_at",
    ttl="6h",
    features=WEATHER,
    description="the last report from the airport",
)
planes = FeatureView(
    "planes",
    entity=plane,
    source="planes",
    transform=facts,
    event_time="since",
    features=["built", pl.col("seats").cast(pl.Float64)],
    description="facts about the aircraft",
)

# A flight counts from its departure on, but how late it came is known hours later.
arrivals = Stream(
    "arrivals",
    {"carrier": "str", "origin": "str", "tailnum": "str", "delay": "f64", "known_at": "datetime[us, UTC]"},
    description="how late a flight came, told when it arrives",
)
delays = [
    FeatureView(
        f"{entity.name}_delays",
        entity=entity,
        source=arrivals,
        created_time="known_at",
        features=[agg.mean("delay", WINDOWS).named(f"{entity.name}_delay")],
        description=f"mean delay of the flights of this {entity.name}",
    )
    for entity in (carrier, origin, plane)
]

departs = pl.col("time_hour").dt.convert_time_zone(NEW_YORK)
calendar = OnDemandView(
    "calendar",
    request={"time_hour": "datetime[us, UTC]"},
    inputs=[planes["built"]],
    features={
        "month": departs.dt.month().cast(pl.Float64),
        "weekday": departs.dt.weekday().cast(pl.Float64),
        "hour": departs.dt.hour().cast(pl.Float64),
        "plane_age": (departs.dt.year() - pl.col("built")).cast(pl.Float64),
    },
    description="what follows from the hour of departure",
)

late = FeatureService("late", [weather, planes["seats"], *delays, calendar], description="will a flight come late?")
NUMBERS = ["distance", *WEATHER, "seats", *(name for view in delays for name in view.names), *calendar.names]
FEATURES = CATEGORIES + NUMBERS
