"""How a command ends that did most of what was asked, and not all."""

from __future__ import annotations

from collections.abc import Iterable

import click

from mainspring.cli.app import Invocation


def end_failed(invocation: Invocation, failed: Iterable[tuple[str, str]]) -> None:
    """End with status 1 if something failed: its place and why, each in a line of its own; `--json` has told them already."""
    said = [message if place in message else f"{place}: {message}" for place, message in failed]
    for message in said if not invocation.json else ():
        click.echo(f"{click.style('Error:', fg='red', bold=True)} {' '.join(message.split())}", err=True)
    if said:
        click.get_current_context().exit(1)
