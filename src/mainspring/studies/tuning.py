"""`study` searches parameters and `tune` gives the best: a script, a notebook or a step calls them in a few lines.

A study outside of steps is continued by its name. Inside a step it belongs to the task: a later attempt of the task goes
on with it, another run makes its own, so that what the step gives depends on its inputs alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from mainspring import clock
from mainspring.artifacts.record import ArtifactStore
from mainspring.errors import ConflictError, InvalidError, MissingExtraError, NotAllowedError, WrongTypeError
from mainspring.ledger import current_task
from mainspring.pipelines._store import TaskStore
from mainspring.pipelines.task import Task
from mainspring.runs import RunState
from mainspring.runs.code import keep_sources, script_name, script_sources
from mainspring.runs.environment import snapshot
from mainspring.runs.git import git_state
from mainspring.runs.limits import checked_name
from mainspring.store import Transaction
from mainspring.studies._store import StudyStore
from mainspring.studies.inputs import checked_inputs, describe_inputs
from mainspring.studies.objective import IN_WORKER, Objective, check_arguments, find_objective, target_of
from mainspring.studies.records import Definition, Limits, StudyRecord, Trial
from mainspring.studies.results import Study
from mainspring.studies.space import Range, checked_number, checked_space, checked_whole, expect_one_space
from mainspring.workspace import Workspace, current_workspace

SAMPLERS = ("tpe", "random", "grid", "cmaes", "nsga2")
PRUNERS = ("none", "median", "halving", "hyperband")
DIRECTIONS = ("maximize", "minimize")
OnTrial = Callable[[Trial], None]


class Tuned(msgspec.Struct, frozen=True):
    """What a search came to: the best trial's parameters and values, its run, and the study it is from."""

    params: dict[str, Any]
    values: dict[str, float]
    trial: str
    study: str

    @property
    def value(self) -> float:
        """The value of the first metric."""
        return next(iter(self.values.values()))


def study(
    name: str,
    objective: Objective,
    *,
    direction: str | Sequence[str],
    space: Mapping[str, Range] | None = None,
    metric: str | Sequence[str] = "value",
    sampler: str = "tpe",
    pruner: str = "none",
    trials: int | None = None,
    timeout_s: float | None = None,
    budget_cost: float | None = None,
    jobs: int = 1,
    trial_timeout_s: float | None = None,
    memory_mb: int | None = None,
    seed: int | None = None,
    inputs: Mapping[str, Any] | None = None,
    warm_start: str = "",
    experiment: str = "",
    on_trial: OnTrial | None = None,
    workspace: Workspace | None = None,
) -> Study:
    """Search parameters for the best result of an objective; each trial is a run. A study of that name is continued.

    With a `space`, the objective gets a value for each parameter by its name, `inputs` by theirs, and the trial if it has
    a parameter `trial`; without one, it gets the trial and suggests values itself. It returns a number, one for each
    metric, or a dict by metric. `trials` and `budget_cost` are for the whole study, `timeout_s` is for this call, after
    which no trial begins. Trials run in this process one by one; with `jobs` above 1, a `trial_timeout_s` or
    `memory_mb` in processes of their own, for which the objective must be importable.

    Raises:
        InvalidError: a name, limit or range is wrong, the objective doesn't take what it is given, no budget is set.
        ConflictError: a study of that name has other metrics, directions or inputs, or a parameter of another kind.
        MissingExtraError: Optuna is not installed.

    >>> import tempfile, pathlib
    >>> from mainspring.workspace import Workspace
    >>> workspace = Workspace.open(pathlib.Path(tempfile.mkdtemp()))
    >>> from mainspring.studies import ints
    >>> found = study("square", lambda x: (x - 3) ** 2, space={"x": ints(0, 9)}, direction="minimize", sampler="grid",
    ...     workspace=workspace)
    >>> found.best.params, len(found.trials())
    ({'x': 3}, 10)
    """
    workspace = workspace or current_workspace()
    _check_here(name)
    inputs = checked_inputs(inputs)
    space = None if space is None else checked_space(space)
    check_arguments(objective, space, inputs)
    limits = Limits(
        trials=_whole("trials", trials), cost=_number("budget_cost", budget_cost),
        trial_timeout_s=_number("trial_timeout_s", trial_timeout_s), memory_mb=_whole("memory_mb", memory_mb),
    )  # fmt: skip
    here = _here(workspace)
    metrics, directions = _listed("metric", metric), _listed("direction", direction)
    definition = Definition(
        metrics=metrics, directions=directions * (len(metrics) if isinstance(direction, str) else 1),
        objective=target_of(objective), sampler=sampler, pruner=pruner, space=space, limits=limits,
        seed=here.seed if seed is None else checked_whole("seed", seed),
    )  # fmt: skip
    _check(definition, timeout_s=timeout_s, jobs=jobs)
    teacher = _teacher(workspace, name, definition, warm_start) if warm_start else None
    record = _record(workspace, name, definition, inputs, here, experiment)
    _prepare(workspace, record, teacher)
    _drive(workspace, record, objective, timeout_s=timeout_s, jobs=jobs, on_trial=on_trial)
    return Study(workspace, record)


