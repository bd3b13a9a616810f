"""What a step may touch without it being an input: the interpreter, installed distributions, the system's own files.

Rules over paths, code file names and programs; `docs/observed.md` says the same in words, and changes with this file.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import lru_cache
from importlib.machinery import ModuleSpec
from types import FrameType

from mainspring.store.own_work import at_own_work

_MAINSPRING = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")) + os.sep
_STDLIB = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_SHARED_PREFIXES = frozenset({"/", "/usr", "/usr/local"})  # a system's Python lives beside everything else there

SYSTEM_PLACES = (
    "/proc/",
    "/sys/",
    "/dev/fd/",
    "/lib/",
    "/lib64/",
    "/usr/lib/",
    "/usr/lib64/",
    "/usr/share/zoneinfo/",
    "/usr/share/fonts/",
    "/usr/share/ca-certificates/",
    "/etc/ssl/",
    "/System/Library/",
    "/var/db/timezone/",
)
SYSTEM_FILES = frozenset(
    {
        "/proc",
        "/sys",
        "/dev/null",
        "/dev/zero",
        "/dev/full",
        "/dev/random",
        "/dev/urandom",
        "/dev/tty",
        "/etc/localtime",
        "/etc/timezone",
        "/etc/os-release",
        "/etc/mime.types",
        "/etc/hosts",
        "/etc/resolv.conf",
        "/etc/nsswitch.conf",
    }
)

# Programs that a library runs to learn about the machine, and the module that runs them. Counting cores or asking for
# the platform decides no value; thread counts are in the cache key.
KNOWN_PROGRAMS = (
    ("lscpu", "joblib.externals.loky"),
    ("lscpu", "loky"),
    ("sysctl", "joblib.externals.loky"),
    ("sysctl", "loky"),
    ("uname", "platform"),
    ("file", "platform"),
    ("ldconfig", "ctypes.util"),
    ("gcc", "ctypes.util"),
    ("cc", "ctypes.util"),
    ("objdump", "ctypes.util"),
    ("ld", "ctypes.util"),
)

# Read by compiled code of a library, which has no frame of its own, so that the reader seems to be the project.
KNOWN_VARIABLES = frozenset({"PYARROW_IGNORE_TIMEZONE"})

# Modules that open sources and list folders in order to load, find or quote code; given another file, they read data.
_CODE_READERS = frozenset({"linecache", "pkgutil", "py_compile", "runpy", "tokenize", "traceback", "zipimport"})
_CODE = (".py", ".pyi", ".pyc", ".pyx", ".pth", ".so", ".pyd", ".dylib", ".zip", ".egg", ".whl")


@lru_cache(maxsize=64)
def uncounted_places(project_root: str) -> tuple[str, ...]:
    """Prefixes of the paths whose reading is not an input.

    A project that lies inside the interpreter's own folder is still a project, so that folder then counts but for its
    library part.
    """
    places = [_MAINSPRING, _STDLIB, *SYSTEM_PLACES]
    for prefix in {sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix}:
        inside = bool(project_root) and (project_root + os.sep).startswith(prefix + os.sep)
        if prefix not in _SHARED_PREFIXES and not inside:
            places.append(prefix + os.sep)
        else:
            places.append(os.path.join(prefix, "lib", f"python{sys.version_info[0]}.{sys.version_info[1]}") + os.sep)
    return tuple(dict.fromkeys(places))


def is_installed(path: str) -> bool:
    """Whether a file belongs to an installed distribution, by the folder that installers use.

    >>> is_installed("/home/ada/.local/lib/python3.11/site-packages/x/data.csv"), is_installed("/home/ada/x.csv")
    (True, False)
    """
    return any(folder in path for folder in _INSTALLED)


@lru_cache(maxsize=8192)
def is_library_code(filename: str, project_root: str) -> bool:
    """Whether code comes from the interpreter, an installed distribution or Mainspring, rather than from the project.

    >>> is_library_code(os.__file__, ""), is_library_code("/home/ada/flights.py", "")
    (True, False)
    """
    if filename.startswith("<"):
        return not filename.startswith(("<stdin>", "<string>", "<ipython", "<console>", "<doctest"))
    if filename.startswith(_MAINSPRING) or is_installed(filename):
        return True
    if project_root and filename.startswith(project_root + os.sep):
        return any(filename.startswith(place) for place in uncounted_places(project_root))
    if filename.startswith(uncounted_places(project_root)):
        return True
    return filename.startswith(editable_places())


@lru_cache(maxsize=1)
@at_own_work()  # whoever opens a file while this is found out is not asked again
def editable_places() -> tuple[str, ...]:
    """The folders that `.pth` files in site-packages name: the sources of distributions installed for editing."""
    places: list[str] = []
    for folder in sys.path:
        if not is_installed(folder + os.sep) or not os.path.isdir(folder):
            continue
        for name in os.listdir(folder):
            if name.endswith(".pth"):
                places.extend(_named_folders(os.path.join(folder, name)))
    return tuple(places)


def _named_folders(pth: str) -> Iterator[str]:
    try:
        with open(pth, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                folder = line.strip()
                if folder.startswith(os.sep):
                    yield folder.rstrip(os.sep) + os.sep
    except OSError:  # not ours to read, so the interpreter did not read it either
        return


def first_frame(frame: FrameType | None) -> FrameType | None:
    """The innermost frame that is not Mainspring's."""
    while frame is not None and frame.f_code.co_filename.startswith(_MAINSPRING):
        frame = frame.f_back
    return frame


