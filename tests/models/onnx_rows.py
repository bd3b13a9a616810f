"""Tables for tests of graphs, and the law that they answer as their models."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from mainspring.models import Output, Predictor, Signature
from mainspring.models.onnx_export import _converted
from mainspring.models.parity import Parity
from mainspring.models.probes import probes

DOUBLES = ("numpy of doubles", "columns of doubles")
ROWS = 400
NUMBERS = ["age", "income", "amount"]


def table(seed: int, *, holes: bool = False) -> pd.DataFrame:
    """Whole, rounded and continuous numbers, a category and a flag."""
    random = np.random.default_rng(seed)
    made = pd.DataFrame({
        "age": random.integers(18, 90, ROWS), "income": random.normal(50, 10, ROWS).round(1),
        "amount": random.normal(0, 1, ROWS), "cat": random.choice(list("xyz"), ROWS), "flag": random.random(ROWS) < 0.5,
    })  # fmt: skip
    if holes:
        made.loc[random.random(ROWS) < 0.1, ["income", "amount"]] = np.nan
    return made


def records_of(rows: pd.DataFrame) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = rows.astype(object).where(rows.notna(), None).to_dict("records")
    return found


def answers_alike(
    model: Any, output: Output, target: Any, *, holes: bool = False, forms: Sequence[str] = DOUBLES,
    short: Sequence[str] = (), sizes: Sequence[int] = (1, 2, 3, 7),
) -> None:  # fmt: skip
    """Fit, export by five rows and probes, and compare rows that the export never saw; `short` columns are of 32 bits.

    Asked about in parts of these `sizes`, the graph's answers are the same bits.
    """
    given = table(0, holes=holes).astype(dict.fromkeys(short, np.float32))
    columns = given.columns if hasattr(model, "steps") and hasattr(model[0], "transformers") else NUMBERS
    with threadpool_limits(1):
        model.fit(given[columns], target)
        native = Predictor(model, Signature.infer(given[columns], output=output), "pandas")
        real = records_of(given[columns][:5])
        made, said = probes(model, native, real)
        assert len(made) >= 2_000
        compared = Parity([*real, *made], [*native(real), *said], len(real), 1e-5, 1e-6)
        form, kind, graph, error = _converted(model, native, compared)
        assert form in forms
        assert error < 1e-6
        fresh = records_of(table(1, holes=holes)[columns])
        expected = native(fresh)
    again, answer = Parity(fresh, expected, 0, 1e-5, 1e-6), Predictor(graph, native.signature, kind)
    whole = answer(fresh)
    assert again.off(whole)[1] is None
    for size in sizes:
        parts = [answer(fresh[start : start + size]) for start in range(0, len(fresh), size)]
        assert [*chain(*parts)] == whole, f"asked {size} at once, other bits"


def scores() -> Any:
    given = table(0)
    return given["age"] / 90 + given["income"] / 100 + np.random.default_rng(2).normal(0, 0.3, ROWS)
