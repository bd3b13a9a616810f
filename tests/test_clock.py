"""Domain time has one source, which a rehearsal can replace."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from mainspring import clock


class Fixed:
    """A clock that stands."""

    def now_us(self) -> int:
        return 1_700_000_000_123_456


def test_what_is_recorded_takes_its_time_from_the_clock_in_force() -> None:
    from mainspring.ledger import new_id

    token = clock.clock.set(Fixed())
    try:
        assert clock.now() == datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=UTC)
        assert new_id() < new_id()
    finally:
        clock.clock.reset(token)


@pytest.mark.parametrize("at_us", [0, 1, -1, 1_700_000_000_123_456, 253_402_300_799_999_999])
def test_times_survive_the_way_to_the_database_and_back(at_us: int) -> None:
    assert clock.to_us(clock.from_us(at_us)) == at_us


def test_any_zone_is_one_instant() -> None:
    there = datetime(2013, 1, 1, 5, tzinfo=timezone(timedelta(hours=5)))
    assert clock.from_us(clock.to_us(there)) == datetime(2013, 1, 1, tzinfo=UTC)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        clock.to_us(datetime(2013, 1, 1))
