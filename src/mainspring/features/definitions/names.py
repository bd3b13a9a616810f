"""Names of features and of what they belong to."""

from __future__ import annotations

import re

from mainspring.errors import InvalidError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,199}")


def expect_name(kind: str, name: object) -> str:
    """A name as it is, if it can be one.

    Raises:
        InvalidError: it can't.

    >>> expect_name("view", "carrier_delay")
    'carrier_delay'
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or "__" in name:
        raise InvalidError(
            kind, name, "a name that begins with a letter, of letters, digits, `_`, `-` and `.`, without `__`"
        )
    return name
