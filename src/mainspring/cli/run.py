"""`mainspring run`, `resume`, `cancel`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from mainspring.cli.app import Command, Invocation
from mainspring.errors import ConfigError, ConflictError, WrongTypeError

if TYPE_CHECKING:
    from mainspring.pipelines.results import RunResult
    from mainspring.runs import Run

RUNNERS = ("auto", "inline", "pool", "detached")
_FREE = {"ignore_unknown_options": True}


def _how(command: Any) -> Any:
    """The options of commands that drive a run."""
    for option in (
        click.option("-q", "--quiet", is_flag=True, help="Show only how it ended."),
        click.option("--keep-going", is_flag=True, help="Go on with what doesn't depend on a failed step."),
        click.option("--runner", type=click.Choice(RUNNERS), help="Where steps run [default: the project's]."),
        click.option("-j", "--jobs", type=click.IntRange(min=1), metavar="N", help="How many steps run at once."),
    ):
        command = option(command)
    return command


@click.command(cls=Command, context_settings=_FREE, options_metavar="[OPTIONS] [--NAME VALUE ...]")
@click.argument("words", nargs=-1, metavar="[TARGET]", type=click.UNPROCESSED)
@_how
@click.option("-p", "--param", "pairs", multiple=True, metavar="NAME=VALUE", help="A parameter; as is --NAME VALUE.")
@click.option(
    "--params", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
    help="Parameters from a JSON or TOML file; those on the command line win.",
)  # fmt: skip
@click.option("--seed", type=int, metavar="N", help="The seed that every step's seed derives from.")
@click.option("--no-cache", is_flag=True, help="Run every step anew.")
@click.option("--note", default="", metavar="TEXT", help="Kept with the run.")
@click.option("--dry-run", is_flag=True, help="Say what would run or be reused, and why; run nothing.")
@click.pass_obj
def run(
    invocation: Invocation, /, words: tuple[str, ...], pairs: tuple[str, ...], file: Path | None, *, quiet: bool,
    dry_run: bool, no_cache: bool, **options: Any,
) -> int:  # fmt: skip
    """Run the pipeline TARGET, recorded and cached.

    TARGET is a name in the project's [pipelines], `module:pipeline`, `file.py` or `file.py:pipeline`; left out, it is
    the project's only pipeline, or `main`. The pipeline's parameters are options: `--count 3`. One that is called like an
    option below is said with -p.
    """
    from mainspring.cli.target import pipeline_for

    target, given = split_words(words, pairs)
    pipeline = pipeline_for(invocation, target)
    _check_given(pipeline, given)
    params = (_from_file(file) if file else {}) | given
    _check_meant(pipeline, params)
    if dry_run:
        from mainspring.cli.forecast import show_forecast

        show_forecast(invocation, pipeline, params, seed=options["seed"], reuse=not no_cache)
        return 0
    from mainspring.cli.listening import listener_for
    from mainspring.pipelines.launch import run_pipeline

    result = run_pipeline(
        pipeline, params, workspace=invocation.workspace, reuse=not no_cache, strict=False,
        listener=listener_for(invocation, quiet=quiet or invocation.json), **options,
    )  # fmt: skip
    return _shown(invocation, result)


@click.command(cls=Command)
@click.argument("name", metavar="RUN")
@_how
@click.pass_obj
def resume(invocation: Invocation, /, name: str, *, quiet: bool, **options: Any) -> int:
    """Go on with RUN, which was killed, stopped or failed: the same run, with new attempts of what is not done.

    `latest` is the newest run of a pipeline. If the project's sources have changed since, the code that the run recorded
    is used, and that is said. What a run with --no-cache has not done itself, it does.
    """
    from mainspring.cli.listening import listener_for
    from mainspring.cli.target import prepare
    from mainspring.pipelines.launch import resume_run

    workspace = invocation.workspace
    prepare(invocation.project)
    listener = listener_for(invocation, quiet=quiet or invocation.json)
    result = resume_run(name, workspace=workspace, listener=listener, **options)
    return _shown(invocation, result, notes=listener.notes)


@click.command(cls=Command)
@click.argument("name", metavar="RUN")
@click.pass_obj
def cancel(invocation: Invocation, name: str) -> None:
    """Stop RUN, which another process of this machine drives; what is done stays, and it can be resumed."""
    import os
    import signal

    from mainspring.runs import RunState, RunStore

    workspace = invocation.workspace
    store = RunStore(workspace.database, workspace.ledger)
    running = store.list(state="running", limit=1) if name == "latest" else []
    found = running[0] if running else store.get(name)
    state = store.shown_state(found, workspace.leases)
    if state is not RunState.RUNNING:
        hint = f" `mainspring resume {found.id[:12]}` goes on with it." if state is RunState.INTERRUPTED else ""
        raise ConflictError(f"The run {found.id[:12]} is not running: it is {state.value}.{hint}")
    pid = _driver_here(workspace, found)
    os.kill(pid, signal.SIGINT)
    invocation.show(
        {"run": found.id, "pid": pid, "signal": "SIGINT"},
        f"asked process {pid} to stop run {found.id[:12]}; a second `mainspring cancel` ends it at once",
    )


def split_words(words: tuple[str, ...], pairs: tuple[str, ...] = ()) -> tuple[str, dict[str, Any]]:
    """The target and the parameters among the words of `run`. An option without a value is True.
    One that is given again is a list.

    >>> split_words(("main", "--count", "3", "--name=x", "--fast"))
    ('main', {'count': '3', 'name': 'x', 'fast': True})
    >>> split_words(("--tags", "q", "--tags", "r"))
    ('', {'tags': ['q', 'r']})
    """
    target, rest = "", list(words)
    params: dict[str, Any] = {}
    while rest:
        word = rest.pop(0)
        if word.startswith("--") and len(word) > 2:
            name, equals, value = word[2:].partition("=")
            is_alone = not equals and (not rest or rest[0].startswith("--"))
            _give(params, name, True if is_alone else value if equals else rest.pop(0))
        elif target or word.startswith("-"):
            raise click.UsageError(
                f"`{word}` is one word too many; parameters are given as --NAME VALUE or -p NAME=VALUE."
            )
        else:
            target = word
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise click.BadParameter(f"`{pair}` is not NAME=VALUE", param_hint="--param")
        _give(params, name, value)
    return target, params


def _give(params: dict[str, Any], name: str, value: Any) -> None:
    """Take in an option; one that is repeated gives a list."""
    name = name.replace("-", "_")
    if name in params:
        before = params[name]
        value = [*(before if isinstance(before, list) else [before]), value]
    params[name] = value


def _check_given(pipeline: Any, given: dict[str, Any]) -> None:
    """Refuse an option without a value where its parameter is no flag."""
    from mainspring.pipelines.hints import accepts, hints_of

    hints = hints_of(pipeline.function)
    for name, value in given.items():
        if value is True and name in hints and not (hints[name] is Any or accepts(hints[name], bool)):
            raise click.UsageError(f"--{name.replace('_', '-')} needs a value.")


def _check_meant(pipeline: Any, params: dict[str, Any]) -> None:
    """Refuse an option of `run` that the pipeline has a parameter of, unless that is given, too."""
    from inspect import signature

    context = click.get_current_context()
    for option in context.command.params:
        name = option.name or ""
        is_given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if (
            is_given
            and isinstance(option, click.Option)
            and name not in params
            and name in signature(pipeline.function).parameters
        ):
            said = (
                f"`{option.opts[-1]}` is an option of `mainspring run`, and `{name}` a parameter of the pipeline, too."
            )
            raise click.UsageError(f"{said} Say the parameter with `-p {name}=VALUE`; the option then stays the run's.")


def _from_file(file: Path) -> dict[str, Any]:
    """The parameters in a file.

    Raises:
        ConfigError: it is neither JSON nor TOML.
        WrongTypeError: it holds something else than names and values.
    """
    from mainspring.foreign import read_foreign

    try:
        text = file.read_text("utf-8-sig")
        if file.suffix == ".toml":
            import tomllib

            values: Any = tomllib.loads(text)
        else:
            values = read_foreign(text)
    except ValueError as error:  # what both readers raise, and bytes that are no text
        raise ConfigError(f"this is not {'TOML' if file.suffix == '.toml' else 'JSON'}: {error}", str(file)) from error
    if not isinstance(values, dict):
        raise WrongTypeError(str(file), values, "names and values")
    return values


def _shown(invocation: Invocation, result: RunResult, notes: Sequence[str] = ()) -> int:
    from mainspring.cli.records import run_document, shown_outputs
    from mainspring.runs import RunState

    if invocation.json:
        document = run_document(invocation.workspace, result.run)
        invocation.show(document | {"notes": list(notes)} if notes else document, "")
    elif result.succeeded and (text := shown_outputs(invocation.workspace, result.run)):
        click.echo(text)
    if result.run.state is RunState.CANCELLED:
        return 130
    return 0 if result.succeeded else 1


def _driver_here(workspace: Any, found: Run) -> int:
    """The process that drives a run.

    Raises:
        ConflictError: it runs on another machine, or in another container.
    """
    host, boot, pid, _ = (workspace.leases.holder(f"run:{found.parent or found.id}").split(":") + [""] * 4)[:4]
    if [host, boot] != workspace.owner.split(":")[:2] or not pid.isdigit():
        raise ConflictError(
            f"The run {found.id[:12]} is driven by process {pid} on `{host}`, which can't be reached from here."
            f" There, run: kill -INT {pid}"
        )
    return int(pid)
