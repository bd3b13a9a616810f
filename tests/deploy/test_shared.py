"""Shared libraries of the system that go into an image: what distributions are linked to, and the base needn't have."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import lightgbm
import pytest

from mainspring.deploy.shared import Linked, linked_of, shared_of
from mainspring.deploy.traced import mapped

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="images are of Linux")
MODULES = Path(sysconfig.get_path("platstdlib"))
LIGHTGBM = str(next(Path(lightgbm.__file__).parent.rglob("lib_lightgbm.*")))
SYSTEM = {Path(file).name.partition(".so")[0]: file for file in mapped() if "-packages" not in file}


def owner_of(file: str) -> str:
    return "lightgbm" if file == LIGHTGBM else ""


def test_a_library_of_the_system_that_a_distribution_is_linked_to_is_told_with_its_owner() -> None:
    (found,) = shared_of(mapped(), owner_of)
    assert (found.name, found.needed_by, str(found)) == ("libgomp.so.1", ("lightgbm",), "libgomp.so.1 of lightgbm")
    assert found.file.content == Path(SYSTEM["libgomp"])


def test_without_an_owner_nothing_is_needed() -> None:
    assert shared_of(mapped(), lambda _: "") == ()


def test_what_the_interpreter_is_linked_to_is_the_bases(tmp_path: Path) -> None:
    """A module that is linked to libssl, which is linked to libcrypto, as one of a distribution."""
    import _ssl

    own = Path(str(_ssl.__file__)).resolve()
    theirs = shutil.copy(own, tmp_path / "their.so")
    files = {file for file in mapped() if "-packages" not in file and "lib-dynload" not in file} | {str(theirs)}

    def owner(file: str) -> str:
        return "secure" if file == str(theirs) else ""

    assert [each.name.partition(".so")[0] for each in shared_of(files, owner)] == ["libcrypto", "libssl"]
    assert shared_of(files | {str(own)}, owner) == ()


@pytest.mark.parametrize("file", sorted([LIGHTGBM, *SYSTEM.values()]), ids=lambda file: Path(file).name)
def test_what_a_file_is_linked_to_is_what_the_loader_takes_with_it(file: str) -> None:
    said = subprocess.run(["ldd", file], capture_output=True, text=True, check=False).stdout
    places = dict(re.findall(r"(\S+) => (/\S+) \(0x", said))
    found, pending = set[str](), [file]
    while pending:
        needs = [name for name in linked_of(Path(pending.pop())).needs if name in places and name not in found]
        found.update(needs)
        pending.extend(places[name] for name in needs)
    assert found == places.keys()
    assert {name: linked_of(Path(place)).name for name, place in places.items()} == {name: name for name in places}


def test_what_is_no_shared_object_is_linked_to_nothing(tmp_path: Path) -> None:
    for number, content in enumerate((b"", b"\x7fELF", b"#!/bin/sh\n")):
        (tmp_path / str(number)).write_bytes(content)
        assert linked_of(tmp_path / str(number)) == Linked("", ())
