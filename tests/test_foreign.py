"""Whatever the bytes of a document are, they are read or refused with one kind of error."""

from __future__ import annotations

import codecs
import json
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.foreign import read_foreign

DOCUMENTS = st.recursive(
    st.none() | st.integers(-9, 9) | st.text(max_size=4), lambda each: st.dictionaries(st.text(), each)
)


@pytest.mark.parametrize(
    "wrong", [b'{"fli\xf5ht": 1}', '{"Verspätung": 3}'.encode("latin-1"), b'"\xf5"', b"[" * 100_000, b""]
)
def test_what_is_wrong_is_a_value_error(wrong: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_foreign(wrong)
    with pytest.raises(ValueError, match=r"."):
        read_foreign(wrong, msgspec.json.Decoder(dict[str, int]).decode)


@given(DOCUMENTS, st.integers(0, 255), st.data())
def test_a_document_with_another_byte_is_read_or_refused(document: object, byte: int, data: st.DataObject) -> None:
    text = bytearray(json.dumps(document, ensure_ascii=False).encode())
    text[data.draw(st.integers(0, len(text) - 1))] = byte
    with suppress(ValueError):
        read_foreign(bytes(text))


@given(DOCUMENTS)
def test_a_byte_order_mark_is_passed_over(document: object) -> None:
    assert read_foreign(codecs.BOM_UTF8 + json.dumps(document).encode()) == document
