"""The job: the raw file in; a back-test of three models, the best of them registered, and its forecast out."""

import mainspring as ms
from forecast.backtest import CANDIDATES, assessed, chosen, compared, decided, gathered, origins
from forecast.best import announced, fitted, registered
from forecast.boosting import boosted
from forecast.figures import drawn
from forecast.naive import naive
from forecast.tables import checked, ingest
from forecast.training import networked


@ms.pipeline
def main(count: int = 6, years: int = 4, rounds: int = 150, epochs: int = 12) -> dict:
    rides, games = ingest()
    rides, report = checked(rides)
    days = origins(rides, games, count)
    forecasts = gathered(
        naive.map(days, rides=rides, games=games),
        boosted.map(days, rides=rides, games=games, years=years, rounds=rounds),
        networked.map(days, rides=rides, games=games, years=years, epochs=epochs),
    )
    name = chosen(forecasts, rides)
    evaluations = []
    for model in ("naive", *CANDIDATES):
        points, _ = assessed.named(f"assess-{model}")(forecasts, rides, model)
        evaluations.append(points)
    points, intervals = assessed.named("assess-chosen")(forecasts, rides, name)
    against_naive = compared.named("compare-naive")(forecasts, rides, name, "naive")
    candidates = compared.named("compare-candidates")(forecasts, rides, *CANDIDATES)
    gates = decided(points, intervals, against_naive)
    model = fitted(name, rides, games, years, rounds, epochs)
    version = registered(model, name, rides, games, points, gates)
    return {
        "checks": report,
        "forecasts": forecasts,
        "chosen": name,
        "evaluations": evaluations,
        "comparisons": [against_naive, candidates],
        "gates": gates,
        "figures": drawn(forecasts, name),
        "version": version,
        "next": announced(version, name, rides, games),
    }
