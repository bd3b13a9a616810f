"""What a study may choose: a range or a list of choices for each parameter, plain data without Optuna."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol

import msgspec

from mainspring.errors import ConflictError, InvalidError, WrongTypeError, counted

Plain = str | int | float | bool | None
_MOST_POINTS = 100_000


class Suggests(Protocol):
    """What asks for a value of a parameter, in Optuna's words."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """A real number."""
        ...

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """A whole number, both ends included."""
        ...

    def suggest_categorical(self, name: str, choices: Sequence[Plain]) -> Any:
        """One of the choices."""
        ...


class Floats(msgspec.Struct, frozen=True, tag="float", omit_defaults=True):
    """Real numbers from `low` to `high`, both included."""

    low: float
    high: float
    step: float | None = None
    log: bool = False

    def suggest(self, trial: Suggests, name: str) -> Any:
        """The value of a trial."""
        high = self.high if self.step is None else _last(self.low, self.high, self.step)
        return trial.suggest_float(name, self.low, high, step=self.step, log=self.log)

    def points(self, name: str) -> list[Plain]:
        """Every value, for a grid.

        Raises:
            InvalidError: there is no end to them.
        """
        if self.step is None:
            raise InvalidError(f"space `{name}`", self, "a finite list", "A grid takes `choices`, `ints` or a `step`.")
        first, size = Decimal(str(self.low)), Decimal(str(self.step))  # in binary, 3 · 0.1 is no 0.3
        count = math.floor((self.high - self.low) / self.step + 1e-9) + 1
        return [min(float(first + size * n), self.high) for n in range(count)]


class Ints(msgspec.Struct, frozen=True, tag="int", omit_defaults=True):
    """Whole numbers from `low` to `high`, both included."""

    low: int
    high: int
    step: int = 1
    log: bool = False

    def suggest(self, trial: Suggests, name: str) -> Any:
        """The value of a trial."""
        high = self.high - (self.high - self.low) % self.step
        return trial.suggest_int(name, self.low, high, step=self.step, log=self.log)

    def points(self, name: str) -> list[Plain]:  # noqa: ARG002  # those of Floats are named when they have no end
        """Every value, for a grid."""
        return list(range(self.low, self.high + 1, self.step))


class Choices(msgspec.Struct, frozen=True, tag="choice", omit_defaults=True):
    """One of a list, without an order."""

    values: tuple[Plain, ...]

    def suggest(self, trial: Suggests, name: str) -> Any:
        """The value of a trial."""
        return trial.suggest_categorical(name, self.values)

    def points(self, name: str) -> list[Plain]:  # noqa: ARG002  # those of Floats are named when they have no end
        """Every value, for a grid."""
        return list(self.values)


Range = Floats | Ints | Choices


def floats(low: float, high: float, *, step: float | None = None) -> Floats:
    """Real numbers from `low` to `high`, both included, in steps if a step is given.

    >>> floats(0.5, 1.0)
    Floats(low=0.5, high=1.0, step=None, log=False)
    """
    step = None if step is None else checked_number("step", step)
    if step is not None and not step > 0:
        raise InvalidError("step", step, "above 0")
    return Floats(*_ends(low, high), step=step)


def log_float(low: float, high: float) -> Floats:
    """Real numbers above 0, each factor as likely as any other: for learning rates and penalties.

    >>> log_float(1e-3, 0.3).log
    True
    """
    return Floats(*_ends(low, high, above_0=True), log=True)


def ints(low: int, high: int, *, step: int = 1, log: bool = False) -> Ints:
    """Whole numbers from `low` to `high`, both included, in steps; with `log`, each factor as likely as any other.

    >>> ints(3, 9).high
    9
    """
    low, high, step = (checked_whole(*each) for each in (("low", low), ("high", high), ("step", step)))
    if step < 1 or (log and step != 1):
        raise InvalidError("step", step, "1 with `log`" if log else "at least 1")
    _ends(low, high, above_0=log)
    return Ints(low, high, step, log)


