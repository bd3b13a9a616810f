"""Values as hints say: parameters from text, from JSON or TOML, and from Python, converted or refused with their place.

Invariant: what comes back fits its hint as far as the hint says anything; an object from Python that fits is the very same.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping, MutableMapping, Reversible, Set
from types import UnionType
from typing import Annotated, Any, Union, get_args

import msgspec

from mainspring.errors import (
    InvalidError,
    MainspringError,
    NotFoundError,
    SecretError,
    WrongTypeError,
    article,
    close_names,
    listed,
)
from mainspring.pipelines.fields import Record, record_of
from mainspring.pipelines.hints import choices, fits, is_unresolved, kind_of, members_of, plain, shown
from mainspring.pipelines.misfits import FORMS, Source, full_name, misfit, no_reference
from mainspring.secrets import Secret, is_reference

_NUMBERS = (bool, int, float)
_SERIES = (list, tuple, set, frozenset)
_NOTHING = ("None", "null", "")
_UNREADABLE = (msgspec.DecodeError, UnicodeEncodeError)  # the latter of bytes of a command line that are no UTF-8
_MOMENTS = ("datetime.date", "datetime.datetime", "datetime.time")


def checked_value(path: str, value: Any, hint: Any, *, strict: bool) -> Any:
    """A value that fits its hint; with `strict=False`, text is read as the hint says (`"3"` as 3).

    Text for a list is JSON or its only item, text for a record JSON; a list of texts, which a repeated option gives, is
    read item by item. What has a form as text (dates, paths, bytes in base64, members of an Enum) and mappings for
    records are taken from Python too.

    Raises:
        WrongTypeError: it doesn't fit, or nothing can be read where this hint stands; path, value and hint are named.
        InvalidError: it is none of the values that the hint lists, no date, or text that can't be read so.
        NotFoundError: a record has no such field.
        SecretError: a secret was given, where a reference to it belongs; it is not shown.

    >>> checked_value("parameter `n`", "3", int, strict=False)
    3
    >>> checked_value("parameter `tags`", "new", list[str], strict=False)
    ['new']
    """
    return _read(path, value, hint, Source.PYTHON if strict else Source.TEXT)


def _read(path: str, value: Any, hint: Any, source: Source) -> Any:
    hint = plain(hint)
    if hint is None or hint is Any or hint is object or isinstance(value, Secret):
        return value
    if is_unresolved(hint):
        return _unresolved(path, value, hint, source)
    kind, arguments = kind_of(hint), get_args(hint)
    if kind is Annotated:
        return _constrained(path, _read(path, value, arguments[0], source), hint)
    if kind in (Union, UnionType):
        return _one_of(path, value, hint, source)
    if kind is str or kind in _NUMBERS or full_name(kind) in FORMS:
        return _converted(path, value, kind, source)
    if kind is Secret:
        return _secret(path, value)
    if (members := members_of(hint)) is not None:
        return _member(path, value, members, hint, source)
    if (record := record_of(hint)) is not None:
        return _record(path, value, hint, record, source)
    if (series := _series_for(kind)) is not None:
        return _series(path, value, hint, series, source)
    if kind in (dict, Mapping, MutableMapping):
        return _mapping(path, value, hint, source)
    return _scalar(path, value, hint, source)


def _unresolved(path: str, value: Any, hint: Any, source: Source) -> Any:
    if source is Source.PYTHON:
        return value
    name = shown(hint)
    told = f"`{name}` is not known where the pipeline is defined (an import under TYPE_CHECKING doesn't count)."
    raise WrongTypeError(path, value, name, told)


def _constrained(path: str, value: Any, hint: Any) -> Any:
    """A value that keeps what `msgspec.Meta` says of it; other annotations say nothing here."""
    if any(isinstance(each, msgspec.Meta) for each in hint.__metadata__):
        try:
            msgspec.convert(value, hint)
        except msgspec.ValidationError as error:
            expected = str(error).partition(" - at `$")[0].removeprefix("Expected ").replace("`", "")
            raise InvalidError(path, value, article(expected)) from None
    return value


def _secret(path: str, value: Any) -> Secret:
    """Text as the secret that it refers to; never the text itself in an error."""
    if isinstance(value, str) and is_reference(value):
        return Secret(value)
    raise no_reference(path)


def _one_of(path: str, value: Any, hint: Any, source: Source) -> Any:
    hints = tuple(map(plain, get_args(hint)))
    others = [each for each in hints if each is not type(None)]
    is_text = isinstance(value, str)
    if is_text and str in others:
        return value
    if len(others) < len(hints) and (value is None or (is_text and source is Source.TEXT and value in _NOTHING)):
        return None
    if len(others) == 1:
        return _read(path, value, others[0], source)
    if is_text and Secret in others:
        return _secret(path, value)
    others.sort(key=lambda each: _series_for(kind_of(each)) is not None)  # text alone is no list, if it can
    found = _parsed(value) if is_text and source is Source.TEXT else value
    if found is not value and not isinstance(found, str):
        readings = _readings(path, found, others, Source.DATA)
        if readings or isinstance(found, list | dict):
            return _first(readings, path, value, hint, source)
    return _first(_readings(path, value, others, source), path, value, hint, source)


def _first(readings: list[Any], path: str, value: Any, hint: Any, source: Source) -> Any:
    if readings:
        return readings[0]
    raise misfit(path, value, hint, source)


def _readings(path: str, value: Any, hints: Iterable[Any], source: Source) -> list[Any]:
    """What a value is where one of several hints stands: as it was given if one takes it so, else in their order."""
    readings = []
    for hint in hints:
        try:
            read = _read(path, value, hint, source)
        except SecretError:
            raise
        except MainspringError:
            continue
        if read is value and (source is Source.PYTHON or not isinstance(value, list | dict)):
            return [read]
        readings.append(read)
    return readings


def _member(path: str, value: Any, members: dict[str, Any], hint: Any, source: Source) -> Any:
    is_text = isinstance(value, str) and source is not Source.PYTHON
    given = [value, _parsed(value)] if is_text and source is Source.TEXT else [value]
    for each in given:
        for member in members.values():
            if any(type(each) is type(known) and each == known for known in (member, getattr(member, "value", member))):
                return member
    if is_text and value in members:
        return members[value]
    raise InvalidError(path, value, f"one of {', '.join(choices(hint))}")


def _record(path: str, value: Any, hint: Any, record: Record, source: Source) -> Any:
    if not record.is_dict and isinstance(value, record.kind):
        return value
    given, inner = _opened(value, source)
    if record.in_order and isinstance(given, list | tuple) and len(given) <= len(record.fields):
        given = {field.key: item for field, item in zip(record.fields, given, strict=False)}
    if record.in_order and isinstance(given, list | tuple):
        takes = f"It takes at most {len(record.fields)} items, {listed([field.key for field in record.fields])}"
        raise InvalidError(path, value, article(shown(record.kind)), f"{takes}; {len(given)} were given.")
    if not isinstance(given, Mapping):
        raise misfit(path, value, hint, source)
    _check_keys(path, given, record)
    values = {}
    for field in record.fields:
        if field.key in given:
            values[field.name] = _read(f"{path}.{field.key}", given[field.key], field.hint, inner)
        elif field.required:
            raise InvalidError(path, value, article(shown(record.kind)), f"Its field `{field.key}` is missing.")
    if record.is_dict and isinstance(given, dict) and all(map(_same, values.values(), map(given.get, values))):
        return given
    try:
        return record.kind(**values)
    except Exception as error:  # what a class of the user says of its values, in any way
        told = f"{type(error).__name__}: {error}"
        raise InvalidError(path, value, article(shown(record.kind)), told) from error


def _check_keys(path: str, given: Mapping[Any, Any], record: Record) -> None:
    known = [field.key for field in record.fields]
    tag, expected = record.tag or (None, None)
    for key, item in given.items():
        if tag is not None and key == tag:
            if item != expected:
                raise InvalidError(f"{path}.{tag}", item, f"`{expected}`")
        elif key not in known:
            takes = f"{shown(record.kind)} takes {listed(known)}."
            raise NotFoundError("field", str(key), close_names(str(key), known), takes, owner=path)


def _opened(value: Any, source: Source) -> tuple[Any, Source]:
    """What text is as JSON, and how what is in it is to be read."""
    if source is Source.PYTHON:
        return value, source
    return (_parsed(value) if isinstance(value, str) and source is Source.TEXT else value), Source.DATA


def _series_for(kind: Any) -> Any:
    """The type that items are put into where a kind of list or set is expected; None if it is neither."""
    if kind in _SERIES:
        return kind
    if not isinstance(kind, type) or kind.__module__ != "collections.abc":
        return None
    if issubclass(kind, Set):
        return set
    return list if issubclass(list, kind) and issubclass(kind, (Iterable, Container, Reversible)) else None


def _series(path: str, value: Any, hint: Any, series: Any, source: Source) -> Any:
    kind, arguments = kind_of(hint), get_args(hint)
    given: Any = value
    inner = source
    if isinstance(value, str):
        given, inner = _opened(value, source)
        if source is Source.TEXT and not isinstance(given, list) and (alone := _hints_of_items(kind, arguments, 1)):
            return series([_only_item(path, value, hint, alone[0])])
    if isinstance(given, str) or not isinstance(given, _taken_by(kind)):
        if not isinstance(given, str | Mapping) and isinstance(given, kind):
            return given
        raise misfit(path, value, hint, source)
    hints = _hints_of_items(kind, arguments, len(given))
    if hints is None:
        raise misfit(path, value, hint, source)
    items = _at_once(given, hints[0], inner) if len(set(map(id, hints))) == 1 else None
    if items is None:
        pairs = enumerate(zip(given, hints, strict=True))
        items = [_read(f"{path}[{i}]", item, each, inner) for i, (item, each) in pairs]
    if isinstance(given, kind) and all(map(_same, items, given)):
        return given
    try:
        return series(items)
    except TypeError:  # a set of what has no hash
        raise misfit(path, value, hint, source) from None


def _same(one: Any, other: Any) -> bool:
    return one is other


def _taken_by(kind: Any) -> Any:
    """What may be given for a kind of list or set: a set has no order, so it makes no list."""
    is_ordered = kind in (list, tuple) or not (issubclass(kind, Set) or issubclass(set, kind))
    return (list, tuple) if is_ordered else _SERIES


def _hints_of_items(kind: Any, arguments: tuple[Any, ...], count: int) -> list[Any] | None:
    """The hint of each item; None if there may not be as many."""
    if kind is tuple and arguments and arguments[1:] != (...,):
        return list(arguments) if len(arguments) == count else None
    return [arguments[0] if arguments else Any] * count


def _only_item(path: str, value: str, hint: Any, item: Any) -> Any:
    """Text that is no JSON list as the only item of one."""
    try:
        return _read(path, value, item, Source.TEXT)
    except InvalidError as error:
        expected = f"{error.expected}, nor {article(shown(hint))} in JSON"
        raise InvalidError(path, error.given, expected, error.hint) from error


def _mapping(path: str, value: Any, hint: Any, source: Source) -> Any:
    given, inner = _opened(value, source)
    if not isinstance(given, Mapping):
        raise misfit(path, value, hint, source)
    of_key, of_item = get_args(hint) or (Any, Any)
    keys, items = _at_once(given, of_key, inner), _at_once(given.values(), of_item, inner)
    if keys is None or items is None:
        places = [f"{path}[{key!r}]" for key in given]
        keys = [_read(f"{place}, its key", key, of_key, inner) for place, key in zip(places, given, strict=True)]
        items = [_read(place, item, of_item, inner) for place, item in zip(places, given.values(), strict=True)]
    read = dict(zip(keys, items, strict=True))
    is_same = all(map(_same, read, given)) and all(map(_same, read.values(), given.values()))
    return given if is_same and isinstance(given, kind_of(hint)) else read


def _at_once(values: Collection[Any], hint: Any, source: Source) -> list[Any] | None:
    """Plain values converted without a look at each, of which there may be millions; None if that can't be."""
    if hint is Any or (hint in (*_NUMBERS, str) and set(map(type, values)) <= {hint}):
        return list(values)
    if hint not in (*_NUMBERS, str) or source is Source.TEXT:
        return None
    try:
        items: list[Any] = msgspec.convert(list(values), list[hint], strict=source is Source.PYTHON)
    except _UNREADABLE:
        return None
    return items


