"""Taking secrets out of texts that are about to be recorded."""

from __future__ import annotations

import re
from collections.abc import Callable

from mainspring.secrets.known import secret_values
from mainspring.secrets.names import names_secret
from mainspring.secrets.reference import Secret, is_reference
from mainspring.secrets.shapes import KEY_BLOCK, KEY_LINE, SHAPES, without_shapes

_LONGEST_KEY = 400  # lines of a private key; RSA with 16,384 bits has 200
_STRANGE_LINE = 80  # of these; after five lines that are no part of a key it is taken for ended


def redact(text: str) -> str:
    """A text without the secrets that were resolved, those in the environment, and what has the shape of one.

    >>> redact("postgresql://me:hunter22@db/x and api_key = 'abcd1234'")
    "postgresql://me:[redacted]@db/x and api_key = '[redacted]'"
    """
    for value, reference in secret_values():
        if value in text:
            text = (
                re.sub(whole_number(value), f"[{reference}]", text)
                if value.isdigit()
                else text.replace(value, f"[{reference}]")
            )
    return without_shapes(text, SHAPES)


def whole_number(digits: str) -> str:
    """The pattern of a number that is no part of a longer one."""
    return rf"(?<!\d){digits}(?!\d)"


class LineRedaction:
    """Redacts a text that comes line by line, in which a private key is many lines.

    >>> redaction = LineRedaction()
    >>> [redaction.line(line) for line in ("-----BEGIN PRIVATE KEY-----", "MIIEvQ==", "-----END PRIVATE KEY-----", "loss")]
    ['[redacted]', '[redacted]', '[redacted]', 'loss']
    """

    def __init__(self, redact_line: Callable[[str], str] = redact) -> None:
        self._redact_line = redact_line
        self._left = 0  # lines for which a key may still go on

    def part(self, text: str) -> str:
        """A line that is not finished, as it may be shown; it is given again when it has grown."""
        return "[redacted]" if self._left and re.fullmatch(KEY_LINE, text) else self._redact_line(text)

    def line(self, text: str) -> str:
        """A finished line as it may be recorded."""
        shown = self.part(text)
        blocks = list(re.finditer(KEY_BLOCK, text))
        if blocks and not blocks[-1][1]:
            self._left = _LONGEST_KEY
        elif self._left:
            is_end = "-----END" in text
            self._left = 0 if is_end else max(0, self._left - (1 if re.fullmatch(KEY_LINE, text) else _STRANGE_LINE))
        return shown


def redact_value(name: str, value: object) -> object:
    """A parameter's value as it may be recorded: a secret by name or shape becomes `[redacted]`, references stay.

    >>> redact_value("password", "hunter2"), redact_value("password", "secret:env/PW"), redact_value("n", 3)
    ('[redacted]', 'secret:env/PW', 3)
    """
    if isinstance(value, Secret):
        return value.reference
    if isinstance(value, str):
        if not value or is_reference(value):
            return value
        return "[redacted]" if names_secret(name) else redact(value)
    if isinstance(value, dict):
        return {
            redact(key) if isinstance(key, str) else key: redact_value(str(key), item) for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [redact_value(name, item) for item in value]
    return value
