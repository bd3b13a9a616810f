"""What an error, a hint or a docstring tells the reader to type exists: command, subcommand and options."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import click

from mainspring.cli.main import cli
from tests.house.source import python_files, relative

_SAID = re.compile(r"(?P<before>[`:(] ?)?\bmainspring (?P<typed>[a-z][^`'\"|;,)\n]*)")
_OPTION = re.compile(r"--[a-z][a-z-]*")


def texts(source: str) -> Iterator[str]:
    """The strings of a module that name commands, with `{}` where a value goes."""
    if "mainspring " not in source:
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(each.value) if isinstance(each, ast.Constant) else "{}" for each in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "mainspring " in node.value:
            yield node.value


def wrong(text: str) -> Iterator[str]:
    """The commands that a text names and that don't exist."""
    for said in _SAID.finditer(text):
        words = said["typed"].split(". ")[0].split()
        command: click.Command = cli
        for place, word in enumerate(words):
            if not isinstance(command, click.Group):
                break
            name = word.strip(".,)")
            found = command.get_command(click.Context(command), name)
            if found is None and re.fullmatch(r"[a-z][a-z-]*", name) and (place or said["before"]):
                yield f"mainspring {' '.join(words[: place + 1])}"
            if found is None:
                words = []
                break
            command = found
        known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)} | {"--help"}
        yield from (
            f"mainspring {' '.join(words)}: {each}" for each in _OPTION.findall(" ".join(words)) if each not in known
        )


def test_what_texts_tell_to_type_exists() -> None:
    found = {
        f"{relative(path)}: {each}"
        for path in python_files("src")
        for text in texts(path.read_text())
        for each in wrong(text)
    }
    assert not found


def test_a_command_a_subcommand_and_an_option_that_are_not_there_are_found() -> None:
    assert list(wrong("`mainspring run --resume {}` goes on")) == ["mainspring run --resume {}: --resume"]
    assert list(wrong("See: mainspring modles list")) == ["mainspring modles"]
    assert list(wrong("Use `mainspring models renam A B`.")) == ["mainspring models renam"]
    assert not list(wrong("`mainspring models list --json`, or mainspring resume RUN. import mainspring as ms"))
