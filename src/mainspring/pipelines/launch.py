"""Start a run, resume one: record what it is, drive it, close it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import msgspec
from blake3 import blake3

from mainspring.artifacts.record import Artifact
from mainspring.artifacts.script import script, script_file
from mainspring.errors import ConflictError, GraphError, NotFoundError, StorageError
from mainspring.ledger import new_id
from mainspring.pipelines.code.tree import read_tree
from mainspring.pipelines.decision import Decider
from mainspring.pipelines.engine import Engine
from mainspring.pipelines.graph import Call
from mainspring.pipelines.interrupts import interrupts
from mainspring.pipelines.leftovers import changed_by, leftovers
from mainspring.pipelines.observation.importing import ImportWatch
from mainspring.pipelines.observation.observer import Observer
from mainspring.pipelines.observation.places import own_addresses, own_paths
from mainspring.pipelines.plan import Functions, Tasks, bound_outputs, named_outputs, planned
from mainspring.pipelines.printed import Printed, keep_printed
from mainspring.pipelines.progress import Listener
from mainspring.pipelines.request import requested, shown_params
from mainspring.pipelines.results import RunResult
from mainspring.pipelines.session import Session, code_folder
from mainspring.pipelines.step import Step
from mainspring.pipelines.task import DONE, RunRequest, Task, TaskState
from mainspring.runs import Run, RunState, RunStore, mirror_soon
from mainspring.runs.code import CodeTree
from mainspring.runs.git import GitQuery
from mainspring.store import Lease
from mainspring.workspace import Workspace, current_workspace, find_project, using

IN_WORKER = "MAINSPRING_ORDERS"
_NAMES_SHOWN = 3
_ENDS = {
    TaskState.SUCCEEDED: RunState.SUCCEEDED,
    TaskState.FAILED: RunState.FAILED,
    TaskState.CANCELLED: RunState.CANCELLED,
}


class Recordable(Protocol):
    """What can be run: a pipeline."""

    module: str
    qualname: str
    function: Callable[..., Any]

    @property
    def name(self) -> str:
        """The name of its runs."""
        ...

    def record(self, params: dict[str, Any], *, strict: bool = True) -> tuple[list[Call], Any, dict[str, Any]]:
        """The calls, what was returned, and all parameters with their defaults."""
        ...


def run_pipeline(
    pipeline: Recordable, params: dict[str, Any] | None = None, *, workspace: Workspace | None = None,
    jobs: int | None = None, runner: str | None = None, seed: int | None = None, reuse: bool = True,
    keep_going: bool = False, listener: Listener | None = None, strict: bool = True, note: str = "", target: str = "",
) -> RunResult:  # fmt: skip
    """Run a pipeline, recorded; gives its result also when a step failed.

    Args:
        params: the pipeline's parameters by name; with `strict=False`, text is read as their hints say.
        jobs: how many steps run at once; runner: auto, inline, pool or detached (default: the project's settings).
        reuse: False runs every step anew. keep_going: go on with what doesn't depend on a failed step.
        note: kept with the run; an identity is never taken from it.

    Raises:
        GraphError, WrongTypeError, NotFoundError: the pipeline or its parameters are wrong; nothing was recorded.
    """
    if IN_WORKER in os.environ:
        raise GraphError('a worker imported a file that starts a run; put it under `if __name__ == "__main__":`')
    listener = listener or Listener()
    workspace = workspace or _workspace_of(pipeline)
    script.set(_main_module(workspace) or "__main__")
    settings = workspace.project.settings
    calls, returned, values = recorded_calls(workspace, pipeline, params or {}, strict=strict)
    git = GitQuery(workspace.project.root)
    calls = [_located(workspace, call) for call in calls]
    session = Session(
        workspace, workspace.project.root, jobs=settings.jobs if jobs is None else jobs,
        runner=runner or settings.runner, listener=listener,
    )  # fmt: skip
    with using(workspace):
        run, tasks, lease = _recorded(
            session, pipeline, calls, returned, values, git, note, target, params or {},
            RunRequest(seed=seed, reuse=reuse),
        )  # fmt: skip
    functions: Functions = {position: call.step.function for position, call in enumerate(calls)}
    return _driven(session, run, tasks, functions, lease, listener, reuse=reuse, keep_going=keep_going)


def recorded_calls(
    workspace: Workspace, pipeline: Recordable, params: dict[str, Any], *, strict: bool
) -> tuple[list[Call], Any, dict[str, Any]]:
    """`pipeline.record` in the workspace, watched: what its body reads is no step's, but what its functions remember is."""
    watch = Observer(
        project_root=workspace.project.root.resolve(), declared_files=(), declared_env=(),
        allowed_paths=own_paths(workspace), allowed_addresses=own_addresses(workspace),
    )  # fmt: skip
    with using(workspace), watch:
        return pipeline.record(params, strict=strict)


def resume_run(
    name: str, *, workspace: Workspace | None = None, jobs: int | None = None, runner: str | None = None,
    listener: Listener | None = None, keep_going: bool = False,
) -> RunResult:  # fmt: skip
    """Go on with a run that was killed, stopped or failed: the same run, with new attempts of what is not done.

    If the project's sources are no longer those of the run, its recorded code is run, in worker processes.

    Raises:
        NotFoundError: no such run.
        ConflictError: the run is over, or somebody else drives it.
    """
    workspace = workspace or current_workspace()
    listener = listener or Listener()
    runs = RunStore(workspace.database, workspace.ledger)
    run = pipeline_run(runs, name)
    if run.kind != "pipeline":
        raise ConflictError(f"The run {run.id[:12]} is a {run.kind}; only runs of pipelines can be resumed.")
    if run.state is RunState.SUCCEEDED:
        raise ConflictError(f"The run {run.id[:12]} succeeded; there is nothing to resume.")
    lease = _claimed(workspace, run)
    try:
        session, functions = _resumed_session(workspace, run, jobs, runner, listener)
        printed = keep_printed(workspace, session.store, run.id)
        with workspace.database.transaction() as tx:
            workspace.leases.check(tx, lease)
            session.store.lose_attempts(tx, run.id, printed.logs, printed.elsewhere)
            runs.resume(tx, run)
    except BaseException:
        workspace.leases.release(lease)
        raise
    printed.drop()
    for place in sorted(set(printed.elsewhere.values())):
        listener.noted(f"what a step that was under way had printed is not here: {place}")
    tasks = session.store.of_run(run.id)
    line = Tasks(tasks, functions)
    for task in tasks:
        if task.state in DONE and not all(map(session.values.has, task.outputs.values())):
            line.reopen(task)
    reuse = session.store.request(run.id).reuse
    return _driven(session, run, tasks, functions, lease, listener, reuse=reuse, keep_going=keep_going)


def pipeline_run(runs: RunStore, name: str) -> Run:
    """A run by its id or a prefix of it; `latest` is the newest of a pipeline that is no replay.

    Raises:
        NotFoundError: there is no such run, or no run of a pipeline yet.
        InvalidError: the prefix fits several runs.
    """
    if name != "latest":
        return runs.get(name)
    for run in runs.list(limit=1, kind="pipeline"):
        return run
    raise NotFoundError("run", "latest", hint="Nothing was run in this workspace yet; `mainspring run` starts one.")


def _claimed(workspace: Workspace, run: Run) -> Lease:
    """The lease of a run that nobody drives.

    Raises:
        ConflictError: somebody does; the process is named.
    """
    name = f"run:{run.id}"
    try:
        return workspace.leases.claim(name, workspace.owner, float(workspace.project.settings.lease_s))
    except ConflictError as error:
        host, boot, pid, _ = (workspace.leases.holder(name).split(":") + [""] * 4)[:4]
        place = "here" if [host, boot] == workspace.owner.split(":")[:2] else f"on {host}"
        raise ConflictError(
            f"Run {run.id[:12]} is running (process {pid} {place}). `mainspring cancel {run.id[:12]}` stops it."
        ) from error


def _recorded(
    session: Session, pipeline: Recordable, calls: Sequence[Call], returned: Any, values: dict[str, Any],
    git: GitQuery, note: str, target: str, given: dict[str, Any], request: RunRequest,
) -> tuple[Run, list[Task], Lease]:  # fmt: skip
    """Write down everything that the run is, in one transaction, before the first step starts."""
    workspace, store = session.workspace, session.store
    artifacts: list[Artifact] = []
    run_id = new_id()
    tasks = planned(calls, run_id, session.values, artifacts.append)
    for task in tasks:
        session.kind_of(task)
    outputs = bound_outputs(named_outputs(returned), session.values, artifacts.append)
    request = requested(request, given, values, calls, tasks, session.values, artifacts.append)
    functions = {position: call.step.function for position, call in enumerate(calls)}
    code = session.record_code(tasks, _module_of(workspace, pipeline), functions)
    environment = workspace.blobs.put(msgspec.json.encode(session.environment))
    state = git.result()
    diff = workspace.blobs.put(state.diff.encode()) if state.diff else None
    runs = RunStore(workspace.database, workspace.ledger)
    with workspace.database.transaction() as tx:
        run = runs.create(
            tx, kind="pipeline", name=pipeline.name, id=run_id, note=note,
            target=target or f"{pipeline.module}:{pipeline.qualname}", module=_module_of(workspace, pipeline),
            params=shown_params(values), seed=int(workspace.project.settings.seed) if request.seed is None else request.seed,
            threads=session.threads, hash_seed_fixed=_hash_seed_fixed(), code=code.manifest, code_digest=code.digest,
            environment=environment, environment_digest=session.environment.digest, git_commit=state.commit, git_diff=diff,
        )  # fmt: skip
        store.keep_code(tx, code.manifest, code.blobs)
        workspace.ledger.node(tx, "code", code.manifest, f"code of {pipeline.name}", code.digest)
        workspace.ledger.edge(tx, run.id, "ran", code.manifest)
        for artifact in artifacts:
            store.artifacts.add(tx, artifact, by_task=None)
        store.add(tx, tasks)
        store.set_outputs(tx, run.id, outputs)
        store.keep_request(tx, run.id, request)
        lease = workspace.leases.claim_in(
            tx, f"run:{run.id}", workspace.owner, float(workspace.project.settings.lease_s)
        )
    return run, tasks, lease


def _driven(
    session: Session, run: Run, tasks: list[Task], functions: Functions, lease: Lease, listener: Listener,
    *, reuse: bool, keep_going: bool,
) -> RunResult:  # fmt: skip
    workspace = session.workspace
    listener.started(run, tasks)
    decider = Decider(session.store, session.values, session.fingerprinter, run.seed, reuse=reuse)
    session.place.left = partial(leftovers, decider)
    session.place.changed = partial(changed_by, decider)
    engine = Engine(
        workspace, session.store, Tasks(tasks, functions), decider, session.place, run_lease=lease,
        runner_for=lambda task: session.runner_for(run.id, run.code, engine.execute, task),
        listener=listener, keep_going=keep_going,
    )  # fmt: skip
    try:
        with interrupts(engine, listener):
            verdict = engine.run()
    except Exception as error:
        _finish(session, run, lease, RunState.FAILED, f"{type(error).__name__}: {error}", engine)
        raise
    failed = next((task for task in engine.tasks if task.state is TaskState.FAILED and not task.options.may_fail), None)
    message = f"{failed.name}: {failed.error}" if failed else None
    _finish(session, run, lease, _ENDS[verdict], message, engine)
    ended = RunStore(workspace.database, workspace.ledger).get(run.id)
    result = RunResult(workspace, ended, session.values, session.place.failures)
    listener.ended(result.run, result.tasks)
    return result


def _finish(session: Session, run: Run, lease: Lease, state: RunState, error: str | None, engine: Engine) -> None:
    """Close a run: outputs, state and lease in one transaction. Refused silently if somebody else drives it now."""
    workspace = session.workspace
    outputs = {}
    if state is RunState.SUCCEEDED:
        outputs = {name: engine.tasks.resolved(binding) for name, binding in session.store.outputs(run.id).items()}
    printed = Printed() if state is RunState.SUCCEEDED else _printed(session, run, lease)
    with workspace.database.transaction() as tx:
        if not _still_ours(workspace, tx, lease):
            return
        session.store.set_outputs(tx, run.id, outputs)
        session.store.cancel_attempts(tx, run.id, printed.logs if printed else {})
        RunStore(workspace.database, workspace.ledger).finish(tx, run.id, state, error)
        workspace.leases.release_in(tx, lease)
    mirror_soon(workspace, run.id)
    session.fingerprinter.flush()
    if printed is not None:
        printed.drop()
        _tidy(workspace.scratch / run.id)


def _printed(session: Session, run: Run, lease: Lease) -> Printed | None:
    """What attempts printed that are still open; None if it can't be kept, so that the files stay."""
    workspace = session.workspace
    with suppress(
        StorageError, ConflictError
    ):  # a full disk, which is often why a run ends; or it is somebody else's now
        with workspace.database.transaction() as tx:
            workspace.leases.check(tx, lease)
        return keep_printed(workspace, session.store, run.id)
    return None


def _still_ours(workspace: Workspace, tx: Any, lease: Lease) -> bool:
    try:
        workspace.leases.check(tx, lease)
    except ConflictError:
        return False
    return True


def _tidy(folder: Path) -> None:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return
    except OSError:
        import shutil

        shutil.rmtree(folder, ignore_errors=True)


def _resumed_session(
    workspace: Workspace, run: Run, jobs: int | None, runner: str | None, listener: Listener
) -> tuple[Session, Functions]:
    """A session on the project if its sources are still those of the run, else on the recorded code, which is told."""
    settings = workspace.project.settings
    jobs = settings.jobs if jobs is None else jobs
    runner = runner or settings.runner
    session = Session(
        workspace, workspace.project.root, jobs=jobs, runner=runner, listener=listener, threads=run.threads
    )
    tasks = session.store.of_run(run.id)
    functions = _functions(session, tasks, run)
    if functions is not None:
        return session, functions
    listener.noted(
        f"the recorded code of run {run.id[:12]} is used: {_difference(session, run)};"
        f" `mainspring run {run.target}` runs the present code"
    )
    folder = code_folder(workspace, run.code or "")
    runner = "pool" if runner in ("auto", "inline") else runner
    return Session(workspace, folder, jobs=jobs, runner=runner, listener=listener, threads=run.threads), {}


def _functions(session: Session, tasks: Sequence[Task], run: Run) -> Functions | None:
    """The steps of a run, imported from the project; None if its code is not what the run recorded."""
    from importlib import import_module

    try:
        if not _is_recorded(session, session.record_code(tasks, run.module), run):
            return None
        functions: Functions = {}
        with ImportWatch(session.workspace):
            if any(_needs_entry(session, task, run.module) for task in tasks):
                import_module(run.module)
            for task in tasks:
                step: Any = import_module(task.module)
                for part in task.qualname.split("."):
                    step = getattr(step, part)
                functions[task.position] = step.function if isinstance(step, Step) else step
    except (GraphError, ImportError, AttributeError):
        return None
    return functions


def _needs_entry(session: Session, task: Task, entry: str) -> bool:
    """Whether a step depends on what the pipeline's module registers or changes while it is imported."""
    from mainspring.pipelines.code.registrations import has_registrations

    return has_registrations(session.fingerprinter.of(task.module, task.qualname, entry=entry).parts)


def _is_recorded(session: Session, present: CodeTree, run: Run) -> bool:
    """Whether the project's code is that of a run, and so are the files that its import read then."""
    if present.digest == run.code_digest:
        return True
    if run.code is None:
        return False
    recorded = read_tree(run.code, session.workspace.blobs)
    return set(present.entries) <= set(recorded.entries) and not any(_changes(session, recorded))


def _difference(session: Session, run: Run) -> str:
    """In words, how the project's sources are no longer those that a run recorded."""
    changed, gone = _changes(session, read_tree(run.code or "", session.workspace.blobs))
    told = [f"{_some(names)} {verb} since" for names, verb in ((changed, "changed"), (gone, "went")) if names]
    return " and ".join(told) or "its steps can't be imported from the project as it is"


def _changes(session: Session, recorded: CodeTree) -> tuple[list[str], list[str]]:
    """The recorded files that are otherwise in the project, and those that are gone."""
    from mainspring.pipelines.code.excerpt import is_of_excerpts

    changed, gone = [], []
    for entry in recorded.entries:
        if is_of_excerpts(entry.path):
            continue
        try:
            data = (session.root / entry.path).read_bytes()
        except OSError:
            gone.append(entry.path)
            continue
        if blake3(data).hexdigest() != entry.blob:
            changed.append(entry.path)
    return changed, gone


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:_NAMES_SHOWN])
    return shown if len(names) <= _NAMES_SHOWN else f"{shown} and {len(names) - _NAMES_SHOWN} more"


