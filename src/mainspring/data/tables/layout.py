"""When parts of a table are written anew: a few small ones with each append, more of them in the background.

Both rewrite a part only with a share of its rows behind it, as log-structured merge trees do: however many appends come, a
row is rewritten a logarithmic number of times, and a version has a logarithmic number of small parts.
"""

from __future__ import annotations

from collections.abc import Iterator

from mainspring.artifacts import LEAF_ROWS
from mainspring.data.tables import parts as parts_
from mainspring.data.tables.manifest import Part

FOLD_BYTES = 1 << 18  # what an append rewrites at most; up to there the cost of a part is that of a file
_FOLD_GROWTH = 8  # leaves two or three parts of ten thousand rows that came one by one
COMPACT_ABOVE = 32  # small parts in a row; reading as many costs some milliseconds more than one part would
MOST_VECTORS = 8  # small parts in a row that lost rows; each is read by a scan of its own
_GROWTH = 2  # in the background
_MOST_IN_FRONT = COMPACT_ABOVE // 2  # parts that growth alone would leave as they are
_LARGE_BYTES = 64 << 20


def first_folded(parts: tuple[Part, ...], rows: int, size_bytes: int) -> int:
    """From which part on those at the end are written anew, in one part with the rows that come behind them."""
    start = len(parts)
    while rows and start:
        last = parts[start - 1]
        if last.rows > rows * _FOLD_GROWTH or rows + last.rows > LEAF_ROWS or size_bytes + last.size_bytes > FOLD_BYTES:
            break
        start, rows, size_bytes = start - 1, rows + last.rows, size_bytes + last.size_bytes
    return start


def is_scattered(parts: tuple[Part, ...]) -> bool:
    """Whether a compaction in the background would change this layout."""
    return next(runs(parts, background=True), None) is not None


def runs(parts: tuple[Part, ...], *, background: bool) -> Iterator[tuple[int, int]]:
    """The parts to rewrite, as ranges of their places: all that are small or lost rows, or those where it pays."""
    is_good = _is_worth_keeping if background else _is_whole
    at = 0
    while at < len(parts):
        end = at
        while end < len(parts) and not is_good(parts[end]):
            end += 1
        start = _start_in_background(parts, at, end) if background else at
        if end - start > 1 or (end > start and parts[start].dropped):
            yield start, end
        at = end + 1


def _is_large(part: Part) -> bool:
    return part.rows * 2 > parts_.PART_ROWS or part.size_bytes > _LARGE_BYTES


def _is_whole(part: Part) -> bool:
    return not part.dropped and _is_large(part)


def _is_worth_keeping(part: Part) -> bool:
    return _is_large(part) and not _is_mostly_gone(part)


def _is_mostly_gone(part: Part) -> bool:
    return part.dropped_rows > part.rows


def _start_in_background(parts: tuple[Part, ...], at: int, end: int) -> int:
    """Where the rewriting of a run pays; its end if it doesn't.

    Many small parts are rewritten from the first on that is not much larger than all behind it, or all of them if that
    would leave many. Parts that lost more rows than are left have paid for it already.
    """
    run = parts[at:end]
    if sum(1 for part in run if part.dropped) > MOST_VECTORS:
        return at
    wasted = next((place for place, part in enumerate(run, at) if _is_mostly_gone(part)), end)
    if len(run) <= COMPACT_ABOVE:
        return wasted
    start, behind = end - 1, parts[end - 1].rows
    while start > at and parts[start - 1].rows <= behind * _GROWTH:
        start -= 1
        behind += parts[start].rows
    return min(start, wasted) if start - at <= _MOST_IN_FRONT else at
