"""`mainspring config`."""

from __future__ import annotations

import click

from mainspring.cli import text
from mainspring.cli.app import Group, Invocation


@click.group(cls=Group, default="show")
def config() -> None:
    """Show the settings in force (the same as `config show`)."""


@config.command("show")
@click.pass_obj
def show_settings(invocation: Invocation) -> None:
    """Show each setting, its value, and where it was set."""
    from mainspring.config import SETTINGS
    from mainspring.secrets import redact_value

    project = invocation.project
    rows = [
        {"name": name, "value": redact_value(name, found.value), "origin": found.origin, "about": SETTINGS[name].about}
        for name, found in project.settings.origins.items()
    ]
    shown = [[str(row["name"]), _value(row["value"]), str(row["origin"]), text.dim(str(row["about"]))] for row in rows]
    invocation.show(
        {"project": str(project.root), "settings": rows},
        lambda: text.table(["setting", "value", "from", "about"], shown, drop=["about"]),
    )


def _value(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
