"""What wrong inputs cost, and what a model costs to ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from mainspring.errors import InvalidError, NotFoundError, WrongTypeError
from mainspring.evaluation import Cost, Robustness, measure_cost, robustness

GENERATOR = np.random.default_rng(5)
FRAME = pl.DataFrame({"noise": GENERATOR.random(400), "signal": GENERATOR.random(400), "weak": GENERATOR.random(400)})
TRUTH = (FRAME["signal"] + 0.3 * FRAME["weak"] > 0.65).to_numpy()


def model(frame: pl.DataFrame) -> pl.Series:
    return (frame["signal"].fill_null(0.5) + 0.3 * frame["weak"].fill_null(0.5)) / 1.3


def strict(frame: pl.DataFrame) -> pl.Series:
    if frame["weak"].null_count():
        raise ValueError("weak is missing")
    return model(frame)


def test_the_columns_that_a_model_uses_lose_most_when_shuffled() -> None:
    found = robustness(model, FRAME, TRUTH, "roc_auc")
    assert [each.column for each in found.columns] == ["signal", "weak", "noise"]
    signal, _, noise = found.columns
    assert (noise.shuffled, noise.missing, noise.deviation) == (0.0, 0.0, 0.0)
    assert signal.shuffled is not None
    assert signal.shuffled > 0.3
    assert found.facts()["missing_drop"].where == "signal"
    assert robustness(model, FRAME, TRUTH, "roc_auc") == found


def test_a_drop_is_a_loss_also_where_less_is_better() -> None:
    found = robustness(model, FRAME, TRUTH, "brier", columns=["signal"], repeats=1)
    assert found.columns[0].shuffled is not None
    assert found.columns[0].shuffled > 0


def test_a_model_that_refuses_missing_values_is_told() -> None:
    found = robustness(strict, FRAME, TRUTH, "roc_auc", repeats=1)
    told = {each.column: (each.missing, each.error) for each in found.columns}
    assert told["weak"] == (None, "ValueError: weak is missing")
    assert found.facts()["missing_drop"].value is None
    assert "fails: ValueError" in str(found)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Robustness) == found


@pytest.mark.parametrize("library", ["pandas", "pyarrow"])
def test_a_model_is_called_with_the_kind_of_table_that_was_given(library: str) -> None:
    given = FRAME.to_pandas() if library == "pandas" else FRAME.to_arrow()
    seen: set[type] = set()

    def asked(table: Any) -> Any:
        seen.add(type(table))
        return model(pl.DataFrame(table) if library == "pandas" else pl.from_arrow(table))  # type: ignore[arg-type]  # it is a table

    found = robustness(asked, given, TRUTH, "roc_auc", repeats=2)
    assert found == robustness(model, FRAME, TRUTH, "roc_auc", repeats=2)
    measure_cost(asked, given, batches=[3], calls=2)
    assert seen == {type(given)}


def test_types_of_pandas_stay_what_they_are() -> None:
    frame = FRAME.to_pandas()
    frame["kind"] = frame["weak"].gt(0.5).map({True: "a", False: "b"}).astype("category")
    seen = set()

    def asked(table: Any) -> Any:
        seen.add(str(table["kind"].dtype))
        return table["weak"].fillna(0.5) * table["kind"].eq("a")

    robustness(asked, frame, TRUTH, "roc_auc", columns=["kind"], repeats=1)
    assert seen == {"category"}


def test_what_can_not_be_shuffled_is_refused() -> None:
    with pytest.raises(NotFoundError, match="Nearest: signal"):
        robustness(model, FRAME, TRUTH, "roc_auc", columns=["signl"])
    with pytest.raises(InvalidError, match="at least 1"):
        robustness(model, FRAME, TRUTH, "roc_auc", repeats=0)


def test_cost_is_measured_by_batch() -> None:
    seen: list[int] = []

    def predict(frame: pl.DataFrame) -> np.ndarray:
        seen.append(frame.height)
        return np.ones((frame.height, 1_000))

    cost = measure_cost(predict, FRAME.head(7), batches=[10, 1], calls=5, size_bytes=123)
    assert [(each.batch, each.calls) for each in cost.latencies] == [(1, 5), (10, 5)]
    assert seen == [1] * 8 + [10] * 8 + [10]
    assert 80_000 <= cost.memory_bytes < 200_000
    assert all(0 < each.p50_ms <= each.p95_ms <= each.p99_ms for each in cost.latencies)
    facts = cost.facts()
    assert facts["latency_p95_ms"].value == cost.latencies[0].p95_ms
    assert facts["latency_p95_ms@10"].value == cost.latencies[1].p95_ms
    assert facts["size_bytes"].value == 123
    assert "123 bytes stored" in str(cost)
    assert msgspec.json.decode(msgspec.json.encode(cost), type=Cost) == cost
    with pytest.raises(InvalidError, match="at least one of each"):
        measure_cost(predict, FRAME.head(0))


@pytest.mark.parametrize(
    "use",
    [lambda given: robustness(given, FRAME, TRUTH, "roc_auc"), lambda given: measure_cost(given, FRAME)],
    ids=["robustness", "cost"],
)
def test_an_estimator_in_place_of_a_function_says_what_to_give(use: Callable[[Any], object]) -> None:
    with pytest.raises(WrongTypeError, match=r"Give `lambda rows: model\.predict_proba\(rows\)\[:, 1\]`"):
        use(LogisticRegression())
    with pytest.raises(WrongTypeError, match=r"Give `lambda rows: model\.predict\(rows\)`"):
        use(LinearRegression())
    with pytest.raises(WrongTypeError, match="expected a function that takes a table and gives scores"):
        use(3)
