"""The parameters of an API's requests: which of them tell one source from another, and how secret ones stay out of records."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote, unquote, unquote_plus, urlencode

from blake3 import blake3

from mainspring.secrets import names_secret, redact, references_in, resolve

_OPAQUE = re.compile(r"(?=.*\d)(?=.*[A-Za-z])[\w\-+/=.~]{16,}")
_SHORTEST = 4  # shorter values stand in addresses by chance

Pairs = list[tuple[str, str | int]]


def telling(pairs: Iterable[tuple[str, str | int]]) -> str:
    """The parameters that tell one source from another, as a query that may be recorded.

    Secrets are left out: a key that was renewed asks for the same rows. What may be a key, though nothing says so, is told
    by its digest.

    >>> telling([("region", "eu"), ("api_key", "abcd1234"), ("token", "secret:env/KEY"), ("key", "AIzaSyD4kX92mPq7Ls")])
    'key=63441c0147b7&region=eu'
    """
    return urlencode(sorted((name, _shown(str(value))) for name, value in pairs if not _is_secret(name, str(value))))


def _is_secret(name: str, value: str) -> bool:
    told = f"?{name}={value}"
    return bool(names_secret(name) or references_in(value)) or redact(told) != told


def _shown(value: str) -> str:
    return blake3(value.encode()).hexdigest()[:12] if _OPAQUE.fullmatch(value) else value


class SourceSecrets:
    """The secrets of one source. Only its own references are ever made values: a text may come from a server."""

    def __init__(self, texts: Iterable[str]) -> None:
        found = {reference: resolve(reference) for text in texts for reference in references_in(text)}
        known = [(value, reference) for reference, value in found.items() if len(value) >= _SHORTEST]
        self._known = sorted(known, key=lambda each: -len(each[0]))

    def hidden(self, text: str) -> str | None:
        """A text with references in place of values, as they are or as they stand in addresses; None if one can't be."""
        for value, reference in self._known:
            text = text.replace(value, reference)
            for safe in ("", "/"):
                for written in (quote(value, safe=safe), quote(value, safe=safe).replace("%20", "+")):
                    text = text.replace(written, quote(reference, safe=""))
        shapes = (text, unquote(text), unquote_plus(text))
        return None if any(value in shape for value, _ in self._known for shape in shapes) else text

    def shown(self, text: str) -> str:
        """A text that was `hidden`, as it was."""
        for value, reference in sorted(self._known, key=lambda each: -len(each[1])):
            text = text.replace(reference, value).replace(quote(reference, safe=""), quote(value, safe=""))
        return text
