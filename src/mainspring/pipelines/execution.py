"""One attempt of a task: arguments in, the step called under observation, outputs committed. Every runner ends here."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import msgspec

from mainspring.artifacts.folders import paths_below, stored_paths_told
from mainspring.artifacts.record import Artifact
from mainspring.errors import (
    CodecError,
    CorruptBlobError,
    GraphError,
    LeaseLostError,
    MainspringError,
    NotFoundError,
    StorageError,
)
from mainspring.ledger import Replay, moving_noted, within_task
from mainspring.pipelines._store import TaskStore
from mainspring.pipelines.code import declared
from mainspring.pipelines.code.facts import NOT_REUSABLE
from mainspring.pipelines.code.reads import definitions_in, files_in, import_reads, is_in_key, variables_in
from mainspring.pipelines.failure import message_of, trace_of
from mainspring.pipelines.graph import outside_graph
from mainspring.pipelines.hints import check_arguments
from mainspring.pipelines.hooks import StepAtWork, hooks_ended
from mainspring.pipelines.leftovers import Leftovers, nothing_left
from mainspring.pipelines.observation.capture import capture
from mainspring.pipelines.observation.observer import Observation, Observer
from mainspring.pipelines.observation.places import own_addresses, own_paths
from mainspring.pipelines.observation.watcher import unwatched
from mainspring.pipelines.seeds import seed_everything
from mainspring.pipelines.surroundings import surroundings_kept
from mainspring.pipelines.task import Attempt, Task, TaskState, Usage
from mainspring.pipelines.values import Values
from mainspring.runners.resources import ResourceMeter
from mainspring.runs import RunLog, RunState, RunStore
from mainspring.secrets import redact, refuse_output
from mainspring.store import Lease, Transaction
from mainspring.workspace import Workspace, using

Stamp = tuple[int, int, int] | None
Find = Callable[[], Callable[..., Any]]
SINGLE = "result"
_PATHS = ".paths"  # the folder of an attempt's decoded files


def stamp(path: Path) -> Stamp:
    """What tells whether a file was changed; None if it is not there."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino


def _alone(module: str) -> list[str]:
    return [module]


class Place(msgspec.Struct):
    """Where attempts are made: the workspace, the code's root, what may be read, and where logs go.

    `follow` receives each line that a step prints; `isolated` means that this process works on nothing else, so its file
    descriptors are captured too; `calling` is true while a step's own code runs, `interrupted` once a person has stopped the
    run. `stamps` are the states of the source files that this process imports steps from. `own_paths` and `own_addresses`
    are the workspace's, which a step may touch without their being inputs. `loads` tells which modules a step's module
    loads, `left` what a step is left by those before it, `changed` what it changed itself. `failures` are what the last
    attempts of tasks raised in this process, for whoever called the pipeline.
    """

    workspace: Workspace
    store: TaskStore
    values: Values
    root: Path
    isolated: bool
    follow: Callable[[str, str], None] | None = None
    calling: bool = False
    interrupted: bool = False
    stamps: dict[str, Stamp] = {}
    own_paths: list[Path] = []
    own_addresses: list[str] = []
    loads: Callable[[str], Collection[str]] = _alone
    left: Callable[[Task, Callable[..., Any]], Leftovers] = nothing_left
    changed: Callable[[Task, Callable[..., Any]], list[str]] | None = None
    failures: dict[str, BaseException] = {}

    def __post_init__(self) -> None:
        self.root = self.root.resolve()
        workspace = self.workspace
        self.own_paths, self.own_addresses = own_paths(workspace), own_addresses(workspace)


