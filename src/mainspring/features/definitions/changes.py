"""What a definition says, and what differs between two versions of it, in words for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mainspring.features.aggregation.duration import duration_text
from mainspring.features.definitions.records import (
    Definition,
    Field,
    OnDemandRecord,
    Python,
    Record,
    ServiceRecord,
    Transform,
)

_NOT_TOLD = ("about", "fields", "aggregates", "transform", "columns", "parts", "on_demand", "inputs", "ttl_us")


def changes(before: Record, after: Record) -> tuple[str, ...]:
    """One line for each difference that values may depend on; none if only words for people differ.

    Both are records of one kind.
    """
    return tuple(_changes(before, after))


def _changes(before: Any, after: Any) -> Iterator[str]:
    for name in after.__struct_fields__:
        if name not in _NOT_TOLD and getattr(before, name) != getattr(after, name):
            yield f"{name}: {_shown(getattr(before, name))} → {_shown(getattr(after, name))}"
    if hasattr(after, "ttl_us") and before.ttl_us != after.ttl_us:
        yield f"ttl: {_duration(before.ttl_us)} → {_duration(after.ttl_us)}"
    yield from _of_fields({each.name: each for each in before.fields}, {each.name: each for each in after.fields})
    if hasattr(after, "aggregates") and before.aggregates != after.aggregates and before.fields == after.fields:
        yield "aggregates are computed in another way"
    if hasattr(after, "transform"):
        yield from _of_transforms(before.transform, after.transform)
    for name in ("parts", "on_demand", "inputs"):
        yield from _of_parts(getattr(before, name, ()), getattr(after, name, ()))


def _of_fields(before: dict[str, Field], after: dict[str, Field]) -> Iterator[str]:
    yield from (f"feature `{name}` is gone" for name in before if name not in after)
    for name, field in after.items():
        old = before.get(name)
        if old is None:
            yield f"feature `{name}` is new"
        elif old.dtype != field.dtype:
            yield f"feature `{name}`: {old.dtype} → {field.dtype}"
        elif old.formula != field.formula:
            yield f"feature `{name}`: {old.shown or 'the column'} → {field.shown or 'the column'}"
    if list(before) != list(after) and sorted(before) == sorted(after):
        yield "the order of features"


def _of_transforms(before: Transform | None, after: Transform | None) -> Iterator[str]:
    if before == after:
        return
    if isinstance(before, Python) and isinstance(after, Python) and before.parts != after.parts:
        for name in sorted({*before.parts, *after.parts}):
            if before.parts.get(name) != after.parts.get(name):
                change = "is new" if name not in before.parts else "is gone" if name not in after.parts else "changed"
                yield f"{name} {change}"
    elif not (isinstance(before, Python) and isinstance(after, Python)) or before.qualname != after.qualname:
        yield f"transform: {_named(before)} → {_named(after)}"


def _of_parts(before: tuple[Any, ...], after: tuple[Any, ...]) -> Iterator[str]:
    old = {(part.view, part.prefix): part for part in before}
    new = {(part.view, part.prefix): part for part in after}
    yield from (f"view `{key[0]}` is gone" for key in old if key not in new)
    for key, part in new.items():
        if key not in old:
            yield f"view `{key[0]}` is new"
        elif old[key].content != part.content:
            yield f"view `{key[0]}` has a new version"
        elif (old[key].features, old[key].keys) != (part.features, part.keys):
            yield f"view `{key[0]}`: other features, or by other columns"


def facts_of(definition: Definition) -> list[tuple[str, str]]:
    """What a definition says, as pairs of a word and a text; empty texts are left out by who prints them."""
    record = definition.record
    if isinstance(record, ServiceRecord):
        parts = [f"{part.view}: {', '.join(part.names)}" for part in (*record.parts, *record.on_demand)]
        return [("request", _shown(record.request)), ("views", "\n".join(parts))]
    if isinstance(record, OnDemandRecord):
        inputs = "\n".join(f"{part.view}: {', '.join(part.names)}" for part in record.inputs)
        transform = _named(record.transform) if record.transform else ""
        return [
            ("request", _shown(record.request) if record.request else ""),
            ("inputs", inputs),
            ("transform", transform),
        ]
    stream = f" ({_shown(record.stream)})" if record.stream else ""
    return [
        ("entity", f"{', '.join(record.entities)} by {_shown(record.keys)}"),
        ("stream" if record.stream else "dataset", record.source + stream),
        ("event time", record.event_time),
        ("created time", record.created_time or "none: rows that became known late can't be told"),
        ("ttl", _duration(record.ttl_us)),
        ("transform", _named(record.transform) if record.transform else ""),
    ]


def _named(transform: Transform | None) -> str:
    if transform is None:
        return "none"
    return f"{transform.module}:{transform.qualname}" if isinstance(transform, Python) else f"SQL `{transform.text}`"


def _duration(length_us: int | None) -> str:
    return "none" if length_us is None else duration_text(length_us)


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(_shown(each) for each in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in value.items()) or "none"
    if hasattr(value, "type"):
        return f"{value.name} ({value.type})"
    return str(value) if value not in ("", None) else "none"