def _scalar(path: str, value: Any, hint: Any, source: Source) -> Any:
    kind = kind_of(hint)
    if hint is type(None):
        if value is None or (source is Source.TEXT and isinstance(value, str) and value in _NOTHING):
            return None
        raise misfit(path, value, hint, source)
    if _is_made_of_text(kind):
        return value if isinstance(value, kind) else _made(path, value, kind, source)
    return _other(path, value, hint, source)


def _converted(path: str, value: Any, kind: type, source: Source) -> Any:
    """What msgspec knows. Bare digits are no date, though a converter may count them as seconds."""
    is_whole = type(value) is kind or (kind in (int, float, str) and isinstance(value, kind))
    if is_whole and not (isinstance(value, bool) and kind is not bool):
        return value
    given = value
    if source is Source.TEXT and isinstance(value, str):
        found = _parsed(value)
        given = found if kind in _NUMBERS or isinstance(found, str) else value
    strict = source is Source.PYTHON or full_name(kind) in _MOMENTS
    try:
        return msgspec.convert(given, kind, strict=strict)
    except _UNREADABLE:
        raise misfit(path, value, kind, source) from None


def _is_made_of_text(kind: Any) -> bool:
    if kind is complex or not isinstance(kind, type):
        return kind is complex
    from os import PathLike
    from pathlib import PurePath

    return kind is PathLike or issubclass(kind, PurePath)


