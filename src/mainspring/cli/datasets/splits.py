"""`mainspring data split`, `leakage`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from mainspring.cli import text
from mainspring.cli.app import Command, Invocation
from mainspring.cli.datasets.options import columns_option

if TYPE_CHECKING:
    from mainspring.data import DatasetVersion, LeakageReport, SplitRule
    from mainspring.workspace import Workspace

_COLOURS = {"ok": "green", "warn": "yellow", "stop": "red"}
_NUMBERS = ("i", "u", "f")  # how the types of numbers begin


@click.command(cls=Command)
@click.argument("reference", metavar="DATASET[/REF]")
@click.option(
    "--by", type=click.Choice(["hash", "time", "group", "strata"]), default="hash", show_default=True,
    help="What decides: a hash of the key, a time, whole groups, or equal shares of each stratum.",
)  # fmt: skip
@columns_option("--on", "columns", required=True, help="The key's column")
@click.option(
    "--share",
    "shares",
    multiple=True,
    metavar="PART=SHARE",
    help="A part and its share; not with `--by time`.  [default: train=0.8, test=0.2]",
)
@click.option(
    "--at",
    multiple=True,
    metavar="INSTANT",
    help="With `--by time`, in place of `--share`: where to cut; may be repeated.",
)
@click.option("--salt", default="", help="With `--by hash`: another salt gives another split.")
@click.option("--seed", type=int, default=0, show_default=True, help="With `--by group` and `--by strata`.")
@click.option("--prefix", default="", help="Name the parts PREFIX-PART rather than DATASET-PART.")
@click.option("--note", default="", help="A note on the versions.")
@click.option("--dry-run", is_flag=True, help="Only count the rows of each part.")
@click.pass_obj
def split(
    invocation: Invocation, reference: str, by: str, columns: tuple[str, ...], shares: tuple[str, ...],
    at: tuple[str, ...], salt: str, seed: int, prefix: str, note: str, dry_run: bool,
) -> None:  # fmt: skip
    """Split a table into parts, each a version of its own, DATASET-train and so on.

    REF is a number, a tag, an id or a time; left out, it is the newest. By hash, rows stay where they are when others
    are appended.
    """
    from mainspring.data import split_dataset, write_rule
    from mainspring.data.splits.recorded import count_parts

    workspace = invocation.workspace
    version = _version(reference, workspace)
    rule = _rule(by, columns, _shares(shares), at=_instants(version, columns[0], at), salt=salt, seed=seed)
    document: dict[str, Any] = {"source": str(version), "rule": msgspec.json.decode(write_rule(rule))}
    if dry_run:
        rows = count_parts(version, rule)
        versions = dict.fromkeys(rows, "")
        document["rows"] = rows
    else:
        parts = split_dataset(version, rule, prefix=prefix, note=note, workspace=workspace)
        rows = {name: part.rows for name, part in parts.items()}
        versions = {name: str(part) for name, part in parts.items()}
        document["parts"] = {name: msgspec.to_builtins(part) for name, part in parts.items()}
    invocation.show(document, lambda: _split(rows, versions))


@click.command(cls=Command)
@click.argument("train", metavar="TRAIN[/REF]")
@click.argument("test", metavar="TEST[/REF]")
@columns_option("--key", help="A key that no row of both may have")
@click.option("--time", default="", metavar="COLUMN", help="A time that only grows from one part to the other.")
@click.option("--target", default="", metavar="COLUMN", help="What is predicted; a column that alone tells it leaks.")
@columns_option("--ignore", help="A column that is not compared")
@click.option("--no-near", is_flag=True, help="Don't look for rows and texts that are almost equal.")
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write the report as a page, too."
)
@click.option("--strict", is_flag=True, help="End with status 1 if something leaks, or nothing was compared.")
@click.pass_obj
def leakage(
    invocation: Invocation, train: str, test: str, key: tuple[str, ...], time: str, target: str,
    ignore: tuple[str, ...], no_near: bool, html: Path | None, strict: bool,
) -> None:  # fmt: skip
    """Say what leaks from TRAIN into TEST: shared keys, equal rows, times, columns that tell too much.

    REF is a number, a tag, an id or a time; left out, it is the newest.
    """
    from mainspring.data import leakage as look

    workspace = invocation.workspace
    report = look(
        _version(train, workspace), _version(test, workspace), key=key, time=time, target=target, ignore=ignore,
        near_duplicates=not no_near,
    )  # fmt: skip
    if html is not None:
        from mainspring.store.named_file import write_named

        write_named(html, report.to_html())
    invocation.show(msgspec.json.decode(report.to_json()), lambda: _leaks(report))
    if strict:
        report.raise_for_stop()


def _version(reference: str, workspace: Workspace) -> DatasetVersion:
    from mainspring.data import get_dataset_version

    version = get_dataset_version(reference, workspace)
    version.expect("table")
    return version


def _rule(
    by: str, columns: tuple[str, ...], shares: Any, *, at: tuple[Any, ...], salt: str, seed: int
) -> SplitRule:  # fmt: skip
    from mainspring.data import GroupSplit, HashSplit, StratifiedSplit, TimeSplit
    from mainspring.data.splits.rule import TRAIN_TEST

    if (by == "time") != bool(at) or (by == "time" and (shares or len(columns) > 1)):
        raise click.UsageError("`--by time` takes one column and `--at`; the others take `--share`.")
    shares = shares or TRAIN_TEST
    if by == "time":
        return TimeSplit(columns[0], at)
    if by == "group":
        return GroupSplit(columns, shares, seed)
    return HashSplit(columns, shares, salt) if by == "hash" else StratifiedSplit(columns, shares, seed=seed)


def _shares(given: tuple[str, ...]) -> tuple[tuple[str, float], ...]:
    pairs = []
    for pair in given:
        name, equals, share = pair.rpartition("=")
        try:
            pairs.append((name, float(share if equals else "")))
        except ValueError as error:
            raise click.BadParameter(f"`{pair}` is no PART=SHARE, e.g. train=0.8", param_hint="--share") from error
    return tuple(pairs)


def _instants(version: DatasetVersion, column: str, given: tuple[str, ...]) -> tuple[Any, ...]:
    """Cuts as the column has them: numbers for numbers, else text, of which the rule makes times."""
    if not dict(version.schema).get(column, "").startswith(_NUMBERS):
        return given
    try:
        return tuple(int(each) if each.lstrip("-").isdecimal() else float(each) for each in given)
    except ValueError as error:
        raise click.BadParameter(f"`{column}` holds numbers", param_hint="--at") from error


def _split(rows: dict[str, int], versions: dict[str, str]) -> str:
    total = max(sum(rows.values()), 1)
    lines = [[name, versions[name], f"{count:,}", f"{100 * count / total:.1f} %"] for name, count in rows.items()]
    headers = ["part", "version", "rows", "share"]
    if not any(versions.values()):
        return text.table(headers[:1] + headers[2:], [line[:1] + line[2:] for line in lines])
    return text.table(headers, lines)


def _leaks(report: LeakageReport) -> str:
    head, *lines = str(report).splitlines()
    coloured = [
        click.style(line, fg=_COLOURS[finding.severity]) if finding.severity != "ok" else line
        for line, finding in zip(lines, report.findings, strict=True)
    ]
    return "\n".join([text.bold(head), *coloured])
