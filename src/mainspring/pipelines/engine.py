"""The engine drives the tasks of one run: decides what is reused, gives out the rest, collects, retries, stops.

Invariant: the engine holds the run's lease; every state it goes by is in the database before it is acted on.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from mainspring import clock
from mainspring.artifacts.record import Artifact
from mainspring.errors import (
    ConflictError,
    CorruptBlobError,
    LeaseLostError,
    MainspringError,
    NotFoundError,
    StepError,
    StorageError,
)
from mainspring.pipelines._store import TaskStore
from mainspring.pipelines.decision import Decider
from mainspring.pipelines.execution import Place, execute
from mainspring.pipelines.orders import InFlight, record_exit
from mainspring.pipelines.plan import Tasks, expanded
from mainspring.pipelines.progress import Listener
from mainspring.pipelines.remake import UNREADABLE, Remakes
from mainspring.pipelines.schedule import Schedule
from mainspring.pipelines.task import DONE, UNFINISHED, Task, TaskState
from mainspring.runners import Exit, Runner, WorkOrder
from mainspring.secrets import redact
from mainspring.store import Lease
from mainspring.store.heartbeat import Heartbeat
from mainspring.workspace import Workspace

_WAIT_S = 0.5
_LONGEST_BACKOFF_S = 300.0
_MIB = 1 << 20


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
        self.interrupted = False  # by a person, which is what makes a stop a cancellation
        self.run_lease = run_lease
        self._runner_for = runner_for
        self._runners: dict[str, Runner] = {}
        self._listener = listener
        self._keep_going = keep_going
        self._ttl_s = float(workspace.project.settings.lease_s)
        self._heartbeat = Heartbeat(workspace.leases, self._ttl_s)
        self._flying: dict[str, InFlight] = {}
        self._schedule = Schedule(tasks)
        self._failed = False
        self._remakes = Remakes(tasks, place.values)

    def run(self) -> TaskState:
        """Go on until every task has an end; gives SUCCEEDED, FAILED or CANCELLED.

        Raises:
            LeaseLostError: somebody else drives this run now.
            StorageError: state can't be read or written; the run can be resumed.
        """
        with self._heartbeat, self.place.values.keeping():
            self._heartbeat.hold(self.run_lease)
            try:
                while self._round():
                    pass
            except KeyboardInterrupt:
                self.stop_requested = self.interrupted = True
            finally:
                self._close()
        return self._verdict()

    def execute(self, order: WorkOrder) -> None:
        """Make an attempt in this process: what the inline runner calls."""
        flying = self._flying[order.id]
        function = self.tasks.function(flying.task)
        if function is None:
            raise NotFoundError("step", flying.task.step)
        execute(self.place, flying.task, flying.attempt, flying.lease, lambda: function, flying.log_path)

    def abandon(self) -> None:
        """This process is about to end without more ado: let none that it started go on."""
        for runner in list(self._runners.values()):
            runner.abandon()

    def _round(self) -> bool:
        """One look at everything; False when there is nothing left to do."""
        lost = self._heartbeat.lost.get(self.run_lease.name)
        if lost is not None:
            raise lost
        if self.stop_requested or (self._failed and not self._keep_going):
            self._schedule.clear()
            if self.stop_requested:
                return False
        else:
            for task in self._schedule.undecided():
                self._decided(task)
            self._give_out()
        if self._flying:
            self._collect(_WAIT_S)
            return True
        wait_s = self._schedule.next_retry_s()
        if wait_s is not None:
            time.sleep(min(_WAIT_S, wait_s))
        return bool(self._schedule)

    def _decided(self, task: Task) -> None:
        """`_decide`; a task for which nothing can be decided has failed, alone."""
        try:
            self._settle(task) if task.state is TaskState.MAPPED else self._decide(task)
        except MainspringError as error:
            if isinstance(error, LeaseLostError | StorageError) and not isinstance(error, CorruptBlobError):
                raise
            self._end(task, TaskState.FAILED, redact(str(error)))

    def _decide(self, task: Task) -> None:
        """Reuse, skip, expand or queue what can start; each may let others start."""
        blocker = self.tasks.blocked_by(task)
        if blocker is not None:
            self._end(task, TaskState.SKIPPED, f"`{blocker.name}` has no result")
            return
        self.tasks.resolve(task)
        missing = self.tasks.denied(task)
        if missing is not None:
            self._end(task, TaskState.SKIPPED, f"`{missing.task}` has no result")
            return
        if task.is_mapped:
            self._expand(task)
            return
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
            task.wall_s = task.cpu_s = task.peak_bytes = task.log = None  # those of an attempt that failed before
            self._ended(task)
            return
        live = list(fingerprint.differences)
        task.reasons = self.decider.explain(task, fingerprint, live)
        runner = self._runner(task)
        if live and runner.name != "inline":
            raise ConflictError(
                f"Step `{task.name}` can't run in another process: {live[0]}. Undo the replacement, or run it inline."
            )
        self._schedule.queue(task, runner.name)

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
            try:
                children = expanded(task, self.place.values, artifacts.append)
            except UNREADABLE:
                if self._remake(task):
                    return
                raise
            with self.workspace.database.transaction() as tx:
                self.workspace.leases.check(tx, self.run_lease)
                for artifact in artifacts:
                    self.store.artifacts.add(tx, artifact, by_task=task.id)
                self.store.expand(tx, task, children)
            self.tasks.children[task.id] = []
            for child in children:
                self.tasks.add(child)
                self._schedule.add(child)
        task.state = TaskState.MAPPED
        self._schedule.follow(task)
        self._listener.expanded(task, self.tasks.children[task.id])

    def _settle(self, task: Task) -> None:
        """End a mapped task whose children have ended."""
        state = self.tasks.settle(task)
        if state is not None:
            ended = [child for child in self.tasks.children.get(task.id, []) if child.state not in DONE]
            self._end(task, state, f"{ended[0].name}: {ended[0].error}" if ended and state not in DONE else None)

    def _give_out(self) -> None:
        for task in self._schedule.due():
            self._schedule.queue(task, self._runner(task).name)
        for name in self._schedule.runners():
            runner = self._runners[name]
            # An inline runner takes one: its result may let others start, and be reused by them.
            while runner.free > 0 and not (name == "inline" and self._watches_limits()):
                following = self._schedule.take(name)
                if following is None:
                    break
                self._start(following, runner)

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
        self._flying[attempt.id] = flying = InFlight(task, attempt, lease, log_path)
        if runner.name != "detached":
            self._heartbeat.hold(lease)
        self._listener.changed(task)
        runner.submit(flying.order)

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
            try:
                record_exit(self.store, self.workspace.blobs, flying, found)
            except LeaseLostError:
                self._refresh(task)  # it had recorded its result and died afterwards
        elif task.state is TaskState.RUNNING:  # another process has recorded it
            self._refresh(task)
        if task.state is TaskState.FAILED and self._could_not_read(task) and self._remake(task):
            return
        if task.state is TaskState.FAILED and flying.attempt.number <= task.options.retries and not self.stop_requested:
            wait_s = min(task.options.backoff_s * 2 ** (flying.attempt.number - 1), _LONGEST_BACKOFF_S)
            task.state = TaskState.WAITING
            self._schedule.retry(task, wait_s)
            self._listener.retrying(task, wait_s)
        else:
            self._ended(task)

    def _could_not_read(self, task: Task) -> bool:
        return self.store.attempts(task.id)[-1].kind == "unreadable"

    def _remake(self, task: Task) -> bool:
        """If a task failed because its arguments can't be read, run what made them again, once, and then it."""
        makers = self._remakes.makers(task)
        if makers is None:
            return False
        for maker in makers:
            lost = "; ".join(self._remakes.faults(maker))
            self._listener.printed(maker.name, f"its stored result can't be read ({lost}); it is made again")
            self.store.drop_entry(maker.cache_key or "")
            self.tasks.reopen(maker)
        task.state = TaskState.WAITING
        parents = [parent for parent in self.tasks.parents() if parent.state is TaskState.MAPPED]
        for waiting in (*makers, *parents, task):
            self._schedule.add(waiting)
            self._listener.changed(waiting)
        return True

    def _refresh(self, task: Task) -> None:
        with self.workspace.database.transaction() as tx:
            self.workspace.leases.check(tx, self.run_lease)
        stored = self.store.get(task.id)
        if stored is None or stored.state is TaskState.RUNNING:
            raise StepError(task.name, "lost", "its worker ended without recording a result")
        for name in Task.__struct_fields__:
            setattr(task, name, getattr(stored, name))

    def _end(self, task: Task, state: TaskState, error: str | None) -> None:
        with self.workspace.database.transaction() as tx:
            self.workspace.leases.check(tx, self.run_lease)
            self.store.update(tx, task.id, state=state, error=error, ended_at=clock.now_us())
        task.state, task.error = state, error
        self._ended(task)

    def _ended(self, task: Task) -> None:
        """A task has its end; its failure is the run's unless it may fail."""
        self._failed |= task.state is TaskState.FAILED and not task.options.may_fail
        for need in self._schedule.ended(task):
            for artifact in self.tasks.made(need):
                self.place.values.forget(artifact)
        self._listener.changed(task)

    def _runner(self, task: Task) -> Runner:
        runner = self._runner_for(task)
        self._runners[runner.name] = runner
        return runner

    def _close(self) -> None:
        """Stop what is in flight and give back the processes."""
        try:
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
        if self._failed:
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