def _made(path: str, value: Any, kind: Any, source: Source) -> Any:
    """A path from text, a complex number from text or a number."""
    if kind is not complex and isinstance(value, str) and "\0" not in value:
        from pathlib import Path

        return kind(value) if hasattr(kind, "parts") else Path(value)
    if kind is complex and isinstance(value, str | int | float):
        try:
            return complex(value)
        except ValueError:
            pass
    raise misfit(path, value, kind, source)


def _other(path: str, value: Any, hint: Any, source: Source) -> Any:
    """A value where a class stands that nothing can be made for from text: one that is of it stays."""
    if source is Source.PYTHON:
        if fits(value, hint):
            return value
        raise misfit(path, value, hint, source)
    for given in (_parsed(value), value) if source is Source.TEXT and isinstance(value, str) else (value,):
        if _is_of(given, kind_of(hint)):
            return given
    raise WrongTypeError(path, value, shown(hint), "It can't be read from text or a file; give it from Python.")


def _is_of(value: Any, kind: Any) -> bool:
    try:
        return isinstance(value, kind)
    except TypeError:  # a protocol, or no class at all
        return False


def _parsed(text: str) -> Any:
    """Text that is JSON as its value, other text as it is: `--months [1,2]`, `--name abc`."""
    try:
        return msgspec.json.decode(text)
    except _UNREADABLE:
        return {"True": True, "False": False, "None": None}.get(text, text)
