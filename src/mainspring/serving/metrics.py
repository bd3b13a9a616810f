"""What a server counts, in the text form of Prometheus (exposition format 0.0.4)."""

from __future__ import annotations

from bisect import bisect_left

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Counters of one endpoint in one process; used from the event loop only.

    >>> metrics = Metrics("delays")
    >>> metrics.count("/predict", 200, 0.002, rows=3)
    >>> 'mainspring_requests_total{endpoint="delays",path="/predict",code="200"} 1' in metrics.text({})
    True
    """

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.in_flight = 0
        self._requests: dict[tuple[str, int], int] = {}
        self._buckets = [0] * (len(_BUCKETS_S) + 1)
        self._seconds = 0.0
        self._rows = 0

    def count(self, path: str, code: int, seconds: float, rows: int = 0) -> None:
        """Count an answered request; the histogram is of `/predict` alone."""
        self._requests[path, code] = self._requests.get((path, code), 0) + 1
        self._rows += rows
        if path == "/predict":
            self._buckets[bisect_left(_BUCKETS_S, seconds)] += 1
            self._seconds += seconds

    def text(self, model: dict[str, str]) -> str:
        """Everything counted; `model` are the labels of the version that is served."""
        own = _labels({"endpoint": self.endpoint})
        lines = [*_head("mainspring_requests_total", "counter", "Requests answered, by path and status code.")]
        for (path, code), number in sorted(self._requests.items()):
            labels = _labels({"endpoint": self.endpoint, "path": path, "code": str(code)})
            lines.append(f"mainspring_requests_total{labels} {number}")
        lines += _head("mainspring_predict_seconds", "histogram", "Time from a prediction's request to its answer.")
        below = 0
        for bound, number in zip((*map(str, _BUCKETS_S), "+Inf"), self._buckets, strict=True):
            below += number
            labels = _labels({"endpoint": self.endpoint, "le": bound})
            lines.append(f"mainspring_predict_seconds_bucket{labels} {below}")
        lines += [
            f"mainspring_predict_seconds_sum{own} {self._seconds!r}",
            f"mainspring_predict_seconds_count{own} {below}",
        ]
        lines += _head("mainspring_predictions_total", "counter", "Rows predicted.")
        lines.append(f"mainspring_predictions_total{own} {self._rows}")
        lines += _head("mainspring_requests_in_flight", "gauge", "Requests being answered.")
        lines.append(f"mainspring_requests_in_flight{own} {self.in_flight}")
        lines += _head("mainspring_model_info", "gauge", "The model version that answers.")
        lines.append(f"mainspring_model_info{_labels({'endpoint': self.endpoint, **model})} 1")
        return "\n".join(lines) + "\n"


def _head(name: str, kind: str, about: str) -> tuple[str, str]:
    return f"# HELP {name} {about}", f"# TYPE {name} {kind}"


def _labels(labels: dict[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
