"""What a read of the online store answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec


class Vector(msgspec.Struct, frozen=True):
    """The features of one entity, in the order of the service's `names`. Times are microseconds, None if there is none.

    `is_live` says that it was read from the store; if not, `read_us` is when the oldest of what it was made of was.
    """

    values: Sequence[Any]
    statuses: Sequence[str]
    event_us: Sequence[int | None]
    is_live: bool = True
    read_us: int | None = None


class Reading(msgspec.Struct, frozen=True):
    """Vectors with what they can be judged by: the instant, and what the store reflected in the same read of it.

    `watermarks` are those of the reader's `views` as bytes, None where there is none. `pushed` has a number for each vector,
    whose bit n says that what was stored for the reader's part n came by `push`.
    """

    at_us: int
    vectors: list[Vector]
    watermarks: tuple[bytes | None, ...]
    pushed: Sequence[int]

    def part(self, start: int, end: int) -> Reading:
        """Some of the vectors, in their order."""
        return Reading(self.at_us, self.vectors[start:end], self.watermarks, self.pushed[start:end])
