"""Which column of scores is which class's: by the columns' names where they are the classes, else by position. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from itertools import takewhile
from typing import Any

from mainspring.errors import InvalidError
from mainspring.evaluation.given import label_of, several

_NUMBERED = re.compile(r"(\D*)(\d+)")


def named_classes(given: Any) -> list[Any]:
    """The classes that a caller names, in order.

    Raises:
        WrongTypeError: it is no collection.
        InvalidError: a class is there twice or can't be one, or they have no order.
    """
    if isinstance(given, set | frozenset):
        raise InvalidError("classes", given, "a list: the classes of the columns in their order, which a set has not")
    known = several("classes", given)
    try:
        twice = len(set(known)) < len(known)
    except TypeError as error:
        raise InvalidError("classes", known, "a list of values, such as texts or numbers") from error
    if twice:
        raise InvalidError("classes", known, "a list of different classes")
    return known


def order_of(
    labels: Collection[Any], classes: list[Any], columns: int, names: list[Any] | None
) -> tuple[list[Any], list[int]]:
    """The classes, and the column of each. `labels` are the different ones of the truth, sorted; `classes` may be empty.

    Names that only number the columns from 0 (as pandas, Polars and Arrow call them by themselves) say nothing. Others must be
    the classes, as values or as text, maybe all behind the same words (`prob_a`, `prob_b`); then `classes` may be in
    another order, or be left out though not every one of them is among the labels.

    Raises:
        InvalidError: there are more or fewer columns than classes, or the names are others.

    >>> order_of([], ["a", "b"], 2, ["prob_b", "prob_a"])
    (['a', 'b'], [1, 0])
    """
    known, by_position = classes or list(labels), list(range(columns))
    numbered = names is not None and _only_number(names)
    found = None if names is None else _columns_of(known, names)
    if found is None or (numbered and len(known) != columns):
        if len(known) != columns:
            raise InvalidError("classes", known, f"the {columns} classes of the columns of y_score, in their order")
        if names is not None and not numbered:
            told = "Name the columns so, or give an array (`.to_numpy()`) whose columns are in the order of `classes`."
            raise InvalidError("y_score", [str(name) for name in names], f"columns named by the classes {known}", told)
        return known, by_position
    if numbered and found != by_position:
        told = "Give an array (`.to_numpy()`) whose columns are in the order of `classes`."
        raise InvalidError(
            "y_score", names, f"clear with the classes {known}: 0, 1, … are both numbers and classes", told
        )
    if len(known) == columns:
        return known, found
    if classes or names is None:
        raise InvalidError("classes", known, f"the {columns} classes of the columns of y_score")
    seen = dict(zip(found, known, strict=True))
    order = sorted(by_position, key=lambda place: label_of(seen.get(place, names[place])))
    return [seen.get(place, names[place]) for place in order], order


def _columns_of(known: list[Any], names: list[Any]) -> list[int] | None:
    """The column that each class names; None if one names none, or several."""
    texts, labels = [label_of(name) for name in names], [label_of(each) for each in known]
    words = _beginning(texts).removesuffix(_beginning(labels))
    ways: tuple[tuple[list[Any], list[Any]], ...] = (
        (names, known), (texts, labels), ([text.removeprefix(words) for text in texts], labels),
    )  # fmt: skip
    for named, wanted in ways:
        places = {name: place for place, name in enumerate(named)}
        if len(places) == len(named) and len(set(wanted)) == len(wanted) and places.keys() >= set(wanted):
            return [places[each] for each in wanted]
    return None


def _beginning(texts: Iterable[str]) -> str:
    """What all of the texts begin with."""
    return "".join(
        letters[0] for letters in takewhile(lambda letters: len(set(letters)) == 1, zip(*texts, strict=False))
    )


def _only_number(names: list[Any]) -> bool:
    """Whether names are 0, 1, 2 …, or these behind the same letters (`column_0`)."""
    found = [_NUMBERED.fullmatch(str(name)) for name in names]
    return [each and each.groups() for each in found] == [
        (found[0] and found[0][1], str(place)) for place in range(len(names))
    ]
