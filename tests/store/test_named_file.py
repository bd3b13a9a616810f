"""What stops a file that a person named from being written is said in a line, and nothing else is taken for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mainspring.errors import CorruptBlobError, StorageError
from mainspring.store.named_file import named_file, write_named


def test_a_file_is_written_and_replaced(tmp_path: Path) -> None:
    assert write_named(tmp_path / "page.html", "Zoë").read_bytes() == "Zoë".encode()
    assert write_named(str(tmp_path / "page.html"), b"x").read_bytes() == b"x"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no/page.html", r"No such file or directory\)\. There is no folder `.*/no`\."),
        ("a-file/page.html", "There is no folder `.*/a-file`"),
        ("folder", r"it can't be written \(Is a directory\)\.$"),
    ],
)
def test_what_can_not_be_written_is_named_with_the_reason(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "a-file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match=said) as raised:
        write_named(tmp_path / name, "x")
    assert raised.value.place == str(tmp_path / name)


def test_what_is_wrong_with_the_content_is_not_blamed_on_the_file(tmp_path: Path) -> None:
    with pytest.raises(CorruptBlobError), named_file(tmp_path / "copy"):
        raise CorruptBlobError("b1", "b2", "blobs")
