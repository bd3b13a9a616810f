"""DVC's own files: `.dvc` files, folder manifests and the cache of objects by MD5, of DVC 3 and of the versions before it.

Formats: DVC's documentation, "`.dvc` files" and "Structure of the cache directory".
"""

from __future__ import annotations

import configparser
import json
import os
import re
from pathlib import Path
from typing import Any

import msgspec

from mainspring.errors import InvalidError, MissingExtraError, NotFoundError, StorageError, shorten

FOLDER = ".dir"
_MD5 = re.compile(r"[0-9a-f]{32}")


class Out(msgspec.Struct, frozen=True):
    """What a `.dvc` file stands for: a file or folder by its MD5. `is_old`: written by a DVC before 3.0."""

    path: str
    md5: str
    is_folder: bool
    is_old: bool
    is_executable: bool = False


class DvcFile(msgspec.Struct, frozen=True):
    """A `.dvc` file: its outputs, and the addresses that they were imported from."""

    outs: tuple[Out, ...]
    origins: tuple[str, ...]


def read_dvc_file(path: Path) -> DvcFile:
    """Read a `.dvc` file.

    Raises:
        NotFoundError: there is none.
        InvalidError: it is no `.dvc` file, or one of a kind that isn't supported.
        MissingExtraError: PyYAML is not installed.
    """
    yaml = _yaml("Reading a .dvc file")
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NotFoundError("file", str(path)) from error
    except OSError as error:
        raise StorageError(str(path), f"it can't be read ({error.strerror or error})") from error
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise InvalidError("path", str(path), "a .dvc file", shorten(str(error), 200)) from error
    outs = found.get("outs") if isinstance(found, dict) else None
    if not isinstance(outs, list) or not outs:
        raise InvalidError("path", str(path), "a .dvc file with `outs`")
    deps = found.get("deps")
    return DvcFile(
        tuple(_out(each, path) for each in outs),
        tuple(address for each in (deps if isinstance(deps, list) else ()) if (address := _address(each))),
    )


def write_dvc_file(path: Path, out: dict[str, Any], meta: dict[str, str]) -> None:
    """Write a `.dvc` file with one output, in one step; `meta` is what DVC leaves to users."""
    yaml = _yaml("Writing a .dvc file")
    unfinished = path.with_name(f".{path.name}.part")
    unfinished.write_text(
        yaml.safe_dump({"outs": [out], "meta": meta}, sort_keys=False, allow_unicode=True), encoding="utf-8"
    )
    os.replace(unfinished, path)


def folder_manifest(files: dict[str, str]) -> bytes:
    """The object that stands for a folder: DVC digests exactly these bytes.

    >>> folder_manifest({"b": "2", "a/c": "1"})
    b'[{"md5": "1", "relpath": "a/c"}, {"md5": "2", "relpath": "b"}]'
    """
    entries = [{"md5": files[path], "relpath": path} for path in sorted(files)]
    return json.dumps(entries, sort_keys=True).encode()


def read_folder_manifest(data: bytes, place: str) -> dict[str, str]:
    """The files of a folder with their MD5.

    Raises:
        InvalidError: it is no manifest, or names a path that would leave the folder.
    """
    try:
        found = {each["relpath"]: checked_md5(each["md5"], place) for each in json.loads(data)}
    except (ValueError, TypeError, KeyError) as error:
        if isinstance(error, InvalidError):
            raise
        raise InvalidError("manifest", place, "a DVC folder's list of files", shorten(str(error))) from error
    return found


def repository_of(path: Path) -> Path | None:
    """The folder of the DVC repository that a path is in: the nearest one upwards with `.dvc`, if any."""
    return next((folder for folder in (path, *path.parents) if (folder / ".dvc").is_dir()), None)


def cache_of(path: Path) -> Path:
    """The cache of the repository that a path is in, by its configuration.

    Raises:
        NotFoundError: it is in no DVC repository.
    """
    repository = repository_of(path)
    if repository is None:
        raise NotFoundError("DVC repository", str(path), hint="`dvc init` makes one; or give the folder of a cache.")
    home = repository / ".dvc"
    cache = home / "cache"
    for name in ("config", "config.local"):
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read(home / name, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError) as error:
            raise InvalidError("config", str(home / name), "a DVC configuration", shorten(str(error))) from error
        if configured := parser.get("cache", "dir", fallback=""):
            cache = home / Path(configured).expanduser()
    return Path(os.path.normpath(cache))


def object_path(cache: Path, md5: str, *, is_old: bool) -> Path:
    """Where an object is in a cache."""
    return (cache if is_old else cache / "files" / "md5") / md5[:2] / md5[2:]


def checked_md5(md5: object, place: str, suffix: str = "") -> str:
    """Refuse what is not an MD5 before it becomes part of a path."""
    text = str(md5)
    if not _MD5.fullmatch(text.removesuffix(suffix)):
        raise InvalidError("md5", text, "32 hexadecimal digits", f"It stands in {place}.")
    return text


def _out(entry: Any, path: Path) -> Out:
    if not isinstance(entry, dict) or not isinstance(entry.get("path"), str):
        raise InvalidError("outs", shorten(repr(entry)), "an output with a `path`", f"It stands in {path}.")
    if "md5" not in entry:
        raise InvalidError(
            "outs", entry["path"], "an output with an `md5`",
            "Outputs that a cloud keeps by version are not supported: run `dvc pull`, and add the files.",
        )  # fmt: skip
    md5 = checked_md5(entry["md5"], str(path), FOLDER)
    return Out(
        entry["path"], md5, md5.endswith(FOLDER), entry.get("hash") != "md5", entry.get("isexec") is True
    )  # fmt: skip


def _address(dep: Any) -> str:
    """Where a dependency came from, if that is an address; a repository's URL with the path in it."""
    if not isinstance(dep, dict):
        return ""
    path, repository = str(dep.get("path", "")), dep.get("repo")
    if isinstance(repository, dict) and "://" in str(repository.get("url", "")):
        return f"{repository['url']}#{path}@{repository.get('rev_lock', '')}"
    return path if "://" in path else ""


def _yaml(purpose: str) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise MissingExtraError("pyyaml", "dvc", purpose) from error
    return yaml
