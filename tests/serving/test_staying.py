"""What can't be loaded is tried again at ever longer intervals, and said as often as there is something new to say."""

from __future__ import annotations

import pytest

from mainspring.serving.staying import LONGEST_PAUSE_S, Staying


def test_the_pause_grows_to_a_minute_and_what_is_the_same_is_said_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("mainspring.serving.staying.time.monotonic", lambda: now)
    staying, pauses, said = Staying(1.0), [], []
    assert staying.is_due(7)
    for _ in range(10):
        said.append(staying.failed("no luck"))
        pauses.append(staying.pause_s)
        now += staying.pause_s - 0.5
        assert not staying.is_due(7)
        now += 0.5
        assert staying.is_due(7)
    assert pauses == [1, 2, 4, 8, 16, 32, *4 * [LONGEST_PAUSE_S]]
    assert said == [True] * 7 + [False] * 3
    assert staying.failed("another reason")
    assert not staying.is_due(7)
    assert staying.is_due(8)  # it moved again
    assert staying.failed("another reason")
    assert staying.pause_s == 1


def test_what_can_not_be_looked_up_is_said_once_until_it_can() -> None:
    staying = Staying(1.0)
    assert [staying.is_unread(said) for said in ("away", "away", "gone", "away")] == [True, False, True, True]
    assert staying.is_due(1)
    assert staying.is_unread("away")
