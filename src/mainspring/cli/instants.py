"""Instants as people type them: a time, or how long ago."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def instant(given: str, option: str) -> datetime:
    """The instant that an option names: a time, in UTC if it says no zone, or how long ago, such as `24h`.

    Raises:
        InvalidError: it is neither.
    """
    from mainspring import clock
    from mainspring.errors import InvalidError
    from mainspring.features.aggregation import parse_duration

    try:
        found = datetime.fromisoformat(given)
    except ValueError:
        try:
            return clock.now() - timedelta(microseconds=parse_duration(given, option))
        except InvalidError as error:
            said = "a time such as 2026-11-21T08:00, or how long ago, such as 24h or 7d"
            raise InvalidError(option, given, said) from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def found_instant(given: str, option: str) -> datetime | None:
    """The same, or None for an empty text."""
    return instant(given, option) if given else None
