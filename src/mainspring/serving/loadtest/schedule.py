"""When requests are due: fixed beforehand, whatever the server does."""

from __future__ import annotations

import math
from collections.abc import Iterator

import msgspec

from mainspring.errors import InvalidError

_MOST_REQUESTS = 50_000_000


class Step(msgspec.Struct, frozen=True):
    """A rate in requests a second, held for some seconds."""

    rate: float
    duration_s: float

    @property
    def requests(self) -> int:
        """How many are due within it: at least one."""
        return max(math.ceil(self.rate * self.duration_s - 1e-9), 1)

    def instants(self) -> Iterator[float]:
        """The seconds after its beginning at which requests are due, evenly apart.

        Each is a division, not a sum, so that no error adds up.
        """
        return (number / self.rate for number in range(self.requests))


def ramp(low: float, high: float, *, steps: int, duration_s: float) -> list[Step]:
    """Rates from `low` to `high`, evenly apart, that share the duration.

    Raises:
        InvalidError: a rate or the duration is not above 0, several steps don't rise, or that is more than 50 million requests.
    """
    if steps < 1 or (steps == 1 and low != high):
        raise InvalidError("steps", steps, "at least 2, the first and the last rate")
    for name, value in (("rate", low), ("rate", high), ("duration", duration_s)):
        if not (value > 0 and math.isfinite(value)):
            raise InvalidError(name, value, "a number above 0")
    # The last step within the limits is the capacity, which it is only if no step before had a higher rate.
    if steps > 1 and low >= high:
        raise InvalidError("ramp", f"{low:g}:{high:g}", "two rates of which the second is higher")
    rates = [low + (high - low) * place / max(steps - 1, 1) for place in range(steps)]
    found = [Step(float(rate), duration_s / steps) for rate in rates]
    if sum(step.rate * step.duration_s for step in found) > _MOST_REQUESTS:
        raise InvalidError("rate", max(low, high), f"at most {_MOST_REQUESTS:,} requests in all")
    return found
