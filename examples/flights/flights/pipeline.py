"""The main job: raw tables in, a registered model out; and what a leak in the features would have promised."""

import mainspring as ms
from flights.evaluation import DAYS, assess, baseline, compared, decided, examined, measured
from flights.model import fit, identified, registered, rival
from flights.tables import checked, ingest
from flights.training import LATER_FROM, asked, counted, defined, known, split, told
from flights.tuning import tuned
from mainspring.evaluation import goal_gates


@ms.pipeline
def main(
    validation_from: str = "2013-08-01",
    test_from: str = "2013-09-01",
    later_from: str = LATER_FROM,
    trials: int = 8,
    rounds: int = 60,
) -> dict:
    tables, checks = {}, []
    for name in ("flights", "weather", "planes"):
        version = ingest.named(f"ingest-{name}")(name)
        tables[name], report = checked.named(f"check-{name}")(version)
        checks.append(report)
    arrivals = told(tables["flights"], later_from)
    service = defined(tables["weather"], tables["planes"], arrivals)
    past, later = asked(tables["flights"], later_from)
    made = known(past, service, tables["weather"], tables["planes"], arrivals)
    train, validation, test = split(made, validation_from, test_from)
    params, tried = tuned(train, validation, trials)
    model = fit(train, params, rounds)
    usual = baseline(train, test)
    validated = assess.named("assess-validation")(model, validation, "validation")
    tested = assess.named("assess-test")(model, test, "test", DAYS)
    comparison = compared(model, rival(identified(model)), train, test)
    honest, fair = examined(model, test)
    gates = decided(tested, comparison, honest, fair, goal_gates())
    return {
        "checks": checks,
        "training_set": made,
        "parts": counted(train, validation, test, later),
        "trials": tried,
        "evaluations": [usual, validated, tested],
        "comparison": comparison,
        "honest": honest,
        "fair": fair,
        "cost": measured(model, test),
        "gates": gates,
        "version": registered(model, tested, gates, train, service),
        "later": later,
    }


@ms.pipeline
def leak(
    validation_from: str = "2013-08-01",
    test_from: str = "2013-09-01",
    later_from: str = LATER_FROM,
    learning_rate: float = 0.1,
    rounds: int = 40,
) -> dict:
    """The same model with the guard off: delays count from departure on, hours before anybody knew them."""
    flights, weather, planes = (ingest.named(f"ingest-{name}")(name) for name in ("flights", "weather", "planes"))
    arrivals = told(flights, later_from)
    service = defined(weather, planes, arrivals)
    past, _ = asked(flights, later_from)
    made = known(past, service, weather, planes, arrivals)
    early = known.named("known-too-early")(past, service, weather, planes, arrivals, guard=False)
    served = split(made, validation_from, test_from)
    leaked = split.named("split-too-early")(early, validation_from, test_from)
    model = fit(leaked[0], {"learning_rate": learning_rate, "leaves": 31, "least": 20}, rounds)
    return {
        "offline": assess.named("assess-offline")(model, leaked[2], "offline"),
        "served": assess.named("assess-served")(model, served[2], "served"),
    }
