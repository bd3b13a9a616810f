"""Base images for tests: an empty one with the name of a Python, and one in which this interpreter really runs."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from mainspring.deploy.layers import write_layer
from mainspring.deploy.layout import CONFIG, MANIFEST, finish_layout, put_document
from mainspring.deploy.needs import own_platform
from mainspring.deploy.tree import File

MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"
PROGRAM = f"usr/local/bin/python{MINOR}"
_LIBRARY = re.compile(r"(?:=> )?(/\S+) \(0x")
_LEFT_OUT = (
    "test",
    "tests",
    "idlelib",
    "lib2to3",
    "ensurepip",
    "site-packages",
    "__pycache__",
    "tkinter",
    "turtledemo",
)
# What wheels of manylinux may expect of every system, and no more: libgomp.so.1 is not among it.
_EXPECTED = (
    "libstdc++.so.6",
    "libgcc_s.so.1",
    "libpthread.so.0",
    "librt.so.1",
    "libdl.so.2",
    "libutil.so.1",
)


def empty_base(folder: Path, *paths: str, variables: Sequence[str] = ()) -> Path:
    """A layout of an image that holds nothing but a file called Python, and empty files of these paths."""
    tree = {PROGRAM: File(b"", is_program=True), **{path: File(b"") for path in paths}}
    return _base(folder, tree, {"Env": ["PATH=/usr/local/bin:/usr/bin", *variables], "Labels": {"who": "base"}})


def running_base(folder: Path) -> Path:
    """A layout in which this machine's interpreter runs, with the shared libraries that it is linked to here."""
    tree = {PROGRAM: File(Path(sys.executable).resolve(), is_program=True)}
    library = Path(sysconfig.get_path("stdlib"))
    for path in library.rglob("*"):
        inside = path.relative_to(library)
        if path.is_file() and not set(inside.parts) & set(_LEFT_OUT) and path.suffix != ".a":
            tree[f"usr/local/lib/python{MINOR}/{inside.as_posix()}"] = File(path)
    programs = [Path(sys.executable).resolve(), *(library / "lib-dynload").glob("*.so")]
    tree |= {path.lstrip("/"): File(Path(path).resolve(), is_program=True) for path in _linked(programs)}
    return _base(folder, tree, {"Env": ["PATH=/usr/local/bin:/usr/bin", "LANG=C.UTF-8"]})


def _linked(programs: list[Path]) -> Iterator[str]:
    told = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=False).stdout
    found = set(_LIBRARY.findall(told))
    yield from sorted(found)
    folder = next(Path(path).parent for path in sorted(found) if "/libc.so" in path)
    yield from (str(folder / name) for name in _EXPECTED if (folder / name).exists())


def _base(folder: Path, tree: dict[str, File], config: dict[str, Any]) -> Path:
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    layer = write_layer(tree, blobs, "base")
    system, _, machine = own_platform().partition("/")
    document = {
        "os": system, "architecture": machine, "config": config,
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]}, "history": [{"created_by": "a test"}],
    }  # fmt: skip
    described = put_document(document, CONFIG, blobs)
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": [layer.descriptor]}
    finish_layout(folder, [put_document(manifest, MANIFEST, blobs)])
    return folder


def digest_of(data: bytes) -> str:
    """As descriptors name it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def document_of(path: Path) -> Any:
    """A JSON document of a layout."""
    return msgspec.json.decode(path.read_bytes())
