"""`mainspring data add`, `checkout`, `status`, `open`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from mainspring.cli import text
from mainspring.cli.app import Command, Invocation
from mainspring.cli.datasets.bar import progress_bar
from mainspring.cli.failures import end_failed
from mainspring.errors import MainspringError

if TYPE_CHECKING:
    from mainspring.data.files import Checkout, Progress
    from mainspring.data.trees.pointer import Pointer
    from mainspring.data.trees.status import TreeStatus

_MOST_PATHS = 20
_PATH = click.Path(path_type=Path)
T = TypeVar("T")


class _Failure(msgspec.Struct, frozen=True):
    """A pointer whose data could not be looked at or restored, and why."""

    pointer: str
    code: str
    message: str


@click.command(cls=Command)
@click.argument("path", type=_PATH)
@click.option("--dataset", "name", metavar="NAME", help="The dataset; else that of the pointer, else PATH's own name.")
@click.option("--note", default="", help="Why, for people.")
@click.option("--source", multiple=True, metavar="PATH|URL", help="Where it came from; may be given several times.")
@click.option("--update", is_flag=True, help="Add to the newest version's files instead of replacing them.")
@click.option("--into", default="", metavar="FOLDER", help="The folder of the tree to put it in.")
@click.option("--no-pointer", is_flag=True, help="Write no pointer file, and leave .gitignore alone.")
@click.pass_obj
def add(
    invocation: Invocation, path: Path, name: str | None, note: str, source: tuple[str, ...], update: bool, into: str,
    no_pointer: bool,
) -> None:  # fmt: skip
    """Make a version of a file or folder, and write a pointer beside it.

    The pointer (PATH.data.toml) is for Git, which then ignores PATH itself. Files that didn't change since are not read. A
    dataset that the pointer of another path names is taken only if --dataset says so.
    """
    from mainspring.data import dataset
    from mainspring.data.trees.pointer import pointer_file, read_pointer, write_pointer
    from mainspring.errors import InvalidError

    workspace = invocation.start_in(invocation.project)
    path = path if path.name not in ("", "..") else path.resolve()  # `.` has no name to put a pointer beside
    if not no_pointer and workspace.project.root.resolve().is_relative_to(path.resolve()):
        hint = "Add a folder below it, or say `--no-pointer`."
        raise InvalidError("PATH", str(path), "in the project, where a pointer could stand beside it", hint)
    file = pointer_file(path)
    pointer = read_pointer(file) if file.exists() else None
    handle = dataset(name or (pointer.dataset if pointer else _own_name(path)), workspace)
    into = into or (pointer.into if pointer else "")
    before = next(iter(handle.versions()), None)
    if before is not None and before.kind != "tree":
        hint = f"It is a {before.kind}; choose another: `--dataset NAME`."
        raise InvalidError("dataset", handle.name, "a tree", hint)
    with progress_bar("adding", invocation) as progress:
        version = handle.add(
            path, note=note, source=source, mode="update" if update else "replace", into=into, progress=progress
        )
    written = None if no_pointer else write_pointer(path, version, into=into)
    is_new = before is None or before.id != version.id
    held = f"{version.amount}, {text.size(version.size_bytes)}, content {text.short(version.content_digest)}"
    lines = [
        f"{text.bold(str(version))}  {held}{'' if is_new else '  (unchanged)'}",
        *([f"pointer: {written}"] if written else []),
    ]
    document = {"dataset": msgspec.to_builtins(version), "is_new": is_new, "pointer": str(written) if written else None}
    invocation.show(document, "\n".join(lines))


def _own_name(path: Path) -> str:
    """The dataset of a path that has no pointer: its own name, if that of no other path is the same."""
    from mainspring.data.trees.pointer import expect_unpointed

    name = path.resolve().stem if path.is_file() else path.resolve().name
    expect_unpointed(name, path)
    return name


@click.command(cls=Command)
@click.argument("what", default="", metavar="[DATASET[/REF] | PATH]")
@click.argument("folder", required=False, type=_PATH, metavar="[DIR]")
@click.option("--force", is_flag=True, help="Overwrite files that were changed.")
@click.option("--path", "paths", multiple=True, metavar="GLOB", help="Only these files; may be given several times.")
@click.pass_obj
def checkout(invocation: Invocation, what: str, folder: Path | None, force: bool, paths: tuple[str, ...]) -> None:
    """Write a version's files into a folder.

    Without arguments, what every pointer here and below names. With the PATH of one, that. With a dataset, the version of
    REF (else the newest) into DIR (else a folder of the dataset's name). Changed files that it would write over are named,
    and then nothing is written into that folder without `--force`; those that the version lacks are left alone. What can't
    be written is named, and all else is written.
    """
    from mainspring.data import get_dataset_version
    from mainspring.data.trees.pointer import find_pointers, pointer_file
    from mainspring.workspace import using

    workspace = invocation.workspace
    named = pointer_file(what) if what else None
    is_pointer = named is not None and folder is None and named.exists()
    failed: list[_Failure] = []
    with using(workspace), progress_bar("writing", invocation) as progress:
        if what and not is_pointer:
            version = get_dataset_version(what, workspace)
            target = folder or Path(version.dataset)
            done = [(str(version), version.checkout(target, force=force, paths=paths or None, progress=progress))]
        else:
            files = [named] if named is not None else find_pointers(Path())
            done, failed = _each(files, lambda file: _restored(file, force, paths, progress))
    document = [{"version": version, **msgspec.to_builtins(each)} for version, each in done]
    invocation.show({"checkouts": document, "failed": msgspec.to_builtins(failed)}, lambda: _checkouts(done))
    end_failed(invocation, ((each.pointer, each.message) for each in failed))


@click.command(cls=Command)
@click.argument("path", default=".", type=_PATH, metavar="[PATH]")
@click.pass_obj
def status(invocation: Invocation, path: Path) -> None:
    """Say what differs from the versions that pointers name: of PATH, or here and below."""
    from mainspring.data.trees.pointer import find_pointers, pointer_file

    workspace = invocation.workspace
    named = pointer_file(path.resolve()) if path != Path() else None
    files = [named] if named is not None and (named.exists() or not path.is_dir()) else find_pointers(path)
    found, failed = _each(files, lambda file: (file, *_state(file, workspace)))
    document = [
        {"pointer": str(file), "dataset": pointer.dataset, "version": pointer.version, **msgspec.to_builtins(each)}
        for file, pointer, each in found
    ]
    invocation.show({"status": document, "failed": msgspec.to_builtins(failed)}, lambda: _statuses(found))
    end_failed(invocation, ((each.pointer, each.message) for each in failed))


@click.command("open", cls=Command)
@click.argument("reference", metavar="DATASET[/REF]")
@click.argument("file", metavar="FILE")
@click.option("-o", "--output", type=_PATH, help="Write to this file instead of standard output.")
@click.pass_obj
def open_file(invocation: Invocation, reference: str, file: str, output: Path | None) -> None:
    """Print one file of a version, verified, without a checkout.

    With --json, its path, digest, size and media type are printed instead.
    """
    from mainspring.data import get_dataset_version
    from mainspring.data.trees.reading import TreeReader, tree_file

    workspace = invocation.workspace
    version = get_dataset_version(reference, workspace)
    version.expect("tree")
    with TreeReader(workspace.blobs, version.manifest, str(version)) as reader:
        found = tree_file(reader.entry(file))
        if output is not None:
            from mainspring.store.named_file import named_file

            with reader.open(file) as source, named_file(output) as target:
                shutil.copyfileobj(source, target, 1 << 20)
        elif not invocation.json:
            with reader.open(file) as source:
                shutil.copyfileobj(source, sys.stdout.buffer, 1 << 20)
            sys.stdout.buffer.flush()
            return
    written = f"{output}  {text.size(found.size_bytes)}, {found.media_type}"
    invocation.show({"version": str(version), "file": msgspec.to_builtins(found)}, written)


def _each(files: list[Path], act: Callable[[Path], T]) -> tuple[list[T], list[_Failure]]:
    """Do something for each pointer; of several, one that fails doesn't stop the others."""
    done, failed = [], []
    for file in files:
        try:
            done.append(act(file))
        except MainspringError as error:
            if len(files) == 1:
                raise
            failed.append(_Failure(str(file), error.code, str(error)))
    return done, failed


def _restored(file: Path, force: bool, paths: tuple[str, ...], progress: Progress | None) -> tuple[str, Checkout]:
    from mainspring.data.trees.checkout import checkout as write_out
    from mainspring.data.trees.pointer import pinned_version, pointed, read_pointer
    from mainspring.workspace import current_workspace

    pointer = read_pointer(file)
    version = pinned_version(pointer, file)
    version.expect("tree")
    target = pointed(file).absolute()
    only = target.name if pointer.kind == "file" else ""
    done = write_out(
        current_workspace(), version.dataset, version.manifest, str(version), target.parent if only else target, force=force,
        paths=paths or None, prefix=pointer.into, only=only, progress=progress,
    )  # fmt: skip
    return str(version), done


def _state(file: Path, workspace: Any) -> tuple[Pointer, TreeStatus]:
    from mainspring.data.trees.pointer import pinned_version, pointed, read_pointer
    from mainspring.data.trees.status import tree_status

    pointer = read_pointer(file)
    version = pinned_version(pointer, file)
    target = pointed(file).absolute()
    only = target.name if pointer.kind == "file" else ""
    folder = target.parent if only else target
    return pointer, tree_status(folder, version, into=pointer.into, only=only, workspace=workspace)


def _checkouts(done: list[tuple[str, Checkout]]) -> str:
    if not done:
        return "No pointers here. `mainspring data add PATH` writes one; `data checkout DATASET` needs none."
    lines = []
    for version, each in done:
        counts = [
            f"{len(each.written):,} written", f"{len(each.removed):,} removed", f"{each.kept:,} kept",
            *([f"{len(each.left):,} changed and left alone"] if each.left else []),
        ]  # fmt: skip
        lines.append(f"{text.bold(version)}  {each.path}: {', '.join(counts)}, {text.size(each.written_bytes)}")
        lines += _marked(each.left, "left   ")
    return "\n".join(lines)


def _statuses(found: list[tuple[Path, Pointer, TreeStatus]]) -> str:
    if not found:
        return "No pointers here. `mainspring data add PATH` writes one."
    lines = []
    for _, pointer, each in found:
        said = "unchanged" if each.is_clean else "differs"
        lines.append(f"{text.bold(f'{pointer.dataset}/{pointer.version}')}  {each.path}: {said}")
        lines += [*_marked(each.new, "new    "), *_marked(each.changed, "changed"), *_marked(each.removed, "removed")]
    return "\n".join(lines)


def _marked(paths: tuple[str, ...], mark: str) -> list[str]:
    lines = [f"  {mark}  {path}" for path in paths[:_MOST_PATHS]]
    more = len(paths) - len(lines)
    return [*lines, f"  {mark}  … and {more:,} more (--json lists all)"] if more > 0 else lines
