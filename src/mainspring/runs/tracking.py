"""Logging from user code: `start_run` in a script or notebook, `log_metric` and its like anywhere a run is active.

Metric points are kept in memory and written in groups, at the latest when the run or attempt ends, also when it ends by an
exception. Points of an attempt that failed stay under the attempt's series and are no run's.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from mainspring import clock
from mainspring.errors import InvalidError, WrongTypeError
from mainspring.ledger import current_scope
from mainspring.runs.metrics import Metric, Metrics
from mainspring.secrets import redact, redact_value, refuse_output, refuse_value

if TYPE_CHECKING:
    from mainspring.artifacts.record import Artifact
    from mainspring.workspace import Workspace

GROUP = 500  # points written at once


class RunLog:
    """What is logged to one series: metric points as they come, the rest until whoever owns the log commits it."""

    def __init__(self, series: str, workspace: Workspace) -> None:
        self.series = series
        self.workspace = workspace
        self.params: dict[str, Any] = {}
        self.tags: dict[str, str] = {}
        self.artifacts: dict[str, Artifact] = {}
        self.metric_names: set[str] = set()
        self._points: list[Metric] = []
        self._metrics: Metrics | None = None
        self._lock = threading.Lock()

    @property
    def is_used(self) -> bool:
        """Whether anything was logged, metric points that still wait left aside."""
        return bool(self.metric_names or self.params or self.tags or self.artifacts)

    def log_metric(self, key: str, value: float, *, step: int = 0) -> None:
        """Keep a metric point; NaN and infinities are kept as they are."""
        if not isinstance(value, int | float) and not hasattr(value, "__float__"):
            raise WrongTypeError(f"metric `{key}`", value, "a number")
        point = Metric(key, float(value), int(step), clock.now_us())
        with self._lock:
            self._points.append(point)
            is_full = len(self._points) >= GROUP
        if is_full:
            self.write_points()

    def log_param(self, key: str, value: object) -> None:
        """Keep a parameter, without secrets."""
        self.params[key] = redact_value(key, value)

    def log_tag(self, key: str, value: str) -> None:
        """Keep a tag, without secrets."""
        self.tags[key] = redact(value)

    def log_artifact(self, name: str, value: object) -> None:
        """Keep a value as an output, by the codec of its type; the last one of a name counts."""
        from mainspring.artifacts import save
        from mainspring.artifacts.record import ArtifactStore

        place = f"artifact `{name}`"
        refuse_value(place, name, value)
        refuse_output(place, value)
        store = ArtifactStore(self.workspace.database, self.workspace.ledger)
        self.artifacts[name] = store.describe(name, save(value, self.workspace.blobs), value)

    def write_points(self) -> None:
        """Write the metric points that wait; when this returns, they survive a kill."""
        with self._lock:
            points, self._points = self._points, []
        if points:
            if self._metrics is None:
                self._metrics = Metrics(self.workspace.metrics)
            self._metrics.append(self.series, points)
            self.metric_names.update(point.key for point in points)


def log_metric(key: str, value: float, *, step: int = 0) -> None:
    """Keep a metric point of the run or step that is active here.

    Raises:
        InvalidError: no run is active.
    """
    _active("metric", key).log_metric(key, value, step=step)


def log_param(key: str, value: object) -> None:
    """Keep a parameter of the run or step that is active here; raises as `log_metric` does."""
    _active("parameter", key).log_param(key, value)


def log_tag(key: str, value: str) -> None:
    """Keep a tag of the run or step that is active here; raises as `log_metric` does."""
    _active("tag", key).log_tag(key, value)


def log_artifact(name: str, value: object) -> None:
    """Keep a value (a table, model, array, path, plain value …) as an output of the run or step that is active here.

    Raises:
        InvalidError: no run is active.
        CodecError: no codec takes the value.
        SecretError: it is, or holds, the value of a secret.
    """
    _active("artifact", name).log_artifact(name, value)


def _active(kind: str, key: str) -> RunLog:
    scope = current_scope()
    if scope is None or not isinstance(scope.log, RunLog):
        raise InvalidError(kind, key, "logged inside a run", "Call it in a step, or after `run = ms.start_run()`.")
    return scope.log
