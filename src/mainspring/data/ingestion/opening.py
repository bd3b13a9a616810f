"""From a text to a source: the one place that knows which sources there are."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import msgspec

from mainspring.data.ingestion.source import BatchSource
from mainspring.errors import InvalidError, WrongTypeError, close_names, listed

_HOMES = {
    "sqlite": "sql:Sql", "postgresql": "sql:Sql", "postgres": "sql:Sql", "s3": "objects:Objects", "http": "http:Http",
    "https": "http:Http", "file": "files:Files", "": "files:Files",
}  # fmt: skip
_DATABASES = (".db", ".sqlite", ".sqlite3")


def as_source(source: Any, options: dict[str, Any]) -> BatchSource:
    """A source as it is, or the one that a path or address means, with options.

    Raises:
        InvalidError: it has no such option, or one has another type; there is no source of this scheme.
        WrongTypeError: it is no source.
    """
    if hasattr(source, "batches") and hasattr(source, "identity"):
        if options:
            raise InvalidError("options", next(iter(options)), "said where the source is made")
        found: BatchSource = source
        return found
    if hasattr(source, "__fspath__"):
        source = source.__fspath__()
    if not isinstance(source, str):
        raise WrongTypeError("source", source, "a path, an address, or a source such as `Files`")
    scheme, has_scheme, _ = source.partition("://")
    if (scheme if has_scheme else "") not in _HOMES:
        raise InvalidError(
            "source", f"{scheme}://…", f"an address of one of {listed([name for name in _HOMES if name])}"
        )
    home = _HOMES["sqlite" if source.endswith(_DATABASES) else scheme if has_scheme else ""]
    module, _, name = home.partition(":")
    kind = getattr(import_module(f"mainspring.data.ingestion.{module}"), name)
    return made(kind, source, options)


def made(kind: Any, first: str, options: dict[str, Any]) -> BatchSource:
    """A source of a class, its options checked."""
    fields = kind.__struct_fields__
    for option in options:
        if option not in fields:
            near = close_names(option, fields)
            hint = f"Nearest: {', '.join(near)}." if near else f"There are {listed(sorted(fields))}."
            raise InvalidError("option", option, f"an option of {kind.__name__}", hint)
    own = next(name for name in fields if name in kind.__annotations__)
    try:
        found: BatchSource = msgspec.convert({own: first, **options}, kind)
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, InvalidError):
            raise error.__cause__ from None
        raise InvalidError("options", str(error), f"what {kind.__name__} takes") from error
    return found
