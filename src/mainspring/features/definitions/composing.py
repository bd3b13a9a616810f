"""What a service is made of, as a record: the request that its views want together, and its features in order.

One function for services that are declared and for lists of features that a client names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from mainspring.errors import InvalidError
from mainspring.features.definitions.records import (
    About,
    Definition,
    Field,
    OnDemandRecord,
    Part,
    ServiceRecord,
    ViewRecord,
)


def composed(
    name: str, parts: Sequence[Part], demanded: Sequence[tuple[Part, OnDemandRecord]], views: Mapping[str, Definition],
    order: Sequence[str], about: About,
) -> ServiceRecord:  # fmt: skip
    """The record of a service. `views` are the versions that parts name, by id, those of on-demand views' inputs included.

    `order` are the names of its features.

    Raises:
        InvalidError: two features have one name, or views want one column of the request in two types.
    """
    fields = {field.name: field for field in given_fields(parts, views)}
    request: dict[str, str] = {}
    for part in (*parts, *(each for _, record in demanded for each in record.inputs)):
        for key in view_of(part, views).keys:
            _ask(request, part.keys.get(key.name, key.name), key.type, name)
    for part, record in demanded:
        for column, dtype in record.request.items():
            _ask(request, column, dtype, name)
        types = {field.name: field.dtype for field in record.fields}
        for feature, shown in zip(part.features, part.names, strict=True):
            if shown in fields:
                raise InvalidError(part.view, shown, "a name for each feature")
            fields[shown] = Field(shown, types[feature])
    return ServiceRecord(
        name=name, parts=tuple(parts), on_demand=tuple(part for part, _ in demanded), request=request,
        fields=tuple(fields[each] for each in order), about=about,
    )  # fmt: skip


def part_of(
    definition: Definition, features: Sequence[str], keys: Mapping[str, str] | None = None, prefix: str = ""
) -> Part:
    """Features of one version of a view, or of an on-demand view."""
    return Part(
        view=definition.name, version=definition.id, content=definition.content_digest, features=tuple(features),
        keys=dict(keys or {}), prefix=prefix,
    )  # fmt: skip


def given_fields(parts: Sequence[Part], views: Mapping[str, Definition]) -> list[Field]:
    """The features of parts with their types, under the names that they have there.

    Raises:
        InvalidError: two of them have one name.
    """
    found: dict[str, Field] = {}
    for part in parts:
        types = {field.name: field.dtype for field in view_of(part, views).fields}
        for feature, shown in zip(part.features, part.names, strict=True):
            if shown in found:
                raise InvalidError(part.view, shown, "a name for each feature", "Give a prefix: .prefixed(…).")
            found[shown] = Field(shown, types[feature])
    return list(found.values())


def view_of(part: Part, views: Mapping[str, Definition]) -> ViewRecord:
    """The record of the view that a part is of."""
    record = views[part.version].record
    assert isinstance(record, ViewRecord)
    return record


def _ask(request: dict[str, str], name: str, dtype: str, service: str) -> None:
    known = request.setdefault(name, dtype)
    if "int" in (known, dtype) and re.fullmatch(r"int|[iu]\d+", known) and re.fullmatch(r"int|[iu]\d+", dtype):
        request[name] = dtype if known == "int" else known  # a key of whole numbers is of any width
    elif known != dtype:
        raise InvalidError(f"{service}.{name}", f"{request[name]} and {dtype}", "one type for a column of the request")
