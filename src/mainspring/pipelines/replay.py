"""Replay: execute a run's recorded code on its recorded inputs again, and compare every output with the recorded one.

A replay is a run of its own, linked to the old one. It changes nothing that has a name: a step that would make a dataset
or model version gets the recorded one of the same content.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Literal

import msgspec

from mainspring.artifacts import Comparison, Tolerance, compare
from mainspring.errors import ConflictError, NotFoundError, StorageError, close_names
from mainspring.ledger import new_id
from mainspring.pipelines.code import fingerprint as fingerprints
from mainspring.pipelines.code.entropy import entropy_calls
from mainspring.pipelines.decision import Decider
from mainspring.pipelines.engine import Engine
from mainspring.pipelines.plan import Tasks
from mainspring.pipelines.progress import Listener
from mainspring.pipelines.session import Session, code_folder
from mainspring.pipelines.task import DONE, Task, TaskState
from mainspring.runs import Run, RunState, RunStore
from mainspring.workspace import Workspace

Verdict = Literal["VERIFIED", "VERIFIED≈", "DIVERGED", "INCOMPLETE"]
_CAUSES_SHOWN = 5


class StepReplay(msgspec.Struct, frozen=True):
    """What became of one step: its verdict, the kind of the difference, a sentence, and likely causes."""

    name: str
    verdict: Verdict
    kind: str
    detail: str
    causes: list[str] = []


class ReplayReport(msgspec.Struct, frozen=True):
    """The verdict over a run: that of the first step that differs, else of all. `steps` ends with that step.

    `left_out` names the tasks that have no result in the run, as an allowed failure, so that nothing can be compared.
    """

    run_id: str
    replay_id: str
    verdict: Verdict
    steps: list[StepReplay]
    left_out: list[str] = []

    @property
    def is_verified(self) -> bool:
        """Whether every output was the same, within declared tolerances."""
        return self.verdict in ("VERIFIED", "VERIFIED≈")


def replay_run(
    name: str, *, workspace: Workspace, step: str | None = None, listener: Listener | None = None, jobs: int = 1
) -> ReplayReport:
    """Replay a run, or one step of it, in worker processes.

    Stops at the first step that differs. A step that can't be imported from the recorded code (of a notebook, a lambda,
    a closure) is named and makes the verdict INCOMPLETE.

    Raises:
        NotFoundError: no such run or step.
        ConflictError: the run is no pipeline's, or has no finished step.
    """
    runs = RunStore(workspace.database, workspace.ledger)
    run = runs.get(name)
    if run.kind != "pipeline" or run.code is None:
        raise ConflictError(f"The run {run.id[:12]} is a {run.kind}; only runs of pipelines can be replayed.")
    watch = _Watch(listener or Listener())
    folder = code_folder(workspace, run.code)
    session = Session(workspace, folder, jobs=jobs, runner="pool", listener=watch, threads=run.threads)
    originals = _originals(session, run, step)
    there = [task for task in originals if session.is_importable(task)]
    replay, copies, engine = _started(session, run, there, watch)
    watch.compare = lambda task: _compared(session, originals_by_name[task.name], task)
    originals_by_name = {task.name: task for task in originals}
    watch.engine = engine
    watch.started(replay, copies)
    verdict = engine.run()
    steps = [watch.found[task.name] for task in originals if task.name in watch.found]
    missing = [task.name for task in originals if not session.is_importable(task)]
    steps += [
        StepReplay(name, "INCOMPLETE", "source", "It can't be imported from the recorded code.") for name in missing
    ]
    left_out = [] if step else [task.name for task in session.store.of_run(run.id) if task.state not in DONE]
    report = ReplayReport(run.id, replay.id, _overall(steps, verdict), steps, left_out)
    _closed(workspace, replay, report, engine)
    watch.ended(runs.get(replay.id), list(engine.tasks))
    return report


def _originals(session: Session, run: Run, step: str | None) -> list[Task]:
    done = [task for task in session.store.of_run(run.id) if task.state in DONE and not task.is_mapped]
    if step is not None:
        names = [task.name for task in done]
        done = [task for task in done if task.name == step or task.name.startswith(f"{step}[")]
        if not done:
            raise NotFoundError("step", step, close_names(step, names), "This run finished none of that name.")
    if not done:
        raise ConflictError(f"The run {run.id[:12]} has no finished step to replay.")
    return done


def _started(session: Session, run: Run, originals: list[Task], watch: _Watch) -> tuple[Run, list[Task], Engine]:
    workspace = session.workspace
    runs = RunStore(workspace.database, workspace.ledger)
    ttl_s = float(workspace.project.settings.lease_s)
    with workspace.database.transaction() as tx:
        replay = runs.create(
            tx, kind="replay", name=run.name, target=run.target, module=run.module, params=run.params, seed=run.seed,
            threads=run.threads, hash_seed_fixed=True, code=run.code, code_digest=run.code_digest,
            environment=run.environment, environment_digest=session.environment.digest, git_commit=run.git_commit,
            replay_of=run.id,
        )  # fmt: skip
        copies = [_copy(task, replay.id) for task in originals]
        session.store.add(tx, copies)
        lease = workspace.leases.claim_in(tx, f"run:{replay.id}", workspace.owner, ttl_s)
    decider = Decider(session.store, session.values, session.fingerprinter, run.seed, reuse=False)
    engine = Engine(
        workspace, session.store, Tasks(copies, {}), decider, session.place, run_lease=lease,
        runner_for=lambda task: session.runner_for(replay.id, run.code, None, task), listener=watch, keep_going=True,
    )  # fmt: skip
    return replay, copies, engine


def _copy(task: Task, run_id: str) -> Task:
    """A task to be done again on the same inputs; alone, since every input is there, and never put into the cache."""
    return Task(
        id=new_id(), run=run_id, position=task.position, name=task.name, module=task.module, qualname=task.qualname,
        map_index=task.map_index, options=msgspec.structs.replace(task.options, cache=False, retries=0),
        bindings=task.arguments, tolerates=task.tolerates, mapped=task.mapped, seed_name=task.seed_name,
    )  # fmt: skip


class _Watch(Listener):
    """Compares each step as it ends, and stops the replay at the first that differs."""

    def __init__(self, inner: Listener) -> None:
        self.inner = inner
        self.found: dict[str, StepReplay] = {}
        self.engine: Engine | None = None
        self.compare = _unset

    def started(self, run: Run, tasks: Iterable[Task]) -> None:
        self.inner.started(run, list(tasks))

    def changed(self, task: Task) -> None:
        self.inner.changed(task)
        if task.state in (TaskState.SUCCEEDED, TaskState.FAILED):
            self.found[task.name] = found = self.compare(task)
            if found.verdict == "DIVERGED" and self.engine is not None:
                self.engine.stop_requested = True

    def printed(self, task_name: str, line: str) -> None:
        self.inner.printed(task_name, line)

    def ended(self, run: Run, tasks: Iterable[Task]) -> None:
        self.inner.ended(run, list(tasks))


def _unset(task: Task) -> StepReplay:
    raise ConflictError(f"`{task.name}` ended before the replay was set up")


def _compared(session: Session, old: Task, new: Task) -> StepReplay:
    if new.state is TaskState.FAILED:
        return StepReplay(new.name, "DIVERGED", "failed", f"It failed: {new.error}", _causes(session, old, new))
    tolerance = Tolerance(old.options.rtol, old.options.atol)
    worst: Comparison | None = None
    for output, artifact_id in old.outputs.items():
        comparison = _output(session, artifact_id, new.outputs[output], tolerance)
        if not comparison.is_verified:
            detail = comparison.detail if output == "result" else f"Output `{output}`: {comparison.detail}"
            return StepReplay(new.name, "DIVERGED", comparison.kind, detail, _causes(session, old, new))
        if comparison.kind != "equal":
            worst = comparison
    if worst is not None:
        return StepReplay(new.name, "VERIFIED≈", worst.kind, worst.detail)
    return StepReplay(new.name, "VERIFIED", "equal", "Every output has the same content.")


def _output(session: Session, old_id: str, new_id: str, tolerance: Tolerance) -> Comparison:
    values = session.values
    old, new = values.artifact(old_id), values.artifact(new_id)
    if old.content_digest == new.content_digest:
        return Comparison("equal", "The values are equal.", 0.0)
    from mainspring.pipelines.graph import Stored

    try:
        before = values.value(Stored(old_id))
    except (NotFoundError, StorageError) as error:
        return Comparison("values", f"The contents differ, and the recorded one can't be read: {error}")
    found = compare(before, values.value(Stored(new_id)), tolerance)
    if found.kind == "equal":  # what compares equal but has another digest still is not the same
        return Comparison("values", "The contents compare equal and have different digests.")
    return found


def _causes(session: Session, old: Task, new: Task) -> list[str]:
    """Likely causes: calls that no seed reaches in what the step reaches, undeclared inputs, another environment."""
    parts = session.store.fingerprint_parts(old.fingerprint or "")
    causes = list(_entropy(session, old, parts))
    causes += [f"it reads the undeclared {each['kind']} `{each['name']}`" for each in old.seen or new.seen]
    now = session.store.fingerprint_parts(new.fingerprint or "")
    if now and parts:
        before, after = fingerprints.fingerprint_of(parts), fingerprints.fingerprint_of(now)
        causes += [line for line in fingerprints.compare(before, after) if not line.startswith("code ")]
    return causes[:_CAUSES_SHOWN] or ["no call that no seed reaches was found in its source; threads may order floats"]


def _entropy(session: Session, task: Task, parts: dict[str, str]) -> Iterable[str]:
    reached = {name.removeprefix("code ") for name in parts if name.startswith("code ")}
    for module in session.fingerprinter.modules(task.module):
        source = module.path.read_text()
        spans = _spans(source)
        for call in entropy_calls(source, str(module.path)):
            owner = next((name for name, first, last in spans if first <= call.line <= last), None)
            if owner is None or f"{module.name}.{owner}" in reached:
                yield f"{module.name}:{call.line}: `{call.expression}` {call.why}"


def _spans(source: str) -> list[tuple[str, int, int]]:
    """The top-level definitions of a module with their first and last lines."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return [(n.name, n.lineno, n.end_lineno or n.lineno) for n in ast.parse(source).body if isinstance(n, kinds)]


def _overall(steps: list[StepReplay], state: TaskState) -> Verdict:
    verdicts = {step.verdict for step in steps}
    if "DIVERGED" in verdicts:
        return "DIVERGED"
    if "INCOMPLETE" in verdicts or state is not TaskState.SUCCEEDED:
        return "INCOMPLETE"
    return "VERIFIED≈" if "VERIFIED≈" in verdicts else "VERIFIED"


def _closed(workspace: Workspace, replay: Run, report: ReplayReport, engine: Engine) -> None:
    runs = RunStore(workspace.database, workspace.ledger)
    state = RunState.SUCCEEDED if report.is_verified else RunState.FAILED
    first = next((step for step in report.steps if step.verdict == "DIVERGED"), None)
    with workspace.database.transaction() as tx:
        engine.store.cancel_attempts(tx, replay.id)
        runs.update(tx, replay.id, tags={"verdict": report.verdict})
        runs.finish(tx, replay.id, state, f"{first.name}: {first.kind}: {first.detail}" if first else None)
        workspace.leases.release_in(tx, engine.run_lease)
        workspace.ledger.append(tx, "run.replayed", report.run_id, {"replay": replay.id, "verdict": report.verdict})
