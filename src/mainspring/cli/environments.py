"""`mainspring env`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from mainspring.cli import text
from mainspring.cli.app import Group, Invocation

if TYPE_CHECKING:
    from mainspring.runs import EnvironmentCheck
    from mainspring.workspace import Workspace

_MOST_OTHERS = 10


@click.group(cls=Group)
def env() -> None:
    """Hold the environment here against a recorded one."""


@env.command("check")
@click.argument("reference", metavar="RUN|MODEL/N|MODEL@ALIAS")
@click.option("--all", "everything", is_flag=True, help="Everything that differs, also what doesn't matter.")
@click.pass_obj
def check(invocation: Invocation, reference: str, everything: bool) -> int:
    """Say what differs here from the environment that a run or a model version recorded.

    Python's minor version, the platform, environment variables that steps declare, and distributions that the steps' code
    imports matter; where no step tells which, every recorded distribution does. The exit status is 1 if any of it differs.
    """
    found = _checked(reference, invocation.workspace)
    document = msgspec.to_builtins(found) | {"alike": found.is_alike}
    invocation.show(document, lambda: _shown(found, everything=everything))
    return 0 if found.is_alike else 1


def _checked(reference: str, workspace: Workspace) -> EnvironmentCheck:
    from mainspring.pipelines import check_environment

    if "/" not in reference and "@" not in reference:
        return check_environment(reference, workspace=workspace)
    from mainspring import models
    from mainspring.pipelines.environment import needed_distributions
    from mainspring.runs import RunStore

    version = models.get_model_version(reference, workspace)
    runs = RunStore(workspace.database, workspace.ledger).get_many([version.run] if version.run else [])
    needed = needed_distributions(runs[version.run], workspace) if version.run in runs else None
    return models.check_environment(version, needed=needed, workspace=workspace)


def _shown(found: EnvironmentCheck, *, everything: bool) -> str:
    others = [each for each in found.differences if not each.matters]
    shown = [*(each for each in found.differences if each.matters), *(others if everything else others[:_MOST_OTHERS])]
    rows = [
        [
            each.name, each.recorded or "-", each.here or "-",
            click.style("matters", fg="red") if each.matters else "",
        ]
        for each in shown
    ]  # fmt: skip
    more = (
        f"… {len(found.differences) - len(shown):,} more that don't matter"
        if len(shown) < len(found.differences)
        else ""
    )
    told = "Nothing differs that matters." if found.is_alike else ""
    table = text.table(["", found.of, "here", ""], rows) if rows else ""
    return "\n".join(part for part in (table, more, told) if part)
