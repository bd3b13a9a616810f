"""Whether served and recomputed values are the same bits: −0.0 is not 0.0, and a NaN is a NaN whatever it carries.

Of what functions of Python compute: whether they are the same but for rounding.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from mainspring.features.parity.past import Whole
from mainspring.features.parity.rounding import DOUBLE, SINGLE, WITHIN, Floats, Move, Moved, allowed, half_the_digits

Mask = npt.NDArray[np.bool_]

_NAN, _NULL = -1, -2  # as bits of floats: those of NaN that are taken for one another
_EXACT = (pl.String, pl.Boolean, pl.Binary)  # equal values are the same bits
_MOST_ULPS = 4
_KINDS: dict[type[pl.DataType], Any] = {pl.Float16: np.float16, pl.Float32: np.float32, pl.Float64: np.float64}
_BITS_OF: dict[Any, Any] = {np.float16: np.int16, np.float32: np.int32, np.float64: np.int64}


class Told:
    """The values of one feature as they were served, to be compared any number of times."""

    def __init__(self, values: Sequence[Any]) -> None:
        self.values = values

    def differing(self, expected: pl.Series) -> Whole:
        """The places at which other values differ.

        >>> Told([0.0, float("nan"), None, 1.5]).differing(pl.Series([-0.0, float("nan"), 0.0, 1.5])).tolist()
        [0, 2]
        >>> Told([1, None, 3]).differing(pl.Series([1, 2, 3])).tolist()
        [1]
        """
        if expected.dtype.is_float():
            return np.flatnonzero(self._bits != _bits(expected))
        if expected.dtype.is_integer() or isinstance(expected.dtype, _EXACT):
            told = pl.Series(expected.name, self.values, expected.dtype)
            return told.ne_missing(expected).arg_true().to_numpy().astype(np.int64)
        pairs = zip(self.values, expected.to_list(), strict=True)
        return np.array([place for place, (one, other) in enumerate(pairs) if not same(one, other)], np.int64)

    def beyond_rounding(self, expected: pl.Series, moved: Moved | None = None) -> Whole:
        """The places at which other values differ by more than rounding, by 4 units in the last place and as far as they are
        off when the numbers that they are computed of are `moved`.

        >>> Told([0.1 + 0.2, 0.3, None]).beyond_rounding(pl.Series([0.3, 0.4, None])).tolist()
        [1]
        """
        left = self.differing(expected)
        if not len(left) or not _has_floats(expected.dtype):
            return left
        left = self._beyond(expected, left, moved, DOUBLE)
        single = in_single(expected) if len(left) else None
        if single is None:
            return left
        told = pl.Series([self.values[place] for place in left.tolist()], dtype=expected.dtype)
        pairs = (told, expected.gather(left))
        fits = np.all([each.eq_missing(each.cast(single.dtype).cast(each.dtype)).to_numpy() for each in pairs], axis=0)
        return np.sort(np.concatenate([left[~fits], self._beyond(single, left[fits], moved, SINGLE)]))

    def _beyond(self, expected: pl.Series, places: Whole, moved: Moved | None, unit: float) -> Whole:
        """Those of the places at which a value differs by more than by its last bits and by moves of such units."""
        scale = _scale(expected)
        left = self._apart(expected, places, (), scale)
        if not moved or not len(left) or not (moves := _by_move(moved(unit), expected.name, left)):
            return left
        others = [[value for _, value in row] for row in zip(*moves, strict=True)]
        if unit == SINGLE:
            within = _by_move(moved(WITHIN), expected.name, left)
            tries = zip(*within, strict=True) if within else [()] * len(left)
            rows = zip(expected.gather(left).to_list(), zip(*moves, strict=True), tries, strict=True)
            others = [_of_single(one, row, among, scale) for one, row, among in rows]
        return self._apart(expected, left, others, scale)

    def _apart(self, expected: pl.Series, places: Whole, others: Sequence[Sequence[Any]], scale: float) -> Whole:
        """Those of the places at which a value differs by more than by its last bits and as far as `others` are off there."""
        dtype, others = expected.dtype, others or [()] * len(places)
        told, known = [self.values[place] for place in places.tolist()], expected.gather(places).to_list()
        if (kind := _KINDS.get(dtype.base_type())) is not None:
            agrees = _floats_rounded(told, known, kind, others, scale)
        else:
            rows = zip(told, known, others, strict=True)
            agrees = np.array([rounded(one, other, dtype, moved, scale) for one, other, moved in rows], bool)
        found: Whole = places[~agrees]
        return found

    @cached_property
    def _bits(self) -> Whole:
        return _bits(pl.Series(self.values, dtype=pl.Float64))


class Served(dict[str, Told]):
    """The values of several features of the same reads, by feature; those that `may_round` agree if rounding is all."""

    def __init__(self, told: Iterable[tuple[str, Told]], *, may_round: bool = False) -> None:
        super().__init__(told)
        self.may_round = may_round

    def differs(self, expected: pl.DataFrame, moved: Moved | None = None) -> Mask:
        """Where one of them differs."""
        found: Mask = ~np.all(list(self.agreeing(expected, moved).values()), axis=0)
        return found

    def agreeing(self, expected: pl.DataFrame, moved: Moved | None = None) -> dict[str, Mask]:
        """Where each is the same, of those that are expected."""
        found = {}
        for name, told in self.items():
            if name in expected.columns:
                other = expected.get_column(name)
                found[name] = np.ones(len(told.values), bool)
                found[name][told.beyond_rounding(other, moved) if self.may_round else told.differing(other)] = False
        return found

    def wrong(self, expected: pl.DataFrame, among: Mask, moved: Moved | None = None) -> dict[str, Whole]:
        """The places at which each differs, among some; without those that nowhere do."""
        found = {name: np.flatnonzero(~agrees & among) for name, agrees in self.agreeing(expected, moved).items()}
        return {name: places for name, places in found.items() if len(places)}

    def rounded(self, expected: pl.DataFrame, among: Mask, moved: Moved | None = None) -> dict[str, Whole]:
        """The places at which each is the same but for rounding, among some; without those that nowhere are."""
        found = {}
        for name, agrees in self.agreeing(expected, moved).items() if self.may_round else ():
            exact = np.ones(len(agrees), bool)
            exact[self[name].differing(expected.get_column(name))] = False
            found[name] = np.flatnonzero(agrees & ~exact & among)
        return {name: places for name, places in found.items() if len(places)}

    def unequal(self, expected: pl.DataFrame, among: Mask) -> dict[str, Whole]:
        """The places at which each has other bits, among some; without those that nowhere do."""
        found = {name: told.differing(expected.get_column(name)) for name, told in self.items()}
        found = {name: places[among[places]] for name, places in found.items()}
        return {name: places for name, places in found.items() if len(places)}

    def taken(self, places: Whole, names: Iterable[str] | None = None) -> Served:
        """Those of some reads, and some features."""
        wanted = self if names is None else names
        told = ((name, Told([self[name].values[place] for place in places.tolist()])) for name in wanted)
        return Served(told, may_round=self.may_round)


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same bits.

    >>> same([1.0, {"a": float("nan")}], [1.0, {"a": float("nan")}]), same([0.0], [-0.0])
    (True, False)
    """
    if isinstance(one, float) and isinstance(other, float):
        return (one == other and math.copysign(1, one) == math.copysign(1, other)) or (one != one and other != other)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, datetime) and isinstance(other, datetime):
        if (one.tzinfo is None) != (other.tzinfo is None):
            return False
        # Between zones an hour that is told twice equals nothing (PEP 495), so both are told in one that has none.
        return one == other if one.tzinfo is None else one.astimezone(UTC) == other.astimezone(UTC)
    return type(one) is type(other) and bool(one == other)


