"""When a file's time can be trusted to say that the file is unchanged: git's racily-clean rule."""

from __future__ import annotations

import time

# Coarse clocks: ext4 and APFS stamp at most 10 ms late; FAT, HFS+ and some network shares cut to one or two seconds.
_RACY_NS, _RACY_WHOLE_SECOND_NS = 20_000_000, 2_100_000_000


def is_racy(changed_at_ns: int, read_at_ns: int) -> bool:
    """Whether something changed then and read at `read_at_ns` may have changed again under the same time.

    >>> is_racy(5_123_456_789, 5_130_000_000), is_racy(5_123_456_789, 5_200_000_000)
    (True, False)
    """
    whole = changed_at_ns % 1_000_000_000 == 0
    return read_at_ns - changed_at_ns < (_RACY_WHOLE_SECOND_NS if whole else _RACY_NS)


def real_time_ns() -> int:
    """The machine's time, which file stamps are compared with: never the simulated one."""
    return time.clock_gettime_ns(time.CLOCK_REALTIME)
