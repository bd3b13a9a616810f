"""What gates are held against, beside metrics: numbers with a name, a direction and, where there is one, an interval."""

from __future__ import annotations

from typing import Protocol

import msgspec

from mainspring.stats import Interval


class Fact(msgspec.Struct, frozen=True):
    """A measured number; None where it is not defined."""

    value: float | None
    higher_is_better: bool = False
    interval: Interval | None = None
    where: str = ""


class Evidence(Protocol):
    """A report whose numbers gates may name."""

    def facts(self) -> dict[str, Fact]:
        """Its numbers by name."""
        ...
