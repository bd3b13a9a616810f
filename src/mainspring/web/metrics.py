"""What a server counts, in the text form of Prometheus (exposition format 0.0.4)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence

import msgspec

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Counted(msgspec.Struct, frozen=True):
    """The work that a server is for: the routes that do it, and the names of its histogram and of the rows in it."""

    routes: frozenset[str]
    seconds: str
    seconds_about: str
    rows: str
    rows_about: str


class Metrics:
    """Counters of one server in one process; used from the event loop only.

    >>> work = Counted(frozenset({"/predict"}), "predict_seconds", "Time.", "rows_total", "Rows.")
    >>> metrics = Metrics({"endpoint": "delays"}, work)
    >>> metrics.count("/predict", 200, 0.002, rows=3)
    >>> 'mainspring_requests_total{endpoint="delays",path="/predict",code="200"} 1' in metrics.text()
    True
    """

    def __init__(self, labels: Mapping[str, str], work: Counted) -> None:
        self.in_flight = 0
        self._own, self._work = dict(labels), work
        self._requests: dict[tuple[str, int], int] = {}
        self._buckets = [0] * (len(_BUCKETS_S) + 1)
        self._seconds = 0.0
        self._rows = 0

    def count(self, route: str, code: int, seconds: float, rows: int = 0) -> None:
        """Count an answered request; the histogram is of the work alone."""
        self._requests[route, code] = self._requests.get((route, code), 0) + 1
        self._rows += rows
        if route in self._work.routes:
            self._buckets[bisect_left(_BUCKETS_S, seconds)] += 1
            self._seconds += seconds

    def text(self, more: Sequence[str] = ()) -> str:
        """Everything counted, and then `more` lines."""
        own, work = labelled(self._own), self._work
        lines = [*_head("mainspring_requests_total", "counter", "Requests answered, by path and status code.")]
        for (route, code), number in sorted(self._requests.items()):
            labels = labelled({**self._own, "path": route, "code": str(code)})
            lines.append(f"mainspring_requests_total{labels} {number}")
        name = f"mainspring_{work.seconds}"
        lines += _head(name, "histogram", work.seconds_about)
        below = 0
        for bound, number in zip((*map(str, _BUCKETS_S), "+Inf"), self._buckets, strict=True):
            below += number
            lines.append(f"{name}_bucket{labelled({**self._own, 'le': bound})} {below}")
        lines += [f"{name}_sum{own} {self._seconds!r}", f"{name}_count{own} {below}"]
        lines += _head(f"mainspring_{work.rows}", "counter", work.rows_about)
        lines.append(f"mainspring_{work.rows}{own} {self._rows}")
        lines += gauge("mainspring_requests_in_flight", "Requests being answered.", [(self._own, self.in_flight)])
        return "\n".join([*lines, *more]) + "\n"


def gauge(name: str, about: str, values: Sequence[tuple[Mapping[str, str], float]]) -> list[str]:
    """The lines of a gauge, a value for each set of labels.

    >>> gauge("up", "Whether it runs.", [({"of": "a"}, 1)])[-1]
    'up{of="a"} 1'
    """
    return _lines("gauge", name, about, values)


def counter(name: str, about: str, values: Sequence[tuple[Mapping[str, str], float]]) -> list[str]:
    """The lines of a counter, which is never less than it was; a value for each set of labels."""
    return _lines("counter", name, about, values)


def _lines(kind: str, name: str, about: str, values: Sequence[tuple[Mapping[str, str], float]]) -> list[str]:
    return [*_head(name, kind, about), *(f"{name}{labelled(labels)} {value!r}" for labels, value in values)]


def labelled(labels: Mapping[str, str]) -> str:
    """Labels as they stand behind a name; nothing if there are none."""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}" if labels else ""


def _head(name: str, kind: str, about: str) -> tuple[str, str]:
    return f"# HELP {name} {about}", f"# TYPE {name} {kind}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
