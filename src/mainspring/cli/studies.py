"""`mainspring studies`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from mainspring.cli import text
from mainspring.cli.app import Group, Invocation
from mainspring.errors import counted

if TYPE_CHECKING:
    from mainspring.studies import Study, Trial

_MOST_SHOWN = 20


@click.group(cls=Group, default="list")
def studies() -> None:
    """List studies, newest first (the same as `studies list`), look into one, draw it, go on with it."""


@studies.command("list")
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, metavar="N", help="At most so many."
)
@click.pass_obj
def list_all(invocation: Invocation, limit: int) -> None:
    """List studies, newest first."""
    from mainspring.studies import list_studies

    found = list_studies(limit, workspace=invocation.workspace)
    documents = [_document(study) for study in found]
    invocation.show({"studies": documents}, lambda: _listed(documents))


@studies.command("show")
@click.argument("name", metavar="STUDY")
@click.option("--all", "everything", is_flag=True, help="Every trial.")
@click.pass_obj
def show_one(invocation: Invocation, name: str, *, everything: bool) -> None:
    """Show STUDY (a name, or the beginning of an id): what is searched, the best trials, and those that failed."""
    from mainspring.studies import get_study

    study = get_study(name, workspace=invocation.workspace)
    trials = study.trials()
    document = _document(study) | {"trials": [msgspec.to_builtins(trial) for trial in trials]}
    invocation.show({"study": document}, lambda: _shown(study, document, trials, everything=everything))


@studies.command("plot")
@click.argument("name", metavar="STUDY")
@click.argument("kind", type=click.Choice(["history", "importance", "parallel"]), default="history")
@click.option("--metric", default="", metavar="NAME", help="Of this metric instead of the first.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Write this .html, .svg or .png instead of STUDY-KIND.html.",
)  # fmt: skip
@click.pass_obj
def plot_one(invocation: Invocation, name: str, kind: str, metric: str, output: Path | None) -> None:
    """Draw STUDY: its history, the importance of parameters, or parallel coordinates."""
    from mainspring.studies import get_study

    study = get_study(name, workspace=invocation.workspace)
    told = "".join(letter if letter.isalnum() else "-" for letter in study.name)
    path = study.plot(kind, metric=metric).save(output or Path(f"{told}-{kind}.html"))
    invocation.show({"study": study.id, "plot": kind, "file": str(path)}, lambda: f"Wrote {path}")


@studies.command("resume")
@click.argument("name", metavar="STUDY")
@click.option("--trials", type=click.IntRange(min=1), metavar="N", help="Make so many in all.")
@click.option(
    "--timeout-s", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="Begin no trial after so long."
)
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="So many at once.")
@click.pass_obj
def resume_one(invocation: Invocation, name: str, trials: int | None, timeout_s: float | None, jobs: int) -> None:
    """Go on with STUDY: trials of processes that died are made again with the same parameters, then new ones."""
    import sys

    from mainspring.pipelines.session import source_roots
    from mainspring.studies import resume_study

    workspace = invocation.workspace
    for folder in reversed(source_roots(workspace, workspace.project.root)):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))

    def told(trial: Trial) -> None:
        if not invocation.json:
            click.echo(_line(trial), err=True)

    study = resume_study(name, trials=trials, timeout_s=timeout_s, jobs=jobs, on_trial=told, workspace=workspace)
    document = _document(study)
    invocation.show({"study": document}, lambda: _facts(study, document))


def _document(study: Study) -> dict[str, Any]:
    trials = study.trials()
    states: dict[str, int] = {}
    for trial in (*trials, *(each for each in study.trials("waiting") if each.is_untried)):
        states[trial.state.value] = states.get(trial.state.value, 0) + 1
    best = [msgspec.to_builtins(trial) for trial in study.pareto] if states.get("complete") else []
    return {
        "id": study.id, "name": study.name, "definition": msgspec.to_builtins(study.definition), "states": states,
        "best": best, "cost": sum(trial.cost for trial in trials),
    }  # fmt: skip


def _listed(documents: list[dict[str, Any]]) -> str:
    if not documents:
        return "No studies. `ms.study(...)` in a script or step begins one."
    rows = [
        [text.short(each["id"]), each["name"], each["definition"]["sampler"], _states(each), _goal(each), _best(each)]
        for each in documents
    ]
    return text.table(["study", "name", "sampler", "trials", "goal", "best"], rows)


def _shown(study: Study, document: dict[str, Any], trials: list[Trial], *, everything: bool) -> str:
    names = sorted({name for trial in trials for name in trial.params})
    metrics = list(study.definition.metrics)
    ended = trials if everything else _foremost(study, trials)
    rows = [
        [
            str(trial.number), trial.state.value, *(_number(trial.values.get(name)) for name in metrics),
            *(_number(trial.params.get(name)) for name in names), text.duration(trial.duration_s), trial.error or "",
        ]
        for trial in ended
    ]  # fmt: skip
    table = text.table(["trial", "state", *metrics, *names, "took", "error"], rows)
    left = len(trials) - len(ended)
    more = f"\n… {counted(left, 'trial')} more; --all shows them" if left else ""
    return "\n\n".join(part for part in (_facts(study, document), table + more if rows else "") if part)


def _foremost(study: Study, trials: list[Trial]) -> list[Trial]:
    """The first trials in the order of the first metric, best first; those without a value last."""
    sign = 1.0 if study.definition.directions[0] == "minimize" else -1.0
    worst = float("inf")
    return sorted(trials, key=lambda each: worst if each.value is None else sign * each.value)[:_MOST_SHOWN]


def _facts(study: Study, document: dict[str, Any]) -> str:
    definition = study.definition
    return text.facts(
        [
            ("study", f"{text.bold(study.id)}  {study.name}"),
            ("objective", str(definition.objective)),
            ("goal", _goal(document)),
            ("by", f"{definition.sampler}, pruner {definition.pruner}, seed {definition.seed}"),
            ("trials", _states(document)),
            ("best", _best(document)),
        ]
    )


def _goal(document: dict[str, Any]) -> str:
    definition = document["definition"]
    return ", ".join(f"{d} {m}" for d, m in zip(definition["directions"], definition["metrics"], strict=True))


def _states(document: dict[str, Any]) -> str:
    return ", ".join(f"{number} {state}" for state, number in sorted(document["states"].items())) or "none"


def _best(document: dict[str, Any]) -> str:
    best = document["best"]
    if len(document["definition"]["metrics"]) > 1:
        return counted(len(best), "trial") + " that no other beats" if best else ""
    if not best:
        return ""
    params = ", ".join(f"{name}={_number(value)}" for name, value in best[0]["params"].items())
    return f"{_number(next(iter(best[0]['values'].values())))} (trial {best[0]['number']}: {params})"


def _line(trial: Trial) -> str:
    values = ", ".join(f"{name} {_number(value)}" for name, value in trial.values.items())
    params = ", ".join(f"{name}={_number(value)}" for name, value in trial.params.items())
    return f"trial {trial.number} {trial.state.value}  {values or trial.error or ''}  ({params})"


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else "" if value is None else str(value)
