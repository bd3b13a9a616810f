"""What the processes of the contracts of online stores and segments do; each function is one role."""

from __future__ import annotations

import random
import sys
from contextlib import suppress
from pathlib import Path

from mainspring.errors import ConflictError
from mainspring.store import SegmentWriter, open_keyvalue

TWINS = [b"twin/%d" % number for number in range(40)] + [b"twin/" + b"x" * 600]


def ranked(rank: int, text: bytes = b"") -> bytes:
    """A value with a rank."""
    return rank.to_bytes(16) + text


def random_ranks(seed: int, index: int) -> list[list[tuple[bytes, int]]]:
    """What one of several writers puts: batches of keys and ranks, of which few are alike."""
    chance = random.Random(f"{seed}/{index}")
    keys = [b"%d" % number for number in range(15)]
    return [[(chance.choice(keys), chance.randrange(1 << 100)) for _ in range(10)] for _ in range(25)]


def put_ranks(index: int, url: str, seed: int) -> None:
    """Put one's batches."""
    store = open_keyvalue(url)
    for batch in random_ranks(seed, index):
        store.put_newest((key, ranked(rank, b"of %d" % index)) for key, rank in batch)
    store.close()


def count_keys_up(index: int, url: str, times: int) -> None:
    """Add one, again and again, whenever nobody else did in between; and note each under a name of one's own."""
    store = open_keyvalue(url)
    done = 0
    while done < times:
        seen = store.get(b"count")
        change = [(b"count", b"%d" % (int(seen or 0) + 1)), (b"by/%d/%d" % (index, done), b"")]
        try:
            store.write(change, expect={b"count": seen})
            done += 1
        except ConflictError:
            continue
    store.close()


def write_twin_keys(url: str) -> None:
    """Changes that are only right whole, until killed; tells of the first, then of each."""
    store = open_keyvalue(url)
    for number in range(1, sys.maxsize):
        store.write((key, ranked(number, b"x" * 200)) for key in TWINS)
        print(number, flush=True)  # noqa: T201  # what the test reads


def read_twin_keys(url: str, until: int) -> None:
    """Read until a number is there: never nothing, never a number less than before, never two at one instant."""
    store = open_keyvalue(url)
    last = 0
    while last < until:
        found = store.get_many(TWINS)
        assert len(set(found)) == 1, found
        assert found[0] is not None
        assert last <= int.from_bytes(found[0][:16])
        last = int.from_bytes(found[0][:16])
        single = store.get(TWINS[0])
        assert single is not None
        assert int.from_bytes(single[:16]) >= last
    print("seen", flush=True)  # noqa: T201  # what the test waits for


def echo_sizes(path: str, map_size_bytes: int) -> None:
    """Open LMDB with a small map, and tell for each key that comes how large its value is."""
    from mainspring.store.lmdb import LmdbKeyValue

    store = LmdbKeyValue(Path(path), map_size_bytes=map_size_bytes)
    for line in sys.stdin:
        print(len(store.get(line.strip().encode()) or b""), flush=True)  # noqa: T201  # what the test reads


def hold_read_transactions(path: str) -> None:
    """Begin as many read transactions of LMDB as there can be, and never end them."""
    import lmdb

    environment, transactions = lmdb.open(path), []
    with suppress(lmdb.ReadersFullError):
        while True:
            transactions.append(environment.begin())
    print(len(transactions), flush=True)  # noqa: T201  # what the test waits for
    sys.stdin.readline()


def numbered(writer: str, number: int) -> bytes:
    """One of a writer's records; some are larger than a page, or than a pipe takes."""
    return b"%s/%d/" % (writer.encode(), number) + b"x" * (number * 7_919 % (300 if number % 10 else 300_000))


def append_records(folder: str, writer: str, size_bytes: int) -> None:
    """Append in pieces until killed, and tell after each how many records there are."""
    log = SegmentWriter(folder, writer, size_bytes=size_bytes)
    number = 0
    for piece in range(sys.maxsize):
        records = [numbered(writer, each) for each in range(number, number + piece % 7 + 1)]
        log.append(records)
        number += len(records)
        print(number, flush=True)  # noqa: T201  # what the test reads
