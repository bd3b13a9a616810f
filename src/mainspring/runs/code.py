"""The code of a run as a tree of blobs, and what a script or notebook consists of.

The digest covers relative paths and contents only, so the same code has one digest wherever it is checked out.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec
from blake3 import blake3

from mainspring.secrets import redact
from mainspring.store import BlobStore
from mainspring.store.own_work import at_own_work

_PLAIN = 0o644
_NOT_OURS = frozenset(("site-packages", "dist-packages"))
_OURS = Path(__file__).parents[1]


class CodeEntry(msgspec.Struct, frozen=True):
    """One file of a code tree. `path` is relative, with `/` between its parts."""

    path: str
    blob: str
    size_bytes: int
    mode: int


class CodeTree(msgspec.Struct, frozen=True):
    """A recorded tree. `digest` says what the code is, `manifest` names the blob that lists it."""

    digest: str
    manifest: str
    entries: tuple[CodeEntry, ...]

    @property
    def blobs(self) -> tuple[str, ...]:
        """Every blob that the tree needs, its manifest included."""
        return (self.manifest, *sorted({entry.blob for entry in self.entries}))


def listed(entries: Iterable[CodeEntry]) -> tuple[tuple[CodeEntry, ...], bytes, str]:
    """Entries in order, the manifest that lists them, and the digest of what they are."""
    ordered = tuple(sorted(entries, key=lambda entry: entry.path))
    listing = [(entry.path, entry.blob) for entry in ordered]
    digest = blake3(b"code tree 1" + msgspec.json.encode(listing)).hexdigest()
    return ordered, msgspec.json.encode(ordered), digest


def keep_sources(sources: Mapping[str, bytes], blobs: BlobStore) -> CodeTree:
    """Keep sources by their relative paths as a tree."""
    entries, manifest, digest = listed(
        CodeEntry(path, blobs.put(data), len(data), _PLAIN) for path, data in sources.items()
    )
    return CodeTree(digest, blobs.put(manifest), entries)


@at_own_work()
def script_sources(root: Path, known: Mapping[str, bytes] | None = None) -> dict[str, bytes]:
    """The script or the cells that run in this process, and the modules below `root` that it has loaded, by path.

    Cells and the text of `python -c` are redacted; files are as they are, and those that are `known` from an earlier call
    are not read again: what was edited since is not what runs. Empty where Python was told by other means, as from a pipe.
    """
    main = vars(sys.modules["__main__"])
    found = dict(known or {})
    for file in _loaded(root, main):
        path = _path(file, root)
        if path not in found and (data := _read(file)) is not None:
            found[path] = data
    cells = main.get("In")
    if isinstance(cells, list) and "get_ipython" in main:
        text = "\n\n".join(f"# In [{number}]\n{cell}" for number, cell in enumerate(cells) if cell)
        found["notebook.py"] = redact(text).encode("utf-8", "backslashreplace")
    elif main.get("__file__") is None and "-c" in sys.orig_argv:
        text = "".join(sys.orig_argv[sys.orig_argv.index("-c") + 1 :][:1])
        found["command.py"] = redact(text).encode("utf-8", "backslashreplace")
    return found


def script_name(root: Path) -> str:
    """What runs in this process, for people: a script's path, a notebook's; empty if it has none."""
    main = vars(sys.modules["__main__"])
    notebook = main.get("__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME", "")
    file = main.get("__file__")
    if notebook or not isinstance(file, str):
        return _path(Path(notebook), root) if notebook else ""
    if file.startswith(_below(_OURS)) or Path(file).name == "mainspring":  # our command: it runs the project's modules
        others = (_path(other, root) for other in _loaded(root, main) if str(other) != os.path.abspath(file))
        return next(others, "")
    return _path(Path(file), root)


def _loaded(root: Path, main: Mapping[str, object]) -> Iterator[Path]:
    """The script and the project's modules, told by text: `Path` took 30 ms for the 1,800 modules below scikit-learn."""
    script, below, installed = main.get("__file__"), _below(root), (_below(_OURS), _below(sys.prefix))
    for module in sys.modules.copy().values():
        file = vars(module).get("__file__") if hasattr(module, "__dict__") else None
        if not isinstance(file, str) or not file.endswith(".py"):
            continue
        absolute = file if file.startswith(installed) else os.path.abspath(file)
        is_installed = absolute.startswith(installed) or not _NOT_OURS.isdisjoint(absolute.split(os.sep))
        if file == script or (absolute.startswith(below) and not is_installed):
            yield Path(os.path.abspath(file))


def _below(folder: Path | str) -> str:
    return os.path.join(folder, "")


def _path(file: Path, root: Path) -> str:
    path = Path(os.path.abspath(file))
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def _read(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError:  # removed since it was loaded: what runs can't be told any more
        return None
