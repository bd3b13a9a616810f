"""What a load test found: its steps, the last one within the limits, and what follows for the number of servers."""

from __future__ import annotations

import math
from html import escape
from pathlib import Path
from typing import Any

import msgspec

from mainspring.errors import InvalidError, counted
from mainspring.evaluation import Fact
from mainspring.runs.html import html_table
from mainspring.serving.loadtest.chart import latency_chart
from mainspring.serving.loadtest.limits import Limit
from mainspring.serving.loadtest.measured import QUANTILES, Measured, is_good
from mainspring.store.named_file import write_named

METRICS = {
    "mainspring_requests_in_flight": "what to scale on: requests being answered, by server",
    "mainspring_requests_total": "its rate by code; 503 is overload",
    "mainspring_predict_seconds": "histogram; histogram_quantile(0.99, …) is what a limit on p99 watches",
}
"""What an autoscaler reads at `/metrics`."""
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem }
body { color: #1c2330; background: #fff }
table { border-collapse: collapse; margin: .8rem 0; font-variant-numeric: tabular-nums; font-size: .9rem }
th, td { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid #e6e9ef }
svg { max-width: 100%; height: auto; font: 12px system-ui, sans-serif; fill: #4a5468 }
.grid { stroke: #e6e9ef } .limit { stroke: #c2410c; stroke-dasharray: 5 4 } text.limit { fill: #c2410c; stroke: none }
polyline { fill: none; stroke-width: 2 } .p50 { stroke: #15803d; fill: #15803d } .p99 { stroke: #2563c9; fill: #2563c9 }
.max { stroke: #9aa4b5; fill: #9aa4b5 } polyline.p50, polyline.p99, polyline.max { fill: none } text { stroke: none !important }
"""


class LoadReport(msgspec.Struct, frozen=True, kw_only=True):
    """A load test of one server. `version` is the model version that answered, `at` microseconds since 1970.

    `rows` are those of each request, 0 if not all had as many; `protocol` is the one that they were sent by, empty if that
    isn't known. `planned` is how many steps there would have been had no limit broken.
    """

    endpoint: str
    url: str
    version: str
    at: int
    rows: int
    connections: int
    limits: tuple[Limit, ...]
    steps: tuple[Measured, ...]
    planned: int
    protocol: str = ""

    @property
    def conditions(self) -> str:
        """What was asked, and within what."""
        said = [f"protocol {self.protocol}"] if self.protocol else []
        rows = f"{counted(self.rows, 'row')} a request" if self.rows else "requests of as many rows as were logged"
        said += [rows, counted(self.connections, "connection")]
        return ", ".join([*said, f"limits {', '.join(map(str, self.limits))}" if self.limits else "no limits"])

    def broken(self, step: Measured) -> list[str]:
        """The limits that a step breaks."""
        return [str(limit) for limit in self.limits if not limit.holds(step)]

    @property
    def best(self) -> Measured | None:
        """The last step within all limits, None if the first broke one."""
        return next((step for step in reversed(self.steps) if not self.broken(step)), None)

    @property
    def is_bounded(self) -> bool:
        """Whether a limit broke, so that the capacity is known and not just a lower bound."""
        return bool(self.broken(self.steps[-1]))

    @property
    def capacity_per_s(self) -> float | None:
        """Good answers a second of the last step within the limits."""
        return self.best.answered_per_s if self.best else None

    @property
    def per_core_per_s(self) -> float | None:
        """Good answers a CPU second of the server's processes in that step."""
        best = self.best
        return best.answered_per_s / best.server_cores if best and best.server_cores else None

    @property
    def driver_limits(self) -> bool:
        """Whether the driver may be what was measured in a step."""
        return self._most_limited is not None

    @property
    def _most_limited(self) -> Measured | None:
        """The step in which the driver was busiest, if it was the bottleneck in one, else that in which it was held up most."""
        limited = [step for step in self.steps if step.driver_limits]
        return max(limited, key=lambda step: (step.is_driver_busy and step.driver_cores, step.late_s), default=None)

    def servers(self, rate: float, *, headroom: float = 0.3) -> int:
        """How many servers a rate needs of which each leaves a share of its capacity free.

        Raises:
            InvalidError: the headroom is no share below 1, or no rate was within the limits.
        """
        if not 0 <= headroom < 1:
            raise InvalidError("headroom", headroom, "a share from 0 to below 1")
        if not self.capacity_per_s:
            raise InvalidError("rate", rate, "one that can be told: no step was within the limits")
        return max(math.ceil(rate / (self.capacity_per_s * (1 - headroom)) - 1e-9), 1)

    def in_flight_target(self, *, headroom: float = 0.3) -> float | None:
        """Requests under way in one server at its share of the capacity, by Little's law: rate times mean latency.

        None if no limit broke: a server that could answer more has few of them under way.
        """
        best = self.best if self.is_bounded else None
        return None if best is None or best.mean_s is None else best.answered_per_s * (1 - headroom) * best.mean_s

    def facts(self) -> dict[str, Fact]:
        """`load_capacity_per_s`, `load_per_core_per_s`, and of the last step within the limits `load_p50_ms` and so on."""
        found = {
            "load_capacity_per_s": Fact(self.capacity_per_s, higher_is_better=True),
            "load_per_core_per_s": Fact(self.per_core_per_s, higher_is_better=True),
        }
        quantiles = self.best.quantiles_s if self.best else {}
        for name in QUANTILES:
            value = quantiles.get(name)
            found[f"load_{name}_ms"] = Fact(None if value is None else value * 1e3)
        return found

    def advice(self, *, rate: float | None = None, headroom: float = 0.3) -> list[str]:
        """What follows, in sentences."""
        said = []
        if self._most_limited is not None:
            said.append(_driver_said(self._most_limited))
        if self.capacity_per_s is None:
            return [*said, f"No step was within the limits: {', '.join(self.broken(self.steps[0]))}."]
        least = "" if self.is_bounded else "at least "
        held = f" within {', '.join(map(str, self.limits))}" if self.limits else ""
        core = f", {self.per_core_per_s:,.0f} a second and core" if self.per_core_per_s else ""
        said.append(f"One server answers {least}{self.capacity_per_s:,.0f} requests a second{held}{core}.")
        if rate is not None:
            number = self.servers(rate, headroom=headroom)
            most = "" if self.is_bounded else "at most "
            said.append(f"{rate:,g} requests a second need {most}{number} of them with {headroom:.0%} headroom.")
        target = self.in_flight_target(headroom=headroom)
        if not self.is_bounded:
            said.append("No limit broke: what to scale on is told by a test up to a rate at which one does.")
        if target is not None:
            said.append(
                f"Scale on mainspring_requests_in_flight, to {target:.2g} a server; watch mainspring_predict_seconds (p99) "
                'and mainspring_requests_total{code="503"}.'
            )
        return said

    def cells(self) -> list[list[str]]:
        """The steps as a table."""
        head = ["offered/s", "answered/s", "errors", *[f"{name} ms" for name in QUANTILES], "server cores", "limits"]
        return [head, *map(self._row, self.steps)]

    def document(self, *, rate: float | None = None, headroom: float = 0.3) -> dict[str, Any]:
        """All of it as data, with what follows."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        target = self.in_flight_target(headroom=headroom)
        return found | {
            "capacity_per_s": self.capacity_per_s, "is_bounded": self.is_bounded, "per_core_per_s": self.per_core_per_s,
            "driver_limits": self.driver_limits, "broken": self.broken(self.steps[-1]),
            "autoscaling": {
                "headroom": headroom, "in_flight_target": target, "metrics": METRICS,
                "servers": self.servers(rate, headroom=headroom) if rate is not None and self.capacity_per_s else None,
            },
        }  # fmt: skip

    def to_html(self, *, rate: float | None = None, headroom: float = 0.3) -> str:
        """A page with the chart, the table and what follows; it needs no other file."""
        title = escape(f"Load test of {self.endpoint or self.url}{f', {self.version}' if self.version else ''}")
        said = "".join(f"<p>{escape(each)}</p>" for each in self.advice(rate=rate, headroom=headroom))
        head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
        body = f"<h1>{title}</h1>{said}{latency_chart(self.steps, self.limits)}{html_table(self.cells())}"
        return (
            f'<!doctype html>\n<html lang="en"><head>{head}<style>{_STYLE}</style></head><body>{body}</body></html>\n'
        )

    def write_html(self, path: str | Path, *, rate: float | None = None, headroom: float = 0.3) -> Path:
        """Write the page; an existing file is replaced. Raises `StorageError`."""
        return write_named(path, self.to_html(rate=rate, headroom=headroom))

    def _row(self, step: Measured) -> list[str]:
        errors = ", ".join(f"{count} × {outcome}" for outcome, count in step.outcomes.items() if not is_good(outcome))
        times = [f"{step.quantiles_s[name] * 1e3:.2f}" if step.quantiles_s else "–" for name in QUANTILES]
        cores = "–" if step.server_cores is None else f"{step.server_cores:.2f}"
        broken = ", ".join(self.broken(step))
        held = f"breaks {broken}" if broken else "hold" if self.limits else ""
        return [f"{step.rate:,.5g}", f"{step.answered_per_s:,.1f}", errors or "0", *times, cores, held]


def _driver_said(step: Measured) -> str:
    """That the numbers of a step are also the driver's, and why."""
    where = f"in the step of {step.rate:,.5g}/s it"
    if step.is_driver_busy:
        said = f"The driver was the bottleneck: {where} was busy for {step.driver_cores:.0%} of a core."
        return f"{said} The numbers are its own; ask at lower rates, or from another machine."
    late = f"{where} sent 1 of 100 requests {step.late_s * 1e3:.1f} ms late or later"
    said = f"The driver was held up: {late}, though it was busy for {step.driver_cores:.0%} of a core only."
    return f"{said} Latencies hold that; ask from a machine with idle processors."
