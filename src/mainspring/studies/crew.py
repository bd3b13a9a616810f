"""Trials in processes of their own, on this machine: as many at once as asked for, each within its limits.

A worker does the whole trial (asks, calls, tells) over the same journal; this process supervises, and tells of a trial
whose worker crashed, hung or took too much memory.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from mainspring.errors import InvalidError, LeaseLostError
from mainspring.ledger import new_id
from mainspring.pipelines.session import worker_environment
from mainspring.runners import ChildProcess, Exit, PoolRunner, WorkOrder
from mainspring.store.own_work import at_own_work
from mainspring.studies._store import TakenError
from mainspring.studies.objective import IN_WORKER
from mainspring.studies.search import Search
from mainspring.studies.sights import take_over, watched_root

_WORKER = "mainspring.studies.worker"
_LOOK_S = 0.25  # how often the crew looks at what other processes left behind
_MIB = 1 << 20


class Crew:
    """`jobs` workers of a search."""

    def __init__(self, search: Search, jobs: int) -> None:
        self._search = search
        self._jobs = jobs
        self._folder = search.workspace.scratch / search.study.id
        self._orders: dict[str, WorkOrder] = {}
        self._is_spent = False
        self._pool = PoolRunner(jobs, self._child)

    def run(self, deadline: float | None) -> None:
        """Have trials made until the budget is spent or the time has come; those in flight then end as they would."""
        try:
            while True:
                self._search.keep_alive()
                self._search.recover(watched=self._orders)
                may_begin = deadline is None or time.monotonic() < deadline
                while may_begin and not self._is_spent and self._pool.free:
                    self._submit()
                if not self._orders:
                    return
                for ended in self._pool.wait(_LOOK_S):
                    self._ended(ended)
        finally:
            for ended in self._pool.cancel():
                self._give_back(ended.order)
            self._pool.close()

    def _submit(self) -> None:
        if not self._search.store.may_begin(self._search.study):
            self._is_spent = True
            return
        limits = self._search.study.definition.limits
        order = WorkOrder(
            id=new_id(), name=self._search.study.name, payload={"study": self._search.study.id, "root": watched_root()},
            log_path=str(self._folder / f"{new_id()}.log"), timeout_s=limits.trial_timeout_s,
            memory_bytes=None if limits.memory_mb is None else limits.memory_mb * _MIB,
        )  # fmt: skip
        self._orders[order.id] = order
        with at_own_work():  # what the processes do is told by them
            self._pool.submit(order)

    def _ended(self, ended: Exit) -> None:
        order = self._orders.pop(ended.order)
        take_over(order.log_path, is_whole=ended.kind == "done")
        found = self._search.store.claimed(self._search.study.id, order.id)
        failed, target = Path(order.log_path), str(self._search.study.definition.objective)
        if failed.exists():
            raise InvalidError("objective", target, "one that another process can import", failed.read_text())
        if found is None:
            if ended.kind == "done":
                self._is_spent = True  # it came too late for the last one
                return
            raise InvalidError("objective", target, "one that another process can import", ended.message)
        if ended.kind != "done":
            self._fail(found.number, ended)
        else:
            self._search.told(found.number)

    def _fail(self, number: int, ended: Exit) -> None:
        try:
            self._search.fail(number, f"{ended.kind}: {ended.message}", cost=ended.wall_s or 0.0)
        except (TakenError, LeaseLostError):  # it was told before its process ended
            self._search.told(number)

    def _give_back(self, order: str) -> None:
        found = self._search.store.claimed(self._search.study.id, order)
        if found is not None:
            self._search.give_back(found.number)

    def _child(self, number: int) -> ChildProcess:
        workspace = self._search.workspace
        settings = workspace.project.settings
        threads = int(settings.threads) or os.cpu_count() or 1
        environment = worker_environment(
            os.environ, settings.database, settings.blobs, max(1, threads // self._jobs)
        ) | {
            "MAINSPRING_PROJECT": str(workspace.project.root),
            "MAINSPRING_CACHE": str(workspace.cache),
            "MAINSPRING_LEASE_S": str(settings.lease_s),
            IN_WORKER: self._search.study.id,
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }
        return ChildProcess([sys.executable, "-m", _WORKER], environment=environment, folder=self._folder / str(number))
