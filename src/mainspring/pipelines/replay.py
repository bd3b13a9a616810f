"""Replay: execute a run's recorded code on its recorded inputs again, and compare every output with the recorded one.

A replay is a run of its own, linked to the old one, as its tasks are to those that they repeat. It changes nothing that
has a name: a step that would make a dataset or model version gets the one that it made or found then, if it is the same.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Literal

import msgspec

from mainspring.artifacts import Comparison, Tolerance, compare
from mainspring.errors import CodecError, ConflictError, NotFoundError, StorageError, close_names, depended_on
from mainspring.ledger import new_id
from mainspring.pipelines.code import fingerprint as fingerprints
from mainspring.pipelines.code.entropy import entropy_calls
from mainspring.pipelines.code.excerpt import Excerpt, excerpts_in
from mainspring.pipelines.code.facts import NOT_REUSABLE
from mainspring.pipelines.code.probe import VALUE
from mainspring.pipelines.decision import Decider
from mainspring.pipelines.engine import Engine
from mainspring.pipelines.interpreter import Interpreter, rebuilt_interpreter
from mainspring.pipelines.interrupts import interrupts
from mainspring.pipelines.launch import pipeline_run
from mainspring.pipelines.leftovers import UNLIKE
from mainspring.pipelines.locations import moved_location
from mainspring.pipelines.plan import Tasks
from mainspring.pipelines.progress import Listener
from mainspring.pipelines.session import Session, code_folder
from mainspring.pipelines.task import DONE, Task, TaskState
from mainspring.runs import Run, RunState, RunStore, mirror_soon, read_environment
from mainspring.store import Transaction
from mainspring.workspace import Workspace

Verdict = Literal["VERIFIED", "VERIFIED≈", "DIVERGED", "INCOMPLETE"]
_CAUSES_SHOWN = 5
_ENVIRONMENT = ("distribution ", "python ", "platform ", "threads ")  # the parts that an excerpt's fingerprint shares
_LEFT_OUT = "an earlier step differs"
_REASON = "a replay runs every step"
_ROUNDING = Tolerance(rtol=1e-5, atol=1e-8)  # further apart than that, no order of summing brings floats
_UNORDERED = (
    "the step gives its rows in no order of their own, as `group_by` and joins do; `maintain_order=True` or a sort keeps one, "
    "`@ms.step(ordered=False)` says that none is meant"
)


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
    A replay that was interrupted is `cancelled`; one in the recorded environment, built anew, is `rebuilt`.
    """

    run_id: str
    replay_id: str
    verdict: Verdict
    steps: list[StepReplay]
    left_out: list[str] = []
    cancelled: bool = False
    rebuilt: bool = False

    @property
    def is_verified(self) -> bool:
        """Whether every output was the same, within declared tolerances."""
        return self.verdict in ("VERIFIED", "VERIFIED≈")


def replay_run(
    name: str, *, workspace: Workspace, step: str | None = None, listener: Listener | None = None, jobs: int = 1,
    rebuild_env: bool = False,
) -> ReplayReport:  # fmt: skip
    """Replay a run, or one step of it, in worker processes; `latest` is the newest run of a pipeline.

    Stops at the first step that differs. A step of a notebook, a lambda or a closure is executed from its recorded source;
    one whose source doesn't hold all it uses is named and makes the verdict INCOMPLETE. With `rebuild_env` the workers run in
    a virtual environment with the distributions that the run recorded, but with this Mainspring.

    Raises:
        NotFoundError: no such run or step.
        ConflictError: the run is no pipeline's, or has no finished step.
        RebuildError: the recorded environment can't be had here.
    """
    runs = RunStore(workspace.database, workspace.ledger)
    run = pipeline_run(runs, name)
    if run.replay_of:
        raise ConflictError(f"The run {run.id[:12]} is a replay; what it replayed is run {run.replay_of[:12]}.")
    if run.kind != "pipeline" or run.code is None:
        raise ConflictError(f"The run {run.id[:12]} is a {run.kind}; only runs of pipelines can be replayed.")
    watch = _Watch(listener or Listener())
    with depended_on(f"run {run.id[:12]} ({run.name})"):
        folder = code_folder(workspace, run.code)
    interpreter = _rebuilt(workspace, run) if rebuild_env else None
    session = Session(
        workspace, folder, jobs=jobs, runner="pool", listener=watch, threads=run.threads, interpreter=interpreter
    )
    originals = _originals(session, run, step)
    excerpts = excerpts_in(folder)
    there = [task for task in originals if session.is_importable(task) or _excerpt(excerpts, task).module]
    replay, copies, engine = _started(session, run, there, excerpts, watch)
    watch.compare = lambda task: _compared(session, originals_by_name[task.name], task)
    originals_by_name = {task.name: task for task in originals}
    watch.engine = engine
    watch.started(replay, copies)
    with interrupts(engine, watch):
        verdict = engine.run()
    steps = [watch.found[task.name] for task in originals if task.name in watch.found]
    steps += [_without_source(task, _excerpt(excerpts, task)) for task in originals if task not in there]
    left_out = [] if step else [task.name for task in session.store.of_run(run.id) if task.state not in DONE]
    report = ReplayReport(run.id, replay.id, _overall(steps, verdict), steps, left_out, engine.interrupted, rebuild_env)
    _closed(workspace, replay, report, engine, verdict)
    watch.ended(runs.get(replay.id), list(engine.tasks))
    return report


