"""Writes docs/cli.md, the reference of the command line, from what `--help` says. A test holds the two together."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click

PAGE = Path(__file__).with_name("cli.md")
COMMAND_LINE = "mainspring.cli.main"
WIDTH = 100


def commands(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    """Each command below, itself first: its path and its help."""
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None and not child.hidden:
                yield from commands(child, context_of(child, name, context))


def context_of(command: click.Command, name: str, parent: click.Context | None = None) -> click.Context:
    """A context in which help has the same width everywhere."""
    return click.Context(
        command,
        info_name=name,
        parent=parent,
        terminal_width=WIDTH,
        max_content_width=WIDTH,
        color=False,
        help_option_names=command.context_settings.get("help_option_names"),
    )


def reference() -> str:
    """The text of the page."""
    command_line: click.Command = import_module(COMMAND_LINE).cli
    parts = ["# Command line\n\nWritten by `make docs` from `--help`; a test checks it.\n"]
    for path, text in commands(command_line, context_of(command_line, "mainspring")):
        parts.append(f"\n## {path}\n\n```text\n{click.unstyle(text).rstrip()}\n```\n")
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(reference())
