"""The quick way from a request's bytes to columns: one typed pass of a JSON decoder made for the signature.

It takes what is right and gives up on anything else; `records` then says what is wrong. What both take they take alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any
from uuid import UUID

import msgspec

from mainspring.models.signature import FLOATS, INTEGERS, Columns, Field, Signature

_MANY = 4_096


class RowDecoder:
    """Decodes `{"records": [{...}]}`, or that list alone, by a signature of numbers, texts and booleans.

    >>> decoder = RowDecoder(Signature((Field("n", "f64"), Field("carrier", "str", nullable=True))))
    >>> decoder.decode(b'{"records": [{"n": 1, "carrier": null}]}')
    ({'n': (1.0,), 'carrier': (None,)}, 1)
    >>> decoder.decode(b'{"records": [{"n": "x", "carrier": null}]}') is None
    True
    """

    def __init__(self, signature: Signature) -> None:
        self._names = [field.name for field in signature.inputs]
        types = [_type(field) for field in signature.inputs]
        self._decode = None if None in types or not types else _made(self._names, types)

    def decode(self, body: bytes) -> tuple[Columns, int] | None:
        """Columns and the number of records; None if anything is not as it should be, or there is no record."""
        if self._decode is None:
            return None
        try:
            found = self._decode(body)
        except ValueError:  # also of a name that is not UTF-8
            return None
        rows = found if type(found) is list else found.records
        if not rows:
            return None
        if len(rows) <= _MANY:
            return dict(zip(self._names, _turned(rows), strict=True)), len(rows)
        columns: list[list[Any]] = [[] for _ in self._names]
        for start in range(0, len(rows), _MANY):  # in one go other threads would wait for all of them
            for column, values in zip(columns, _turned(rows[start : start + _MANY]), strict=True):
                column += values
        return dict(zip(self._names, columns, strict=True)), len(rows)


def _turned(rows: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    """The values of rows, column by column."""
    return zip(*map(msgspec.structs.astuple, rows), strict=True)


def _made(names: list[str], types: list[Any]) -> Any:
    fields = [(f"c{place}", kind) for place, kind in enumerate(types)]
    renamed = {f"c{place}": name for place, name in enumerate(names)}
    row = msgspec.defstruct("Row", fields, rename=renamed, forbid_unknown_fields=True, gc=False)
    body = msgspec.defstruct("Body", [("records", list[row])], forbid_unknown_fields=True)  # type: ignore[valid-type]  # made just now
    return msgspec.json.Decoder(body | list[row]).decode  # type: ignore[valid-type]  # as above


def _type(field: Field) -> Any:
    """The type of a value in JSON; None where only the careful way can tell."""
    kind: Any = None
    if field.dtype in FLOATS:
        largest = FLOATS[field.dtype]  # the decoder itself refuses what is no f64
        kind = float if field.dtype == "f64" else Annotated[float, msgspec.Meta(ge=-largest, le=largest)]
    elif field.dtype in INTEGERS:
        bits, signed = INTEGERS[field.dtype]
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        # What is wider than the decoder's bounds is left to the careful way.
        kind = Annotated[int, msgspec.Meta(ge=max(low, -(1 << 63)), le=min(high, (1 << 63) - 1))]
    else:
        kind = {"bool": bool, "str": str, "uuid": UUID, "bin": bytes}.get(field.dtype)
    return kind | None if kind is not None and field.nullable else kind