def rounded(one: Any, other: Any, dtype: pl.DataType, moved: Sequence[Any] = (), scale: float = 0) -> bool:
    """Whether two values of a type are the same but for rounding: floats at most 4 units in the last place of theirs apart, or
    as far as the other is off when what it is computed of is `moved`.

    >>> rounded([0.1 + 0.2, None], [0.3, None], pl.List(pl.Float64())), rounded(1.0, 1.0 + 2**-49, pl.Float64())
    (True, False)
    >>> rounded({"a": 1.0}, {"a": 1.0 + 2**-23}, pl.Struct({"a": pl.Float32()}))
    True
    >>> [rounded(1.0 + off, 1.0, pl.Float64(), moved=[1.0 + 2e-14]) for off in (1e-14, 1e-12)]
    [True, False]
    """
    if one is None or other is None:
        return one is other
    if (kind := _KINDS.get(dtype.base_type())) is not None:
        others = [[each] for each in moved if each is not None]
        return bool(_near(np.array([one], kind), np.array([other], kind), others, scale))
    if isinstance(dtype, pl.List | pl.Array):
        return _lists_rounded(one, other, _type(dtype.inner), [each for each in moved if each is not None])
    if isinstance(dtype, pl.Struct):
        inside = [each for each in moved if each is not None]
        return all(
            rounded(one[name], other[name], _type(inner), [each[name] for each in inside])
            for name, inner in ((field.name, field.dtype) for field in dtype.fields)
        )
    return same(one, other)


