"""Rows made up to hold another form to its model: what a few real rows would never touch, and both sides of answers' jumps.

They come from the signature, real rows and the model itself, by a fixed seed. Rows that the model refuses are left out.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from random import Random
from typing import Any

from mainspring.models.hints import Known, hints_of
from mainspring.models.predictor import Prediction, Predictor
from mainspring.models.signature import FLOATS, INTEGERS, Field, Signature

Row = dict[str, Any]
_ROWS, _OTHERS = 2_000, 40  # of any values; of each column with an unknown text, with a null, and with an odd number
_FEW, _FEW_OTHERS = 200, 4  # the same, where values are only passed on
_PAIRS, _JUMPS = 800, 200  # rows to change in one column; jumps to look for
_STEPS = 80  # halvings until doubles are neighbours
_FAR = 1_000
_MOST_REFUSALS = 300
_EDGE = 1e-9  # what is rounded to 32 bits is sixty times as far off
_SHORT_EDGE = 1e-5  # of a model that adds in 32 bits, whose last bits these are
_WORDS = 12  # of a text that is made up
_UNKNOWN = ("never seen before", "", "0", "Ünknown")


def probes(model: Any, native: Predictor, real: Sequence[Row], seed: int = 0) -> tuple[list[Row], list[Prediction]]:
    """At least 2,000 rows, as far as the model takes them, and what it answers."""
    makers, random = _makers(model, native.signature, real), Random(seed)
    if not makers:
        return [], []
    with _one_thread():
        usual = _usual(makers, _ROWS, random)
        rows, answers = answered(native, usual)
        jumps = list(_beside_jumps(native, rows, answers, random, _SHORT_EDGE if _is_short(model) else _EDGE))
        for more in (*_rare(native.signature, makers, usual, _OTHERS, random), jumps):
            kept, said = answered(native, more)
            rows, answers = rows + kept, answers + said
    return rows, answers


def few_probes(model: Any, native: Predictor, real: Sequence[Row], seed: int = 0) -> list[Row]:
    """Some hundred rows that the model takes, for a form by the same library: of any values, and with the rare ones."""
    makers, random = _makers(model, native.signature, real), Random(seed)
    if not makers:
        return []
    with _one_thread():
        usual = _usual(makers, _FEW, random)
        groups = (usual, *_rare(native.signature, makers, usual, _FEW_OTHERS, random))
        return answered(native, [row for group in groups for row in group])[0]


def _makers(model: Any, signature: Signature, real: Sequence[Row]) -> dict[str, _Values]:
    """What makes values of each column; nothing if those of one can't be made up and no real row has one."""
    known = hints_of(model, signature)
    makers = {field.name: _Values(field, [row.get(field.name) for row in real], known) for field in signature.inputs}
    return makers if all(maker.usual for maker in makers.values()) else {}


def _usual(makers: dict[str, _Values], count: int, random: Random) -> list[Row]:
    return [{name: made.draw(random) for name, made in makers.items()} for _ in range(count)]


def _one_thread() -> AbstractContextManager[Any]:
    """Many small calls: threads that wait for one another would take most of their time."""
    pools = sys.modules.get("threadpoolctl")  # scikit-learn imports it
    return nullcontext() if pools is None else pools.threadpool_limits(1)


