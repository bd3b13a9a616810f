"""The contract of leases on a database. A backend's own test subclasses it and gives a URL."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextvars import copy_context
from pathlib import Path

import pytest

from mainspring.errors import ConflictError, LeaseLostError
from mainspring.store import Database, Lease, Leases, current_fences, open_database, process_owner
from mainspring.testing import _actors
from mainspring.testing.databases import OnDatabase
from mainspring.testing.processes import Child

_ACTORS = "mainspring.testing._actors"
_ELSEWHERE = "other-host:boot:1:1"
_LONG_S = 600.0


class LeaseContract(OnDatabase):
    """Every law that leases obey."""

    @pytest.fixture
    def leases(self, database: Database) -> Leases:
        """Its leases."""
        return Leases(database)

    def test_one_owner_at_a_time(self, leases: Leases) -> None:
        lease = leases.claim("train", _ELSEWHERE, _LONG_S)
        assert leases.held("train")
        for owner in (_ELSEWHERE, process_owner()):
            with pytest.raises(ConflictError, match="train"):
                leases.claim("train", owner, _LONG_S)
        assert leases.claim("other", process_owner(), _LONG_S).token == lease.token == 1

    def test_a_released_lease_is_free_and_its_token_never_comes_back(self, leases: Leases) -> None:
        first = leases.claim("train", _ELSEWHERE, _LONG_S)
        leases.release(first)
        assert not leases.held("train")
        second = leases.claim("train", process_owner(), _LONG_S)
        assert second.token > first.token
        leases.release(first)  # of no effect: it is somebody else's by now
        assert leases.held("train")

    def test_what_is_held_is_told_alone_among_others_and_by_its_beginning(self, leases: Leases) -> None:
        dead = f"{process_owner().rpartition(':')[0]}:0"
        for name, owner, ttl_s in (
            ("run:a", _ELSEWHERE, _LONG_S), ("run:b", process_owner(), _LONG_S), ("run:c", _ELSEWHERE, -1.0),
            ("run:d", dead, _LONG_S), ("runs", _ELSEWHERE, _LONG_S),
        ):  # fmt: skip
            leases.claim(name, owner, ttl_s)
        leases.release(leases.claim("run:e", _ELSEWHERE, _LONG_S))
        names = {f"run:{letter}" for letter in "abcdef"}
        held = {"run:a", "run:b"}
        assert (
            {name for name in names if leases.held(name)}
            == leases.held_among(names)
            == set(leases.live("run:"))
            == held
        )
        assert leases.held_among([]) == set()

    def test_an_expired_lease_can_be_taken_over(self, leases: Leases) -> None:
        first = leases.claim("train", _ELSEWHERE, 0.0)
        second = leases.claim("train", process_owner(), _LONG_S)
        for act in (leases.heartbeat, self._commit(leases)):
            with pytest.raises(LeaseLostError) as found:
                act(first)
            assert (found.value.name, found.value.token) == ("train", first.token)
        self._commit(leases)(second)

    def test_a_heartbeat_extends(self, leases: Leases) -> None:
        lease = leases.claim("train", _ELSEWHERE, 0.0)
        leases.heartbeat(lease, _LONG_S)
        with pytest.raises(ConflictError):
            leases.claim("train", process_owner(), _LONG_S)

    def test_an_expired_lease_that_nobody_took_still_commits(self, leases: Leases) -> None:
        self._commit(leases)(leases.claim("train", _ELSEWHERE, 0.0))

    def test_a_released_lease_commits_no_more(self, leases: Leases) -> None:
        lease = leases.claim("train", _ELSEWHERE, _LONG_S)
        leases.release(lease)
        with pytest.raises(LeaseLostError, match="nobody"):
            self._commit(leases)(lease)

    def test_a_lease_that_was_taken_over_and_released_says_so(self, leases: Leases) -> None:
        lease = leases.claim("train", _ELSEWHERE, 0.0)
        leases.release(leases.claim("train", process_owner(), _LONG_S))
        with pytest.raises(LeaseLostError, match="another process took it over, and has ended since"):
            self._commit(leases)(lease)

    def test_a_refused_commit_writes_nothing(self, leases: Leases, database: Database) -> None:
        lease = leases.claim("train", _ELSEWHERE, 0.0)
        leases.claim("train", process_owner(), _LONG_S)

        def commit_late() -> None:
            with database.transaction() as tx:
                tx.execute("INSERT INTO note (text) VALUES (?)", ("late",))
                leases.check(tx, lease)

        with pytest.raises(LeaseLostError):
            commit_late()
        assert database.query("SELECT * FROM note") == []

    def test_every_transaction_of_a_fenced_block_is_refused_once_the_lease_is_lost(
        self, leases: Leases, database: Database, url: str
    ) -> None:
        lease, outside, other = leases.claim("a", _ELSEWHERE, _LONG_S), copy_context(), open_database(url)
        within = leases.claim("within", _ELSEWHERE, _LONG_S)
        with leases.fencing(lease), leases.fencing(within):
            assert not _is_refused(database)
            outside.run(leases.release, lease)
            assert _is_refused(database)
            assert _is_refused(other)
            assert not outside.run(_is_refused, database)
            late = copy_context()
        assert late.run(_is_refused, database)
        assert not _is_refused(database)
        assert len(database.query("SELECT * FROM note")) == 3
        other.close()

    def test_what_is_written_elsewhere_is_held_to_the_fences_of_its_block(self, leases: Leases, tmp_path: Path) -> None:
        lease = leases.claim("a", _ELSEWHERE, 0.0)
        with leases.fencing(lease):
            fences = current_fences()
        other = _actors.opened(f"sqlite://{tmp_path}/other.db")
        for database in (leases.database, other):
            database.hold_to(fences)
        leases.claim("a", process_owner(), _LONG_S)
        other.hold_to(fences)
        with pytest.raises(LeaseLostError):
            leases.database.hold_to(fences)
        other.close()

    def test_a_fence_is_of_one_database(self, leases: Leases, tmp_path: Path) -> None:
        other = _actors.opened(f"sqlite://{tmp_path}/other.db")
        lease, outside = leases.claim("a", _ELSEWHERE, _LONG_S), copy_context()
        with leases.fencing(lease):
            outside.run(leases.release, lease)
            assert not _is_refused(other)
        other.close()

    def test_the_lease_of_a_killed_process_is_taken_over_at_once(self, leases: Leases, url: str) -> None:
        with Child(f"{_ACTORS}:work_under_lease", url, "train", _LONG_S) as child:
            assert child.read() == "1"
            with pytest.raises(ConflictError):
                leases.claim("train", process_owner(), _LONG_S)
            child.signal(signal.SIGKILL)
            assert not leases.held("train")
            assert leases.claim("train", process_owner(), _LONG_S).token == 2

    def test_a_stopped_and_continued_worker_is_refused(self, leases: Leases, database: Database, url: str) -> None:
        with (
            Child(f"{_ACTORS}:work_under_lease", url, "train", 0.2) as first,
            Child(f"{_ACTORS}:work_under_lease", url, "other", _LONG_S) as fine,
        ):
            assert (first.read(), fine.read()) == ("1", "1")
            first.signal(signal.SIGSTOP)
            while leases.held("train"):
                time.sleep(0.01)
            assert leases.claim("train", process_owner(), _LONG_S).token == 2
            first.signal(signal.SIGCONT)
            first.tell("commit")
            assert first.read() == "refused"
            assert database.query("SELECT * FROM note") == []
            fine.tell("commit")
            assert fine.read() == "committed"

    def _commit(self, leases: Leases) -> Callable[[Lease], None]:
        def commit(lease: Lease) -> None:
            with leases.database.transaction() as tx:
                leases.check(tx, lease)

        return commit


def _is_refused(database: Database) -> bool:
    """Whether a lease that is lost keeps this context from writing a note."""
    try:
        with database.transaction() as tx:
            tx.execute("INSERT INTO note SELECT COUNT(*), 'a note' FROM note")
    except LeaseLostError:
        return True
    return False
