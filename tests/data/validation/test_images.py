"""Images: what can't be read, what is too small, dark or of another mode, and what looks like another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image, ImageEnhance

from mainspring.data import check, dataset
from mainspring.data.files import TreeProfile
from mainspring.data.validation.images import check_images, image_table
from mainspring.errors import InvalidError, NotFoundError
from mainspring.workspace import Workspace


@pytest.fixture
def cards(tmp_path: Path) -> Path:
    folder = tmp_path / "cards"
    folder.mkdir()
    random = np.random.default_rng(0)
    for name in ("a", "c"):
        pixels = np.kron(random.integers(0, 255, (8, 9), dtype=np.uint8), np.ones((8, 8), dtype=np.uint8))
        Image.fromarray(pixels).convert("RGB").save(folder / f"{name}.png")
    with Image.open(folder / "a.png") as image:
        ImageEnhance.Brightness(image).enhance(0.9).resize((36, 32)).save(folder / "b.jpg", quality=80)
    Image.new("L", (100, 50), 3).save(folder / "dark.png")
    (folder / "half.png").write_bytes((folder / "c.png").read_bytes()[:90])
    (folder / "none.PNG").write_bytes(b"no image")
    (folder / "notes.txt").write_text("not looked at")
    return folder


def test_each_image_is_a_row(cards: Path) -> None:
    frame = image_table(cards)
    assert frame["file"].to_list() == ["a.png", "b.jpg", "c.png", "dark.png", "half.png", "none.PNG"]
    assert frame["like"].to_list() == [None, "a.png", None, None, None, None]
    assert frame.row(3, named=True) | {"hash": 0} == {
        "file": "dark.png", "problem": None, "width": 100, "height": 50, "mode": "L", "brightness": 3 / 255, "hash": 0,
        "like": None,
    }  # fmt: skip
    assert frame["problem"].is_null().to_list() == [True] * 4 + [False] * 2


def test_a_report_names_the_files(cards: Path) -> None:
    wanted = [check.between("width", 40), check.is_in("mode", ["RGB"]), check.between("brightness", 0.05, 0.95)]
    report = check_images(cards, wanted, subject="cards")
    assert {result.check.name: [row["file"] for row in result.examples] for result in report.failed} == {
        "images can be read": ["half.png", "none.PNG"],
        "no look-alikes": ["b.jpg"],
        "width at least 40": ["b.jpg"],
        "mode in [RGB]": ["dark.png"],
        "brightness between 0.05 and 0.95": ["dark.png"],
    }
    assert not report.passed


def test_a_version_of_a_tree_is_looked_at_in_the_store(workspace: Workspace, cards: Path) -> None:
    version = dataset("cards").add(cards)
    report = check_images(version)
    assert report.subject == "cards/1"
    assert image_table(version).equals(image_table(cards))


def test_exact_copies_alone_and_none(cards: Path) -> None:
    (cards / "z.png").write_bytes((cards / "a.png").read_bytes())
    assert image_table(cards, distance=0).filter(file="z.png")["like"].to_list() == ["a.png"]
    assert len(check_images(cards, distance=None).results) == 1
    assert image_table(cards, distance=None)["like"].null_count() == 7


def test_images_without_the_suffix_of_one_are_looked_at_as_in_a_profile(workspace: Workspace, cards: Path) -> None:
    """They were picked by suffix: broken ones that a profile named passed."""
    (cards / "sub").mkdir()
    (cards / "sub" / "x.jfif").write_bytes(b"\xff\xd8\xff broken")
    (cards / "unnamed").write_bytes((cards / "a.png").read_bytes()[:60])
    (cards / "page.png").write_bytes(b"%PDF-1.7 and so on")
    (cards / "sub" / "link").symlink_to("../half.png")
    version = dataset("cards").add(cards)
    profile = version.profile()
    assert isinstance(profile, TreeProfile)
    broken = ["half.png", "none.PNG", "page.png", "sub/x.jfif", "unnamed"]
    assert [each.path for each in profile.broken_images] == broken
    for source in (version, cards):
        frame = image_table(source)
        assert frame.filter(pl.col("problem").is_not_null())["file"].to_list() == broken
        assert frame.height == 9
        assert not check_images(source).passed


def test_every_earlier_look_alike_agrees_with_an_obvious_search(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    for number in range(30):
        pixels = random.integers(0, 2, (2, 3), dtype=np.uint8) * 255
        Image.fromarray(np.kron(pixels, np.ones((8, 6), dtype=np.uint8))).save(tmp_path / f"{number:02}.png")
    frame = image_table(tmp_path, distance=9)
    names, hashes = frame["file"].to_list(), frame["hash"].to_list()
    expected = [
        next((names[n] for n in range(at) if (hashes[n] ^ hashes[at]).bit_count() <= 9), None) for at in range(30)
    ]
    assert frame["like"].to_list() == expected


def test_nothing_to_look_at(tmp_path: Path) -> None:
    assert check_images(tmp_path).passed
    assert image_table(tmp_path).height == 0
    with pytest.raises(NotFoundError):
        image_table(tmp_path / "none")
    with pytest.raises(InvalidError, match="bits"):
        image_table(tmp_path, distance=65)
