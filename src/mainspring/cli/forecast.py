"""What `run --dry-run` and `why` print: a row for each task with its reasons, items of one kind in one row."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec

from mainspring.cli.app import Invocation

if TYPE_CHECKING:
    from mainspring.pipelines.forecast import Prospect
    from mainspring.pipelines.pipeline import Pipeline

_ITEM = re.compile(r"(?P<step>.*)\[(?P<index>\d+)\]")
_RANGES_SHOWN = 4
_MARKS = {True: ("run", "yellow"), False: ("reuse", "cyan"), None: ("open", "blue")}


class Row(msgspec.Struct, frozen=True):
    """A task, the word for what becomes of it with its colour, and the reasons."""

    task: str
    word: str
    colour: str
    lines: tuple[str, ...]


def show_forecast(
    invocation: Invocation, pipeline: Pipeline[Any, Any], params: dict[str, Any], *, seed: int | None, reuse: bool
) -> None:
    """Print what a run of the pipeline would do."""
    from mainspring.pipelines.forecast import forecast

    found = forecast(pipeline, params, workspace=invocation.workspace, seed=seed, reuse=reuse)
    text = [*shown_rows(rows_of(found)), "", f"Nothing was run: {counts_of(found)}."]
    invocation.show({"pipeline": pipeline.name, "tasks": found}, "\n".join(text))


def rows_of(prospects: Iterable[Prospect]) -> list[Row]:
    """The rows of a forecast."""
    return [Row(each.task, *_MARKS[each.runs], tuple(each.lines)) for each in prospects]


def counts_of(prospects: Sequence[Prospect]) -> str:
    """How many tasks would run; a mapped one whose items are known counts by them."""
    kinds = [each.runs for each in prospects if not each.items]
    told = f"{kinds.count(True)} would run, {kinds.count(False)} would be reused"
    open_ends = kinds.count(None)
    return f"{told}, {open_ends} can't be known before" if open_ends else told


def shown_rows(rows: Sequence[Row], *, every_item: bool = False) -> list[str]:
    """The rows as lines. Items of a step that have the same word and reasons share one, unless `every_item`."""
    rows = rows if every_item else _folded(rows)
    width = max((len(row.task) for row in rows), default=0)
    widest = max((len(row.word) for row in rows), default=0)
    indent = "\n" + " " * (width + widest + 4)
    return [
        f"{click.style(row.word.ljust(widest), fg=row.colour)}  {row.task.ljust(width)}  {indent.join(row.lines)}".rstrip()
        for row in rows
    ]


def _folded(rows: Sequence[Row]) -> list[Row]:
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        item = _ITEM.fullmatch(row.task)
        key = (item["step"], row.word, row.lines) if item else (row.task,)
        groups.setdefault(key, []).append(row)
    return [
        group[0] if len(group) == 1 else msgspec.structs.replace(group[0], task=_together([row.task for row in group]))
        for group in groups.values()
    ]


def _together(names: Sequence[str]) -> str:
    """Items of one step under one name.

    >>> _together(["each[0]", "each[1]", "each[2]", "each[5]"])
    'each[0…2, 5]'
    """
    found = [match for match in map(_ITEM.fullmatch, names) if match]
    ranges: list[list[int]] = []
    for index in sorted(int(match["index"]) for match in found):
        if ranges and ranges[-1][1] == index - 1:
            ranges[-1][1] = index
        else:
            ranges.append([index, index])
    told = [str(first) if first == last else f"{first}…{last}" for first, last in ranges]
    shown = ", ".join(told[:_RANGES_SHOWN]) + (", …" if len(told) > _RANGES_SHOWN else "")
    return f"{found[0]['step']}[{shown}]" + (f" ({len(names)} items)" if len(told) > _RANGES_SHOWN else "")