def _lists_rounded(
    one: Sequence[Any], other: Sequence[Any], inner: pl.DataType, moved: Sequence[Sequence[Any]]
) -> bool:
    if len(one) != len(other):
        return False
    moved = [each for each in moved if len(each) == len(other)]
    kind = _KINDS.get(inner.base_type())
    if kind is None or None in one or None in other:
        others = [[each[place] for each in moved] for place in range(len(other))]
        return all(
            rounded(*pair, inner, found) for pair, found in zip(zip(one, other, strict=True), others, strict=True)
        )
    numbers = np.array(other, kind)
    scale = np.abs(numbers[np.isfinite(numbers)]).max(initial=0)
    return bool(_near(np.array(one, kind), numbers, [each for each in moved if None not in each], float(scale)))


def _near(one: Floats, other: Floats, moved: Sequence[Sequence[Any]], scale: float) -> bool:
    """Whether all numbers of one type are the same but for rounding."""
    apart = one.view(_BITS_OF[one.dtype.type]) != other.view(_BITS_OF[one.dtype.type])
    places = np.flatnonzero(apart & ~(np.isnan(one) & np.isnan(other)))
    one, other = one[places], other[places]
    if not (np.isfinite(one) & np.isfinite(other)).all():
        return False
    far = _ulps(one, other) > _MOST_ULPS
    if not far.any():
        return True
    others = [np.array(each, other.dtype)[places][far] for each in moved]
    return bool((np.abs(one[far] - other[far]) <= allowed(other[far], others, scale)).all())


def _floats_rounded(
    told: Sequence[Any], known: Sequence[Any], kind: Any, moved: Sequence[Sequence[Any]], scale: float
) -> Mask:
    """`rounded` of each of many floats, all at once."""
    one, other = np.array(told, kind), np.array(known, kind)  # None is NaN
    is_null = np.array([[each is None for each in values] for values in (told, known)], bool)
    both = np.isfinite(one) & np.isfinite(other)
    longest = max(map(len, moved), default=0)
    others = np.array([[*row, *[None] * (longest - len(row))] for row in moved], kind).reshape(len(moved), longest)
    with np.errstate(invalid="ignore", over="ignore"):
        near = np.abs(one - other) <= allowed(other, [*others.T], scale)
    is_same = (np.isnan(one) & np.isnan(other)) | (one.view(_BITS_OF[kind]) == other.view(_BITS_OF[kind]))
    found: Mask = (is_null[0] == is_null[1]) & (is_same | (both & (near | (_ulps(one, other) <= _MOST_ULPS))))
    return found


def _ulps(one: Floats, other: Floats) -> npt.NDArray[np.uint64]:
    """How many places floats are apart among all of their type."""
    first, second = _order(one), _order(other)
    apart = np.maximum(first, second) - np.minimum(first, second)
    return apart.view(np.uint64)  # which holds what wraps with a sign


def _by_move(frames: Sequence[tuple[Move, pl.DataFrame]], name: str, places: Whole) -> list[list[tuple[Move, Any]]]:
    """What each move made of a feature at some places."""
    return [[(move, value) for value in frame.get_column(name).gather(places).to_list()] for move, frame in frames]


def _of_single(
    one: Any, moves: Iterable[tuple[Move, Any]], within: Iterable[tuple[Move, Any]], scale: float
) -> list[Any]:
    """What moves of 32 bits made of a value, if it takes no note of less: of the same numbers moved within 32 bits it is the
    same, wherever it goes no other way.
    """
    tries = [(move.with_whole, _off(one, other, scale)) for move, other in within]
    counts = {
        with_whole: (found := [off for kind, off in tries if kind == with_whole and off is not None]) and not any(found)
        for with_whole in (False, True)
    }
    return [value for move, value in moves if counts[move.with_whole]]