def answered(native: Predictor, rows: Sequence[Row]) -> tuple[list[Row], list[Prediction]]:
    """The rows that the model doesn't refuse, and its answers; after many refusals what comes with another is left out."""
    refused = 0
    kept: list[Row] = []
    answers: list[Prediction] = []
    waiting = [list(rows)] if rows else []
    while waiting:
        block = waiting.pop()
        try:
            answers += native(block)
            kept += block
        except (ImportError, MemoryError):
            raise
        except Exception:  # noqa: BLE001  # a model may refuse a value with any error; such rows are nobody's answer
            refused += 1
            if len(block) > 1 and refused < _MOST_REFUSALS:
                waiting += [block[: len(block) // 2], block[len(block) // 2 :]]
    return kept, answers


class _Values:
    """The values of one column: `usual` ones, out of which more are made, and whether it may be null."""

    def __init__(self, field: Field, seen: Sequence[Any], known: Known) -> None:
        self.field = field
        taken = [*seen, *known.get(field.name, ())]
        found = [value for each in taken for value, wrong in [field.check(_plain(each, field))] if not wrong]
        self.usual = [*{repr(value): value for value in found if value is not None}.values()]  # lists have no hash
        if field.dtype in FLOATS or field.dtype in INTEGERS:
            numbers = [float(value) for value in self.usual] or [-1.0, 1.0]
            self.low, self.high = min(numbers), max(numbers)
            if self.low == self.high:
                self.low, self.high = self.low - 1.0, self.high + 1.0
            self.usual = self.usual or [0, 1]
        elif field.dtype == "bool":
            self.usual = [False, True]
        elif field.dtype in ("str", "cat"):
            self.usual = self.usual or list(_UNKNOWN)

    def odd(self) -> list[Any]:
        """Of numbers nothing, and what is far beyond their range on both sides."""
        is_whole = self.field.dtype in INTEGERS
        if not is_whole and self.field.dtype not in FLOATS:
            return []
        far = (self.low, self.high, -self.low, -self.high, _FAR * self.low, _FAR * self.high)
        found = [0, *map(round, far)] if is_whole else [0.0, *far]
        return [value for value in dict.fromkeys(found) if not self.field.check(value)[1]]

    def draw(self, random: Random) -> Any:
        """A usual value, one near it, or any within or beside their range: continuous, rounded or whole."""
        if self.field.dtype in INTEGERS:
            return self._whole(random)
        if self.field.dtype not in FLOATS:
            return random.choice(self.usual)
        kind = random.randrange(8)
        if kind < 2:
            return random.choice(self.usual)
        if kind == 2:
            return random.choice(list(beside(float(random.choice(self.usual)))))
        span = (self.high - self.low) / 2 if kind == 3 else 0.0
        value = random.uniform(self.low - span, self.high + span)
        return round(value, random.randrange(4)) if kind > 4 else value

    def _whole(self, random: Random) -> int:
        kind = random.randrange(4)
        if kind == 0:
            return int(random.choice(self.usual))
        span = (self.high - self.low) / 2 if kind == 1 else 0.0
        value = round(random.uniform(self.low - span, self.high + span))
        return value if not self.field.check(value)[1] else int(random.choice(self.usual))


def _plain(value: Any, field: Field) -> Any:
    """A value of the model's attributes as a record would hold it."""
    plain = value.item() if hasattr(value, "item") else value
    if isinstance(plain, float) and field.dtype in INTEGERS and math.isfinite(plain):
        return math.floor(plain)
    return float(plain) if isinstance(plain, int) and field.dtype in FLOATS else plain


def beside(value: float) -> Iterator[float]:
    """The doubles next to one, what rounding to 32 bits makes of it and of those, and the middles at which it turns."""
    import numpy as np

    yield from (value, math.nextafter(value, -math.inf), math.nextafter(value, math.inf))
    with np.errstate(over="ignore"):
        short = np.float32(value)
        for other in (short, np.nextafter(short, np.float32(-np.inf)), np.nextafter(short, np.float32(np.inf))):
            yield from (each for each in (float(other), (float(short) + float(other)) / 2) if math.isfinite(each))


def _rare(
    signature: Signature, makers: dict[str, _Values], usual: Sequence[Row], count: int, random: Random
) -> Iterator[list[Row]]:
    """Usual rows with a text that was never seen, nulls, and odd numbers, for each column apart: the model may refuse them."""

    def with_one(name: str, values: Sequence[Any]) -> list[Row]:
        rows = random.choices(usual, k=max(count, len(values)))
        return [row | {name: values[place % len(values)]} for place, row in enumerate(rows)]

    for field in signature.inputs:
        if field.dtype in ("str", "cat"):
            yield with_one(field.name, (*_UNKNOWN, *_mixed(makers[field.name].usual, random)))
        if field.nullable:
            yield with_one(field.name, [None])
        if odd := makers[field.name].odd():
            yield with_one(field.name, odd)
    if any(field.nullable for field in signature.inputs):
        holes = [field.name for field in signature.inputs if field.nullable]
        yield [
            row | dict.fromkeys(random.sample(holes, random.randint(1, len(holes))))
            for row in random.choices(usual, k=count)
        ]


def _mixed(texts: Sequence[str], random: Random) -> list[str]:
    """Texts of the words of usual ones in other orders, small and great, for what looks at words."""
    words = [word for text in texts for word in text.split()]
    if len(words) == len(texts):
        return []
    made = [" ".join(random.choices(words, k=random.randint(1, _WORDS))) for _ in range(_OTHERS)]
    return [text.upper() if place % 4 == 0 else text for place, text in enumerate(made)]


def _is_short(model: Any) -> bool:
    """Whether it is a module of PyTorch with numbers of less than 64 bits."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(model, torch.nn.Module):
        return False
    return any(each.is_floating_point() and each.itemsize < 8 for each in model.parameters())


def _beside_jumps(
    native: Predictor, rows: list[Row], answers: list[Prediction], random: Random, edge: float = _EDGE
) -> Iterator[Row]:
    """Rows on both sides of where the answer jumps along one column: the splits of trees, back in the model's inputs.

    Of two rows that differ in one column and in the answer, the interval is narrowed until its ends are neighbours. Of
    labels, which turn where a continuous score does, the edge itself is left out: there the last bit of a sum decides.
    """
    numeric = [field for field in native.signature.inputs if field.dtype in FLOATS or field.dtype in INTEGERS]
    if not rows or not numeric:
        return
    pairs = []
    for row, answer in zip(rows[:_PAIRS], answers, strict=False):
        field = random.choice(numeric)
        one, other = row[field.name], random.choice(rows)[field.name]
        if one is not None and other not in (None, one):
            pairs.append((row, field, answer, other))
    kept, said = answered(native, [row | {field.name: other} for row, field, _, other in pairs])
    if len(kept) < len(pairs):
        return  # the model refuses some values of columns, and perhaps some between them
    apart = [(*pair[:3], pair[3]) for pair, other in zip(pairs, said, strict=True) if pair[2] != other][:_JUMPS]
    ends, is_number = _narrowed(native, apart), isinstance(answers[0], float | dict)
    for (row, field, _, _), (one, other) in zip(apart, ends, strict=True):
        for value in (*beside(one), *beside(other)) if field.dtype in FLOATS else (one, other):
            if is_number or field.dtype in INTEGERS or abs(value - one) > edge * max(abs(value), 1.0):
                yield row | {field.name: value}


def _narrowed(native: Predictor, apart: list[tuple[Row, Field, Prediction, Any]]) -> list[tuple[Any, Any]]:
    """Where the answers turn: the last value with the first answer, and the next with another."""
    ends = [(row[field.name], other) for row, field, _, other in apart]
    for _ in range(_STEPS):
        tried = [(n, value) for n, end in enumerate(ends) for value in _between(*end, apart[n][1])]
        kept, said = answered(native, [apart[n][0] | {apart[n][1].name: value} for n, value in tried])
        if not tried or len(kept) < len(tried):
            break
        turned = set[int]()
        for (n, value), answer in zip(tried, said, strict=True):
            if n not in turned and answer == apart[n][2]:
                ends[n] = (value, ends[n][1])
            elif n not in turned:
                turned.add(n)
                ends[n] = (ends[n][0], value)
    return ends


def _between(one: Any, other: Any, field: Field) -> list[Any]:
    """Seven values between two, from the one to the other; none if they are neighbours."""
    steps = ((other - one) * n for n in range(1, 8))
    values = [one + (step // 8 if field.dtype in INTEGERS else step / 8) for step in steps]
    return [value for value in dict.fromkeys(values) if value not in (one, other)]
