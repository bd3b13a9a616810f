"""The command `mainspring`: its options, and the table of its commands."""

from __future__ import annotations

from pathlib import Path

import click

import mainspring
from mainspring.cli.app import Invocation, Root, uses_colour

_HOME = "mainspring.cli."
COMMANDS = {
    "init": (f"{_HOME}init:init", "Make a project of one file that runs."),
    "run": (f"{_HOME}run:run", "Run a pipeline, recorded and cached."),
    "resume": (f"{_HOME}run:resume", "Go on with a run that was killed, stopped or failed."),
    "cancel": (f"{_HOME}run:cancel", "Stop a run that another process drives."),
    "runs": (f"{_HOME}runs:runs", "List runs and look into one."),
    "experiments": (f"{_HOME}experiments:experiments", "List experiments, make and delete them."),
    "logs": (f"{_HOME}logs:logs", "Show what the steps of a run printed."),
    "why": (f"{_HOME}why:why", "Say why steps ran, or would run now."),
    "env": (f"{_HOME}environments:env", "Hold the environment here against a recorded one."),
    "replay": (f"{_HOME}replay:replay", "Run recorded code on recorded inputs again and compare."),
    "lineage": (f"{_HOME}lineage:lineage", "Walk from anything to what it came from."),
    "data": (f"{_HOME}data:data", "List datasets and their versions."),
    "features": (f"{_HOME}features:features", "List features, plan and apply their definitions."),
    "studies": (f"{_HOME}studies:studies", "List hyperparameter searches, draw and continue them."),
    "models": (f"{_HOME}models:models", "List model versions and move aliases."),
    "endpoints": (f"{_HOME}endpoints:endpoints", "List endpoints and bind them to models."),
    "serve": (f"{_HOME}serve:serve", "Answer predictions of an endpoint over HTTP."),
    "build": (f"{_HOME}build:build", "Build a container image of an endpoint."),
    "predict": (f"{_HOME}predict:predict", "Predict all rows of a dataset or a query."),
    "loadtest": (f"{_HOME}loadtest:loadtest", "Ask a server at given rates and say what it holds."),
    "predictions": (f"{_HOME}predictions:predictions", "Look into the log of predictions."),
    "explain": (f"{_HOME}explain:explain", "Say what a prediction came from, down to the bytes."),
    "feedback": (f"{_HOME}feedback:feedback", "Log labels of predictions and see how many have one."),
    "server": (f"{_HOME}server:server", "Answer over HTTP: MLflow's clients, approvals, outside services."),
    "tokens": (f"{_HOME}tokens:tokens", "Make, list and revoke the tokens of people for the server."),
    "import": (f"{_HOME}migration:import_", "Bring in what another tool tracked: MLflow's stores."),
    "export": (f"{_HOME}migration:export", "Write the workspace as a store of MLflow's, runs for W&B."),
    "stream": (f"{_HOME}stream:stream", "Send, read and take in the events of streams."),
    "config": (f"{_HOME}config:config", "Show the settings in force and where each was set."),
    "doctor": (f"{_HOME}doctor:doctor", "Check the workspace and say what is wrong."),
    "gc": (f"{_HOME}gc:gc", "Collect blobs that nothing names."),
    "completion": (f"{_HOME}completion:completion", "Print the completion script of a shell."),
}


@click.group(cls=Root, lazy=COMMANDS)
@click.version_option(mainspring.__version__, prog_name="mainspring", message="%(prog)s %(version)s")
@click.option(
    "-C", "--project", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="DIR",
    help="Work in the project of this folder instead of the one here.",
)  # fmt: skip
@click.option("--profile", default="", metavar="NAME", help="Take settings from this profile.")
@click.option(
    "--config", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
    help="Read settings from this file instead of the project's.",
)  # fmt: skip
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Set a setting for this call.")
@click.option("-v", "--verbose", is_flag=True, help="Show tracebacks.")
@click.pass_context
def cli(
    context: click.Context,
    project: Path | None,
    profile: str,
    file: Path | None,
    settings: tuple[str, ...],
    verbose: bool,
) -> None:
    """Mainspring runs the whole life of a machine-learning system from one package.

    Start with `mainspring init`, then `mainspring run`.
    """
    overrides = dict(_pair(text) for text in settings)
    context.obj = Invocation(project, profile=profile, file=file, overrides=overrides, verbose=verbose)
    if not uses_colour():
        context.color = False


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.BadParameter(f"`{text}` is not NAME=VALUE", param_hint="--set")
    return name.replace("-", "_"), value
