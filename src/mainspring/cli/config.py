"""`mainspring config`."""

from __future__ import annotations

import click

from mainspring.cli import text
from mainspring.cli.app import Group, Invocation

_ROOT = "{root}"


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
    invocation.show({"project": str(project.root), "settings": rows}, lambda: _shown(rows, str(project.root)))


def _shown(rows: list[dict[str, object]], root: str) -> str:
    """The table, in which the project's folder is `{root}`, as in the defaults; what that is, is said below."""
    cells = [
        [str(row["name"]), _value(row["value"]).replace(root, _ROOT), str(row["origin"]).removeprefix(f"{root}/"),
         text.dim(str(row["about"]))] for row in rows
    ]  # fmt: skip
    shown = text.table(["setting", "value", "from", "about"], cells, drop=["about"])
    return f"{shown}\n\n{text.dim(f'{_ROOT} is {root}')}" if any(_ROOT in value for _, value, *_ in cells) else shown


def _value(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
