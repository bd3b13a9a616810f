"""A boosted pipeline's answers by scikit-learn and by its ONNX graph, for 1 to 1,000 rows, each against a bare `session.run`.

In process, from columns that were checked to predictions, as a server calls both; the floor gets its array ready-made. One
thread. `--small` runs it once, briefly.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from mainspring.artifacts.onnx import OnnxModel
from mainspring.models import Field, Output, Predictor, Signature, export_onnx, load_onnx, register
from mainspring.workspace import Workspace, using

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before it is imported
import onnxruntime  # it would begin to tell Microsoft

COLUMNS = 30
BATCHES = (1, 10, 100, 1_000)


def best_s(calls: list[Callable[[], object]], rounds: int, count: int) -> list[float]:
    """Seconds of each call: they take turns, and the best round of each counts."""
    found = []
    for _ in range(rounds):
        for call in calls:
            began = time.perf_counter()
            for _ in range(count):
                call()
            found.append((time.perf_counter() - began) / count)
    return [min(found[place :: len(calls)]) for place in range(len(calls))]


def session_of(graph: OnnxModel) -> onnxruntime.InferenceSession:
    """A session of one thread, as anybody would make it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(graph.data, options, providers=["CPUExecutionProvider"])


def main() -> None:
    """Print what each takes for each number of rows, and the ratios to the floor."""
    threadpool_limits(1)
    small = "--small" in sys.argv
    rounds, count, trees = (1, 2, 3) if small else (20, 50, 100)
    random = np.random.default_rng(0)
    rows = random.normal(size=(max(BATCHES), COLUMNS))
    fitted = make_pipeline(StandardScaler(), HistGradientBoostingClassifier(max_iter=trees, random_state=0))
    fitted.fit(rows, rows[:, 0] + rows[:, 1] > 0)
    signature = Signature(tuple(Field(f"x{n}", "f64") for n in range(COLUMNS)), Output("probability", (0, 1)))
    records = [{field.name: float(value) for field, value in zip(signature.inputs, row, strict=True)} for row in rows]
    with tempfile.TemporaryDirectory() as folder, Workspace.open(Path(folder)) as workspace, using(workspace):
        version = register(fitted, "boosted", signature=signature, input_kind="numpy")
        found = export_onnx(version, rows=records[:10] if small else records)
        native, graph = Predictor.load(version, workspace.blobs), load_onnx(version)
    session = session_of(graph.model)
    port, output = session.get_inputs()[0], session.get_outputs()[-1].name
    array = rows.astype({"tensor(double)": np.float64, "tensor(float)": np.float32}[port.type])
    print(f"{trees} rounds, {COLUMNS} columns, the graph is {found.form}; µs a call, and times the bare session.run")
    for size in BATCHES:
        columns, _ = native.check(records[:size])
        floor, ours, theirs = best_s(
            [
                partial(session.run, [output], {port.name: array[:size]}),
                partial(graph.answer, columns, size),
                partial(native.answer, columns, size),
            ],
            rounds, count,
        )  # fmt: skip
        print(
            f"{size:5,} rows: session.run {floor * 1e6:8.1f}, ONNX {ours * 1e6:8.1f} ({ours / floor:5.2f} x), "
            f"scikit-learn {theirs * 1e6:8.1f} ({theirs / floor:6.2f} x)"
        )


if __name__ == "__main__":
    main()
