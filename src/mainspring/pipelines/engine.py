"""The engine drives the tasks of one run: decides what is reused, gives out the rest, collects, retries, stops.

Invariant: the engine holds the run's lease; every state it goes by is in the database before it is acted on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from mainspring.artifacts.record import Artifact
from mainspring.errors import ConflictError, LeaseLostError, MainspringError, NotFoundError, StepError, StorageError
from mainspring.pipelines._store import TaskStore, stored_in
from mainspring.pipelines.decision import Decider, live_differences
from mainspring.pipelines.execution import Place, execute
from mainspring.pipelines.heartbeat import Heartbeat
from mainspring.pipelines.observation.capture import absorb
from mainspring.pipelines.plan import Tasks, expanded
from mainspring.pipelines.progress import Listener
from mainspring.pipelines.task import UNFINISHED, Attempt, Task, TaskState, Usage
from mainspring.runners import Exit, Runner, WorkOrder
from mainspring.secrets import redact
from mainspring.store import Lease
from mainspring.workspace import Workspace

_WAIT_S = 0.5
_LONGEST_BACKOFF_S = 300.0
_MIB = 1 << 20


class InFlight(msgspec.Struct, frozen=True):
    """An attempt that was given out."""

    task: Task
    attempt: Attempt
    lease: Lease
    log_path: Path


class Engine:
    """Drives one run to its end."""

    def __init__(
        self, workspace: Workspace, store: TaskStore, tasks: Tasks, decider: Decider, place: Place, *,
        run_lease: Lease, runner_for: Callable[[Task], Runner], listener: Listener, keep_going: bool = False,
    ) -> None:  # fmt: skip
        self.workspace = workspace
        self.store = store
        self.tasks = tasks
        self.decider = decider
        self.place = place
        self.stop_requested = False
        self.run_lease = run_lease
        self._runner_for = runner_for
        self._runners: dict[str, Runner] = {}
        self._listener = listener
        self._keep_going = keep_going
        self._ttl_s = float(workspace.project.settings.lease_s)
        self._heartbeat = Heartbeat(workspace.leases, self._ttl_s)
        self._flying: dict[str, InFlight] = {}
        self._queue: list[Task] = []
        self._later: list[tuple[float, Task]] = []
        self._remade: set[str] = set()

    def run(self) -> TaskState:
        """Go on until every task has an end; gives SUCCEEDED, FAILED or CANCELLED.

        Raises:
            LeaseLostError: somebody else drives this run now.
            StorageError: state can't be read or written; the run can be resumed.
        """
        with self._heartbeat:
            self._heartbeat.hold(self.run_lease)
            try:
                while self._round():
                    pass
            except KeyboardInterrupt:
                self.stop_requested = True
            finally:
                self._close()
        return self._verdict()

    def execute(self, order: WorkOrder) -> None:
        """Make an attempt in this process: what the inline runner calls."""
        flying = self._flying[order.id]
        function = self.tasks.function(flying.task)
        if function is None:
            raise NotFoundError("step", flying.task.step)
        execute(self.place, flying.task, flying.attempt, flying.lease, function, flying.log_path)

    def _round(self) -> bool:
        """One look at everything; False when there is nothing left to do."""
        lost = self._heartbeat.lost.get(self.run_lease.name)
        if lost is not None:
            raise lost
        if not self.stop_requested and (self._keep_going or not self._has_failed()):
            self._decide_ready()
            self._give_out()
        else:
            self._queue.clear()
            self._later.clear()
            if self.stop_requested:
                return False
        if self._flying:
            self._collect(_WAIT_S)
            return True
        if self._later:
            time.sleep(min(_WAIT_S, max(0.0, self._later[0][0] - time.monotonic())))
            return True
        return bool(self._queue) or (bool(self.tasks.ready()) and not self._has_failed())

    def _decide_ready(self) -> None:
        """Reuse, skip, expand or queue what can start; each may let others start."""
        waiting = {id(task) for task in self._queue} | {id(task) for _, task in self._later}
        progress = True
        while progress:
            progress = False
            for task in self.tasks.ready():
                if id(task) not in waiting:
                    progress |= self._decided(task)
                    waiting.add(id(task))
            progress |= self._settle_mapped()

    def _decided(self, task: Task) -> bool:
        """`_decide`; a task for which nothing can be decided has failed, alone."""
        try:
            return self._decide(task)
        except (LeaseLostError, StorageError):
            raise
        except MainspringError as error:
            self._end(task, TaskState.FAILED, redact(str(error)))
            return True

    def _decide(self, task: Task) -> bool:
        """Whether the decision gave the task an end, so that others may start."""
        blocker = self.tasks.blocked_by(task)
        if blocker is not None:
            self._end(task, TaskState.SKIPPED, f"`{blocker.name}` has no result")
            return True
        self.tasks.resolve(task)
        missing = self.tasks.denied(task)
        if missing is not None:
            self._end(task, TaskState.SKIPPED, f"`{missing.task}` has no result")
            return True
        if task.is_mapped:
            self._expand(task)
            return True
        function = self.tasks.function(task)
        fingerprint = self.decider.prepare(task, function)
        origin = self.decider.origin(task, fingerprint)
        if origin is not None and self._is_whole(origin):
            with self.workspace.database.transaction() as tx:
                self.workspace.leases.check(tx, self.run_lease)
                self.store.reuse(tx, task, origin)
            task.state, task.outputs, task.reused_from = (
                TaskState.REUSED,
                origin.outputs,
                origin.reused_from or origin.id,
            )
            self._listener.changed(task)
            return True
        live = live_differences(self.decider.fingerprinter, task) if function is not None else []
        task.reasons = self.decider.explain(task, fingerprint, live)
        runner = self._runner(task)
        if live and runner.name != "inline":
            raise ConflictError(
                f"Step `{task.name}` can't run in another process: {live[0]}. Undo the replacement, or run it inline."
            )
        self._queue.append(task)
        return False

    def _is_whole(self, origin: Task) -> bool:
        """Whether the blobs of a result are there; if not, its entry is forgotten and the step runs again."""
        if all(map(self.place.values.has, origin.outputs.values())):
            return True
        self.store.drop_entry(origin.cache_key or "")
        return False

    def _expand(self, task: Task) -> None:
        """Make the children of a mapped task, unless a run that was interrupted has made them."""
        if task.id not in self.tasks.children:
            artifacts: list[Artifact] = []
            children = expanded(task, self.place.values, artifacts.append)
            with self.workspace.database.transaction() as tx:
                self.workspace.leases.check(tx, self.run_lease)
                for artifact in artifacts:
                    self.store.artifacts.add(tx, artifact, by_task=task.id)
                self.store.add(tx, children)
                self.store.update(tx, task.id, state=TaskState.MAPPED, arguments=task.arguments)
            self.tasks.children[task.id] = []
            for child in children:
                self.tasks.add(child)
        task.state = TaskState.MAPPED
        self._listener.expanded(task, self.tasks.children[task.id])

    def _settle_mapped(self) -> bool:
        settled = False
        for task in self.tasks:
            if task.state is TaskState.MAPPED and (state := self.tasks.settle(task)) is not None:
                failed = [child for child in self.tasks.children.get(task.id, []) if child.state is TaskState.FAILED]
                self._end(task, state, f"{failed[0].name}: {failed[0].error}" if failed else None)
                settled = True
        return settled

    def _give_out(self) -> None:
        now = time.monotonic()
        due = [task for at, task in self._later if at <= now]
        self._later = [(at, task) for at, task in self._later if at > now]
        self._queue = due + self._queue
        for task in list(self._queue):
            runner = self._runner(task)
            if runner.free <= 0 or (runner.name == "inline" and self._watches_limits()):
                continue
            self._queue.remove(task)
            self._start(task, runner)
            if runner.name == "inline":
                break  # its result may let others start, and be reused by them

    def _watches_limits(self) -> bool:
        """Whether a limit would go unwatched while this process is busy with a step of its own."""
        return any(flying.task.options.timeout_s or flying.task.options.memory_mb for flying in self._flying.values())

    def _start(self, task: Task, runner: Runner) -> None:
        attempt, lease = self.store.begin(
            task, run_lease=self.run_lease, runner=runner.name, owner=self.workspace.owner, ttl_s=self._ttl_s
        )
        task.state, task.error = TaskState.RUNNING, None
        task.started_at = task.started_at or attempt.started_at
        log_path = self.workspace.scratch / task.run / f"{attempt.id}.log"
        try:
            log_path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(str(log_path.parent), f"the folder can't be made ({error.strerror})") from error
        self._flying[attempt.id] = InFlight(task, attempt, lease, log_path)
        if runner.name != "detached":
            self._heartbeat.hold(lease)
        self._listener.changed(task)
        memory_mb = task.options.memory_mb
        runner.submit(
            WorkOrder(
                id=attempt.id,
                name=task.name,
                log_path=str(log_path),
                timeout_s=task.options.timeout_s,
                memory_bytes=None if memory_mb is None else memory_mb * _MIB,
                payload={"run": task.run, "task": task.id, "token": lease.token},
            )
        )

    def _collect(self, timeout_s: float) -> None:
        """Take in what ended. With several kinds of runner in flight none may block the others."""
        busy = [runner for runner in self._runners.values() if runner.name != "inline"]
        pause = timeout_s if len(busy) == 1 else timeout_s / 10
        for runner in self._runners.values():
            for found in runner.wait(0 if runner.name == "inline" else pause):
                self._take(found)

    def _take(self, found: Exit) -> None:
        flying = self._flying.pop(found.order)
        self._heartbeat.let_go(flying.lease)
        task = flying.task
        if found.kind != "done":
            self._record_exit(flying, found)
        elif task.state is TaskState.RUNNING:  # another process has recorded it
            self._refresh(task)
        if task.state is TaskState.FAILED and self._remake(task):
            return
        if task.state is TaskState.FAILED and flying.attempt.number <= task.options.retries and not self.stop_requested:
            wait_s = min(task.options.backoff_s * 2 ** (flying.attempt.number - 1), _LONGEST_BACKOFF_S)
            task.state = TaskState.WAITING
            self._later.append((time.monotonic() + wait_s, task))
            self._listener.retrying(task, wait_s)
        else:
            self._listener.changed(task)

    def _remake(self, task: Task) -> bool:
        """If a task failed because an input's bytes are damaged or gone, run what made them again, once, and then it."""
        gone = {
            artifact
            for binding in task.arguments.values()
            for artifact in stored_in(binding)
            if not self.place.values.has(artifact)
        }
        makers = [other for other in self.tasks if gone & set(other.outputs.values())]
        if not makers or task.id in self._remade:
            return False
        self._remade.add(task.id)
        for maker in makers:
            self.store.drop_entry(maker.cache_key or "")
            self.tasks.reopen(maker)
            self._listener.changed(maker)
        task.state = TaskState.WAITING
        self._listener.changed(task)
        return True

    def _refresh(self, task: Task) -> None:
        with self.workspace.database.transaction() as tx:
            self.workspace.leases.check(tx, self.run_lease)
        stored = self.store.get(task.id)
        if stored is None or stored.state is TaskState.RUNNING:
            raise StepError(task.name, "lost", "its worker ended without recording a result")
        for name in Task.__struct_fields__:
            setattr(task, name, getattr(stored, name))

    def _record_exit(self, flying: InFlight, found: Exit) -> None:
        """Record the end of an attempt whose process could not do it."""
        task = flying.task
        absorb(flying.log_path, redact)
        log = self.workspace.blobs.put(flying.log_path) if _has_text(flying.log_path) else None
        state = TaskState.CANCELLED if found.kind == "cancelled" else TaskState.FAILED
        usage = Usage(found.wall_s, None, found.peak_bytes)
        try:
            self.store.fail(
                task, flying.attempt, flying.lease, found.kind, found.message, usage=usage, log=log, state=state
            )
            task.state, task.error, task.log = state, found.message, log
        except LeaseLostError:
            self._refresh(task)  # it had recorded its result and died afterwards

    def _end(self, task: Task, state: TaskState, error: str | None) -> None:
        with self.workspace.database.transaction() as tx:
            self.workspace.leases.check(tx, self.run_lease)
            self.store.update(tx, task.id, state=state, error=error, ended_at=tx.now_us())
        task.state, task.error = state, error
        self._listener.changed(task)

    def _has_failed(self) -> bool:
        return any(
            task.state is TaskState.FAILED and not task.options.may_fail and not self._allowed(task)
            for task in self.tasks
        )

    def _allowed(self, task: Task) -> bool:
        """Whether a failed task belongs to a mapped one that may fail."""
        return task.map_of is not None and task.options.may_fail

    def _runner(self, task: Task) -> Runner:
        runner = self._runner_for(task)
        self._runners[runner.name] = runner
        return runner

    def _close(self) -> None:
        """Stop what is in flight and give back the processes."""
        try:
            if self._flying:
                self._listener.stopping()
            for runner in self._runners.values():
                for found in runner.cancel():
                    if found.order in self._flying:
                        self._take(found)
        finally:
            for runner in self._runners.values():
                runner.close()

    def _verdict(self) -> TaskState:
        states = {task.state for task in self.tasks}
        if self.stop_requested or TaskState.CANCELLED in states:
            self._cancel_rest()
            return TaskState.CANCELLED
        if self._has_failed():
            self._skip_rest()
            return TaskState.FAILED
        return TaskState.SUCCEEDED

    def _cancel_rest(self) -> None:
        for task in self.tasks:
            if task.state in UNFINISHED:
                self._end(task, TaskState.CANCELLED, "the run was stopped")

    def _skip_rest(self) -> None:
        for task in self.tasks:
            if task.state in UNFINISHED:
                blocker = self.tasks.blocked_by(task)
                self._end(
                    task, TaskState.SKIPPED, f"`{blocker.name}` has no result" if blocker else "the run failed before"
                )


def _has_text(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False
