"""References to secrets, `secret:env/NAME` and `secret:file/PATH`: recorded, hashed and shown in place of what they lead to."""

from __future__ import annotations

import os
import re
from pathlib import Path

from mainspring.errors import SecretError
from mainspring.secrets.known import remember

_REFERENCE = re.compile(r"secret:(env|file)/([^\s@;,'\"]+)")


class Secret:
    """A reference that a step receives; `reveal()` gives the value at the moment it is needed.

    >>> Secret("secret:env/TOKEN")
    Secret('secret:env/TOKEN')
    """

    def __init__(self, reference: str) -> None:
        if not _REFERENCE.fullmatch(reference):
            # What was given may be the secret itself, so it is not shown.
            raise SecretError("This is not a secret reference; write secret:env/NAME or secret:file/PATH.")
        self.reference = reference

    def reveal(self) -> str:
        """The value; from here on it is redacted from everything that is recorded.

        Raises:
            SecretError: the variable is not set, or the file can't be read.
        """
        return resolve(self.reference)

    def __repr__(self) -> str:
        return f"Secret({self.reference!r})"

    def __str__(self) -> str:
        return self.reference

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.reference == self.reference

    def __hash__(self) -> int:
        return hash(self.reference)


def resolve(text: str) -> str:
    """A text with each secret reference in it replaced by its value.

    Raises:
        SecretError: a variable is not set, or a file can't be read; the text names the reference only.

    >>> resolve("plain")
    'plain'
    """
    return _REFERENCE.sub(lambda match: _value(match[1], match[2], match[0]), text)


def is_reference(text: str) -> bool:
    """Whether a text is one secret reference and nothing else.

    >>> is_reference("secret:file/run/secrets/db"), is_reference("hunter2")
    (True, False)
    """
    return _REFERENCE.fullmatch(text) is not None


def references_in(text: str) -> list[str]:
    """The secret references in a text.

    >>> references_in("Bearer secret:env/TOKEN"), references_in("plain")
    (['secret:env/TOKEN'], [])
    """
    return [match[0] for match in _REFERENCE.finditer(text)]


def _value(kind: str, name: str, reference: str) -> str:
    if kind == "env":
        value = os.environ.get(name)
        if value is None:
            raise SecretError(f"`{reference}`: the environment variable `{name}` is not set")
    else:
        # `secret:file/run/secrets/db` is absolute: the slash belongs to the reference and to the path.
        path = Path(name) if name.startswith(("~", ".")) else Path("/" + name)
        try:
            value = path.expanduser().read_text().rstrip("\n")
        except OSError as error:
            raise SecretError(f"`{reference}`: {path} can't be read ({os.strerror(error.errno or 0)})") from error
    remember(value, reference)
    return value
