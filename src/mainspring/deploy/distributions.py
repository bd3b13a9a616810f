"""The files of a distribution, from its installation here or from a wheel: the same ones either way.

Invariant: each file is what the distribution's own RECORD says. Left out is what an installer adds (its name, bytecode, scripts
with the path of this interpreter), and what lies outside the import folder, such as headers and manual pages.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
import stat
import zipfile
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from mainspring.deploy.tree import File, Tree
from mainspring.errors import RebuildError
from mainspring.runs.environment import metadata_folders, normalised

_ADDED = ("INSTALLER", "REQUESTED", "direct_url.json", "RECORD")
_SCHEMES = re.compile(r"^[^/]+\.data/(?:purelib|platlib)/(?P<path>.+)$")
_PORTABLE = re.compile(r"^Tag: \S+-(?:any|(?:manylinux|musllinux|macosx)\S*)$", re.MULTILINE)


def installed_tree(name: str) -> Tree:
    """The files of a distribution as it is installed here.

    Raises:
        RebuildError: it is not installed, or not as a wheel, was compiled on this machine, or its files were changed since.
    """
    info = metadata_folders([name]).get(name)
    if info is None:
        raise _no_wheel(name, "it is not installed here")
    if not (info / "RECORD").is_file() or not (info / "WHEEL").is_file():
        raise _no_wheel(name, f"{info.name} has no RECORD")
    if not _PORTABLE.search((info / "WHEEL").read_text(encoding="utf-8")):
        raise _no_wheel(name, "it was compiled on this machine")
    found = {}
    for path, digest in _recorded((info / "RECORD").read_text(encoding="utf-8")):
        if not _is_taken(path):
            continue
        place = info.parent / path
        try:
            data, mode = place.read_bytes(), place.stat().st_mode
        except OSError as error:
            raise _no_wheel(name, f"`{path}` can't be read ({error.strerror})") from error
        if digest and _record_digest(data, digest.partition("=")[0]) != digest:
            raise _no_wheel(name, f"`{path}` was changed since it was installed")
        found[path] = File(place, bool(mode & stat.S_IXUSR))
    return _with_record(found, info.name)


def wheel_tree(path: Path) -> Tree:
    """The files of a wheel as they are installed.

    Raises:
        RebuildError: it is no wheel, or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            found = {}
            for entry in archive.infolist():
                place = _SCHEMES.sub(r"\g<path>", entry.filename)
                if not entry.is_dir() and _is_taken(place) and not _is_beside(place):
                    found[place] = File(archive.read(entry), bool((entry.external_attr >> 16) & stat.S_IXUSR))
            record = next(each for each in archive.namelist() if each.endswith(".dist-info/RECORD"))
            stated = dict(_recorded(archive.read(record).decode()))
    except (OSError, zipfile.BadZipFile, StopIteration, UnicodeDecodeError) as error:
        reason = str(error) or "it has no RECORD"
        raise RebuildError(f"`{path}`", f"it is no wheel ({reason})") from error
    for place, file in found.items():
        digest = stated.get(place, "")
        if digest and _record_digest(file.read(), digest.partition("=")[0]) != digest:
            raise RebuildError(f"`{path}`", f"its `{place}` is not what its RECORD says", "Get it again.")
    return _with_record(found, record.partition("/")[0])


def wheel_of(tree: Tree) -> bytes:
    """A wheel of these files, the same bytes for the same files."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(tree):
            entry = zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.compress_type = 3, zipfile.ZIP_DEFLATED
            entry.external_attr = (stat.S_IFREG | (0o755 if tree[path].is_program else 0o644)) << 16
            archive.writestr(entry, tree[path].read())
    return target.getvalue()


def own_tree() -> Tree:
    """The files of Mainspring itself, as it runs here, with its metadata.

    Raises:
        RebuildError: it is not installed, only on the path.
    """
    import mainspring

    info = metadata_folders(["mainspring"]).get("mainspring")
    if info is None:
        raise RebuildError("Mainspring", "it is imported from a folder here", "Run: pip install mainspring")
    package = Path(str(mainspring.__file__)).parent
    found = {
        f"mainspring/{path.relative_to(package).as_posix()}": File(path)
        for path in sorted(package.rglob("*"))
        if path.is_file() and _is_taken(path.relative_to(package).as_posix())
    }
    for path in sorted(info.rglob("*")):
        place = path.relative_to(info.parent).as_posix()
        if path.is_file() and _is_taken(place) and path.name != "WHEEL":
            found[place] = File(path)
    said = b"Wheel-Version: 1.0\nGenerator: mainspring\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    return _with_record(found | {f"{info.name}/WHEEL": File(said)}, info.name)


def wheel_name(path: Path) -> tuple[str, str]:
    """The distribution and version that a wheel's file name tells.

    >>> wheel_name(Path("Scikit_Learn-1.5.0-cp311-cp311-linux_x86_64.whl"))
    ('scikit-learn', '1.5.0')
    """
    name, _, rest = path.name.partition("-")
    return normalised(name), rest.partition("-")[0]


def _recorded(text: str) -> Iterator[tuple[str, str]]:
    """Each file of a RECORD, with its digest, which may be empty."""
    for row in csv.reader(text.splitlines()):
        if row:
            yield row[0], row[1] if len(row) > 1 else ""


def _is_taken(path: str) -> bool:
    parts = PurePosixPath(path).parts
    if os.path.isabs(path) or ".." in parts or "__pycache__" in parts or path.endswith(".pyc"):
        return False
    return not (len(parts) == 2 and parts[0].endswith(".dist-info") and parts[1] in _ADDED)


def _is_beside(path: str) -> bool:
    """Whether a file of a wheel is installed elsewhere than what is imported: scripts, headers, pages."""
    return path.partition("/")[0].endswith(".data")


def _with_record(tree: Tree, info: str) -> Tree:
    """The files with a RECORD of them, as pip writes one."""
    rows = [[path, _record_digest(tree[path].read()), str(tree[path].size_bytes)] for path in sorted(tree)]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([*rows, [f"{info}/RECORD", "", ""]])
    return {**tree, f"{info}/RECORD": File(text.getvalue().encode())}


def _record_digest(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}={urlsafe_b64encode(hashlib.new(algorithm, data).digest()).rstrip(b'=').decode()}"


def _no_wheel(name: str, reason: str) -> RebuildError:
    return RebuildError(f"a wheel of `{name}`", reason, "Install it from a wheel, or give one with --wheels.")
