"""What compacting a log told, of predictions and of labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from mainspring.cli.app import Invocation

if TYPE_CHECKING:
    from mainspring.serving.parts import Compacted


def show_compacted(invocation: Invocation, done: Compacted, rows: str) -> None:
    """Show how many segments became how many parts; `rows` is what their rows are called."""
    said = f"{done.rows:,} {rows} of {done.segments} segments are {done.parts} parts."
    invocation.show(msgspec.to_builtins(done), said)