def execute(place: Place, task: Task, attempt: Attempt, lease: Lease, find: Find, log_path: Path) -> None:
    """Make one attempt and commit how it ended, also in `task` itself.

    `find` gives the step's function, importing it if need be: what goes wrong there is the step's failure, in its log.

    Raises:
        LeaseLostError: the task was taken over; nothing was committed.
        KeyboardInterrupt: it was interrupted; the attempt is recorded as cancelled.
    """
    meter, run_log = ResourceMeter(), RunLog(attempt.id, place.workspace)
    place.failures.pop(task.id, None)  # with all that its frames hold
    seen: tuple[Observation, ...] = ()
    try:
        with place.workspace.leases.fencing(lease):
            result, observer, imported = _call(place, task, attempt, find, log_path, meter, run_log)
        with stored_paths_told(observer.keep):
            outputs = _saved(place, task, result)
        seen = (*observer.seen, *imported)
    except LeaseLostError:
        raise
    except BaseException as raised:  # whatever a step raises is recorded, then decided upon
        error, kind = (raised.error, "unreadable") if isinstance(raised, _UnreadError) else (raised, "error")
        if place.isolated and isinstance(error, FileNotFoundError):
            declared.say_undeclared(error, place.root)
        with suppress(
            StorageError
        ):  # the points of an attempt are kept as long as it has its lease; it is raised below
            run_log.write_points()
        _record_failure(place, task, attempt, lease, error, kind, log_path, _usage(meter))
        _end_failed_run(place, run_log, error)
        if not (place.isolated or task.options.may_fail):
            place.failures[task.id] = error
        _remove(log_path)
        if _is_interrupt(place, error):
            raise
        return
    finally:
        _keep_points(run_log)
        for suffix in ("", _PATHS):
            _remove(log_path.with_suffix(suffix))
    try:
        _record_success(place, task, attempt, lease, outputs, seen, log_path, _usage(meter), run_log)
    except (LeaseLostError, StorageError):
        raise
    except Exception as error:  # noqa: BLE001  # what was logged may be anything; it is this task's failure alone
        _record_failure(place, task, attempt, lease, error, "error", log_path, _usage(meter))
    _remove(log_path)


def _call(
    place: Place, task: Task, attempt: Attempt, find: Find, log_path: Path, meter: ResourceMeter, run_log: RunLog
) -> tuple[Any, Observer, list[Observation]]:
    parts = place.store.fingerprint_parts(task.fingerprint) if task.fingerprint else {}
    observer = Observer(
        project_root=place.root,
        declared_files=[place.root / name for name in files_in(parts)],
        declared_env=variables_in(parts),
        declared_code=definitions_in(parts),
        allowed_paths=[*place.own_paths, log_path.parent],
        allowed_addresses=place.own_addresses,
    )
    follow = place.follow
    tee = None if follow is None else (lambda line: follow(task.name, line))
    root_token = declared.project_root.set(place.root)
    graph_token = outside_graph()
    try:
        with ExitStack() as stack:
            begin_hooks = stack.enter_context(hooks_ended())
            stack.enter_context(surroundings_kept())
            stack.enter_context(using(place.workspace))
            replay, earlier = Replay(task.replay_of) if task.replay_of else None, _earlier(place, attempt)
            stack.enter_context(
                within_task(task.id, replay=replay, log=run_log, key=task.cache_key or "", earlier=earlier)
            )
            stack.enter_context(declared.scratch_folder(log_path.with_suffix("")))
            stack.enter_context(capture(log_path, tee=tee, fd=place.isolated, redact=redact))
            stack.enter_context(observer)
            begin_hooks(StepAtWork(place.workspace, task.id, task.name, task.run, run_log))
            function = find()
            stack.enter_context(paths_below(log_path.with_suffix(_PATHS)))
            # After the import: arguments may be of the project's classes, or need its codecs.
            with unwatched(), moving_noted():
                arguments = {name: _argument(place, task, name) for name in task.arguments}
                left = place.left(task, function)
            observer.recall(left.reads)
            task.reasons = list(dict.fromkeys([*task.reasons, *left.notes]))
            check_arguments(task.name, function, arguments)
            seed_everything(task.seed)
            stack.enter_context(meter)
            result = _called(place, function, arguments)
        if place.changed is not None and not any(each.startswith(NOT_REUSABLE) for each in task.reasons):
            task.reasons = [*task.reasons, *place.changed(task, function)]
        return result, observer, _seen_at_import(place, task, parts)
    finally:
        graph_token.var.reset(graph_token)
        declared.project_root.reset(root_token)


