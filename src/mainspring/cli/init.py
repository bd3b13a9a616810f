"""`mainspring init`."""

from __future__ import annotations

from pathlib import Path

import click

from mainspring.cli.app import Command, Invocation


@click.command(cls=Command)
@click.argument("folder", default=".", metavar="[DIR]", type=click.Path(path_type=Path))
@click.pass_obj
def init(invocation: Invocation, folder: Path) -> None:
    """Make a project in DIR (default: here): settings, a pipeline of three steps, and what git should ignore.

    Files that exist are left as they are, and named.
    """
    from mainspring.workspace import init_project

    root = (invocation.start or Path()) / folder
    made = init_project(root)
    written, left = [str(path) for path in made.written], [str(path) for path in made.left]
    change = "" if root.resolve() == Path.cwd() else f"cd {root} && "
    invocation.show(
        {"project": str(root.resolve()), "written": written, "left": left},
        "\n".join(
            [
                *(f"wrote {path}" for path in written),
                *(f"left {path} as it was" for path in left),
                f"Next: {change}mainspring run",
            ]
        ),
    )
