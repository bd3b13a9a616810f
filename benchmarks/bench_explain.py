"""A million logged predictions of three writers, before and partly compacted: one by its id, `mainspring explain`, compaction.

The endpoint's labels join by a key; those that are explained have a label of theirs.

Compaction's floor is decoding the same records and writing the same table. The floor of finding one among all is finding it
among a thousand; that of the command, in a fresh process, is an interpreter that imports Polars. `--small` runs it once.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from bench_table_commit import seconds

from mainspring.models import Field, Output, Signature, register
from mainspring.serving import bind, get_endpoint
from mainspring.serving.feedback import log_labels
from mainspring.serving.parts import stored_frame
from mainspring.serving.predictions import (
    Entry,
    PredictionLog,
    Source,
    compact_predictions,
    find_prediction,
    get_prediction,
)
from mainspring.serving.predictions.frames import frame_of, types_of
from mainspring.serving.predictions.log import predictions_folder
from mainspring.serving.predictions.record import decode
from mainspring.store import SegmentRecord, list_segments, read_segment
from mainspring.workspace import Workspace, using

_WRITERS = 3
_AT_ONCE = 100  # requests that are answered together
_COLUMNS = [f"x{number}" for number in range(5)]


def logged(folder: Path, rows: int) -> list[str]:
    """Log requests of one row each by three writers in turn, and give a few of the ids."""
    random = np.random.default_rng(0)
    writers = [PredictionLog(folder) for _ in range(_WRITERS)]
    source, ids = Source(get_endpoint("delays")), []
    for start in range(0, rows, _AT_ONCE):
        values = random.random((_AT_ONCE, len(_COLUMNS) + 1)).tolist()
        calls = []
        for number, row in enumerate(values, start):
            columns = {name: [value] for name, value in zip(_COLUMNS, row, strict=False)} | {"who": [f"user {number}"]}
            calls.append((Entry(f"{number:032x}", f"user {number}", 0.0, columns, 1), [row[-1]]))
        writers[start // _AT_ONCE % _WRITERS].write(source, calls)
        ids.append(calls[-1][0].first)
    for writer in writers:
        writer.close()
    return ids[:: max(len(ids) // 20, 1)]


def bare(workspace: Workspace) -> float:
    """The seconds that it takes to decode what is in the segments, one by one, and to write the table that it is."""
    folder = predictions_folder(workspace)
    took = 0.0
    for segment in list_segments(folder):
        records = [decode(each.record) for each in read_segment(folder, segment.name)]
        frame = frame_of(records, types_of(records[0].version, records[0].runtime, workspace))
        took += seconds(lambda name=segment.name: deque(map(_decoded, read_segment(folder, name)), maxlen=0))
        took += seconds(lambda frame=frame: stored_frame(frame, workspace))
    return took


def _decoded(each: SegmentRecord) -> None:
    decode(each.record)


def best(call: Callable[[], object], rounds: int) -> float:
    """The shortest of so many calls, in seconds."""
    return min(seconds(call) for _ in range(rounds))


def command(root: Path, *words: str) -> None:
    """Call the command line in a fresh process."""
    subprocess.run([sys.executable, "-m", "mainspring", "-C", str(root), *words], check=True, stdout=subprocess.DEVNULL)


def told(what: str, took: float, least: float) -> None:
    """Print one line."""
    print(f"{what}: {took * 1e3:,.1f} ms, {took / least:.2f} x the floor ({least * 1e3:,.1f} ms)")


def found(workspace: Workspace, ids: list[str], least: float, rounds: int) -> None:
    """Print how long it takes to find and to explain one prediction."""
    told("find_prediction, the slowest of 20", max(best(partial(find_prediction, each), rounds) for each in ids), least)
    start = best(lambda: subprocess.run([sys.executable, "-c", "import polars"], check=True), rounds)
    root = workspace.project.root
    log_labels("delays", [{"key": {"who": get_prediction(each)["input.who"]}, "label": 1} for each in ids])
    took = [best(partial(command, root, "explain", each), rounds) for each in (ids[0], ids[len(ids) // 2], ids[-1])]
    told("mainspring explain, the slowest of 3", max(took), start)


def main() -> None:
    """Print the ratios."""
    rows, rounds = (3_000, 1) if "--small" in sys.argv else (1_000_000, 3)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "mainspring.toml").write_text('name = "explain"\n')
        with Workspace.open(folder) as workspace, using(workspace):
            signature = Signature((*(Field(name, "f64") for name in _COLUMNS), Field("who", "str")), Output("number"))
            from sklearn.linear_model import LinearRegression

            register(LinearRegression(), "m", signature=signature, input_kind="records")
            bind("delays", "m@production", version="m/1", label_key=["who"], label_window="3d")
            segments = predictions_folder(workspace)
            few = logged(segments, 1_000)
            least = best(partial(find_prediction, few[0]), rounds)
            ids = logged(segments, rows)
            size = sum(each.size_bytes for each in list_segments(segments))
            print(f"{rows:,} predictions of {_WRITERS} writers, {size / rows:,.0f} bytes each")
            found(workspace, ids, least, rounds)
            floor = bare(workspace)
            packed = seconds(lambda: compact_predictions(workspace))
            print(f"compacted at {packed / rows * 1e6:.1f} us a row, {packed / floor:.2f} x the floor")
            half = logged(segments, rows // 2)
            found(workspace, [*ids, *half], least, rounds)


if __name__ == "__main__":
    main()
