"""Every room stands in the contract of layers, where the contract can see it."""

from __future__ import annotations

import re

from tests.house.source import ROOT, SRC, python_files, relative, settings


def rows() -> list[list[str]]:
    contract = next(one for one in settings()["tool"]["importlinter"]["contracts"] if one["type"] == "layers")
    assert contract["exhaustive"]
    return [re.findall(r"\w+", row) for row in contract["layers"]]


def test_every_room_is_listed_once() -> None:
    listed = [room for row in rows() for room in row]
    built = {path.relative_to(SRC).parts[0].removesuffix(".py") for path in python_files("src")} - {"__init__"}
    assert len(listed) == len(set(listed))
    assert built - set(listed) == set()


def test_every_folder_of_code_is_a_package() -> None:
    """The contract doesn't see a folder without `__init__.py`, and an empty package is not a room."""
    folders = {path.parent for path in python_files("src")} - {SRC.parent}
    assert [relative(folder) for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []
    assert [relative(folder) for folder in sorted(folders) if len(list(folder.glob("*.py"))) < 2] == []


def test_the_architecture_names_every_room() -> None:
    page = ROOT / "ARCHITECTURE.md"
    text = page.read_text() if page.exists() else None
    rooms = {folder.name for folder in SRC.iterdir() if (folder / "__init__.py").exists()}
    assert text is None or {room for room in rooms if not re.search(rf"\b{room}\b", text)} == set()


def test_tests_mirror_the_source() -> None:
    rooms = {folder.name for folder in SRC.iterdir() if (folder / "__init__.py").exists()} - {"testing"}
    tested = {folder.name for folder in (ROOT / "tests").iterdir() if any(folder.rglob("test_*.py"))}
    assert rooms - tested == set()
