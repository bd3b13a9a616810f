"""The main job: raw tables in, a registered model out."""

import mainspring as ms
from flights.features import counted, joined, split
from flights.model import assess, baseline, decided, fit, registered
from flights.tables import checked, ingest


@ms.pipeline
def main(
    validation_from: str = "2013-09-01",
    test_from: str = "2013-10-01",
    later_from: str = "2013-12-01",
    learning_rate: float = 0.1,
    rounds: int = 150,
) -> dict:
    tables, checks = {}, []
    for name in ("flights", "weather", "planes"):
        version = ingest.named(f"ingest-{name}")(name)
        tables[name], report = checked.named(f"check-{name}")(version)
        checks.append(report)
    frame = joined(tables["flights"], tables["weather"], tables["planes"])
    train, validation, test, later = split(frame, validation_from, test_from, later_from)
    model = fit(train, learning_rate, rounds)
    usual = baseline(train, test)
    validated = assess.named("assess-validation")(model, validation, "validation")
    tested = assess.named("assess-test")(model, test, "test")
    gates = decided(tested, usual)
    return {
        "checks": checks,
        "parts": counted(train, validation, test, later),
        "evaluations": [usual, validated, tested],
        "gates": gates,
        "version": registered(model, tested, gates, train),
        "later": later,
    }
