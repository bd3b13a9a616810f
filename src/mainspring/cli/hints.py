"""Hints of errors in the words of the command line: what Python takes as an argument is an option here."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterable
from contextlib import suppress

import click

_ARGUMENT = re.compile(r"`?\b([a-z_]+)=('[^']*'|\{[^{}]*\}|\[[^\[\]]*\])`?")
_CALLS = {"forget_cursor()": "from_the_beginning"}
"""What Python calls and a flag does."""


def in_options(message: str, parameters: Iterable[click.Parameter]) -> str:
    """A message with the arguments that it names as the options of a command; what is none of its options stays.

    An option goes by the argument's name, and a flag by its value.

    >>> types = click.Option(["--type", "types"], multiple=True)
    >>> pad = click.Option(["--pad"], is_flag=True)
    >>> in_options("Give types={'b': 'str'}, or ragged='pad', or mode='x'.", [types, pad])
    "Give `--type b=str`, or `--pad`, or mode='x'."
    >>> in_options("Call forget_cursor().", [click.Option(["--from-the-beginning"], is_flag=True)])
    'Call `--from-the-beginning`.'
    """
    options = {(option.name or "").rstrip("_"): option for option in parameters if isinstance(option, click.Option)}

    for call, name in _CALLS.items():
        if (flag := options.get(name)) is not None:
            message = message.replace(call, f"`{_long(flag)}`")

    def option(found: re.Match[str]) -> str:
        value: object = None
        with suppress(ValueError, SyntaxError):
            value = ast.literal_eval(found[2])
        named = options.get(found[1])
        if named is not None and not named.is_flag and value is not None:
            values = [f"{key}={kind}" for key, kind in value.items()] if isinstance(value, dict) else value
            values = values if isinstance(values, list) else [values]
            return f"`{' '.join(f'{_long(named)} {shlex.quote(str(each))}' for each in values)}`"
        flag = options.get(str(value))
        return f"`{_long(flag)}`" if flag is not None and flag.is_flag else found[0]

    return _ARGUMENT.sub(option, message)


def _long(option: click.Option) -> str:
    return max(option.opts, key=len)