def _rebuilt(workspace: Workspace, run: Run) -> Interpreter:
    recorded = read_environment(workspace.blobs, run.environment, f"Run {run.id[:12]}")
    return rebuilt_interpreter(recorded, workspace.cache)


def _originals(session: Session, run: Run, step: str | None) -> list[Task]:
    done = [task for task in session.store.of_run(run.id) if task.state in DONE and not task.is_mapped]
    if step is not None:
        names = [task.name for task in done]
        done = [task for task in done if task.name == step or task.name.startswith(f"{step}[")]
        if not done:
            raise NotFoundError(
                "step", step, close_names(step, names), owner=f"Run {run.id[:12]}, of what it finished,"
            )
    if not done:
        raise ConflictError(f"The run {run.id[:12]} has no finished step to replay.")
    return done


def _excerpt(excerpts: dict[int, Excerpt], task: Task) -> Excerpt:
    return excerpts.get(task.position, Excerpt(problem="Its source was not recorded."))


def _without_source(task: Task, excerpt: Excerpt) -> StepReplay:
    detail = f"{excerpt.problem} Pass it as an argument, or move the step into a module, and it can be replayed."
    return StepReplay(task.name, "INCOMPLETE", "source", detail)


def _started(
    session: Session, run: Run, originals: list[Task], excerpts: dict[int, Excerpt], watch: _Watch
) -> tuple[Run, list[Task], Engine]:
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
        copies = [_copy(session, task, replay.id, _excerpt(excerpts, task)) for task in originals]
        session.store.add(tx, copies)
        lease = workspace.leases.claim_in(tx, f"run:{replay.id}", workspace.owner, ttl_s)
    decider = Decider(session.store, session.values, session.fingerprinter, run.seed, reuse=False, told=_REASON)
    engine = Engine(
        workspace, session.store, Tasks(copies, {}), decider, session.place, run_lease=lease,
        runner_for=lambda task: session.runner_for(replay.id, run.code, None, task), listener=watch, keep_going=True,
    )  # fmt: skip
    return replay, copies, engine


