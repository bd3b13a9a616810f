"""The lines of delimited text, as bytes: their fields counted, records told apart, quotes and zeros found that mean trouble."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

_NEWLINE, _RETURN, _ZERO = 10, 13, 48
_SIGNS = np.frombuffer(b"+-", np.uint8)


def records(block: bytes, quote: bytes, line: int, *, empty: bool = False) -> Iterator[tuple[int, bytes]]:
    r"""Each record that holds anything, with the number of its first line, `line` lines standing before the block.

    With `empty` also lines that hold nothing, which of one column are rows.

    >>> list(records(b"a,b\n\nd,e", b"", 7))
    [(8, b'a,b'), (10, b'd,e')]
    """
    first, parts, is_open = 0, list[bytes](), False
    for number, text in enumerate(block.split(b"\n"), line + 1):
        if not (parts or empty or text.strip(b"\r")):
            continue
        first = first if parts else number
        parts.append(text)
        is_open ^= bool(quote) and text.count(quote) % 2 == 1
        if not is_open:
            yield first, b"\n".join(parts)
            parts = []
    if parts:
        yield first, b"\n".join(parts)


def without_empty(block: bytes, quote: bytes) -> bytes:
    """The block without lines that hold nothing; those within quotes stay."""
    if not quote or quote not in block:
        return re.sub(rb"(?m)^\r?\n", b"", block)
    return b"".join(record + b"\n" for _, record in records(block, quote, 0))


def bare(block: bytes, quote: bytes) -> bytes:
    """The block with a point in place of what stands within quotes."""
    if not quote or quote not in block:
        return block
    q = re.escape(quote)
    return re.sub(q + b"[^" + q + b"]*" + q, b".", block)


def widths(block: bytes, separator: bytes) -> tuple[np.ndarray, np.ndarray]:
    """The number of fields of each line of a bare block, and whether it is empty."""
    data = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(data == _NEWLINE)
    if len(data) and (not len(ends) or ends[-1] != len(data) - 1):
        ends = np.append(ends, len(data))
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    marks = np.flatnonzero(data == separator[0])
    found = np.searchsorted(marks, ends) - np.searchsorted(marks, starts) + 1
    length = ends - starts
    is_return = np.zeros(len(ends), bool)
    one = length == 1
    is_return[one] = data[starts[one]] == _RETURN
    return found, (length == 0) | is_return


def stray_quote(block: bytes, separator: bytes, quote: bytes) -> int | None:
    r"""Where the first quote is that neither begins nor ends a field nor is doubled within one, or begins one without end.

    >>> [stray_quote(text, b",", b'"') for text in (b'1,5" pipe', b'"a",c', b'"a",c\n"d,e')]
    [3, None, 6]
    """
    is_open, doubled, begun = False, -1, 0
    for match in re.finditer(re.escape(quote), block) if quote else ():
        place = match.start()
        if place == doubled:
            continue
        before, behind = block[max(place - 1, 0) : place], block[place + 1 : place + 2]
        if not is_open:
            if before not in (b"", separator, b"\n"):
                return place
            is_open, begun = True, place
        elif behind == quote:
            doubled = place + 1
        elif behind in (b"", separator, b"\n", b"\r"):
            is_open = False
        else:
            return place
    return begun if is_open else None


def zero_led(block: bytes, separator: bytes, quote: bytes) -> set[int] | None:
    """The columns in which a field may begin with a zero and another digit; None if quotes leave it open which.

    >>> zero_led(b"1,007,0.5,0", b",", b'"'), zero_led(b'1,"007"', b",", b'"')
    ({1}, None)
    """
    data = np.frombuffer(b"\n" + block + b"\n", np.uint8)
    zeros = np.flatnonzero(data[:-1] == _ZERO)
    zeros = zeros[data[zeros + 1] - _ZERO < 10]
    zeros = zeros - np.isin(data[zeros - 1], _SIGNS)
    begins = np.frombuffer(separator + b"\n" + quote, np.uint8)
    zeros = zeros[np.isin(data[zeros - 1], begins)]
    if not len(zeros):
        return set()
    if quote and quote in block:
        return None
    marks, ends = np.flatnonzero(data == separator[0]), np.flatnonzero(data == _NEWLINE)
    starts = ends[np.searchsorted(ends, zeros) - 1]
    return set(np.unique(np.searchsorted(marks, zeros) - np.searchsorted(marks, starts)).tolist())
