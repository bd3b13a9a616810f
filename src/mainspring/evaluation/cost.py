"""What a model costs to ask: latency by size of batch, bytes on disk, bytes while it answers."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Iterable
from numbers import Integral
from typing import Any

import msgspec

from mainspring.errors import InvalidError
from mainspring.evaluation.evidence import Fact
from mainspring.evaluation.given import count_of, expect_function, several
from mainspring.evaluation.inputs import Inputs
from mainspring.evaluation.tables import Cells, Tabled


class Latency(msgspec.Struct, frozen=True):
    """How long answers to a batch took, in milliseconds."""

    batch: int
    calls: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    rows_per_s: float


class Cost(Tabled, frozen=True):
    """What a model costs. `size_bytes` is that of the stored model, None if it wasn't asked; `memory_bytes` is the most that
    answering the largest batch allocated, as Python and NumPy tell it: memory of other libraries is not seen.
    """

    latencies: tuple[Latency, ...]
    memory_bytes: int
    size_bytes: int | None = None

    def facts(self) -> dict[str, Fact]:
        """`latency_p50_ms`, `latency_p95_ms`, `latency_p99_ms` of the smallest batch, `…@100` of batches of 100; bytes."""
        found = {"memory_bytes": Fact(float(self.memory_bytes))}
        if self.size_bytes is not None:
            found["size_bytes"] = Fact(float(self.size_bytes))
        for each in sorted(self.latencies, key=lambda latency: -latency.batch):
            for name, value in (("p50", each.p50_ms), ("p95", each.p95_ms), ("p99", each.p99_ms)):
                found[f"latency_{name}_ms@{each.batch}"] = found[f"latency_{name}_ms"] = Fact(value)
        return found

    def __repr__(self) -> str:
        told = ", ".join(f"{each.p50_ms:.3g} ms for {each.batch}" for each in self.latencies)
        return f"<cost, {told}>"

    def __str__(self) -> str:
        size = "" if self.size_bytes is None else f"{self.size_bytes:,} bytes stored, "
        return f"{super().__str__()}\n{size}{self.memory_bytes:,} bytes while answering"

    def _tables(self) -> list[Cells]:
        cells = [["batch", "calls", "p50 ms", "p95 ms", "p99 ms", "rows/s"]]
        for each in self.latencies:
            times = (f"{value:.3f}" for value in (each.p50_ms, each.p95_ms, each.p99_ms))
            cells.append([str(each.batch), str(each.calls), *times, f"{each.rows_per_s:,.0f}"])
        return [cells]


def measure_cost(
    predict: Callable[[Any], Any],
    frame: Any,
    *,
    batches: int | Iterable[int] = (1, 100),
    calls: int = 100,
    size_bytes: int | None = None,
) -> Cost:
    """Time `predict` on rows of `frame`, a table of Polars, pandas or Arrow, after a warm-up that isn't counted.

    `size_bytes` is kept as given.

    Raises:
        InvalidError: the table has no rows, or no batch is asked for.
        WrongTypeError: `predict` is no function, such as a model.

    >>> import polars as pl
    >>> cost = measure_cost(lambda rows: rows["x"] * 2, pl.DataFrame({"x": [1.0, 2.0]}), batches=[1], calls=3)
    >>> cost.latencies[0].calls, cost.latencies[0].p50_ms > 0
    (3, True)
    """
    expect_function(predict)
    inputs = Inputs(frame)
    sizes = sorted({count_of("batches", batch) for batch in several("batches", batches, Integral)})
    calls = count_of("calls", calls)
    if not inputs.table.height or not sizes:
        raise InvalidError("frame", f"{inputs.table.height} rows, batches {sizes}", "at least one of each")
    latencies = tuple(_timed(predict, inputs, batch, calls) for batch in sizes)
    largest = _batch(inputs, 0, sizes[-1])
    running = tracemalloc.is_tracing()
    tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        answers = predict(largest)
        memory = tracemalloc.get_traced_memory()[1] - before
        del answers
    finally:
        if not running:
            tracemalloc.stop()
    return Cost(latencies, max(memory, 0), size_bytes)


def _timed(predict: Callable[[Any], Any], inputs: Inputs, batch: int, calls: int) -> Latency:
    import numpy as np

    parts = [_batch(inputs, call * batch, batch) for call in range(calls)]
    for part in parts[: min(3, calls)]:
        predict(part)
    taken = []
    for part in parts:
        begun = time.perf_counter()
        predict(part)
        taken.append(time.perf_counter() - begun)
    p50, p95, p99 = (float(value) * 1e3 for value in np.quantile(taken, (0.5, 0.95, 0.99)))
    return Latency(batch, calls, p50, p95, p99, batch * calls / sum(taken))


def _batch(inputs: Inputs, start: int, rows: int) -> Any:
    """So many rows from `start` on, beginning again at the end."""
    return inputs.rows([(start + at) % inputs.table.height for at in range(rows)])
