"""Keeps leases alive while their work goes on, from a thread that sleeps in between."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mainspring.errors import LeaseLostError, StorageError
from mainspring.store.lease import Lease, Leases

_BEATS_PER_LEASE = 3


class Heartbeat:
    """Extends leases three times in their duration. `lost` holds the first refusal."""

    def __init__(self, leases: Leases, ttl_s: float) -> None:
        self._leases = leases
        self._ttl_s = ttl_s
        self._held: dict[str, Lease] = {}
        self._guard = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self.lost: dict[str, LeaseLostError] = {}

    def hold(self, lease: Lease) -> None:
        """Keep a lease alive from now on."""
        with self._guard:
            self._held[lease.name] = lease

    def let_go(self, lease: Lease) -> None:
        """Stop keeping a lease alive."""
        with self._guard:
            self._held.pop(lease.name, None)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._ended.wait(self._ttl_s / _BEATS_PER_LEASE):
            with self._guard:
                held = list(self._held.values())
            for lease in held:
                try:
                    self._leases.heartbeat(lease, self._ttl_s)
                except LeaseLostError as error:
                    with self._guard:
                        if self._held.pop(lease.name, None):
                            self.lost[lease.name] = error
                except StorageError:
                    continue  # the store may come back before the lease ends; if not, the commit is refused


@contextmanager
def kept_alive(leases: Leases, lease: Lease, ttl_s: float) -> Iterator[Lease]:
    """Keep a claimed lease alive for the block, and release it behind it."""
    try:
        with Heartbeat(leases, ttl_s) as heartbeat:
            heartbeat.hold(lease)
            yield lease
    finally:
        leases.release(lease)
