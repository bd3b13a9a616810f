"""The online store: values by key, for reads in microseconds beside writers.

Invariant: a reader sees a value whole, as some writer left it, and never none where there was one before and is one after.
A key that `put_newest` writes only ever goes forward: its value's rank never falls.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from mainspring.errors import ConflictError, InvalidError, WrongTypeError, shorten

RANK_BYTES = 16
LONGEST_KEY_BYTES = 1_024
KEY = "a key of 1 to 1,024 bytes"
LARGEST_VALUE_BYTES = 16 << 20


class KeyValue(Protocol):
    """Bytes by key. Keys are of 1 to 1,024 bytes, any bytes; values of up to 16 MiB, empty ones included.

    May be used by any number of threads and processes at once, also after a fork. Nothing is opened before it is used.
    All methods raise `StorageError` with the place when the directory is read-only, the disk full or the server gone
    (`UnavailableError`, after the time that the URL declares); the next call connects again.
    """

    place: str

    def get(self, key: bytes) -> bytes | None:
        """The value, or None if there is none."""
        ...

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of the keys in their order, as of one instant: one read transaction, or one round trip."""
        ...

    def put_newest(
        self, items: Iterable[tuple[bytes, bytes]], *, expect: Mapping[bytes, bytes | None] | None = None
    ) -> int:
        """Store each value unless one of a higher rank is stored; gives how many keys got a value of this call.

        The first 16 bytes of a value are its rank, compared as bytes; at the same rank the later call wins. Of several
        values for one key only the one that wins among them is stored. Atomic for each key, and as a whole where the
        backend has transactions, so a call that failed can simply be repeated. `expect` is as in `write`, and is checked
        beside every value that is stored.

        Raises:
            InvalidError: a key or value has a wrong size; nothing was stored.
            ConflictError: something else is stored under an expected key.
        """
        ...

    def write(
        self, changes: Iterable[tuple[bytes, bytes | None]], *, expect: Mapping[bytes, bytes | None] | None = None
    ) -> None:
        """Put or, where the value is None, delete: all changes or none. The last change of a key counts.

        `expect` says what must be stored now, None for nothing. It is checked in the same transaction, so that state and
        the offset up to which it was applied move together, and only one of several consumers goes on.

        Raises:
            ConflictError: something else is stored under an expected key; nothing was changed.
            InvalidError: a key or value has a wrong size; nothing was changed.
        """
        ...

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All keys that begin so with their values, ordered by key.

        Each key that is there throughout is given once, with a value that it had meanwhile; the whole is not of one
        instant, so that a long scan holds up nobody.
        """
        ...

    def delete_prefix(self, prefix: bytes) -> int:
        """Delete all keys that begin so; gives how many. Not atomic as a whole: what is written meanwhile may stay."""
        ...

    def close(self) -> None:
        """Close files and connections; using the store again is an error."""
        ...


def checked_key(key: bytes) -> bytes:
    """Refuse what is no key.

    Raises:
        InvalidError: it is empty or longer than 1,024 bytes.
        WrongTypeError: it is not bytes.
    """
    if type(key) is not bytes:
        raise WrongTypeError("key", key, "bytes")
    if not 0 < len(key) <= LONGEST_KEY_BYTES:
        raise InvalidError("key", f"{shorten(key[:32])} of {len(key):,} bytes", KEY)
    return key


def checked_changes(changes: Iterable[tuple[bytes, bytes | None]]) -> dict[bytes, bytes | None]:
    """The last change of each key.

    Raises:
        InvalidError: a key or value has a wrong size.
        WrongTypeError: one is not bytes.

    >>> checked_changes([(b"a", b"1"), (b"b", None), (b"a", b"2")])
    {b'a': b'2', b'b': None}
    """
    found = dict(changes)
    for key, value in found.items():
        checked_key(key)
        if value is not None:
            _check_value(key, value)
    return found


def newest_of(items: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """The value of each key that wins among the items: that of the highest rank, the last one of those.

    Raises:
        InvalidError: a key or value has a wrong size, or a value no rank.
        WrongTypeError: one is not bytes.

    >>> low, high = bytes(16), b"z" * 16
    >>> newest_of([(b"a", high + b"new"), (b"a", low + b"old")])[b"a"][16:]
    b'new'
    """
    given = list(items)
    found: dict[bytes, bytes] = dict(given)
    if len(found) == len(given) and _are_plain(found):
        return found
    found = {}
    known = found.get
    for key, value in given:
        held = known(key)
        if held is None:
            checked_key(key)
        if type(value) is not bytes or not RANK_BYTES <= len(value) <= LARGEST_VALUE_BYTES:
            _check_value(key, value)
            raise InvalidError(f"value of {shorten(key)}", value, f"a value with a rank of {RANK_BYTES} bytes first")
        if held is None or held[:RANK_BYTES] <= value[:RANK_BYTES]:
            found[key] = value
    return found


def _are_plain(items: Mapping[bytes, bytes]) -> bool:
    """Whether all keys and values are surely right, told by passes that cost a tenth of looking at one by one."""
    if {*map(type, items), *map(type, items.values())} != {bytes}:
        return False
    keys, values = set(map(len, items)), set(map(len, items.values()))
    return (
        min(keys) > 0
        and max(keys) <= LONGEST_KEY_BYTES
        and min(values) >= RANK_BYTES
        and max(values) <= LARGEST_VALUE_BYTES
    )


def unexpected(place: str, key: bytes) -> ConflictError:
    """What `write` raises when something else is stored than was expected."""
    return ConflictError(
        f"{place}: the key `{shorten(key)}` was changed by another writer; nothing was written."
        " Read what is stored now, and go on from there."
    )


def _check_value(key: bytes, value: bytes) -> None:
    if type(value) is not bytes:
        raise WrongTypeError(f"value of {shorten(key)}", value, "bytes")
    if len(value) > LARGEST_VALUE_BYTES:
        raise InvalidError(f"value of {shorten(key)}", f"{len(value):,} bytes", "a value of at most 16 MiB")
