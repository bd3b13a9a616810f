"""How labels join the predictions of an endpoint: by which columns, within which time, and which of several counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import msgspec

from mainspring.errors import InvalidError, close_names, listed

Match = Literal["nearest", "first", "last", "all"]
Pick = Literal["newest", "first", "last"]
TYPES = ("f64", "i64", "str", "bool")
_WINDOW = "a length of time before a label's event such as `3d`, or with one after it, `3d,1h` or `0,1h`"


class LabelRule(msgspec.Struct, frozen=True):
    """What an endpoint declares of its labels.

    A label that names no prediction is of those whose columns `key` are its own, asked from `before_us` before its event to
    `after_us` after it, both included: of several the `nearest`, `first`, `last`, or `all`. Of several labels of one prediction
    the one that counts is the `newest` known, or that of the `first` or `last` event. An empty `type` is that of the output.
    """

    key: tuple[str, ...] = ()
    before_us: int = 0
    after_us: int = 0
    match: Match = "nearest"
    pick: Pick = "newest"
    type: str = ""

    @property
    def window(self) -> str:
        """The window as it is declared.

        >>> LabelRule(("user",), 259_200_000_000, 0).window
        '3d'
        """
        before = _text(self.before_us)
        return f"{before},{_text(self.after_us)}" if self.after_us else before

    def __str__(self) -> str:
        chosen = f"the {self.pick} label counts"
        return f"by {', '.join(self.key)} within {self.window}, {self.match}; {chosen}" if self.key else chosen


def changed_rule(
    before: LabelRule, *, key: Sequence[str] | None = None, window: str | None = None, match: Match | None = None,
    pick: Pick | None = None, type: str | None = None,  # noqa: A002  # the word for it everywhere
) -> LabelRule:  # fmt: skip
    """A rule with what is given, and the rest as it was. An empty key has labels name their predictions again.

    Raises:
        InvalidError: something given is no such thing, or a key has no window.

    >>> str(changed_rule(LabelRule(), key=["flight"], window="3d"))
    'by flight within 3d, nearest; the newest label counts'
    """
    for name, value, known in (
        ("label_match", match, get_args(Match)),
        ("label_pick", pick, get_args(Pick)),
        ("label_type", type, ("", *TYPES)),
    ):
        if value is not None and value not in known:
            raise InvalidError(name, value, f"one of {listed([each for each in known if each])}")
    if isinstance(key, str):
        raise InvalidError("label_key", key, "a list of columns")
    before_us, after_us = (before.before_us, before.after_us) if window is None else _parsed(window)
    rule = LabelRule(
        before.key if key is None else tuple(dict.fromkeys(key)), before_us, after_us, match or before.match,
        pick or before.pick, before.type if type is None else type,
    )  # fmt: skip
    if rule.key and not rule.before_us and not rule.after_us:
        raise InvalidError("label_window", window or "", _WINDOW, "A key comes again, so that it needs a time, too.")
    return rule


def expect_in_log(rule: LabelRule, known: Sequence[str] | None, redacted: Sequence[str]) -> None:
    """Go on only with a key whose columns requests hold, and the log too; None of what is known is anything.

    Raises:
        InvalidError: a column is in no request, or is never written.
    """
    for name in rule.key:
        if name in redacted:
            raise InvalidError(
                "label_key", name, "a column that is logged", "It is redacted, so that nothing joins by it."
            )
        if known is not None and name not in known:
            near = close_names(name, known)
            expected = f"a column of requests: {listed(list(known))}"
            raise InvalidError("label_key", name, expected, f"Nearest: {near[0]}." if near else "")


def _parsed(window: str) -> tuple[int, int]:
    from mainspring.features.aggregation.duration import parse_duration

    given: Any = window
    parts = [each.strip() for each in given.split(",")] if isinstance(given, str) else [given]
    if len(parts) > 2:
        raise InvalidError("label_window", window, _WINDOW)
    try:
        lengths = [0 if each == "0" else parse_duration(each, "label_window") for each in parts]
    except InvalidError as error:
        raise InvalidError("label_window", window, _WINDOW) from error
    return lengths[0], lengths[1] if lengths[1:] else 0


def _text(length_us: int) -> str:
    from mainspring.features.aggregation.duration import duration_text

    return duration_text(length_us) if length_us else "0"
