"""Logging from user code: `start_run` in a script or notebook, `log_metric` and its like anywhere a run is active.

Metric points go to the process's writer as they come and are flushed when the run or attempt ends, also when it ends by an
exception. Points of an attempt that failed stay under the attempt's series and are no run's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mainspring import clock
from mainspring.errors import CodecError, ConflictError, InvalidError, WrongTypeError, shorten
from mainspring.ledger import current_scope
from mainspring.runs.figures import holds_figure
from mainspring.runs.files import RunFile, RunFiles, checked_path, clash
from mainspring.runs.inputs import DatasetInput, RunInputs, checked_input
from mainspring.runs.limits import checked_key, checked_name, checked_param, checked_text
from mainspring.runs.metrics import Metric
from mainspring.runs.writer import PointWriter, flush_points, writer_of
from mainspring.secrets import redact, refuse_output, refuse_value

if TYPE_CHECKING:
    from mainspring.artifacts.record import Artifact
    from mainspring.runs._store import RunStore
    from mainspring.store import Transaction
    from mainspring.workspace import Workspace

_INT64 = 1 << 63
_Plain = str | int | float | bool | None


class RunLog:
    """What is logged to one series: metric points as they come, the rest until whoever owns the log commits it.

    `run` is the run that this is of, if it was recorded before the end.
    """

    def __init__(self, series: str, workspace: Workspace, params: Mapping[str, Any] | None = None) -> None:
        self.series = series
        self.workspace = workspace
        self.run: str | None = None
        self.metric_names: set[str] = set()
        self._known = dict(params or {})
        self._writer: PointWriter | None = None
        self._last_at = 0
        self._forget()

    def _forget(self) -> None:
        self.params: dict[str, Any] = {}
        self.tags: dict[str, str] = {}
        self.artifacts: dict[str, Artifact] = {}
        self.files: dict[str, RunFile] = {}
        self.inputs: list[DatasetInput] = []
        self.note: str | None = None

    @property
    def is_used(self) -> bool:
        """Whether anything was logged."""
        return bool(self.metric_names) or self.is_waiting

    @property
    def is_waiting(self) -> bool:
        """Whether anything but metric points waits to be committed."""
        logged = (self.params, self.tags, self.artifacts, self.files, self.inputs, self.note is not None)
        return any(logged)

    def log_metric(self, key: str, value: float, *, step: int = 0) -> None:
        """Keep a metric point; NaN and infinities are kept as they are. It waits for nothing but room in the queue.

        Raises:
            InvalidError: the name or step can't be kept, or the value is too large for a float.
            WrongTypeError: the value is no number.
            StorageError: points that were logged before could not be written; they wait, with this one, and are tried again.
        """
        if key not in self.metric_names:
            checked_key("metric", key)
            self.metric_names.add(key)
        if type(value) is not float:
            value = _float(key, value)
        if type(step) is not int or not -_INT64 <= step < _INT64:
            step = _step(key, step)
        self._last_at = at = max(clock.now_us(), self._last_at + 1)  # no two points of a run are one
        if self._writer is None:
            self._writer = writer_of(self.workspace)
        self._writer.put(self.series, Metric(key, value, step, at))

    def log_metrics(self, values: Mapping[str, float], *, step: int = 0) -> None:
        """Keep a point of each metric as `log_metric` does, or of none if one is refused."""
        if not isinstance(values, Mapping):
            raise WrongTypeError("metrics", values, "a dict of numbers by the names of metrics")
        for key in values:
            if key not in self.metric_names:
                checked_key("metric", key)
        numbers = {key: value if type(value) is float else _float(key, value) for key, value in values.items()}
        for key, number in numbers.items():
            self.log_metric(key, number, step=step)

    def log_param(self, key: str, value: object) -> None:
        """Keep a parameter, without secrets. It is written once; the same value again is fine.

        Raises:
            ConflictError: it has another value.
            InvalidError: the name or value can't be kept.
        """
        from mainspring.runs._rows import param_row

        shown = checked_param(key, value)
        text = param_row(shown)[1]
        if key in self._known and param_row(self._known[key])[1] != text:
            raise ConflictError(
                f"The parameter `{key}` is `{shorten(self._known[key])}` and can't become `{shorten(text)}`: parameters are"
                " written once. Log what changes as a metric or a tag."
            )
        self._known[key] = self.params[key] = shown

    def log_tag(self, key: str, value: _Plain) -> None:
        """Keep a tag, without secrets, as text; the last one of a key counts."""
        if not isinstance(value, _Plain):
            raise WrongTypeError(f"tag `{checked_key('tag', key)}`", value, "text", "A parameter may be any value.")
        self.tags[checked_key("tag", key)] = redact(checked_text(f"tag `{key}`", str(value)))

    def log_note(self, text: str) -> None:
        """Keep a note about the run, without secrets; it replaces the one before."""
        self.note = checked_text("note", text)

    def log_artifact(self, name: str, value: object) -> None:
        """Keep a value as an output, by the codec of its type; the last one of a name counts."""
        from mainspring.artifacts import save
        from mainspring.artifacts.record import ArtifactStore

        place = f"artifact `{checked_name('name of an artifact', name)}`"
        refuse_value(place, name, value)
        refuse_output(place, value)
        store = ArtifactStore(self.workspace.database, self.workspace.ledger)
        try:
            saved = save(value, self.workspace.blobs)
        except CodecError as error:
            if not holds_figure(value):
                raise
            said = f"No codec takes the figure `{name}`. `log_figure(figure, path)` keeps it as a file of the run."
            raise CodecError(said) from error
        self.artifacts[name] = store.describe(name, saved, value)

    def log_bytes(self, path: str, data: bytes | Path) -> None:
        """Keep a file under a relative path; the last one of a path counts.

        Raises:
            InvalidError: the path is none, or another file's folder, or leads through a file.
        """
        checked_path(path)
        self._expect_free(path)
        size = len(data) if isinstance(data, bytes) else data.stat().st_size
        self.files[path] = RunFile(path, False, size, self.workspace.blobs.put(data))

    def _expect_free(self, path: str) -> None:
        for other in self.files:
            if other.startswith(f"{path}/") or path.startswith(f"{other}/"):
                raise clash(path, other)

    def log_dataset(self, dataset: DatasetInput) -> None:
        """Keep a dataset as one that the run used.

        Raises:
            WrongTypeError, InvalidError: a name or text of it can't be kept.
        """
        self.inputs.append(checked_input(dataset))

    def commit(self, tx: Transaction, store: RunStore, run_id: str, *, by: str) -> None:
        """Write what waits, points left aside, as a run's; `by` is the task or the run that made the artifacts."""
        if self.params:
            store.log_params(tx, run_id, self.params)
        if self.tags:
            store.set_tags(tx, run_id, self.tags)
        if self.note is not None:
            store.set_note(tx, run_id, self.note)
        store.keep_artifacts(tx, run_id, self.artifacts, by=by)
        RunFiles(self.workspace).name(tx, run_id, list(self.files.values()))
        RunInputs(self.workspace.database, self.workspace.ledger).log_inputs(tx, run_id, self.inputs)

    def write_points(self) -> None:
        """Wait until every metric point is written, also of runs within this one; when this returns, they survive a kill."""
        flush_points(self.workspace)


def _float(key: str, value: object) -> float:
    if not isinstance(value, int | float) and not hasattr(value, "__float__"):
        raise WrongTypeError(f"metric `{key}`", value, "a number")
    try:
        return float(value)
    except (TypeError, ValueError) as error:  # an array of more than one number, a text that is called a number
        raise WrongTypeError(f"metric `{key}`", value, "a number") from error
    except OverflowError as error:
        raise InvalidError(f"metric `{key}`", value, "a number that a float holds") from error


def _step(key: str, step: object) -> int:
    if not hasattr(step, "__index__"):
        raise WrongTypeError(f"step of the metric `{key}`", step, "a whole number")
    number = step.__index__()
    if not -_INT64 <= number < _INT64:
        raise InvalidError(f"step of the metric `{key}`", step, "a whole number of 64 bits")
    return int(number)


def active_log(kind: str, key: object) -> RunLog:
    """What takes in what is logged here.

    Raises:
        InvalidError: no run is active.
    """
    scope = current_scope()
    if scope is None or not isinstance(scope.log, RunLog):
        raise InvalidError(kind, key, "logged inside a run", "Call it in a step, or after `run = ms.start_run()`.")
    return scope.log