def _off(one: Any, other: Any, scale: float) -> bool | None:
    """Whether floats of 32 bits are off by rounding; None if they are by more."""
    if isinstance(one, float) and isinstance(other, float):
        if same(one, other):
            return False
        return True if abs(one - other) <= half_the_digits(np.float32(one), scale) else None
    first, second = (np.array([*_floats(each)], np.float64).astype(np.float32) for each in (one, other))
    if len(first) != len(second):
        return None
    if same(first.tolist(), second.tolist()):
        return False
    with np.errstate(invalid="ignore"):
        apart = np.abs(second - first)
        most = half_the_digits(first, max(scale, float(np.abs(first[np.isfinite(first)]).max(initial=0))))
        return True if ((apart > 0) & (apart <= most)).any() else None


def _floats(value: Any) -> Iterable[float]:
    """All floats of a value, inside of lists and structs, too."""
    if isinstance(value, dict):
        value = [*value.values()]
    if isinstance(value, list):
        return [each for inner in value for each in _floats(inner)]
    return [value] if isinstance(value, float) else []


def _order(numbers: Floats) -> Whole:
    """The places of floats among all of their type."""
    bits = numbers.view(_BITS_OF[numbers.dtype.type]).astype(np.int64)
    found: Whole = np.where(bits >= 0, bits, -(2 ** (8 * numbers.itemsize - 1)) - bits)
    return found


def _scale(expected: pl.Series) -> float:
    """A large size of numbers among the usual ones; 0 of what is none."""
    if not expected.dtype.is_float():
        return 0
    sizes = expected.drop_nulls().abs()
    return float(sizes.filter(sizes.is_finite()).cast(pl.Float64).quantile(0.9) or 0)


def in_single(expected: pl.Series) -> pl.Series | None:
    """Values as floats of 32 bits, if they are such: by their type, or as floats of 64 bits that have no more digits, as at
    least half of those that aren't whole: another may be a default.

    These need more than 20 bits: prices in quarters would fit in 32 bits, too, and show nothing.

    >>> thirds = pl.Series([1 / 3, 2 / 3])
    >>> [in_single(each) is not None for each in (thirds, thirds.cast(pl.Float32).cast(pl.Float64), pl.Series([0.25, 3.0]))]
    [False, True, False]
    """
    dtype = _single(expected.dtype)
    if dtype == expected.dtype:
        return expected if "Float32" in repr(dtype) else None
    numbers = np.concatenate(_numbers(expected)).astype(np.float64)
    numbers = numbers[np.isfinite(numbers)]
    numbers = numbers[numbers % 1 != 0]
    with np.errstate(over="ignore"):
        short = numbers.astype(np.float32)
    is_single = (short == numbers) & ((short.view(np.int32) & 15) != 0)
    return expected.cast(dtype) if len(numbers) and is_single.mean() >= 0.5 else None


def _single(dtype: pl.DataType) -> pl.DataType:
    """A type with floats of 32 bits in the place of those of 64."""
    if isinstance(dtype, pl.Struct):
        return pl.Struct({field.name: _single(_type(field.dtype)) for field in dtype.fields})
    if isinstance(dtype, pl.List):
        return pl.List(_single(_type(dtype.inner)))
    if isinstance(dtype, pl.Array):
        return pl.Array(_single(_type(dtype.inner)), dtype.size)
    return pl.Float32() if dtype == pl.Float64() else dtype


def _numbers(values: pl.Series) -> list[Floats]:
    """All floats, of each field of structs and inside of lists."""
    dtype = values.dtype
    if isinstance(dtype, pl.Struct):
        return [each for field in dtype.fields for each in _numbers(values.struct.field(field.name))]
    if isinstance(dtype, pl.List | pl.Array):
        lists = values.cast(pl.List(dtype.inner)) if isinstance(dtype, pl.Array) else values
        return _numbers(lists.drop_nulls().explode(empty_as_null=False))
    return [values.drop_nulls().to_numpy()] if dtype.is_float() else []


def _type(dtype: Any) -> pl.DataType:
    return dtype if isinstance(dtype, pl.DataType) else dtype()


def _has_floats(dtype: pl.DataType) -> bool:
    return "Float" in repr(dtype)


def _bits(values: pl.Series) -> Whole:
    numbers = values.cast(pl.Float64).to_numpy(writable=True)  # a null is NaN
    bits = numbers.view(np.int64)
    bits[np.isnan(numbers)] = _NAN
    if values.null_count():
        bits[values.is_null().to_numpy()] = _NULL
    return bits