def _copy(session: Session, task: Task, run_id: str, excerpt: Excerpt) -> Task:
    """A task to be done again on the same inputs; alone, since every input is there, and never put into the cache."""
    is_importable = session.is_importable(task)
    return Task(
        id=new_id(), run=run_id, position=task.position, name=task.name,
        module=task.module if is_importable else excerpt.module,
        qualname=task.qualname if is_importable else excerpt.name,
        map_index=task.map_index, options=msgspec.structs.replace(task.options, cache=False, retries=0),
        bindings=task.arguments, tolerates=task.tolerates, mapped=task.mapped, seed_name=task.seed_name,
        fingerprint=task.fingerprint, replay_of=task.reused_from or task.id,
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
        if task.state is TaskState.CANCELLED and task.started_at is None and not self._is_interrupted():
            task.state, task.error = TaskState.SKIPPED, _LEFT_OUT
        self.inner.changed(task)
        if task.state in (TaskState.SUCCEEDED, TaskState.FAILED):
            self.found[task.name] = found = self.compare(task)
            if found.verdict == "DIVERGED" and self.engine is not None:
                self.engine.stop_requested = True

    def _is_interrupted(self) -> bool:
        return self.engine is None or self.engine.interrupted

    def retrying(self, task: Task, wait_s: float) -> None:
        self.inner.retrying(task, wait_s)

    def printed(self, task_name: str, line: str) -> None:
        self.inner.printed(task_name, line)

    def stopping(self) -> None:
        self.inner.stopping()

    def ended(self, run: Run, tasks: Iterable[Task]) -> None:
        self.inner.ended(run, list(tasks))


def _unset(task: Task) -> StepReplay:
    raise ConflictError(f"`{task.name}` ended before the replay was set up")


def _compared(session: Session, old: Task, new: Task) -> StepReplay:
    if new.state is TaskState.FAILED:
        return StepReplay(new.name, "DIVERGED", "failed", f"It failed: {new.error}", _changed(session, old, new))
    tolerance = Tolerance(old.options.rtol, old.options.atol)
    worst: Comparison | None = None
    for output, artifact_id in old.outputs.items():
        comparison = _output(session, artifact_id, new.outputs[output], tolerance)
        if not comparison.is_verified:
            detail = comparison.detail if output == "result" else f"Output `{output}`: {comparison.detail}"
            moved = moved_location(session.values, artifact_id, new.outputs[output])
            causes = [*moved, *_causes(session, old, new)] or [_nothing_found(comparison)]
            return StepReplay(new.name, "DIVERGED", comparison.kind, detail, causes)
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
    except CodecError as error:  # a class or codec of the project, which this process may not have imported
        return Comparison("values", f"The contents differ; how can't be told here: {error}")
    after = values.value(Stored(new_id))
    found = compare(before, after, tolerance)
    if found.kind == "floats" and found.largest_error is not None:
        told = "" if compare(before, after, _ROUNDING).is_verified else ", which is not rounding"
        detail = f"{found.detail} The floats differ by up to {found.largest_error:.2g}{told}."
        found = msgspec.structs.replace(found, detail=detail)
    if found.kind == "equal":  # what compares equal but has another digest still is not the same
        return Comparison("values", "The contents compare equal and have different digests.")
    return found


def _causes(session: Session, old: Task, new: Task) -> list[str]:
    """Likely causes: calls that no seed reaches in what the step reaches, undeclared inputs, another environment."""
    return [*_entropy(session, old, new), *_changed(session, old, new)][:_CAUSES_SHOWN]


def _changed(session: Session, old: Task, new: Task) -> list[str]:
    """What may be otherwise than when the run was made: undeclared inputs and the environment."""
    causes = [f"it reads the undeclared {each['kind']} `{each['name']}`" for each in old.seen or new.seen]
    causes += [line.removeprefix(NOT_REUSABLE) for line in old.reasons if line.startswith(NOT_REUSABLE)]
    causes += [line for line in new.reasons if line.endswith(UNLIKE)]
    parts = session.store.fingerprint_parts(old.fingerprint or "")
    now = session.store.fingerprint_parts(new.fingerprint or "")
    if now and parts:
        before, after = fingerprints.fingerprint_of(parts), fingerprints.fingerprint_of(now)
        is_same_code = old.module == new.module
        causes += [
            line
            for line in fingerprints.compare(before, after)
            if not line.startswith(("code ", VALUE)) and (is_same_code or line.startswith(_ENVIRONMENT))
        ]
    return causes[:_CAUSES_SHOWN]


def _nothing_found(comparison: Comparison) -> str:
    if comparison.kind == "row_order":
        return _UNORDERED
    found = "none was found: no call that no seed reaches, no undeclared input, the same environment"
    return f"{found}; threads may sum floats in another order" if comparison.kind == "floats" else found


def _entropy(session: Session, old: Task, new: Task) -> Iterable[str]:
    parts = session.store.fingerprint_parts(new.fingerprint or "")
    reached = {name.removeprefix("code ") for name in parts if name.startswith("code ")}
    for module in session.fingerprinter.modules(new.module):
        source = module.path.read_text()
        spans = _spans(source)
        for call in entropy_calls(source, str(module.path)):
            owner = next((name for name, first, last in spans if first <= call.line <= last), None)
            if owner is None or f"{module.name}.{owner}" in reached:
                is_excerpt = module.name == new.module != old.module
                place = f"{old.module}.{owner or old.qualname}" if is_excerpt else f"{module.name}:{call.line}"
                yield f"{place}: `{call.expression}` {call.why}"


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


def _closed(workspace: Workspace, replay: Run, report: ReplayReport, engine: Engine, verdict: TaskState) -> None:
    """End the replay's run, which succeeded if its steps did, whatever the comparison says."""
    runs = RunStore(workspace.database, workspace.ledger)
    state = RunState.CANCELLED if engine.interrupted else RunState.SUCCEEDED
    first = next((step for step in report.steps if step.verdict == "DIVERGED"), None)
    tags = {"verdict": report.verdict} | ({"environment": "rebuilt"} if report.rebuilt else {})
    tags |= {"differs": f"{first.name}: {first.kind}: {first.detail}"} if first else {}
    failed = next((task for task in engine.tasks if task.state is TaskState.FAILED), None)
    if failed is not None and not engine.interrupted:
        state = RunState.FAILED
    with workspace.database.transaction() as tx:
        engine.store.cancel_attempts(tx, replay.id)
        if verdict is TaskState.CANCELLED and not engine.interrupted:
            _leave_out(engine, tx)
        runs.set_tags(tx, replay.id, tags)
        runs.finish(tx, replay.id, state, f"{failed.name}: {failed.error}" if failed else None)
        workspace.leases.release_in(tx, engine.run_lease)
        workspace.ledger.append(tx, "run.replayed", report.run_id, {"replay": replay.id, "verdict": report.verdict})
    mirror_soon(workspace, replay.id)


def _leave_out(engine: Engine, tx: Transaction) -> None:
    """What was not begun when the first difference ended the replay was left out, not cancelled."""
    for task in engine.tasks:
        if task.state is TaskState.SKIPPED:
            engine.store.update(tx, task.id, state=task.state, error=task.error)
