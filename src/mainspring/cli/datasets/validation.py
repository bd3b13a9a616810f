"""`mainspring data check`, `propose`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from mainspring.cli import text
from mainspring.cli.app import Command, Invocation

if TYPE_CHECKING:
    from mainspring.data import DatasetVersion, Report

_COLOURS = {"STOP": "red", "quar": "yellow", "warn": "yellow"}


@click.command(cls=Command)
@click.argument("reference", metavar="DATASET[/REF]")
@click.option(
    "--schema", "schema_file", type=click.Path(dir_okay=False), metavar="FILE",
    help="The schema to hold it to.  [default: DATASET.schema.toml in the project]",
)  # fmt: skip
@click.option("--html", "page", type=click.Path(dir_okay=False), metavar="OUT", help="Write the report as a page, too.")
@click.pass_context
def check(context: click.Context, reference: str, schema_file: str | None, page: str | None) -> None:
    """Hold a version to a schema; of a tree, look at its images.

    The exit status is 1 if a check stops it. REF is a number, a tag, an id or a time; left out, it is the newest.
    """
    from mainspring.data import get_dataset_version

    invocation: Invocation = context.obj
    version = get_dataset_version(reference, invocation.workspace)
    report = _held(version, invocation, schema_file)
    if page:
        report.save_html(page)
    document = msgspec.to_builtins(report, enc_hook=str) | {"verdict": report.verdict}
    invocation.show({"report": document}, lambda: _shown(report, page))
    if not report.passed:
        context.exit(1)


@click.command(cls=Command)
@click.argument("reference", metavar="DATASET[/REF]")
@click.pass_obj
def propose(invocation: Invocation, reference: str) -> None:
    """Print a schema that a version passes, as TOML to be edited.

    `mainspring data propose flights > flights.schema.toml` puts it where `data check` finds it.
    """
    from mainspring.data import get_dataset_version, propose_schema

    schema = propose_schema(get_dataset_version(reference, invocation.workspace))
    invocation.show({"schema": msgspec.to_builtins(schema, enc_hook=str)}, lambda: schema.dumps().rstrip())


def _held(version: DatasetVersion, invocation: Invocation, schema_file: str | None) -> Report:
    from mainspring.data import Schema, validate

    path = Path(schema_file) if schema_file else invocation.project.root / f"{version.dataset}.schema.toml"
    if version.kind == "tree":
        from mainspring.data.validation.images import check_images

        return check_images(version, Schema.load(path).all_checks() if schema_file else ())
    return validate(version, Schema.load(path))


def _shown(report: Report, page: str | None) -> str:
    lines = str(report).splitlines()
    shown = [text.bold(lines[0]), *(_line(line) for line in lines[1:])]
    return "\n".join([*shown, *([f"The page is {page}"] if page else [])])


def _line(line: str) -> str:
    word = line.split(maxsplit=1)[0]
    return click.style(line, fg=_COLOURS[word]) if word in _COLOURS else line
