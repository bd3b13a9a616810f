"""What is known of a feature at an instant, in the words of Feast's HTTP interface."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """Whether there is a value, and if not, why."""

    PRESENT = "PRESENT"
    NULL_VALUE = "NULL_VALUE"
    """The newest row has a null here; the value before it doesn't count."""
    OUTSIDE_MAX_AGE = "OUTSIDE_MAX_AGE"
    """The newest row is older than the time to live."""
    NOT_FOUND = "NOT_FOUND"
    """No row of the entity was there, or known, by then."""
    LAST_KNOWN = "LAST_KNOWN"
    """The online store is away; what this process read last, the time to live applied now."""
    DEFAULT = "DEFAULT"
    """The online store is away; what the service declares for that."""
    UNAVAILABLE = "UNAVAILABLE"
    """The online store is away, and nothing is known or declared."""
    NOT_KEPT = "NOT_KEPT"
    """What the online store has is newer than the instant, and what was known then is not kept there."""
