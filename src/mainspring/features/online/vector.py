"""What a read answers of one entity."""

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
