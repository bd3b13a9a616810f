"""`mainspring data`: the table of its commands, which live in `cli/datasets`."""

from __future__ import annotations

import click

from mainspring.cli.app import Group

_HOME = "mainspring.cli.datasets."
COMMANDS = {
    "list": (f"{_HOME}versions:list_all", "List every dataset's newest version."),
    "show": (f"{_HOME}show:show", "Show a version: what it holds, where it came from."),
    "ingest": (f"{_HOME}ingestion:ingest", "Read what is new in files, a database, an API or a bucket into a table."),
    "sources": (f"{_HOME}ingestion:sources", "List what was ingested into a table, and how far."),
    "add": (f"{_HOME}trees:add", "Make a version of a file or folder, and a pointer for Git."),
    "status": (f"{_HOME}trees:status", "Say what differs from the versions that pointers name."),
    "checkout": (f"{_HOME}trees:checkout", "Write a version's files into a folder."),
    "open": (f"{_HOME}trees:open_file", "Print one file of a version."),
    "log": (f"{_HOME}versions:log", "List the versions of a dataset, newest first, with their tags."),
    "tag": (f"{_HOME}versions:tag", "Point a tag at a version."),
    "diff": (f"{_HOME}tables:diff", "Show how a version differs from an older one."),
    "compact": (f"{_HOME}tables:compact", "Rewrite newest versions without bytes they don't need."),
    "remove": (f"{_HOME}retention:remove", "Remove the data of a version, or of a whole dataset."),
    "gc": (f"{_HOME}retention:gc", "Remove old versions."),
    "check": (f"{_HOME}validation:check", "Hold a version to a schema; of a tree, look at its images."),
    "propose": (f"{_HOME}validation:propose", "Print a schema that a version passes, to be edited."),
    "export": (f"{_HOME}interchange:export", "Write a version for other tools: Parquet, Delta Lake, DVC."),
    "import": (f"{_HOME}interchange:import_from", "Make a version of Parquet files, a Delta table or what DVC keeps."),
    "copy": (f"{_HOME}interchange:copy", "Copy a version to another workspace."),
    "split": (f"{_HOME}splits:split", "Split a table into parts, each a version of its own."),
    "leakage": (f"{_HOME}splits:leakage", "Say what leaks from one part into another."),
}


@click.group(cls=Group, default="list", lazy=COMMANDS)
def data() -> None:
    """List datasets (the same as `data list`), look into their versions, and make new ones."""
