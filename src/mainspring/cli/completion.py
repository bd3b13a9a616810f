"""`mainspring completion`."""

from __future__ import annotations

import click

from mainspring.cli.app import Command, Invocation

SHELLS = ("bash", "zsh", "fish")


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    For example in ~/.bashrc: `eval "$(mainspring completion bash)"`.
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"No completion for `{shell}`.", context)
    script = kind(context.find_root().command, {}, "mainspring", "_MAINSPRING_COMPLETE").source()
    context.ensure_object(Invocation).show({"shell": shell, "script": script}, script)