def tune(objective: Objective, *, name: str = "", **options: Any) -> Tuned:
    """`study`, giving the best trial's parameters: what a step goes on with. The study's name is the objective's if none is
    given.

    Raises:
        InvalidError, ConflictError, MissingExtraError: as `study` does; there are several metrics, so none is the best.
        NotFoundError: no trial came to a value.
    """
    metrics = _listed("metric", options.get("metric", "value"))
    if len(metrics) > 1:
        raise InvalidError("metric", ", ".join(metrics), "one metric", "`ms.study` searches several: see its `pareto`.")
    found = study(name or getattr(objective, "__name__", "study"), objective, **options)
    best = found.best
    assert best.run is not None, "a complete trial has a run"
    return Tuned(best.params, best.values, best.run, found.id)


def resume_study(
    name: str, *, trials: int | None = None, timeout_s: float | None = None, jobs: int = 1,
    on_trial: OnTrial | None = None, workspace: Workspace | None = None,
) -> Study:  # fmt: skip
    """Go on with a study from its record: the objective is imported again, the inputs are read from their artifacts.

    `trials` is a new total. Trials of processes that died are made again with the same parameters.

    Raises:
        NotFoundError: no such study, or its objective has no name to import it by.
    """
    workspace = workspace or current_workspace()
    record = StudyStore(workspace).get(name)
    limits, total = record.definition.limits, _whole("trials", trials)
    definition = msgspec.structs.replace(
        record.definition, limits=msgspec.structs.replace(limits, trials=total or limits.trials)
    )
    _check(definition, timeout_s=timeout_s, jobs=jobs)
    objective = find_objective(definition.objective)
    record = _continued(workspace, record, definition, _here(workspace))
    _drive(workspace, record, objective, timeout_s=timeout_s, jobs=jobs, on_trial=on_trial)
    return Study(workspace, record)


class _Here(NamedTuple):
    """Where a study is made: the task or run it belongs to, and the seed that follows from it."""

    node: str | None
    task: Task | None
    seed: int


def _here(workspace: Workspace) -> _Here:
    node = current_task()
    task = None
    if node is not None:
        task = TaskStore(workspace.database, workspace.ledger, workspace.leases).get(node)
    return _Here(node, task, task.seed if task else 0)


