"""Arrays: what a step can tell apart has two digests, and what has one digest comes back as one array."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

from mainspring.artifacts import Tolerance, compare, content_digest, load, save
from mainspring.errors import CodecError
from mainspring.testing.codecs import FolderBlobs, check_codec_laws, check_immutability

dtypes = hnp.scalar_dtypes().filter(lambda d: d.kind in "biufcmMUS" and d.itemsize <= 16 and d != np.longdouble)
arrays = hnp.arrays(dtypes, hnp.array_shapes(min_dims=0, min_side=0, max_dims=3, max_side=4))


@given(arrays)
def test_arrays_keep_the_laws(shared_blobs: FolderBlobs, array: np.ndarray) -> None:
    check_codec_laws(None, [array], shared_blobs)
    check_immutability(array, shared_blobs)


def told(array: np.ndarray) -> tuple[object, ...]:
    """All that a step can tell of a stored array, of whose NaNs there is one."""
    return array.dtype.str, array.shape, array.strides, array.tobytes("A"), array.ravel("K").tobytes()


def views(array: np.ndarray) -> Iterator[np.ndarray]:
    """Arrays much like one, in other layouts, byte orders and signs."""
    yield from (array, array.T, np.copy(array, "F"), array.astype(array.dtype.newbyteorder()))
    if array.dtype.kind in "fc":
        yield -array
    if array.ndim:
        yield from (array[::-1], np.repeat(array, 2, 0)[::2])


@given(arrays)
def test_arrays_of_one_digest_come_back_as_one(shared_blobs: FolderBlobs, array: np.ndarray) -> None:
    seen: dict[str, tuple[object, ...]] = {}
    for view in views(array):
        digest, encoded, _ = save(view, shared_blobs)
        again = told(load(encoded, shared_blobs))
        assert seen.setdefault(digest, again) == again
    assert len(set(seen.values())) == len(seen)


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [
        (np.array([0.0]), np.array([-0.0]), "floats"),
        (np.array([complex(0.0, 0.0)]), np.array([complex(0.0, -0.0)]), "floats"),
        (np.ones((2, 3)), np.asfortranarray(np.ones((2, 3))), "schema"),
        (np.arange(3, dtype="<f8"), np.arange(3, dtype=">f8"), "schema"),
        (np.zeros(1, [("a", [("b", ">f4")])]), np.zeros(1, [("a", [("b", "<f4")])]), "schema"),
    ],
)
def test_what_a_step_can_tell_apart_has_two_digests(
    one: np.ndarray, other: np.ndarray, kind: str, blobs: FolderBlobs
) -> None:
    assert content_digest(one) != content_digest(other)
    assert compare(one, other).kind == kind
    for array in (one, other):
        assert told(load(save(array, blobs)[1], blobs)) == told(array)


def test_an_array_in_neither_order_is_one_in_c_order() -> None:
    array = np.arange(24.0).reshape(2, 3, 4)
    for view in (array[:, ::2], array.transpose(1, 0, 2), array[::-1]):
        assert content_digest(view) == content_digest(view.copy("C"))
        assert compare(view, view.copy("C")).kind == "equal"


def test_distinct_arrays_have_distinct_digests(blobs: FolderBlobs) -> None:
    record = np.zeros(3, dtype=[("a", "i1"), ("b", "f8")])
    other = record.copy()
    other["b"][1] = 1
    values = [
        np.zeros(4),
        np.zeros((2, 2)),
        np.zeros(4, "f4"),
        np.zeros(4, "i8"),
        np.zeros(0),
        np.array(0.0),
        np.ones(4),
        record,
        other,
        np.zeros(3, []),
        np.zeros(3, "V0"),
        np.zeros(1, [("a", "f4")]),
        np.zeros(1, [("a", "f4", (1,))]),
        np.zeros(1, [(("title", "a"), "f4")]),
        np.zeros(1, np.dtype([("a", "i1"), ("b", "f8")], align=True)),
        np.zeros(1, [("a", "i1"), ("b", "f8")]),
        np.zeros(2, {"names": ["a", "b"], "formats": ["i4", "i2"], "offsets": [4, 12], "itemsize": 20}),
        np.zeros(1, "S2"),
        np.zeros(1, "S3"),
        np.zeros(1, "U2"),
        np.zeros(1, "V2"),
        np.zeros(1, "M8[D]"),
        np.zeros(1, "M8[2D]"),
        np.zeros(1, "m8[D]"),
        np.array(["NaT"], "m8[D]"),
        np.array([complex(np.nan, 1)]),
        np.array([complex(1, np.nan)]),
        np.asfortranarray(np.ones((2, 3))),
        np.zeros(0, "f4"),
        np.zeros((0, 3)),
        np.zeros((3, 0)),
    ]
    check_codec_laws(
        None,
        values,
        blobs,
        same=lambda old, new: old.dtype == new.dtype and old.flags.f_contiguous == new.flags.f_contiguous,
    )


def test_arrays_of_one_digest_are_one_blob_and_compare_as_equal(blobs: FolderBlobs) -> None:
    pairs = [
        (np.frombuffer(b"\x00\x02", "?"), np.array([False, True])),
        (np.array([0xFFF8_0000_0000_0123], "u8").view("f8"), np.array([np.nan])),
        (np.array([complex(1, -np.nan)]), np.array([complex(1, np.nan)])),
        (np.asfortranarray(np.full((2, 3), -np.nan)), np.asfortranarray(np.full((2, 3), np.nan))),
    ]
    for old, new in pairs:
        assert save(old, blobs)[:2] == save(new, blobs)[:2]
        assert compare(old, new).kind == "equal"


def test_padding_between_fields_is_never_looked_at_nor_kept(blobs: FolderBlobs) -> None:
    aligned = np.dtype([("a", "i1"), ("b", "f8")], align=True)
    one = np.frombuffer(b"\x01" + b"\x00" * 15, aligned)
    other = np.frombuffer(b"\x01" + b"\xff" * 7 + b"\x00" * 8, aligned)
    assert save(one, blobs)[:2] == save(other, blobs)[:2]
    assert compare(one, other).kind == "equal"


def test_a_decoded_array_can_be_changed(blobs: FolderBlobs) -> None:
    encoded = save(np.arange(3), blobs)[1]
    load(encoded, blobs)[0] = 9
    assert load(encoded, blobs)[0] == 0


REFUSED = [
    np.array([object()]),
    np.ma.masked_array([1], [True]),
    np.zeros(1, np.longdouble),
    np.zeros(1, np.clongdouble),
    np.zeros(1, [("a", np.longdouble)]),
    np.zeros(1, np.dtypes.StringDType()),
    np.zeros(1, np.dtype("f4", metadata={"unit": "m"})),
    np.zeros(1, np.dtype((np.record, [("a", "i4")]))),
    np.zeros(1, [("x", np.dtype((np.record, [("a", "i4")])))]),
    np.zeros(1, {"names": ["a", "b"], "formats": ["i4", "i2"], "offsets": [0, 0]}),
    np.zeros(1, {"names": ["a", "b"], "formats": ["i4", "i2"], "offsets": [4, 0]}),
]


@pytest.mark.parametrize("array", REFUSED, ids=lambda array: str(array.dtype)[:30])
def test_what_is_not_kept_is_refused(array: np.ndarray) -> None:
    with pytest.raises(CodecError):
        content_digest(array)


def test_comparison_names_the_first_index() -> None:
    old = np.arange(6.0).reshape(2, 3)
    new = old.copy()
    new[1, 2] += 1e-9
    assert compare(old, new).kind == "floats"
    assert "first [1, 2]" in compare(old, new).detail
    assert compare(old, new, Tolerance(atol=1e-6)).kind == "within_tolerance"
    assert compare(old, old[::-1]).kind == "row_order"
    assert compare(old, old.astype("f4")).kind == "schema"
    assert compare(np.array([1, 2]), np.array([1, 3])).kind == "values"
    assert compare(np.array([1.0, 2.0]), np.array([1.0, np.nan])).kind == "values"
