"""Media types by name and first bytes; profiles with broken images named; thumbnails on one sheet."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from mainspring.data import dataset
from mainspring.data.files import TreeProfile
from mainspring.data.trees.profile import THUMBNAILS, tree_profile
from mainspring.errors import InvalidError
from mainspring.workspace import Workspace
from tests.data.trees.folders import content


def image(width: int, height: int, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (width % 256, height % 256, 7)).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    whole = image(40, 30)
    return content(
        tmp_path / "pictures",
        {
            "good.png": whole,
            "photo.jpg": image(64, 64, "JPEG"),
            "really-a-gif.png": image(5, 5, "GIF"),
            "half.png": whole[: len(whole) // 2],
            "lies.jpg": b"no image at all",
            "notes.txt": b"text",
            "unnamed": b"%PDF-1.7 and so on",
        },
    )


def test_media_types_are_those_of_the_bytes_where_they_tell(workspace: Workspace, pictures: Path) -> None:
    version = dataset("pictures").add(pictures)
    assert {file.path: file.media_type for file in version.list_files()} == {
        "good.png": "image/png",
        "half.png": "image/png",
        "lies.jpg": "image/jpeg",
        "notes.txt": "text/plain",
        "photo.jpg": "image/jpeg",
        "really-a-gif.png": "image/gif",
        "unnamed": "application/pdf",
    }
    again = dataset("again").add(pictures)  # known by its stamp or read again, the types are the same
    assert [file.media_type for file in again.list_files()] == [file.media_type for file in version.list_files()]


def test_a_profile_counts_and_names_broken_images(workspace: Workspace, pictures: Path) -> None:
    version = dataset("pictures").add(pictures)
    profile = version.profile()
    assert isinstance(profile, TreeProfile)
    assert (profile.files, profile.size_bytes) == (7, version.size_bytes)
    assert {each.media_type: each.files for each in profile.media} == {
        "image/png": 2, "image/jpeg": 2, "image/gif": 1, "text/plain": 1, "application/pdf": 1,
    }  # fmt: skip
    assert sum(each.files for each in profile.sizes) == 7
    assert profile.largest[0].size_bytes == max(file.size_bytes for file in version.list_files())
    assert profile.images_checked
    assert [each.path for each in profile.broken_images] == ["half.png", "lies.jpg"]
    assert all(each.problem and "0x" not in each.problem for each in profile.broken_images)
    assert profile.image_sizes == {"40×30": 1, "5×5": 1, "64×64": 1}
    with Image.open(io.BytesIO(profile.contact_sheet)) as sheet:
        assert (sheet.format, sheet.size) == ("PNG", (300, 100))


def test_a_profile_is_computed_once_for_a_content(workspace: Workspace, pictures: Path) -> None:
    version = dataset("pictures").add(pictures)
    first = tree_profile(version)
    (kept,) = (workspace.cache / "profiles").iterdir()
    before = kept.stat().st_mtime_ns
    assert tree_profile(dataset("other").add(pictures)) == first
    assert kept.stat().st_mtime_ns == before
    kept.write_bytes(b"spoilt")
    assert tree_profile(version) == first


def test_many_images_are_shown_by_an_even_choice(workspace: Workspace, tmp_path: Path) -> None:
    root = content(tmp_path / "x", {f"{n:03}.png": image(n % 20 + 1, 9) for n in range(THUMBNAILS + 40)})
    profile = tree_profile(dataset("many").add(root))
    with Image.open(io.BytesIO(profile.contact_sheet)) as sheet:
        assert sheet.size == (800, 800)
    assert sum(profile.image_sizes.values()) == THUMBNAILS + 40


def test_a_table_has_no_tree_profile(workspace: Workspace) -> None:
    import polars as pl

    with pytest.raises(InvalidError, match="is not a tree"):
        tree_profile(dataset("t").commit(pl.DataFrame({"a": [1]})))


@pytest.mark.one_backend("it is about a missing library")
def test_without_pillow_images_are_counted_but_not_looked_into(workspace: Workspace, pictures: Path) -> None:
    dataset("pictures").add(pictures)
    code = """
import sys
sys.modules["PIL"] = None
from mainspring.data import get_dataset_version
from mainspring.data.trees.profile import tree_profile
from mainspring.workspace import Workspace, using
with Workspace.open(overrides={"database": sys.argv[1], "blobs": sys.argv[2]}) as workspace, using(workspace):
    profile = tree_profile(get_dataset_version("pictures"))
    print(profile.files, profile.images_checked, profile.broken_images, profile.contact_sheet)
"""
    settings = workspace.project.settings
    ran = subprocess.run(
        [sys.executable, "-c", code, settings.database, settings.blobs], cwd=pictures.parent, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert ran.stdout.strip() == "7 False () b''"
