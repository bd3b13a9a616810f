"""Finding features by words: each must occur somewhere in a definition, and where it does decides the rank."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from mainspring.features.definitions.records import Definition, OnDemandRecord, ServiceRecord, ViewRecord
from mainspring.features.registry import list_definitions
from mainspring.workspace import Workspace

_WEIGHTS = {
    "name": 40, "feature": 30, "tag": 20, "entity": 15, "owner": 12, "source": 12, "column": 10, "key": 10, "view": 8,
    "description": 6,
}  # fmt: skip
_ORDER = ("view", "on_demand", "service")
_WHOLE, _BEGIN, _WORD, _WITHIN = 4, 3, 2, 1
_COLUMN = re.compile(r'col\("((?:[^"\\]|\\.)*)"\)')


class Match(msgspec.Struct, frozen=True):
    """A definition that has all the words: its rank, and where they are, best first, as `feature delay_mean_1h`."""

    definition: Definition
    score: int
    where: tuple[str, ...]


def search_definitions(words: str | Sequence[str], workspace: Workspace | None = None) -> list[Match]:
    """The newest definitions in which every word occurs, in any case, best first.

    Looked at are names, features, tags, entities, owners, sources, columns, keys and descriptions, which weigh in this
    order; a whole name weighs more than its beginning, and that more than what is within.
    """
    wanted = (words if isinstance(words, str) else " ".join(words)).lower().split()
    found = (_match(each, wanted) for each in list_definitions(workspace=workspace))
    return sorted(filter(None, found), key=_rank)


def _rank(match: Match) -> tuple[int, int, str]:
    """Views stand before the services that take them."""
    return -match.score, _ORDER.index(match.definition.kind), match.definition.name


def _match(definition: Definition, words: Sequence[str]) -> Match | None:
    told = list(_told(definition))
    score, where = 0, dict[str, int]()
    for word in words:
        hits = [(_fit(word, text.lower()) * _WEIGHTS[kind], kind, text) for kind, text in told]
        best = max(hits, key=lambda hit: hit[0])
        if not best[0]:
            return None
        score += best[0]
        for points, kind, text in hits:
            if points:
                shown = kind if kind == "description" else f"{kind} {text}"
                where[shown] = max(points, where.get(shown, 0))
    return Match(definition, score, tuple(sorted(where, key=lambda shown: -where[shown])))


def _fit(word: str, text: str) -> int:
    if word not in text:
        return 0
    if word == text:
        return _WHOLE
    if text.startswith(word):
        return _BEGIN
    return _WORD if re.search(rf"(?<![^\W_]){re.escape(word)}", text) else _WITHIN


def _told(definition: Definition) -> Iterator[tuple[str, str]]:
    """What a definition says of itself, each with what it is."""
    record, about = definition.record, definition.record.about
    yield "name", definition.name
    yield from _each("feature", (field.name for field in record.fields))
    yield from _each("tag", about.tags)
    yield from _each("owner", [about.owner])
    yield from _each("description", [about.description])
    yield from _each("column", (name for field in record.fields for name in _COLUMN.findall(field.shown)))
    if isinstance(record, ViewRecord):
        yield from _each("entity", record.entities)
        yield from _each("key", (key.name for key in record.keys))
        yield from _each("source", [record.source])
        yield from _each("column", (each.column for each in record.aggregates))
        return
    yield from _each("column", record.request)
    parts = (*record.parts, *record.on_demand) if isinstance(record, ServiceRecord) else record.inputs
    assert isinstance(record, ServiceRecord | OnDemandRecord)
    yield from _each("view", (part.view for part in parts))


def _each(kind: str, texts: Iterable[str]) -> Iterator[tuple[str, str]]:
    return ((kind, text) for text in texts if text)
