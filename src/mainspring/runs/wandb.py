"""A run in the offline format of Weights & Biases, written by its own client: an adapter, imported when it is called.

A mirror is written apart and moved to its place when it is whole; the place follows from the run, so that it is there once.
"""

from __future__ import annotations

import math
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import Any

import msgspec

from mainspring import clock
from mainspring.errors import ConflictError, MissingExtraError, counted
from mainspring.runs._store import RunStore
from mainspring.runs.files import RunFiles
from mainspring.runs.interrupted import as_read
from mainspring.runs.metrics import Metrics
from mainspring.runs.run import Run, RunState
from mainspring.workspace import Workspace, current_workspace

_NO_PROJECT = re.compile(r"[/\\#?%:]")  # characters that names of projects can't have there
_LONGEST_PROJECT = 128
_LONGEST_TAG = 64
_THEIRS = re.compile(
    r"(wandb-.*|config\.yaml|output\.log|requirements\.txt|media/.*)"
)  # what their client writes there
_CONFIG = "_wandb"  # where their client keeps its own among the parameters
_US = 1_000_000


class Mirrored(msgspec.Struct):
    """What was written of a run, and what has no place there."""

    run: str
    folder: str
    points: int
    files: int
    left_out: list[str]


def mirror_to_wandb(run: str, folder: Path | str, *, workspace: Workspace | None = None) -> Mirrored:
    """Write an ended run into `folder/wandb`, for `wandb sync` to upload; nothing is sent. A mirror that is there is replaced.

    Name, parameters, points with steps and times (NaN and infinities too), latest values, tags, note, files and whether it
    succeeded are kept; the experiment is the project, the run that it is part of the group.

    Raises:
        MissingExtraError: `wandb` is not installed.
        NotFoundError: no such run.
        ConflictError: the run goes on.
    """
    workspace = workspace or current_workspace()
    recorded = RunStore(workspace.database, workspace.ledger).get(run)
    (found,) = as_read(workspace.database, workspace.leases, [recorded])
    if found.state is RunState.RUNNING:
        raise ConflictError(f"The run `{found.id}` goes on: it is mirrored when it has ended.")
    client = _client()
    home = Path(os.path.abspath(folder)) / "wandb"
    started = clock.from_us(found.started_at).strftime("%Y%m%d_%H%M%S")
    target, part = home / f"offline-run-{started}-{found.id}", home / f".part-{found.id}"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        mirrored, written = _write(client, workspace, found, part)
        shutil.rmtree(target, ignore_errors=True)
        written.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    mirrored.folder = str(target)
    return mirrored


def _write(client: Any, workspace: Workspace, run: Run, part: Path) -> tuple[Mirrored, Path]:
    metrics = Metrics(workspace.metrics)
    rows, points, left_out = _rows(metrics, run)
    tags = [f"{key}={text}" if text else key for key, text in run.tags.items()]
    fitting = [tag for tag in tags if len(tag) <= _LONGEST_TAG]
    if len(fitting) < len(tags):
        left_out.append(f"{counted(len(tags) - len(fitting), 'tag')} of more than {_LONGEST_TAG} characters")
    params = {key: value for key, value in run.params.items() if key != _CONFIG}
    if len(params) < len(run.params):
        left_out.append(f"the parameter {_CONFIG}: W&B's own has this name")
    with _quiet():
        told = client.init(
            mode="offline", dir=str(part), id=run.id, name=run.name, config=params, notes=run.note or None,
            project=_NO_PROJECT.sub("-", run.experiment)[:_LONGEST_PROJECT], group=run.parent, job_type=run.kind,
            tags=fitting, reinit="create_new", settings=_settings(client),
        )  # fmt: skip
        for step, row in rows:
            told.log(row, step=step, commit=True)
        latest = metrics.latest_values(run.series)
        # Of NaN their client makes null in a summary; in the points it is this text.
        told.summary.update(
            {key: "NaN" if math.isnan(value) else value for key, value in latest.items() if _is_free(key)}
        )
        files = _copy(RunFiles(workspace), run.id, told, left_out)
        written = Path(told.dir).parent
        told.finish(exit_code=0 if run.state is RunState.SUCCEEDED else 1)
    return Mirrored(run.id, "", points, files, left_out), written


def _rows(metrics: Metrics, run: Run) -> tuple[list[tuple[int, dict[str, float]]], int, list[str]]:
    """The points of each step, in their order, how many they are, and what has no place."""
    rows: dict[int, dict[str, float]] = {}
    shadowed = early = 0
    taken = [key for key in metrics.latest(run.series) if not _is_free(key)]
    for key in filter(_is_free, metrics.latest(run.series)):
        for point in metrics.history(run.series, key):
            if point.step < 0:
                early += 1
                continue
            row = rows.setdefault(point.step, {"_timestamp": 0.0})
            shadowed += key in row
            row[key] = point.value
            row["_timestamp"] = max(row["_timestamp"], point.at / _US)
    for row in rows.values():
        row["_runtime"] = max(0.0, row["_timestamp"] - run.started_at / _US)
    told = [
        (early, f"{counted(early, 'point')} before step 0"),
        (shadowed, f"{counted(shadowed, 'point')} with a later one of the same metric and step"),
        (len(taken), f"the metrics {', '.join(taken)}: names with _ in front are W&B's own"),
    ]
    points = sum(len(row) - 2 for row in rows.values())
    return sorted(rows.items()), points, [text for count, text in told if count]


def _is_free(key: str) -> bool:
    return not key.startswith("_")


def _copy(files: RunFiles, run: str, told: Any, left_out: list[str]) -> int:
    """Write the files of a run where the client looks for them, and name them to it."""
    count = 0
    for path in files.walk(run):
        if _THEIRS.fullmatch(path):
            left_out.append(f"the file {path}: W&B's own has this name")
            continue
        place = Path(told.dir) / path
        place.parent.mkdir(parents=True, exist_ok=True)
        with files.open(run, path) as source, open(place, "wb") as target:
            shutil.copyfileobj(source, target)
        told.save(escape(str(place)), base_path=told.dir, policy="now")
        count += 1
    return count


def _client() -> Any:
    """W&B's client; a folder `wandb` here, as it leaves them, is none."""
    try:
        import wandb
    except ImportError as error:
        raise MissingExtraError("wandb", "wandb", "A mirror for W&B") from error
    if not hasattr(wandb, "init"):
        raise MissingExtraError("wandb", "wandb", "A mirror for W&B")
    return wandb


def _settings(client: Any) -> Any:
    """Nothing of this process and machine is in the mirror: it is not where the run ran."""
    return client.Settings(
        console="off", disable_code=True, disable_git=True, disable_job_creation=True, save_code=False, silent=True,
        x_disable_machine_info=True, x_disable_meta=True, x_disable_stats=True, x_save_requirements=False,
    )  # fmt: skip


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the client's reports of errors to its makers."""
    name = "WANDB_ERROR_REPORTING"
    before = os.environ.get(name)
    os.environ[name] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
