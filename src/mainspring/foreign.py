"""JSON that others wrote: whatever is wrong with its bytes is one kind of error.

A decoder has three: its own, `UnicodeDecodeError` for what is not UTF-8, and `RecursionError` for what is nested too deep.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

_BOM = b"\xef\xbb\xbf"
_decode = msgspec.json.Decoder().decode


def read_foreign(given: bytes | str, decode: Callable[[bytes | str], Any] = _decode) -> Any:
    r"""What a JSON document says, as `decode` takes it; a byte order mark before it is passed over (RFC 8259, section 8.1).

    Raises:
        ValueError: it is none, or not what `decode` takes.

    >>> read_foreign(b'\xef\xbb\xbf{"n": 1}')
    {'n': 1}
    >>> read_foreign(b'{"Versp\xe4tung": 3}')
    Traceback (most recent call last):
    UnicodeDecodeError: 'utf-8' codec can't decode byte 0xe4 in position 5: invalid continuation byte
    """
    if isinstance(given, bytes) and given.startswith(_BOM):
        given = given[len(_BOM) :]
    try:
        return decode(given)
    except RecursionError as error:
        raise ValueError(str(error)) from error
