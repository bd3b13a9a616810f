"""Producers, consumers and materializations in a process of their own that kills itself at its n-th call of a function."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import polars as pl

from mainspring import clock
from mainspring.data.ingestion import ingest_stream
from mainspring.features import feed, materialize, push
from mainspring.streams import Event, event_of, open_log
from mainspring.workspace import Workspace, using

EVENTS = 120
OURS = f"{os.sep}mainspring{os.sep}"
MINUTE_US = 60_000_000


def events(end_us: int) -> list[Event]:
    """What producers send: the events of two carriers, of which some don't fit."""
    return [
        event_of(
            {"carrier": "UA" if number % 3 else "B6", "delay": number / 10 if number % 17 else "soon"},
            id=f"e{number}", time_us=end_us - (number * 7_919 % 90) * MINUTE_US,
        )
        for number in range(EVENTS)
    ]  # fmt: skip


def stream(end_us: int, workspace: Workspace) -> None:
    """Send, keep and feed, a few events at a time, from the first one on whatever is there."""
    log, given = open_log(workspace), events(end_us)
    for start in range(0, EVENTS, 30):
        log.append("arrivals", given[start : start + 30])
        ingest_stream("arrivals", max_events=20)
        feed(max_events=20)


def fill(end_us: int, _workspace: Workspace) -> None:
    """Materialize what is new, and push a row."""
    materialize("winds")
    push("weather", pl.DataFrame({"carrier": ["n7"], "at": [clock.from_us(end_us)], "wind": [7.0]}))
    materialize("weather")


def main(role: str, root: str, database: str, blobs: str, online: str, end_us: int, at: int) -> None:
    """Play a role; prints how many calls it took, if it came to its end."""
    workspace = Workspace.open(Path(root), overrides={"database": database, "blobs": blobs, "online": online})
    calls = 0

    def count(frame: FrameType, event: str, _: Any) -> None:
        nonlocal calls
        if event != "call" or OURS not in frame.f_code.co_filename or frame.f_code.co_name == "<module>":
            return  # of what libraries do while they are imported a kill tells nothing
        calls += 1
        if calls == at:
            os.kill(os.getpid(), signal.SIGKILL)

    with using(workspace):
        sys.setprofile(count)
        {"stream": stream, "fill": fill}[role](end_us, workspace)
        sys.setprofile(None)
    sys.stdout.write(f"{calls}\n")


if __name__ == "__main__":
    main(*sys.argv[1:6], int(sys.argv[6]), int(sys.argv[7]))  # type: ignore[call-arg, arg-type]  # five texts
