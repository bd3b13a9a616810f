"""What the online store costs in LMDB: `put_newest`, and reads of 1, 10, 100 and 1,000 keys, with values of 120 bytes.

The floor is bare `lmdb`, measured in the same run: one transaction that puts the sorted rows, one read transaction with a
`get` for each key. Redis is told beside it, with a tenth of the rows. `--small` runs it once, briefly.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import timeit
from collections.abc import Callable, Sequence
from pathlib import Path

import lmdb

from mainspring.store import KeyValue, open_keyvalue
from mainspring.testing.services import redis_server

READS = (1, 10, 100, 1_000)


def best_s(call: Callable[[], object], count: int = 1) -> float:
    """The best of five rounds, in seconds a call."""
    return min(timeit.repeat(call, number=count, repeat=5)) / count


def rows(count: int, rank: int) -> list[tuple[bytes, bytes]]:
    """Rows in no order, each value with a rank in front."""
    chance = random.Random(7)
    return [(chance.randbytes(16), rank.to_bytes(16) + chance.randbytes(104)) for _ in range(count)]


def bare_put(environment: lmdb.Environment, items: Sequence[tuple[bytes, bytes]]) -> None:
    """What any store has to do: sort, and put in one transaction."""
    with environment.begin(write=True) as transaction:
        for key, value in sorted(items):
            transaction.put(key, value)


def bare_get(environment: lmdb.Environment, keys: Sequence[bytes]) -> list[bytes | memoryview | None]:
    """The same read transaction, and nothing around it."""
    with environment.begin() as transaction:
        return [transaction.get(key) for key in keys]


def read(store: KeyValue, keys: Sequence[bytes]) -> Callable[[], object]:
    """One key as one is read, several as several are."""
    return (lambda: store.get(keys[0])) if len(keys) == 1 else (lambda: store.get_many(keys))


def main() -> None:
    """Print the costs."""
    count, times = (1_000, 5) if "--small" in sys.argv else (300_000, 2_000)
    with tempfile.TemporaryDirectory() as name, redis_server() as server:
        folder = Path(name)
        bare = lmdb.open(str(folder / "bare"), map_size=1 << 30, max_spare_txns=1, metasync=False)
        ours, remote = open_keyvalue(f"lmdb://{folder}/ours"), open_keyvalue(server.url())
        for rank, what in ((1, "new rows"), (2, "rows over older ones"), (0, "rows that lose")):
            items = rows(count, rank)
            few = items[: count // 10]
            floor_s = timeit.timeit(lambda items=items: bare_put(bare, items), number=1)
            ours_s = timeit.timeit(lambda items=items: ours.put_newest(items), number=1)
            remote_s = timeit.timeit(lambda few=few: remote.put_newest(few), number=1)
            print(
                f"put_newest of {count:,} {what:21} {count / ours_s:10,.0f} rows/s   {ours_s / floor_s:5.2f} x floor"
                f"   Redis {len(few) / remote_s:10,.0f} rows/s"
            )
        known = [key for key, _ in rows(max(count // 10, READS[-1]), 0)]
        random.Random(os.getpid()).shuffle(known)
        for reads in READS:
            keys = known[:reads]
            floor_us, ours_us, remote_us = (
                best_s(call, max(times // reads, 2)) * 1e6
                for call in (lambda keys=keys: bare_get(bare, keys), read(ours, keys), read(remote, keys))
            )
            print(
                f"read of {reads:5,} keys {ours_us:10.2f} us   {ours_us / floor_us:5.2f} x floor"
                f"   Redis {remote_us:10.1f} us"
            )
        for store in (ours, remote, bare):
            store.close()


if __name__ == "__main__":
    main()
