"""What became of the requests of a step, as numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
TIMEOUT, LOST = "timeout", "lost"
"""The outcomes that are no status: given up, and a connection that broke under a request."""
_BUSY_SHARE = 0.85
_LATE_S = 0.002


class Measured(msgspec.Struct, frozen=True):
    """A step: how much was offered and answered, and how it went.

    `outcomes` counts requests by the status of their answer, `timeout` and `lost`. `quantiles_s` are latencies from the
    instant at which a request was due, of answers with a status of 2xx and of requests that were given up. `server_cores` are
    CPU seconds of the server a second, None if that isn't known; `driver_cores` those of the driver; `late_s` is the 99th
    percentile of how late the driver sent what a connection was free for. `took_s` ends with the last answer.
    """

    rate: float
    requests: int
    took_s: float
    outcomes: Mapping[str, int]
    quantiles_s: Mapping[str, float]
    mean_s: float | None
    server_cores: float | None
    driver_cores: float
    late_s: float

    @property
    def answered(self) -> int:
        """Requests with a status of 2xx."""
        return sum(count for outcome, count in self.outcomes.items() if is_good(outcome))

    @property
    def answered_per_s(self) -> float:
        """Good answers a second, up to the last answer."""
        return self.answered / self.took_s if self.took_s else 0.0

    @property
    def errors_share(self) -> float:
        """The share of the requests without a good answer."""
        return 1 - self.answered / self.requests

    @property
    def is_driver_busy(self) -> bool:
        """Whether the driver had hardly a core's time left."""
        return self.driver_cores > _BUSY_SHARE

    @property
    def driver_limits(self) -> bool:
        """Whether the driver itself may be what was measured."""
        p99 = self.quantiles_s.get("p99", 0.0)
        return self.is_driver_busy or self.late_s > max(_LATE_S, 0.2 * p99)


def is_good(outcome: str) -> bool:
    """Whether an outcome is an answer with a status of 2xx."""
    return len(outcome) == 3 and outcome[0] == "2"


def quantiles_of(latencies: Sequence[float]) -> dict[str, float]:
    """The quantiles by nearest rank: each is one of the latencies; none of none.

    >>> quantiles_of([0.3, 0.1, 0.2])["p50"], quantiles_of([0.3, 0.1, 0.2])["max"]
    (0.2, 0.3)
    """
    ordered = sorted(latencies)
    return {
        name: ordered[max(math.ceil(share * len(ordered) - 1e-9), 1) - 1]
        for name, share in QUANTILES.items()
        if ordered
    }
