"""Which way of showing a run fits stderr."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from mainspring.cli.app import Invocation, redraws
from mainspring.cli.progress import Lines, Progress, Quiet

if TYPE_CHECKING:
    from mainspring.cli.live_metrics import LiveMetrics


def listener_for(invocation: Invocation, *, quiet: bool = False) -> Progress:
    """The listener for stderr as it is: a live tree on a terminal, else plain lines; quiet, only the end."""
    stream, command, blobs = sys.stderr, invocation.command, invocation.workspace.blobs
    if quiet:
        return Quiet(stream, command, blobs)
    if redraws(stream) and (stream.encoding or "").lower().startswith("utf"):
        from mainspring.cli.live import LiveTree

        return LiveTree(stream, command, blobs, lambda: _live_metrics(invocation))
    return Lines(stream, command, blobs)


def _live_metrics(invocation: Invocation) -> LiveMetrics:
    from mainspring.cli.live_metrics import LiveMetrics

    return LiveMetrics(invocation.workspace)