def _record(
    workspace: Workspace, name: str, definition: Definition, inputs: Mapping[str, Any], here: _Here, experiment: str
) -> StudyRecord:
    """The study of that name here; made if there is none, else with what is asked of it now."""
    store = StudyStore(workspace)
    scope = here.task.id if here.task else ""
    found = store.find(name, scope)
    artifacts = describe_inputs(workspace, inputs)
    definition = msgspec.structs.replace(definition, inputs={key: each.id for key, each in artifacts.items()})
    known = ArtifactStore(workspace.database, workspace.ledger)
    if found is None:
        run = _run_fields(workspace, name, definition, here, experiment)
        with workspace.database.transaction() as tx:
            found = store.find(name, scope)  # another process may have been first
            if found is None:
                made = store.runs.create(tx, kind="study", name=name, **run.fields)
                if run.code is not None:
                    run.code(tx, made.id)
                _link(workspace, tx, made.id, here)
                for artifact in artifacts.values():
                    known.add(tx, artifact, by_task=None)
                    workspace.ledger.edge(tx, made.id, "uses", artifact.id)
                record = StudyRecord(
                    id=made.id, name=name, scope=scope, definition=definition, created_at=clock.now_us()
                )
                store.add(tx, record)
                return record
    if (found.definition.metrics, found.definition.directions) != (definition.metrics, definition.directions):
        was = ", ".join(map(" ".join, zip(found.definition.directions, found.definition.metrics, strict=True)))
        raise ConflictError(f"The study `{name}` was begun to {was}. Take another name for another goal.")
    expect_one_space(name, found.definition.space, definition.space)
    kept = known.get_many(found.definition.inputs.values())
    same = {key: kept[old].content_digest for key, old in found.definition.inputs.items()}
    if same != {key: each.content_digest for key, each in artifacts.items()}:
        raise ConflictError(
            f"The study `{name}` was begun with other inputs, so its trials can't be compared with new ones."
        )
    return _continued(workspace, found, msgspec.structs.replace(definition, inputs=found.definition.inputs), here)


def _link(workspace: Workspace, tx: Transaction, study: str, here: _Here) -> None:
    """Record that the task at work logs to a study, which an earlier attempt may have begun."""
    if here.task:
        workspace.ledger.edge(tx, study, "logged_by", here.task.id, here.task.id)


class _Run(NamedTuple):
    """What is recorded of a study's run, and what keeps its code."""

    fields: dict[str, Any]
    code: Callable[[Transaction, str], None] | None


def _run_fields(workspace: Workspace, name: str, definition: Definition, here: _Here, experiment: str) -> _Run:
    """The fields of a study's run; one that belongs to a run has that run's code and environment."""
    store = StudyStore(workspace)
    fields: dict[str, Any] = {
        "seed": definition.seed, "params": {"sampler": definition.sampler, "pruner": definition.pruner},
    }  # fmt: skip
    if here.node is not None:
        parent = here.task.run if here.task else here.node
        return _Run(fields | {"parent": parent, "experiment": experiment or store.runs.get(parent).experiment}, None)
    root, environment = workspace.project.root, snapshot()
    git, sources = git_state(root), script_sources(root)
    fields |= {
        "experiment": experiment or "Default", "target": script_name(root), "environment_digest": environment.digest,
        "environment": workspace.blobs.put(msgspec.json.encode(environment)), "git_commit": git.commit,
        "git_diff": workspace.blobs.put(git.diff.encode()) if git.diff else None,
    }  # fmt: skip
    if not sources:
        return _Run(fields, None)
    tree = keep_sources(sources, workspace.blobs)
    fields |= {"code": tree.manifest, "code_digest": tree.digest}

    def keep(tx: Transaction, run: str) -> None:
        store.runs.keep_blobs(tx, run, tree.blobs)
        workspace.ledger.node(tx, "code", tree.manifest, f"code of {name}", tree.digest)
        workspace.ledger.edge(tx, run, "ran", tree.manifest)

    return _Run(fields, keep)


def _continued(workspace: Workspace, record: StudyRecord, definition: Definition, here: _Here) -> StudyRecord:
    store = StudyStore(workspace)
    record = msgspec.structs.replace(record, definition=definition)
    with workspace.database.transaction() as tx:
        store.redefine(tx, record)
        _link(workspace, tx, record.id, here)
        run = store.runs.get(record.id)
        if run.state is not RunState.RUNNING:
            store.runs.resume(tx, run)
    return record


def _teacher(workspace: Workspace, name: str, definition: Definition, warm_start: str) -> StudyRecord:
    """The study whose trials another learns from, which must be of its kind."""
    found = StudyStore(workspace).get(warm_start)
    if found.definition.directions != definition.directions:
        raise ConflictError(f"The study `{warm_start}` has other directions than `{name}`, so it can teach it nothing.")
    expect_one_space(name, found.definition.space, definition.space)
    return found


