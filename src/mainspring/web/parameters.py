"""Headers that are repeated, are lists or have parameters (RFC 9110, section 5): quoted text may hold what separates others."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable

from mainspring.web.request_error import RequestError

_PARTS = {mark: re.compile(rf'(?:[^{mark}"]|"(?:\\.|[^"\\])*+"?)++', re.DOTALL) for mark in ",;"}
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_TOKEN = r"[!#$%&'+.^_`|~0-9a-z-]+"  # without an asterisk, which stands for any
_MEDIA_RANGE = re.compile(rf"\*/\*|{_TOKEN}/(?:\*|{_TOKEN})")
_WEIGHT = re.compile(r"0(\.[0-9]*)?|1(\.0*)?")


def fields_of(lines: Iterable[tuple[bytes, bytes]], single: Container[bytes]) -> dict[bytes, bytes]:
    """Headers by name. Lines of the same name are one list (RFC 9110, section 5.3), but of those that have a `single` value.

    >>> fields_of([(b"accept", b"text/csv"), (b"host", b"a"), (b"host", b"a"), (b"accept", b"*/*")], {b"host"})
    {b'accept': b'text/csv, */*', b'host': b'a'}

    Raises:
        RequestError: 400, what has a single value is given several.
    """
    found: dict[bytes, list[bytes]] = {}
    for name, value in lines:
        values = found.setdefault(name, [])
        if name not in single or not values:
            values.append(value)
        elif values != [value]:
            said = f"The header `{name.decode('latin-1')}` has one value; this request gives it several."
            raise RequestError(400, said)
    return {name: b", ".join(values) for name, values in found.items()}


def members_of(value: str) -> list[str]:
    """What a list holds.

    >>> members_of('text/csv; x=",", application/json')
    ['text/csv; x=","', 'application/json']
    """
    return [each.strip() for each in _PARTS[","].findall(value) if each.strip()]


def parameters_of(value: str) -> dict[str, str]:
    """The parameters of a value, by their names in lower case; of one that is given twice the first.

    >>> parameters_of('text/csv; x=";charset=utf-16"; Charset="utf-8"')
    {'x': ';charset=utf-16', 'charset': 'utf-8'}
    """
    found: dict[str, str] = {}
    for name, _, given in (each.partition("=") for each in _PARTS[";"].findall(value)[1:]):
        found.setdefault(name.strip().lower(), _bare(given.strip()))
    return found


def ranked(accept: bytes, offered: tuple[str, ...]) -> tuple[str, ...]:
    """Which of the media types that are offered an `Accept` takes (RFC 9110, section 12.5.1), the best first.

    Of two that weigh the same the one that is named comes before one that `*` stands for, then what is named first, and then
    what is offered first. What is no media type, such as `*/json`, is passed over, and so is any parameter but the weight. If
    nothing is left, all are taken.

    >>> ranked(b"text/html;q=0.5, application/*", ("application/json", "text/html", "text/csv"))
    ('application/json', 'text/html')
    """
    asked = [_range(each) for each in members_of(accept.decode("latin-1"))]
    ranges = [(kind, weight, place) for place, (kind, weight) in enumerate(asked) if _MEDIA_RANGE.fullmatch(kind)] or [
        ("*/*", 1.0, 0)
    ]
    found: list[tuple[float, int, int, str]] = []
    for kind in offered:
        closest = (kind, f"{kind.partition('/')[0]}/*", "*/*")
        taken = [(closest.index(each), -weight, place) for each, weight, place in ranges if each in closest]
        if taken:
            breadth, weight, place = min(taken)
            found.append((weight, breadth, place, kind))
    return tuple(kind for weight, *_, kind in sorted(found, key=lambda each: each[:3]) if weight)


def prefers_page(accept: bytes) -> bool:
    """Whether an `Accept` takes a page rather than JSON, as that of a browser does.

    >>> prefers_page(b"text/html, */*;q=0.8"), prefers_page(b"text/html;q=0.5, application/json"), prefers_page(b"*/*")
    (True, False, False)
    """
    return ranked(accept, ("application/json", "text/html"))[:1] == ("text/html",)


def _range(member: str) -> tuple[str, float]:
    """A media type, or a range of them, and its weight, which is 1 unless it is given."""
    kind, mark, _ = member.partition(";")
    weight = parameters_of(member).get("q", "") if mark else ""
    return kind.strip().lower(), float(weight) if _WEIGHT.fullmatch(weight) else 1.0


def _bare(given: str) -> str:
    """What is quoted, without its quotes."""
    is_quoted = len(given) > 1 and given[0] == given[-1] == '"'
    return _ESCAPED.sub(r"\1", given[1:-1]) if is_quoted else given
