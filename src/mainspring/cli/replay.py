"""`mainspring replay`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mainspring.cli import text
from mainspring.cli.app import Command, Invocation

if TYPE_CHECKING:
    from mainspring.pipelines.replay import ReplayReport

_INTERRUPTED = 130
_COLOURS = {"VERIFIED": "green", "VERIFIED≈": "green", "DIVERGED": "red", "INCOMPLETE": "yellow"}


@click.command(cls=Command)
@click.argument("name", metavar="RUN")
@click.option("--step", metavar="STEP", help="Only this step.")
@click.option("-j", "--jobs", type=click.IntRange(min=1), default=1, metavar="N", help="How many steps run at once.")
@click.option(
    "--rebuild-env",
    is_flag=True,
    help="In a virtual environment with the recorded distributions, built by pip and kept.",
)
@click.option("-q", "--quiet", is_flag=True, help="Show only the verdict.")
@click.pass_obj
def replay(invocation: Invocation, name: str, step: str | None, jobs: int, rebuild_env: bool, quiet: bool) -> int:
    """Run the recorded code of RUN on its recorded inputs again, and compare every output.

    `latest` is the newest run of a pipeline, which a replay is not.
    The verdict is VERIFIED, VERIFIED≈ (within the tolerances that steps declare), DIVERGED at the first step that
    differs, or INCOMPLETE; the exit status is 0 for the first two.
    """
    from mainspring.cli.listening import listener_for
    from mainspring.pipelines.replay import replay_run

    listener = listener_for(invocation, quiet=quiet or invocation.json)
    report = replay_run(
        name, workspace=invocation.workspace, step=step, listener=listener, jobs=jobs, rebuild_env=rebuild_env
    )
    invocation.show(report, lambda: _shown(report))
    if report.cancelled:
        return _INTERRUPTED
    return 0 if report.is_verified else 1


def _shown(report: ReplayReport) -> str:
    verdict = click.style(report.verdict, fg=_COLOURS[report.verdict], bold=True)
    where = ", in the rebuilt environment" if report.rebuilt else ""
    lines = [f"{verdict}  run {text.short(report.run_id)}, {text.counted(len(report.steps), 'step')} compared{where}"]
    for step in report.steps:
        if step.verdict == "VERIFIED":
            continue
        lines.append(f"  {text.bold(step.name)}: {step.verdict} ({step.kind}). {step.detail}")
        lines += [f"    likely cause: {cause}" for cause in step.causes]
    if report.cancelled:
        lines.append("  it was interrupted; what was not compared may differ")
    if report.left_out:
        lines.append(f"  left out, without a result in the run: {', '.join(report.left_out)}")
    return "\n".join(lines)
