"""Trees as a read-only file system of fsspec, so that pandas, PyArrow and torch read versions without a checkout.

`mainspring://cards@3/a.png` is a file of version 3; REF is what `Dataset.version` takes, left out the newest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO, TypeVar

from mainspring.data.trees.entries import folders_of
from mainspring.data.trees.reading import TreeReader, tree_file
from mainspring.data.version import DatasetVersion
from mainspring.errors import InvalidError, MissingExtraError, NotAllowedError, NotFoundError
from mainspring.workspace import Workspace, current_workspace, using

try:
    from fsspec.spec import AbstractFileSystem
except ImportError as error:
    raise MissingExtraError("fsspec", "fsspec", "Reading a tree as a file system") from error


Read = TypeVar("Read")


class MainspringFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """The file system of the workspace in use, or of the one at `project`.

    A moving reference (`cards`, `cards@tag`) is looked up once for each file system and stays what it was.
    """

    protocol = "mainspring"
    root_marker = ""
    cachable = False  # the workspace in use may be another next time

    def __init__(self, project: str = "", workspace: Workspace | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._workspace = workspace or (Workspace.open(project, create=False) if project else current_workspace())
        self._versions: dict[str, DatasetVersion] = {}

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """What lies in a folder, as fsspec describes it; in the root, the datasets that are trees."""
        path = self._strip_protocol(path)
        found = self._roots() if not path else self._listed(path)
        return found if detail else [each["name"] for each in found]

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """One file or folder. Raises `FileNotFoundError`."""
        path = self._strip_protocol(path)
        if not path:
            return _folder("")
        reference, _slash, inner = path.partition("/")
        tree = self._in_tree(path, lambda tree: tree)
        if inner in tree.entries:
            return _file(reference, tree, inner)
        if not inner or inner in folders_of(tree.entries):
            return _folder(path)
        raise FileNotFoundError(f"{self.protocol}://{path}")

    def _open(self, path: str, mode: str = "rb", **_: Any) -> BinaryIO:
        if mode != "rb":
            raise NotAllowedError(
                f"`{path}` can't be opened to write: versions are immutable. Use `dataset(…).add(…)`."
            )
        path = self._strip_protocol(path)
        try:
            return self._in_tree(path, lambda tree: tree.open(path.partition("/")[2]))
        except InvalidError as error:
            raise FileNotFoundError(str(error)) from error

    def _roots(self) -> list[dict[str, Any]]:
        from mainspring.data import list_datasets

        return [_folder(each.dataset) for each in list_datasets(self._workspace) if each.kind == "tree"]

    def _listed(self, path: str) -> list[dict[str, Any]]:
        reference, _slash, inner = path.partition("/")
        tree = self._in_tree(path, lambda tree: tree)
        if inner in tree.entries:
            return [_file(reference, tree, inner)]
        start = f"{inner}/" if inner else ""
        below = [name[len(start) :] for name in tree.entries if name.startswith(start)]
        if start and not below:
            raise FileNotFoundError(f"{self.protocol}://{path}")
        folders = sorted({name.partition("/")[0] for name in below if "/" in name})
        files = sorted(name for name in below if "/" not in name)
        found = [_folder(f"{path}/{name}") for name in folders]
        listed = (_file(reference, tree, start + name) for name in files)
        return found + [file for file in listed if file["type"] == "file"]

    def _in_tree(self, path: str, read: Callable[[TreeReader], Read]) -> Read:
        from mainspring.data import get_dataset_version

        reference = path.partition("/")[0]
        version = self._versions.get(reference)
        if version is None:
            try:
                version = get_dataset_version(reference.replace("@", "/", 1), self._workspace)
            except NotFoundError as error:
                raise FileNotFoundError(f"{self.protocol}://{path}: {error}") from error
            version.expect("tree")
            self._versions[reference] = version
        with using(self._workspace):
            return version.in_tree(read)


def _file(reference: str, tree: TreeReader, inner: str) -> dict[str, Any]:
    file = tree_file(tree.entries[inner])
    told = {"blake3": file.digest, "media_type": file.media_type, "executable": file.executable}
    try:
        told |= {"size": tree.entry(inner).size_bytes, "type": "file"}
    except InvalidError:
        told |= {"size": 0, "type": "other"}  # a link to a folder, or to nothing, which a listing leaves out
    return {"name": f"{reference}/{inner}", **told}


def _folder(name: str) -> dict[str, Any]:
    return {"name": name, "size": 0, "type": "directory"}
