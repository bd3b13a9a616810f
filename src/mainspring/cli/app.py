"""What every command shares: the project it works in, `--json`, and how errors end a process.

Exit status: 0 fine, 1 an error in one line on stderr, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

import click

from mainspring import lazy
from mainspring.errors import MainspringError, close_names

if TYPE_CHECKING:
    from mainspring.workspace import Project, Workspace

JSON = "--json"
HELP = ("-h", "--help")
CONTEXT = {"help_option_names": list(HELP), "max_content_width": 100}
_INTERRUPTED = 130
_OURS = str(Path(__file__).parents[1]) + os.sep


class Invocation:
    """One call of the command line: the options before the command, and what they lead to, opened when needed."""

    def __init__(
        self, start: Path | None = None, *, profile: str = "", file: Path | None = None,
        overrides: Mapping[str, str] | None = None, verbose: bool = False,
    ) -> None:  # fmt: skip
        self.start = start
        self.profile = profile
        self.file = file
        self.overrides = dict(overrides or {})
        self.verbose = verbose
        self.json = False

    @cached_property
    def project(self) -> Project:
        """The project that the command works in."""
        return self.project_of(self.start)

    @cached_property
    def workspace(self) -> Workspace:
        """The workspace of the project, in use until the command ends. It must be there: looking makes none."""
        return self._opened(create=False)

    def start_in(self, project: Project) -> Workspace:
        """The workspace of a project, made if there is none; from here on the call works in it."""
        self.__dict__["project"] = project
        workspace = self.__dict__["workspace"] = self._opened(create=True)
        return workspace

    def project_of(self, start: Path | None) -> Project:
        """The project that a folder belongs to, with the options of this call."""
        from mainspring.workspace import find_project

        return find_project(start, overrides=self.overrides, profile=self.profile, file=self.file)

    @property
    def command(self) -> str:
        """How Mainspring is called from here for the same project."""
        root = self.project.root
        is_found = self.start is None and Path.cwd().resolve().is_relative_to(root)
        return "mainspring" if is_found else f"mainspring -C {root}"

    def _opened(self, *, create: bool) -> Workspace:
        from mainspring.workspace import Workspace, using

        context = click.get_current_context()
        workspace = context.with_resource(Workspace.open(project=self.project, create=create))
        context.with_resource(using(workspace))
        return workspace

    def show(self, document: Any, text: str | Callable[[], str]) -> None:
        """Print the result on stdout: one JSON document with `--json`, else text."""
        if self.json:
            show_json(document)
        else:
            click.echo(text if isinstance(text, str) else text())


class Command(click.Command):
    """A command with `--json`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.context_settings = {**CONTEXT, **self.context_settings}
        self.params.append(
            click.Option(
                [JSON], is_flag=True, expose_value=False, callback=_ask_for_json, help="Print one JSON document."
            )
        )

    def invoke(self, ctx: click.Context) -> Any:
        """Run it; an error that names arguments of Python names the options instead."""
        try:
            return super().invoke(ctx)
        except MainspringError as error:
            from mainspring.cli.hints import in_options

            error.args = (in_options(str(error), self.params), *error.args[1:])
            raise