def _located(workspace: Workspace, call: Call) -> Call:
    """A call whose step was defined in the script that runs counts as a call of the module that the script is."""
    if call.step.module == "__main__" and "<" not in call.step.qualname:
        module = _main_module(workspace)
        if module is not None:
            call.step.module = module
    return call


def _module_of(workspace: Workspace, pipeline: Recordable) -> str:
    return (_main_module(workspace) or "__main__") if pipeline.module == "__main__" else pipeline.module


def _main_module(workspace: Workspace) -> str | None:
    """The name under which the running script could be imported from the project."""
    file = script_file()
    if file is None:
        return None
    path = Path(file).resolve()
    for root in reversed(workspace.project.source_roots):
        if path.is_relative_to(root):
            parts = path.relative_to(root).with_suffix("").parts
            return ".".join(parts) if all(part.isidentifier() for part in parts) else None
    return None


def _workspace_of(pipeline: Recordable) -> Workspace:
    """The workspace in use, else that of the project that the pipeline's file belongs to."""
    file = pipeline.function.__code__.co_filename
    if os.path.exists(file) and not Path.cwd().is_relative_to(Path(file).resolve().parent):
        project = find_project(Path(file).resolve().parent)
        return Workspace.open(project=project)
    return current_workspace()


def _hash_seed_fixed() -> bool:
    return os.environ.get("PYTHONHASHSEED", "random") != "random"