def choices(*values: Plain) -> Choices:
    """One of these values, without an order; each is text, a number, True, False or None.

    >>> choices("gini", "entropy").values
    ('gini', 'entropy')
    """
    if not values:
        raise InvalidError("choices", "nothing", "at least one value")
    plain = tuple(map(_plain, values))
    for value in plain:
        if not isinstance(value, Plain):
            raise WrongTypeError(
                "choices", value, "text, a number, True, False or None", "Map names to objects inside."
            )
    return Choices(plain)


def checked_space(space: Any) -> dict[str, Range]:
    """The space as a dict of its own.

    Raises:
        WrongTypeError: it is no dict, or a parameter has no range.
    """
    if not isinstance(space, Mapping) or any(not isinstance(name, str) for name in space):
        raise WrongTypeError("space", space, "a dict of ranges by the names of parameters")
    for name, allowed in space.items():
        if not isinstance(allowed, Range):
            raise WrongTypeError(f"space `{name}`", allowed, "a range", "Use ms.floats, log_float, ints or choices.")
    return dict(space)


def grid(space: Mapping[str, Range]) -> Iterable[dict[str, Plain]]:
    """Every point of a space, the last parameter moving fastest.

    >>> list(grid({"depth": ints(1, 2), "kind": choices("a", "b")}))[1]
    {'depth': 1, 'kind': 'b'}
    """
    axes = [allowed.points(name) for name, allowed in space.items()]
    size = math.prod(len(axis) for axis in axes)
    if size > _MOST_POINTS:
        raise InvalidError("grid", counted(size, "point"), f"one of at most {_MOST_POINTS:,}", "Use fewer choices.")
    return (dict(zip(space, point, strict=True)) for point in itertools.product(*axes))


def expect_one_space(study: str, old: Mapping[str, Range] | None, new: Mapping[str, Range] | None) -> None:
    """Refuse a space of which a study's sampler can't learn from trials in the old one; ranges may grow and shrink.

    Raises:
        ConflictError: a parameter is of another kind, on another scale, or has other choices.
    """
    for name, allowed in (new or {}).items():
        was = (old or {}).get(name, allowed)
        if _kind(was) != _kind(allowed):
            raise ConflictError(
                f"The study `{study}` can't learn from trials in another space: `{name}` was {was}, and is {allowed} now. "
                "Take another name for another space."
            )


def _kind(allowed: Range) -> tuple[object, ...]:
    """What must stay the same of a parameter."""
    return type(allowed), allowed.values if isinstance(allowed, Choices) else allowed.log


def checked_number(name: str, value: Any) -> float:
    """A number, also NumPy's; refuses what is none, as True and False are."""
    value = _plain(value)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise WrongTypeError(name, value, "a number")
    return value


def checked_whole(name: str, value: Any) -> int:
    """A whole number, also NumPy's; refuses what is none."""
    value = _plain(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise WrongTypeError(name, value, "a whole number")
    return value


def _plain(value: Any) -> Any:
    """A scalar of NumPy as Python's own."""
    return value.item() if getattr(value, "shape", None) == () and hasattr(value, "item") else value


def _last(low: float, high: float, step: float) -> float:
    """The last value on the steps; Optuna would find it too, and warn."""
    first, size = Decimal(str(low)), Decimal(str(step))
    return float(first + (Decimal(str(high)) - first) // size * size)


def _ends(low: float, high: float, *, above_0: bool = False) -> tuple[float, float]:
    low, high = checked_number("low", low), checked_number("high", high)
    for name, value in (("low", low), ("high", high)):
        if not math.isfinite(value) or (above_0 and value <= 0):
            raise InvalidError(name, value, "a finite number above 0" if above_0 else "a finite number")
    if low > high:
        raise InvalidError("range", f"{low} to {high}", "one whose low end comes first")
    return low, high