def _earlier(place: Place, attempt: Attempt) -> list[str]:
    """The attempts of the task before this one."""
    if attempt.number == 1:
        return []
    return [each.id for each in place.store.attempts(attempt.task) if each.number < attempt.number]


def _seen_at_import(place: Place, task: Task, parts: dict[str, str]) -> list[Observation]:
    """What imports in this process read, of modules that the step loads, if its key doesn't answer for it.

    A module that a step before imported, when its key was made already, is not seen to read again.
    """
    found = [(module, read) for module, read in import_reads().everything() if not is_in_key(module, read, parts)]
    if not found:
        return []
    try:
        loaded = place.loads(task.module)
    except GraphError:  # a step of a notebook may have any of them
        loaded = [module for module, _ in found]
    return [Observation(read.kind, read.name, read.by) for module, read in found if module in loaded]


class _UnreadError(Exception):
    """An argument can't be read: nothing of the step has run yet."""

    def __init__(self, error: MainspringError) -> None:
        self.error = error


def _argument(place: Place, task: Task, name: str) -> Any:
    try:
        return place.values.value(task.arguments[name])
    except CodecError as error:
        raise _UnreadError(CodecError(f"Step `{task.name}`, parameter `{name}`: {error}")) from error
    except (CorruptBlobError, NotFoundError) as error:
        raise _UnreadError(error) from error


