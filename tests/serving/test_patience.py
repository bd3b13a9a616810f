"""What goes on for long is told while it does, and no more when it has ended."""

from __future__ import annotations

import time

import pytest

from mainspring.serving.patience import telling

pytestmark = pytest.mark.one_backend("no store is read")


def test_what_takes_long_is_told_ever_less_often(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("mainspring.serving.patience.FIRST_S", 0.125)
    with telling("line/1 is still being loaded"):
        while len(caplog.messages) < 3:
            time.sleep(0.01)
    assert caplog.messages == [
        f"line/1 is still being loaded, for {passed} s now" for passed in ("0.125", "0.25", "0.5")
    ]
    time.sleep(0.6)
    assert len(caplog.messages) == 3


def test_what_is_quick_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    with telling("line/1 is still being loaded"):
        pass
    assert caplog.messages == []
