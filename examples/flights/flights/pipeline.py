"""The main job: raw tables in, a registered model out."""

import mainspring as ms
from flights.features import joined, split
from flights.model import assess, decided, fit, registered
from flights.raw import raw_tables
from flights.tables import checked, ingest


@ms.pipeline
def main(
    test_from: str = "2013-09-01", later_from: str = "2013-12-01", learning_rate: float = 0.1, rounds: int = 150
) -> dict:
    raw = raw_tables()
    tables = {}
    for name in ("flights", "weather", "planes"):
        version = ingest.named(f"ingest-{name}")(raw, name)
        tables[name] = checked.named(f"check-{name}")(version)[0]
    frame = joined(tables["flights"], tables["weather"], tables["planes"])
    train, test, later = split(frame, test_from, later_from)
    model = fit(train, learning_rate, rounds)
    evaluation = assess(model, test)
    version = registered(model, evaluation, decided(evaluation), train)
    return {"version": version, "evaluation": evaluation, "later": later}