def _called(place: Place, function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    place.calling = True
    try:
        result = function(**arguments)
        return _awaited(result) if hasattr(result, "__await__") else result
    finally:
        place.calling = False


def _awaited(awaitable: Any) -> Any:
    """The result of an async step, also when the caller (a notebook) runs an event loop already."""
    import asyncio

    async def body() -> Any:
        return await awaitable

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(body())
    from concurrent.futures import ThreadPoolExecutor
    from contextvars import copy_context

    with ThreadPoolExecutor(1, "async-step") as threads:
        return threads.submit(copy_context().run, asyncio.run, body()).result()


def _saved(place: Place, task: Task, result: Any) -> list[Artifact]:
    saved = []
    for name, value in _named(task, result).items():
        refuse_output(f"Step `{task.name}`, output `{name}`", value)
        try:
            saved.append(place.values.save(name, value, ordered=task.options.ordered))
        except CodecError as error:
            raise CodecError(f"Step `{task.name}`, output `{name}`: {error}") from error
    return saved


def _named(task: Task, result: Any) -> dict[str, Any]:
    names = task.options.outputs
    if not names:
        return {SINGLE: result}
    if isinstance(result, dict):
        missing = [name for name in names if name not in result]
        if missing:
            raise GraphError(
                f"misses the output `{missing[0]}`; it returned {', '.join(map(str, result)) or 'none'}", task.name
            )
        return {name: result[name] for name in names}
    if not isinstance(result, tuple | list):
        kind = type(result).__qualname__
        raise GraphError(f"declares the outputs {', '.join(names)} and returned one `{kind}`, not a tuple", task.name)
    if len(result) < len(names):
        raise GraphError(
            f"misses the output `{names[len(result)]}`: {len(result)} of {len(names)} were returned", task.name
        )
    if len(result) > len(names):
        raise GraphError(f"returned {len(result)} values for {len(names)} outputs ({', '.join(names)})", task.name)
    return dict(zip(names, result, strict=True))


def _record_success(
    place: Place, task: Task, attempt: Attempt, lease: Lease, outputs: list[Artifact],
    seen: tuple[Observation, ...], log_path: Path, usage: Usage, run_log: RunLog,
) -> None:  # fmt: skip
    for path, former in place.stamps.items():
        if stamp(Path(path)) != former:
            name = os.path.relpath(path, place.root)
            task.reasons = [*task.reasons, f"{NOT_REUSABLE}{name} was changed while the run went on"]
    extra: list[Callable[[Transaction], None]] = []
    if run_log.is_used or run_log.run or task.child_run:
        extra.append(lambda tx: _add_child_run(place, tx, task, run_log))
    task.seen = [msgspec.to_builtins(each) for each in seen]
    log = _kept_log(place, log_path)
    place.store.succeed(
        task, attempt, lease, outputs, usage, seen=task.seen, log=log, reusable=task.is_reusable, extra=extra
    )  # fmt: skip
    task.state, task.outputs, task.log = TaskState.SUCCEEDED, {a.name: a.id for a in outputs}, log
    task.wall_s, task.cpu_s, task.peak_bytes, task.error = usage.wall_s, usage.cpu_s, usage.peak_bytes, None


def _keep_points(run_log: RunLog) -> None:
    run_log.write_points()
    if run_log.metric_names:
        run_log.tags.setdefault("mainspring.metrics", ", ".join(sorted(run_log.metric_names)))


def _add_child_run(place: Place, tx: Transaction, task: Task, run_log: RunLog) -> None:
    """A task that logs is a run of its own, a child of the pipeline's."""
    runs = RunStore(place.workspace.database, place.workspace.ledger)
    run_id = run_log.run or runs.create(tx, kind="task", name=task.name, parent=task.run, series=run_log.series).id
    run_log.commit(tx, runs, run_id, by=task.id)
    runs.finish(tx, run_id, RunState.SUCCEEDED)
    place.workspace.ledger.edge(tx, run_id, "logged_by", task.id, task.id)
    place.store.update(tx, task.id, child_run=run_id)
    task.child_run = run_id


def _end_failed_run(place: Place, run_log: RunLog, error: BaseException) -> None:
    """End the run of an attempt that failed, if it was recorded before; the attempt that succeeds gets one of its own."""
    if run_log.run is not None:
        runs = RunStore(place.workspace.database, place.workspace.ledger)
        with place.workspace.database.transaction() as tx:
            runs.finish(tx, run_log.run, RunState.FAILED, message_of(error, place.root if place.isolated else None))


def _record_failure(
    place: Place, task: Task, attempt: Attempt, lease: Lease, error: BaseException, kind: str, log_path: Path,
    usage: Usage,
) -> None:  # fmt: skip
    cancelled = _is_interrupt(place, error)
    root = place.root if place.isolated else None
    message = "it was interrupted" if cancelled else message_of(error, root)
    with suppress(OSError), log_path.open("a", encoding="utf-8") as log:
        log.write(trace_of(error, root))
    task.error = message
    task.state = TaskState.CANCELLED if cancelled else TaskState.FAILED
    task.log = _kept_log(place, log_path)
    kind = "cancelled" if cancelled else kind
    place.store.fail(task, attempt, lease, kind, message, usage=usage, log=task.log, state=task.state)


def _is_interrupt(place: Place, error: BaseException) -> bool:
    """Whether a person interrupted the step; raised by the step itself it is an error like any other."""
    return isinstance(error, KeyboardInterrupt) and place.interrupted


def _remove(scratch: Path) -> None:
    """Remove a file or folder of the attempt, if it came to one: mostly it did not, so that is asked with one call."""
    try:
        os.unlink(scratch)
    except FileNotFoundError:
        return
    except OSError:
        import shutil

        shutil.rmtree(scratch, ignore_errors=True)


def _kept_log(place: Place, log_path: Path) -> str | None:
    """The log as a blob; None if nothing was printed."""
    try:
        text = log_path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(str(log_path), os.strerror(error.errno or 0)) from error
    return place.workspace.blobs.put(text) if text else None


def _usage(meter: ResourceMeter) -> Usage:
    return Usage(meter.wall_s, meter.cpu_s, meter.peak_memory_bytes)