def project_frame(frame: FrameType | None, project_root: str) -> FrameType | None:
    """The innermost frame of project code, looking no further out than where Mainspring called it."""
    frame = first_frame(frame)
    while frame is not None:
        filename = frame.f_code.co_filename
        if filename.startswith(_MAINSPRING):
            return None
        if not is_library_code(filename, project_root):
            return frame
        frame = frame.f_back
    return None


def imported_module(frame: FrameType | None, project_root: str, *, past_ours: bool = False) -> ModuleSpec | None:
    """The innermost project module whose import runs this frame; none if a library's import lies between.

    Looks no further out than where Mainspring called project code, unless `past_ours`.
    """
    frame = first_frame(frame)
    while frame is not None:
        filename = frame.f_code.co_filename
        if filename.startswith(_MAINSPRING):
            if not past_ours:
                return None
        elif frame.f_code.co_name == "<module>":
            if is_library_code(filename, project_root):
                return None
            spec = frame.f_globals.get("__spec__")
            if isinstance(spec, ModuleSpec) and os.path.realpath(spec.origin or "").startswith(project_root + os.sep):
                return spec
        frame = frame.f_back
    return None


def imports_library(frame: FrameType | None, project_root: str) -> bool:
    """Whether the frame runs as an installed library is imported: its version answers for what it reads then of its own."""
    frame = first_frame(frame)
    while frame is not None and is_library_code(frame.f_code.co_filename, project_root):
        filename = frame.f_code.co_filename
        if filename.startswith(_MAINSPRING):
            return False
        if frame.f_code.co_name == "<module>":  # one installed for editing has a version that says nothing
            return is_installed(filename) or filename.startswith(_STDLIB)
        frame = frame.f_back
    return False


def loads_code(frame: FrameType | None) -> bool:
    """Whether the frame belongs to what imports, finds or quotes code."""
    if frame is None:
        return False
    name = str(frame.f_globals.get("__name__", ""))
    return (
        name.startswith("importlib")
        or name in _CODE_READERS
        or frame.f_code.co_filename.startswith("<frozen importlib")
    )


def is_code(path: str) -> bool:
    """Whether a file is code, compiled code or an archive of code, by its name.

    >>> is_code("/home/ada/flights.py"), is_code("/home/ada/flights.csv")
    (True, False)
    """
    return path.endswith(_CODE)


def module_name(frame: FrameType) -> str:
    """The name of the module whose code a frame runs; empty if it has none."""
    return str(frame.f_globals.get("__name__") or "")


def is_known_program(program: str, frame: FrameType | None) -> bool:
    """Whether a library runs this program only to learn about the machine (`KNOWN_PROGRAMS`)."""
    name = os.path.basename(program)
    while frame is not None and module_name(frame) == "subprocess":
        frame = frame.f_back
    if frame is None:
        return False
    caller = module_name(frame)
    return any(name == known and (caller + ".").startswith(module + ".") for known, module in KNOWN_PROGRAMS)
