"""Pointer files: a few lines beside a folder (`photos.data.toml` beside `photos`) that pin its data to a commit of Git."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from mainspring.data._store import DatasetStore
from mainspring.data.trees.entries import checked_path
from mainspring.data.trees.gitignore import ignore, replace_text
from mainspring.data.trees.scan import unreadable
from mainspring.data.version import DatasetVersion
from mainspring.errors import InvalidError, NotFoundError, StorageError
from mainspring.workspace import Workspace, current_workspace

SUFFIX = ".data.toml"
_HEAD = "# Written by `mainspring data add`; `mainspring data checkout` restores what it names.\n"
_NOT_LOOKED_INTO = frozenset({"node_modules", "__pycache__"})


class Pointer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a pointer says: a version, by number, id and content, and what of it lies here.

    `kind` is what the pointer stands beside; `into` the folder of the tree that it holds, empty for the whole tree.
    """

    dataset: str
    version: int
    id: str
    content_digest: str
    files: int
    size_bytes: int
    kind: Literal["folder", "file"] = "folder"
    into: str = ""


def pointer_file(path: str | Path) -> Path:
    """The file that points for a folder or file.

    >>> pointer_file("data/photos").as_posix()
    'data/photos.data.toml'
    """
    path = Path(path)
    return path if path.name.endswith(SUFFIX) else path.with_name(f"{path.name}{SUFFIX}")


def pointed(file: Path) -> Path:
    """The folder or file that a pointer stands for."""
    return file.with_name(file.name.removesuffix(SUFFIX))


def write_pointer(path: Path, version: DatasetVersion, *, into: str = "") -> Path:
    """Write the pointer of a folder or file, in one step; the folder itself goes into `.gitignore` if Git is in use.

    The workspace in use is told where it lies, for `expect_unpointed`.

    Raises:
        StorageError: it can't be written.
    """
    version.expect("tree")
    pointer = Pointer(
        version.dataset, version.number, version.id, version.content_digest, version.files, version.size_bytes,
        "file" if path.is_file() else "folder", into.rstrip("/"),
    )  # fmt: skip
    file = pointer_file(path)
    lines = [f"{name} = {_toml(value)}\n" for name, value in msgspec.to_builtins(pointer).items() if value != ""]
    try:
        replace_text(file, _HEAD + "".join(lines))
        ignore(path)
    except OSError as error:
        raise unreadable(str(file), error) from error
    workspace = current_workspace()
    DatasetStore(workspace.database).note_pointer(version.dataset, _in_project(file, workspace))
    return file


def expect_unpointed(name: str, path: Path) -> None:
    """Go on only if no pointer of another folder or file of the project names a dataset; `path` has none.

    Raises:
        InvalidError: one does; it is named.
    """
    workspace = current_workspace()
    for told in DatasetStore(workspace.database).pointers(name):
        if _names(workspace.project.root / told, name):
            hint = (
                f"{told} names it. Say `--dataset NAME` for another one, or `--dataset {name}` to make this its next version; "
                "if this was moved from there, move the pointer along."
            )
            raise InvalidError("dataset", name, f"free for {path}", hint)


def _in_project(file: Path, workspace: Workspace) -> str:
    """Where a file lies in the project, so that it is found in another clone, too; else its absolute path."""
    place, root = file.parent.resolve() / file.name, workspace.project.root.resolve()
    return (place.relative_to(root) if place.is_relative_to(root) else place).as_posix()


def _names(file: Path, name: str) -> bool:
    try:
        return read_pointer(file).dataset == name
    except (NotFoundError, InvalidError, StorageError):
        return False


def read_pointer(file: Path) -> Pointer:
    """What a pointer file says.

    Raises:
        NotFoundError: there is none.
        InvalidError: it is none, or is half of one.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NotFoundError("pointer", str(file), hint="`mainspring data add` writes one.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(str(file), f"it can't be read ({error})") from error
    try:
        pointer = msgspec.convert(tomllib.loads(text), Pointer)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        hint = "Take it from Git again, or add the data anew."
        raise InvalidError(str(file), str(error), "a pointer as `mainspring data add` writes it", hint) from error
    if pointer.into:
        checked_path(pointer.into, f"{file}, into")
    return pointer


def find_pointers(below: Path) -> list[Path]:
    """Every pointer in a folder and below, sorted; hidden folders, and those that pointers stand for, are not looked into."""
    return sorted(_found(below))


def pinned_version(pointer: Pointer, file: Path) -> DatasetVersion:
    """The version that a pointer names, in the workspace in use: by its id, else any of the dataset with its content.

    `file` is where the pointer was read from, for errors.

    Raises:
        NotFoundError: this workspace has neither.
        RemovedError: the dataset was removed.
        InvalidError: the version has other content than the pointer says.
    """
    from mainspring.data import get_dataset_version

    try:
        version = get_dataset_version(f"{pointer.dataset}/{pointer.id}")
    except NotFoundError:
        try:
            version = get_dataset_version(f"{pointer.dataset}/{pointer.content_digest}")
        except NotFoundError as error:
            if record := DatasetStore(current_workspace().database).by_id(pointer.id):
                record.expect("tree")  # of a dataset that was removed the records are left
            name = f"{pointer.dataset}/{pointer.version} with the content {pointer.content_digest[:12]}"
            hint = (
                f"{file} names it. It was made in another workspace: point this project at that one, or copy the version "
                "here."
            )
            raise NotFoundError("version", name, hint=hint) from error
    if version.content_digest != pointer.content_digest:
        given = pointer.content_digest[:12]
        raise InvalidError(f"{file}, content_digest", given, f"that of {version}", "The pointer was edited.")
    return version


def _found(folder: Path) -> Iterator[Path]:
    try:
        with os.scandir(folder) as listing:
            entries = {entry.name: entry for entry in listing}
    except OSError as error:
        raise unreadable(str(folder), error) from error
    for name, entry in entries.items():
        if name.endswith(SUFFIX) and entry.is_file():
            yield folder / name
        elif (
            not name.startswith(".")
            and name not in _NOT_LOOKED_INTO
            and f"{name}{SUFFIX}" not in entries
            and entry.is_dir(follow_symlinks=False)
        ):
            yield from _found(folder / name)


def _toml(value: object) -> str:
    # A JSON string is a TOML string, but for the character DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