def _prepare(workspace: Workspace, record: StudyRecord, teacher: StudyRecord | None) -> None:
    """Put what a new study begins with into its journal: the points of a grid, the trials of another study."""
    definition = record.definition
    if definition.sampler != "grid" and not teacher:
        return
    from mainspring.studies.beginning import begin_grid, begin_warm

    if teacher:
        begin_warm(workspace, record, teacher)
    if definition.sampler == "grid":
        begin_grid(workspace, record)


def _drive(
    workspace: Workspace, record: StudyRecord, objective: Objective, *, timeout_s: float | None, jobs: int,
    on_trial: OnTrial | None,
) -> None:  # fmt: skip
    from mainspring.studies.search import Search

    limits = record.definition.limits
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    in_processes = jobs > 1 or limits.trial_timeout_s is not None or limits.memory_mb is not None
    with Search(workspace, record, objective, on_trial) as search:
        search.keep_alive()
        try:
            if in_processes:
                from mainspring.studies.crew import Crew

                Crew(search, jobs).run(deadline)
            else:
                search.run(deadline)
        except KeyboardInterrupt:
            search.close(RunState.CANCELLED)
            raise
        except BaseException:
            search.close(RunState.FAILED)
            raise
        search.close()


def _listed(kind: str, value: Any) -> tuple[str, ...]:
    listed = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Iterable) else ()
    if not listed or any(not isinstance(each, str) for each in listed):
        raise WrongTypeError(kind, value, "a text, or one for each metric")
    return listed


def _number(name: str, value: Any) -> float | None:
    return None if value is None else checked_number(name, value)


def _whole(name: str, value: Any) -> int | None:
    return None if value is None else checked_whole(name, value)


def _check_here(name: str) -> None:
    from importlib.util import find_spec

    if find_spec("optuna") is None:
        raise MissingExtraError("optuna", "studies", "A study")
    checked_name("study", name)
    if IN_WORKER in os.environ and current_task() is None:
        told = "Put the call of `ms.study` under `if __name__ == '__main__':`."
        raise NotAllowedError(f"A worker imports a file that begins a study. {told}")


def _check(definition: Definition, *, timeout_s: float | None, jobs: int) -> None:
    limits, objective = definition.limits, definition.objective
    for kind, given, known in (("sampler", definition.sampler, SAMPLERS), ("pruner", definition.pruner, PRUNERS)):
        if given not in known:
            raise InvalidError(kind, given, f"one of {', '.join(known)}")
    for direction in definition.directions:
        if direction not in DIRECTIONS:
            raise InvalidError("direction", direction, f"one of {', '.join(DIRECTIONS)}")
    if len(definition.directions) != len(definition.metrics) or len(set(definition.metrics)) != len(definition.metrics):
        raise InvalidError("metric", ", ".join(definition.metrics), "different names, with a direction each")
    if definition.pruner != "none" and len(definition.metrics) > 1:
        raise InvalidError("pruner", definition.pruner, "`none`", "A study of several metrics has nothing to prune by.")
    if definition.sampler == "cmaes" and len(definition.metrics) > 1:
        raise InvalidError("sampler", "cmaes", "one for several metrics", "Use `nsga2` or `tpe`.")
    if definition.sampler == "grid" and definition.space is None:
        raise InvalidError("sampler", "grid", "one that needs no `space`")
    asked = {
        "trials": limits.trials, "budget_cost": limits.cost, "timeout_s": _number("timeout_s", timeout_s),
        "jobs": checked_whole("jobs", jobs),
        "trial_timeout_s": limits.trial_timeout_s, "memory_mb": limits.memory_mb,
    }  # fmt: skip
    for name, value in asked.items():
        if value is not None and not value > 0:
            raise InvalidError(name, value, "above 0")
    if definition.sampler != "grid" and limits.trials is None and limits.cost is None and timeout_s is None:
        raise InvalidError("trials", None, "a number", "A study needs an end: `trials`, `timeout_s` or `budget_cost`.")
    alone = jobs == 1 and limits.trial_timeout_s is None and limits.memory_mb is None
    if not alone and not objective.is_importable:
        told = "Give it a name in a module, or leave out `jobs`, `trial_timeout_s` and `memory_mb`."
        raise InvalidError("objective", str(objective), "one that another process can import", told)
