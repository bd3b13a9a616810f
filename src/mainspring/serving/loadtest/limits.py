"""What a server is held to: `p99=50ms`, `max=1s`, `errors=0.1%`."""

from __future__ import annotations

import math
import re

import msgspec

from mainspring.errors import InvalidError
from mainspring.serving.loadtest.measured import QUANTILES, Measured

_FORM = re.compile(r"(?P<name>[a-z0-9.]+)\s*(=|<=|<)\s*(?P<value>[0-9.]+(e-?[0-9]+)?)\s*(?P<unit>[a-zµ%]*)")
_SECONDS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0}
_SHARES = {"%": 0.01, "": 1.0}


class Limit(msgspec.Struct, frozen=True):
    """The most that a number of a step may be: a latency in seconds, or `errors`, a share of the requests."""

    name: str
    most: float

    def holds(self, step: Measured) -> bool:
        """Whether a step keeps it; one without an answer keeps no limit of latency."""
        value = step.errors_share if self.name == "errors" else step.quantiles_s.get(self.name)
        return value is not None and value <= self.most

    def __str__(self) -> str:
        most = f"{self.most * 100:g}%" if self.name == "errors" else f"{self.most * 1e3:g}ms"
        return f"{self.name}<={most}"


def limit_of(text: str) -> Limit:
    """The limit that a text says.

    Raises:
        InvalidError: it says none.

    >>> str(limit_of("p99=0.05s")), str(limit_of("errors=1%"))
    ('p99<=50ms', 'errors<=1%')
    """
    found = _FORM.fullmatch(text.strip())
    name = found["name"] if found else ""
    units = _SHARES if name == "errors" else _SECONDS if name in QUANTILES else {}
    if found is None or found["unit"] not in units:
        said = f"a limit such as p99=50ms or errors=1%, of {', '.join(QUANTILES)} or errors"
        raise InvalidError("limit", text, said)
    try:
        most = float(found["value"]) * units[found["unit"]]
    except ValueError:
        most = math.nan
    if not math.isfinite(most):
        raise InvalidError("limit", text, "a limit with a number")
    return Limit(name, most)
