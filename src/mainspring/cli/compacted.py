"""What compacting a log told, of predictions and of labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from mainspring.cli import text
from mainspring.cli.app import Invocation

if TYPE_CHECKING:
    from mainspring.serving.parts import Compacted


past_damage_option = click.option(
    "--past-damage",
    is_flag=True,
    help="Also what is whole in damaged segments, whose files are kept beside the others.",
)
"""The option of the commands that compact."""


def show_compacted(invocation: Invocation, done: Compacted, rows: str) -> None:
    """Show how many segments became how many parts; `rows` is what their rows are called."""
    said = [f"{done.rows:,} {rows} of {done.segments} segments are {done.parts} parts."]
    if done.kept_aside:
        said.append(f"{text.counted(done.passed_bytes, 'byte')} of damaged segments were passed over, which are kept:")
        said += [f"  {path}" for path in done.kept_aside]
    invocation.show(msgspec.to_builtins(done), "\n".join(said))