class Group(click.Group):
    """A group whose commands live in modules that are imported when they are called.

    `lazy` maps a command's name to `module:attribute` and its one line of help. `default` is called when no command is
    named, with the options that were given.
    """

    command_class = Command

    def __init__(
        self, *args: Any, lazy: Mapping[str, tuple[str, str]] | None = None, default: str = "", **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.context_settings = {**CONTEXT, **self.context_settings}
        self._lazy = dict(lazy or {})
        self._default = default

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature, by position or name
        """The commands in the order of their table."""
        return [*self._lazy, *self.commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command, imported if need be."""
        if cmd_name not in self._lazy:
            return super().get_command(ctx, cmd_name)
        from importlib import import_module

        module, _, attribute = self._lazy[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default command before options without one."""
        if self._default and (not args or (args[0].startswith("-") and args[0] not in HELP)):
            args = [self._default, *args]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is called; an unknown one is named with the nearest."""
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            near = ", ".join(close_names(args[0], self.list_commands(ctx)))
            raise click.UsageError(f"No command `{args[0]}`.{f' Nearest: {near}.' if near else ''}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002  # click's signature, by position or name
        formatter: click.HelpFormatter,
    ) -> None:
        """The list of commands, without importing any that is lazy."""
        rows = [(name, about) for name, (_, about) in self._lazy.items()]
        rows += [(name, command.get_short_help_str(90)) for name, command in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class Root(Group):
    """The outermost group, which turns errors into lines and exit statuses."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The options before the command; one that belongs behind it is told so."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if error.option_name != JSON:
                raise
            told = f"`{JSON}` is an option of commands: put it behind one, as in `mainspring runs list {JSON}`."
            raise click.UsageError(told, ctx) from error

    def main(
        self, args: Sequence[str] | None = None, prog_name: str | None = None, complete_var: str | None = None,
        standalone_mode: bool = True, **extra: Any,
    ) -> Any:  # fmt: skip
        """Run a command line; ends the process with its status unless `standalone_mode` is off."""
        arguments = list(sys.argv[1:] if args is None else args)
        if not standalone_mode:
            return super().main(arguments, prog_name, complete_var, standalone_mode, **extra)
        as_json = JSON in arguments
        verbose = any(word in ("-v", "--verbose") for word in arguments)
        try:
            status = super().main(arguments, prog_name, complete_var, standalone_mode=False, **extra)
        except click.UsageError as error:
            _end_usage(error, as_json)
        except click.ClickException as error:
            _end(1, "error", error.format_message(), as_json)
        except (click.Abort, KeyboardInterrupt):
            _end(_INTERRUPTED, "interrupted", "Interrupted.", as_json)
        except MainspringError as error:
            _trace(verbose)
            _end(1, error.code, str(error), as_json)
        except Exception as error:  # noqa: BLE001  # the outermost frame: whatever it is becomes a line and a status
            _trace(verbose)
            _end(1, "unexpected", f"{described(error)}. With `mainspring -v` the traceback is shown.", as_json)
        sys.exit(status if isinstance(status, int) else 0)


def described(error: BaseException) -> str:
    """An error in somebody else's code: its type, what it says, and the last place in it. Of one of ours, which checks what
    was written there, the last place outside Mainspring.

    >>> described(ValueError("no"))
    'ValueError: no'
    """
    message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    places = list(_places(error))
    if isinstance(error, MainspringError) or (places and places[-1][0] == lazy.__file__):  # a name that we don't have
        places = [place for place in places if not place[0].startswith(_OURS)]
    return f"{message} ({places[-1][0]}:{places[-1][1]})" if places else message


def _places(error: BaseException) -> Iterator[tuple[str, int]]:
    """File and line of each frame that an error passed, the innermost last."""
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame.f_code.co_filename, trace.tb_lineno
        trace = trace.tb_next


def show_json(document: Any) -> None:
    """Print one JSON document on stdout, indented."""
    import msgspec

    text = msgspec.json.format(msgspec.json.encode(document, enc_hook=str), indent=2)
    click.echo(text)


def uses_colour() -> bool:
    """Whether colours are wanted: not with NO_COLOR set or a terminal that has none."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def redraws(stream: TextIO) -> bool:
    """Whether what a stream shows can be drawn anew in its place: on a terminal that moves its cursor."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _ask_for_json(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(Invocation).json = True


def _end_usage(error: click.UsageError, as_json: bool) -> NoReturn:
    if as_json:
        _end(2, "usage", error.format_message(), as_json)
    error.show()
    sys.exit(2)


def _end(status: int, code: str, message: str, as_json: bool) -> NoReturn:
    line = " ".join(message.split())
    if as_json:
        show_json({"error": {"code": code, "message": line}})
    else:
        click.echo(
            f"{click.style('Error:', fg='red', bold=True)} {line}", err=True, color=None if uses_colour() else False
        )
    sys.exit(status)


def _trace(verbose: bool) -> None:
    if verbose:
        import traceback

        traceback.print_exc()
