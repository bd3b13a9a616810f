"""`mainspring gc`."""

from __future__ import annotations

import click
import msgspec

from mainspring.cli import text
from mainspring.cli.app import Command, Invocation


@click.command(cls=Command)
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--grace-h", type=click.FloatRange(min=0), metavar="H", help="Keep unreferenced blobs so many hours.")
@click.pass_obj
def gc(invocation: Invocation, dry_run: bool, grace_h: float | None) -> None:
    """Collect blobs that nothing names.

    In two phases: what nothing has named for the grace period is set aside, still readable; what was set aside a grace
    period ago, and nothing has named since, is destroyed. It may run beside anything.

    Of runs that are over or were killed it also removes what they left on this machine; what an interrupted one printed is
    kept with the run first. A run whose process may live is left alone.
    """
    from mainspring.workspace import collect

    report = collect(invocation.workspace, grace_s=None if grace_h is None else grace_h * 3600, dry_run=dry_run)
    would = "would be " if dry_run else ""
    lines = [
        f"{text.counted(report.live, 'blob')} in use, {report.young:,} unreferenced but within the grace period",
        f"{text.counted(report.condemned, 'blob')} {would}set aside, {report.restored:,} {would}taken back",
        f"{text.counted(report.destroyed, 'blob')} {would}destroyed, {text.size(report.freed_bytes)} {would}freed",
    ]
    invocation.show({"dry_run": dry_run, **msgspec.to_builtins(report)}, "\n".join(lines))
