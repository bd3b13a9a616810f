"""The codec of NumPy arrays.

Invariant: arrays of one digest come back as one: type with byte order, shape, C or Fortran order, and every bit. What is in
neither order comes back in C order; NaNs are one, and padding between fields is zero.
"""

from __future__ import annotations

import io
from typing import Any, Literal

import numpy as np

from mainspring.artifacts.codec import EQUAL, BlobAccess, Comparison, Encoded, Preview, Tolerance, meaning_digest
from mainspring.errors import CodecError, shorten

Array = np.ndarray[Any, np.dtype[Any]]


class ArrayCodec:
    """Arrays of every type but object; structured ones too, whose padding bytes are never looked at."""

    name, recipe, immutable = "numpy.array", 2, False
    types = ("numpy.ndarray",)

    def digest(self, value: Array) -> str:
        """Over type, shape, order and what is stored. −0.0 is not 0.0, for a step can tell."""
        stored = canonical(value)
        dtype = stored.dtype
        head = repr((dtype.str if dtype.names is None else dtype.descr, stored.shape, _order(stored)))
        return meaning_digest("numpy.array", self.recipe, head, stored.tobytes("A"))

    def encode(self, value: Array, blobs: BlobAccess) -> Encoded:
        """One `.npy` blob."""
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, canonical(value), allow_pickle=False)
        data = buffer.getvalue()
        return Encoded(self.name, blobs.put(data), len(data))

    def decode(self, encoded: Encoded, blobs: BlobAccess) -> Array:
        """A new, writable array."""
        try:
            with blobs.path(encoded.blob).open("rb") as file:
                array: Array = np.load(file, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise CodecError(f"The blob `{encoded.blob[:12]}` is not a stored array: {error}.") from error
        return array

    def preview(self, value: Array) -> Preview:
        """Shape, type, first values."""
        shape = " × ".join(f"{n:,}" for n in value.shape) or "scalar"
        head = [shorten(item, 40) for item in value.ravel()[:20].tolist()]
        detail = {"shape": list(value.shape), "dtype": shorten(str(value.dtype), 200), "head": head}
        return Preview("array", f"{shape} array of {shorten(str(value.dtype), 60)}", detail)

    def compare(self, old: Array, new: Array, tolerance: Tolerance) -> Comparison:
        """Type and shape, then values."""
        return compare_arrays(old, new, tolerance)


def _check(value: Array) -> None:
    if type(value) not in (np.ndarray, np.memmap):
        kind = type(value).__qualname__
        raise CodecError(
            f"An array of `{kind}` would come back as a plain `numpy.ndarray`. Convert it with `np.asarray`."
        )
    if value.dtype.hasobject:
        raise CodecError("An array of Python objects has no stored form. Use a list, or an array of one plain type.")
    if value.dtype.metadata is not None:
        raise CodecError("An array whose type has metadata would come back without it. Leave it off, with `.astype`.")
    if value.dtype.names is not None:
        _check_fields(value.dtype)
    if value.dtype.kind not in "biufcmMUSV":
        raise CodecError(
            f"An array of `{value.dtype}` has no stored form. Convert it, e.g. with `.astype(object).tolist()`."
        )


def _check_fields(dtype: np.dtype[Any]) -> None:
    if dtype.type is not np.void:
        raise CodecError(
            f"An array of `{dtype.type.__qualname__}` would come back as a plain structured array. Convert it, e.g. with "
            "`.view(dtype=(numpy.void, array.dtype))`."
        )
    end, fields = 0, dtype.fields
    assert fields is not None
    for name in dtype.names or ():
        field, offset = fields[name][:2]
        if offset < end:
            raise CodecError(f"The field `{name}` overlaps another, or stands out of order, which has no stored form.")
        end = offset + field.itemsize
        if field.base.names is not None:
            _check_fields(field.base)


def canonical(value: Array) -> Array:
    """An array as it is stored: the same but for NaNs and the bytes of padding, contiguous in C or Fortran order.

    Raises:
        CodecError: the array has no stored form.
    """
    _check(value)
    return _canonical(value, _order(value))


def _canonical(value: Array, order: Literal["C", "F"]) -> Array:
    if value.dtype.names is not None:
        clean = np.zeros(value.shape, value.dtype, order)
        for name in value.dtype.names:
            clean[name] = _canonical(np.asarray(value[name]), "C")
        return clean
    plain = np.asarray(value, order=order)
    if plain.dtype.kind == "b":
        return np.asarray(plain.view(np.uint8) != 0)  # a buffer may hold any byte for True
    if plain.dtype.kind in "fc":
        if plain.dtype.itemsize > (8 if plain.dtype.kind == "f" else 16):
            raise CodecError(f"An array of `{plain.dtype}` differs between machines. Use float64.")
        return with_one_nan(plain)
    return plain


def _order(value: Array) -> Literal["C", "F"]:
    return "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"


def with_one_nan(values: Array) -> Array:
    """Contiguous floats in which every NaN is the same one; the array itself if it has none.

    >>> with_one_nan(np.array([np.nan, -np.nan, -0.0])).tobytes() == np.array([np.nan, np.nan, -0.0]).tobytes()
    True
    """
    if not np.isnan(values).any():
        return values
    copy = values.copy("K")
    parts = copy.ravel("K").view(copy.real.dtype)
    parts[np.isnan(parts)] = np.nan
    return copy


def compare_arrays(old: Array, new: Array, tolerance: Tolerance) -> Comparison:
    """The first differing index, or the largest error where only finite floats differ."""
    if (old.dtype, old.shape, _order(old)) != (new.dtype, new.shape, _order(new)):
        return Comparison("schema", f"The array is another: {_shown(old)} → {_shown(new)}.")
    if canonical(old).tobytes() == canonical(new).tobytes():
        return EQUAL
    if old.dtype.names:
        found = {
            name: compare_arrays(np.asarray(old[name]), np.asarray(new[name]), tolerance) for name in old.dtype.names
        }
        for kind in ("values", "floats", "row_order", "within_tolerance"):
            for name, result in found.items():
                if result.kind == kind:
                    # Rows are whole records; a field that is in another order alone is other values.
                    shown = "values" if kind == "row_order" else kind
                    return Comparison(shown, f"Field `{name}`: {result.detail}", result.largest_error)
        return EQUAL
    return _compare_plain(old, new, tolerance)


def _shown(array: Array) -> str:
    return f"{array.dtype.str if array.dtype.names is None else array.dtype}{[*array.shape]}, {_order(array)} order"


def _compare_plain(old: Array, new: Array, tolerance: Tolerance) -> Comparison:
    a, b = np.atleast_1d(old), np.atleast_1d(new)
    is_float = a.dtype.kind in "fc"
    differs = _differing(a, b)
    index = tuple(int(i) for i in np.argwhere(differs)[0])
    place = f"[{', '.join(map(str, index))}]"
    text = f"{int(differs.sum()):,} of {a.size:,} values differ, first {place}: {a[index]} → {b[index]}."
    if is_float and np.isfinite(a[differs]).all() and np.isfinite(b[differs]).all():
        error = np.abs(b[differs] - a[differs])
        largest = float(error.max())
        near = error <= tolerance.atol + tolerance.rtol * np.abs(a[differs])
        if not tolerance.is_exact and bool(near.all()):
            return Comparison("within_tolerance", text, largest)
        return Comparison("row_order" if _same_rows(a, b) else "floats", text, largest)
    return Comparison("row_order" if _same_rows(a, b) else "values", text)


def _differing(a: Array, b: Array) -> Array:
    """Where two arrays of one type differ; NaN is like NaN and NaT like NaT, −0.0 is not like 0.0."""
    if a.dtype.kind == "c":
        return _differing(a.real, b.real) | _differing(a.imag, b.imag)
    differs: Array = a != b
    if a.dtype.kind == "f":
        other_zero: Array = (a == b) & (np.signbit(a) != np.signbit(b))
        return (differs & ~(np.isnan(a) & np.isnan(b))) | other_zero
    return differs & ~(np.isnat(a) & np.isnat(b)) if a.dtype.kind in "mM" else differs


def _same_rows(a: Array, b: Array) -> bool:
    def rows(array: Array) -> list[bytes]:
        data = canonical(array).tobytes()
        size = len(data) // len(array)
        return sorted(data[i : i + size] for i in range(0, len(data), size))

    return rows(a) == rows(b)
