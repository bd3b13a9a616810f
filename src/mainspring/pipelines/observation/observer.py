"""What a step reads without having declared it: files, folders, environment variables, sockets, programs.

An observer is entered around one call of a step. What it saw and was not told about makes the step's cache entry not
reusable; `docs/observed.md` says what counts, what does not, and what stays invisible.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Collection, Iterable
from contextlib import ExitStack
from contextvars import Token
from functools import lru_cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import Any

import msgspec

from mainspring.errors import shorten
from mainspring.ledger import moving_noted
from mainspring.pipelines.code.reads import Kind, import_reads
from mainspring.pipelines.observation import environ, events, readers
from mainspring.pipelines.observation.memories import Read, memories
from mainspring.pipelines.observation.paths import absolute, is_folder, real_path, source_of
from mainspring.pipelines.observation.uncounted import (
    KNOWN_VARIABLES,
    SYSTEM_FILES,
    editable_places,
    first_frame,
    imported_module,
    imports_library,
    is_code,
    is_installed,
    is_known_program,
    is_library_code,
    loads_code,
    module_name,
    project_frame,
    uncounted_places,
)
from mainspring.pipelines.observation.watcher import Watcher, begin, current, end, follow_threads, unwatched, watching
from mainspring.secrets import redact
from mainspring.workspace.state import State

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0", "::", "ip6-localhost"})
# Through these project code reads the environment: `os.getenv`, `os.path.expandvars`, `Path.home()`.
_ENVIRONMENT_MODULES = frozenset({"os", "_collections_abc", "collections.abc", "posixpath", "pathlib"})
_SHOWN_PROGRAM_LENGTH = 80
_IN_RESULT = "part of the result"
_MOVING: dict[str, Kind] = {"model": "model", "run": "run", "search": "search"}  # all others are datasets'


class Observation(msgspec.Struct, frozen=True):
    """One thing that a step touched and did not declare.

    `name` is a path (relative to the project if inside), a variable's name (`*`: all of them), `host:port` or a URL, a
    program with its arguments, shortened, a dataset or model read by a name that moves, or a definition of the project that a
    model holds. `by` is the nearest line of project
    code, as `module.py:12`, if any.
    """

    kind: Kind
    name: str
    by: str = ""


class Observer:
    """Watches the code that runs inside its `with` block, in this context and in the threads it starts.

    `declared_files`, `declared_env` and `declared_code` (`module.name`) are the inputs the cache key knows already;
    `allowed_paths` (files or whole folders: workspace, scratch, snapshot) and `allowed_addresses` (`host` or `host:port`)
    never count. Observers may nest; the innermost sees. One observer is entered once.

    >>> import os
    >>> with Observer(project_root=None, declared_files=(), declared_env=(), allowed_paths=()) as observer:
    ...     home = os.getenv("HOME")
    >>> [(seen.kind, seen.name) for seen in observer.seen]
    [('env', 'HOME')]
    """

    def __init__(
        self,
        *,
        project_root: Path | None,
        declared_files: Collection[Path],
        declared_env: Collection[str],
        allowed_paths: Collection[Path],
        allowed_addresses: Collection[str] = (),
        declared_code: Collection[str] = (),
    ) -> None:
        self.root = os.path.abspath(project_root) if project_root is not None else ""
        self._files = {os.path.abspath(path) for path in declared_files}
        self._declared = frozenset(declared_env)
        self._code = frozenset(declared_code)
        self._env = set(declared_env)
        self._allowed = tuple(os.path.abspath(path) for path in allowed_paths)
        self._addresses = frozenset(_canonical(address) for address in allowed_addresses)
        # Recorded code lies in a folder of the workspace, and is nevertheless the project: what it holds beside modules
        # are declared files, each of which is an input of those steps alone that declare it.
        self._around = frozenset(path for path in self._allowed if self.root.startswith(path + os.sep))
        self._prefixes = (*uncounted_places(self.root), *(path + os.sep for path in self._allowed))
        self._inner = tuple(prefix for prefix in self._prefixes if not self.root.startswith(prefix))
        self._seen: dict[tuple[str, str], Observation] = {}
        self._own_files: set[str] = set()
        self._own_folders: tuple[str, ...] = ()
        self._looked_up: dict[int, str] = {}
        self._token: Token[Watcher | None] | None = None
        self._moving = ExitStack()
        self._holders: dict[CodeType, list[Any]] = {}
        self._quoted: set[str] = set()
        self._names: dict[str, str] = {}
        self._recalled: frozenset[tuple[str, str]] = frozenset()  # not read here until now

    def __enter__(self) -> Observer:
        _install()
        begin(self)
        self._token = watching.set(self)
        self._moving.enter_context(moving_noted(_Moving(self)))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._moving.close()
        if self._quoted:
            _forget_lines(self._quoted)
        if self._token is not None:
            watching.reset(self._token)
        end(self)

    @property
    def seen(self) -> tuple[Observation, ...]:
        """What was seen so far, each thing once, in the order of first sight."""
        return tuple(self._seen.values())

    def recall(self, reads: Iterable[tuple[str, Read]]) -> None:
        """Count what functions remember to have read as read again; each comes with the name of who remembers it."""
        for keeper, read in reads:
            by = f"{read.by}, remembered by {keeper}" if read.by else f"remembered by {keeper}"
            self._count(Observation(read.kind, read.name, by), read.path)
        self._recalled = frozenset(self._seen)

    def keep(self, path: Path) -> None:
        """What a path leads to becomes part of the result: that is a read, unless the step made it."""
        text = os.path.abspath(path)
        if not self._is_made(text):
            text = os.path.realpath(text) if self._covers(text) else text
            kind: Kind = "directory" if is_folder(text) else "file"
            name = self._shown(kind, self._relative(text))
            self._seen.setdefault((kind, name), Observation(kind, name, _IN_RESULT))

    # What the hooks tell (the Watcher protocol).

    def read(self, path: object) -> None:
        """A file or folder is opened for reading; one that is not there counts too, since its absence is an answer."""
        text = self._uncovered(path)
        if text is None:
            self._remember_declared(path)
            return
        if self._is_of_import(text, sys._getframe(1)):
            return
        if loads_code(first_frame(sys._getframe(1))):
            if is_code(text):
                text = source_of(text)
                if not self.root or self._is_known_code(text):
                    return
            else:
                self._quoted.add(text)
        self._note("directory" if is_folder(text) else "file", self._relative(text), text)

    def write(self, path: object, *, replaces: bool) -> None:
        """A file is opened for writing: if its content is all new, reading it back is no input."""
        text = absolute(path)
        if text is not None and (replaces or not os.path.lexists(text)):
            self._own_files.add(text)

    def make(self, path: object) -> None:
        """A folder is made: what is in it later is the step's own."""
        text = absolute(path)
        if text is not None and not os.path.lexists(text):
            self._own_files.add(text)
            self._own_folders = (*self._own_folders, text + os.sep)

    def move(self, source: object, target: object) -> None:
        """A rename: what was the step's own stays so under its new name, and what was not is read by it."""
        old, new = absolute(source), absolute(target)
        if old is None or new is None:
            return
        if old in self._own_files or old.startswith(self._own_folders):
            self._own_files.add(new)
            if is_folder(old):
                self._own_folders = (*self._own_folders, new + os.sep)
        else:
            self.read(old)
            self._own_files.discard(new)

    def link(self, source: object, target: object) -> None:
        """Another name for a file or folder, there or not; in a place of the step's own nobody would see what it reads."""
        old, new = absolute(source), absolute(target)
        if old is not None and new is not None and self._covers(new):
            self.read(old)

    def listing(self, path: object) -> None:
        """A folder is listed: which names it holds is an input."""
        text = self._uncovered(path)
        frame = sys._getframe(1)
        if text is None or loads_code(first_frame(frame)) or self._is_of_import(text, frame):
            return
        self._note("directory", self._relative(text), text)

    def connect(self, address: object) -> None:
        """A connection, or a datagram, to somewhere this process does not serve itself."""
        if isinstance(address, bytes):
            address = os.fsdecode(address)
        if isinstance(address, str):
            if address not in events.own_addresses() and not self._covers(os.path.abspath(address)):
                self._note("socket", f"unix:{address}")
            return
        if not isinstance(address, tuple) or len(address) < 2:
            return
        host, port = str(address[0]), address[1]
        if host in _LOOPBACK and port in events.own_addresses():
            return
        self._note_address(self._looked_up.get(port, host) if isinstance(port, int) else host, port, host)

    def look_up(self, host: object, port: object) -> None:
        """A host name is looked up; the connection that follows goes by this name."""
        if isinstance(host, bytes):
            host = host.decode("ascii", "replace")
        if not isinstance(host, str) or not host:
            return
        number = int(port) if isinstance(port, int | str | bytes) and str(port).isdigit() else None
        if number is not None:
            self._looked_up[number] = host
        if host not in _LOOPBACK:
            self._note_address(host, port if number is None else number, host)

    def url(self, url: str) -> None:
        """Something remote is read by a native reader; credentials and query are left out of the name."""
        scheme, colon, rest = re.split("(:(?://)?)", url, maxsplit=1) if ":" in url else (url, "", "")
        if scheme == "file":
            self.read(rest)
            return
        place = rest.partition("?")[0].partition("#")[0]
        host, slash, path = place.partition("/")
        host = host.rpartition("@")[2]
        if _canonical(host) not in self._addresses and _canonical(host).rpartition(":")[0] not in self._addresses:
            self._note("socket", f"{scheme}{colon}{host}{slash}{path}")

    def process(self, arguments: object, *, program: object = None) -> None:
        """A program is started, or this process forks: what a child reads can't be seen from here."""
        words = _words(arguments)
        name = _words(program)[0] if program is not None else (words or [""])[0].split(" ")[0]
        if not is_known_program(name, first_frame(sys._getframe(1))):
            # Each word by itself, too: quoting hides what stands in a line that a shell is to run.
            self._note("subprocess", shlex.join(map(redact, words)) if len(words) > 1 else (words or [name])[0])

    def variable(self, name: str) -> None:
        """An environment variable is read by project code; what libraries ask for on their own does not count."""
        if name in KNOWN_VARIABLES or (name in self._env and name not in self._declared):
            return
        frame: FrameType | None = sys._getframe(2)  # past the recording mapping's own method
        while frame is not None and module_name(frame) in _ENVIRONMENT_MODULES:
            frame = frame.f_back
        if frame is None or is_library_code(frame.f_code.co_filename, self.root):
            return
        if name in self._env or ("env", "*") in self._seen:
            self._remember("env", name, "", frame)
        else:
            self._note("env", name)

    def set_variable(self, name: str) -> None:
        """An environment variable is set: reading it back is no input."""
        self._env.add(name)

    def adopt(self, kind: Kind, name: str, by: str) -> None:
        """A process that works for the step saw something; what is declared here, or the step's own, is no input."""
        path = os.path.join(self.root, name) if kind in ("file", "directory") else ""
        self._count(Observation(kind, name, by), path)

    # What counts.

    def _count(self, sight: Observation, path: str) -> None:
        if (path and self._uncovered(path) is None) or (sight.kind == "env" and sight.name in self._env):
            return
        self._seen.setdefault((sight.kind, sight.name), sight)

    def _uncovered(self, path: object) -> str | None:
        """A path made absolute, if it is one that may count. Most are not: an import opens a file for each module."""
        if type(path) is str and path.startswith(self._inner) and "/.." not in path:
            return None
        text = absolute(path)
        return None if text is None or self._covers(text) else text

    def _covers(self, path: str) -> bool:
        if self._is_covered(path):
            return True
        real = real_path(path)
        return real != path and self._is_covered(real)

    def _is_made(self, path: str) -> bool:
        """Whether a file or tree holds nothing but what the step wrote, or may read without its being an input."""
        if self._covers(path):
            return is_installed(path) or not self._leads_out(path)
        if not is_folder(path) or os.path.islink(path):
            return False
        state, folder = State(), os.path.realpath(path)
        with os.scandir(path) as found:
            names = [entry.name for entry in found if not state.holds(folder, entry.name)]
        return bool(names) and all(self._is_made(os.path.join(path, name)) for name in names)

    def _leads_out(self, path: str) -> bool:
        """Whether links lead from a place of the step's own to what isn't."""
        real = os.path.realpath(path)
        if real == path or self._is_covered(real):
            return False
        made = tuple(os.path.realpath(each) + os.sep for each in (*self._own_files, *self._own_folders))
        return not (real + os.sep).startswith(made)

    def _is_covered(self, path: str) -> bool:
        prefixes = self._inner if self.root and path.startswith(self.root + os.sep) else self._prefixes
        return (
            (path + os.sep).startswith((*prefixes, *self._own_folders))
            or path in self._files
            or path in self._own_files
            or path in self._allowed
            or path in SYSTEM_FILES
            or is_installed(path + os.sep)
            or any(
                path.startswith(real_path(allowed) + os.sep) for allowed in self._allowed if allowed not in self._around
            )
            or any(path == real_path(file) for file in self._files)
        )

    def _is_known_code(self, path: str) -> bool:
        """Whether the fingerprint, or the list of distributions, answers for this source file."""
        inside = path.startswith((self.root + os.sep, *editable_places()))
        return inside or not path.endswith((".py", ".pyi"))

    def _is_of_import(self, path: str, frame: FrameType) -> bool:
        """Whether a library reads something as it is imported that is none of the project's, as a `matplotlibrc` is."""
        is_ours = bool(self.root) and (path + os.sep).startswith(self.root + os.sep)
        return not is_ours and imports_library(frame, self.root)

    def _note_address(self, shown_host: str, port: object, host: str) -> None:
        for name in (shown_host, host):
            address = _canonical(name if port is None else f"{name}:{port}")
            if address in self._addresses or _canonical(name) in self._addresses:
                return
        self._note("socket", shown_host if port is None else f"{shown_host}:{port}")

    def _relative(self, path: str) -> str:
        if self.root and path.startswith(self.root + os.sep):
            return path[len(self.root) + 1 :]
        return "." if path == self.root else path

    def moved(self, kind: str, name: str) -> None:
        """Something is read by a name whose content moves, or looked for; or code that the key may answer for."""
        if kind != "code":
            self._note(_MOVING.get(kind, "dataset"), name)
        elif name not in self._code:
            self._note("code", name)

    def _remember_declared(self, path: object) -> None:
        """A declared file is no undeclared input here, and may be one of a task that gets it from who remembers it."""
        text = absolute(path) if self._files else None
        if text in self._files and text is not None:
            self._remember("file", self._relative(text), text, sys._getframe(2))

    def _remember(self, kind: Kind, name: str, path: str, frame: FrameType) -> None:
        memories().note(Read(kind, self._shown(kind, name), self._place(frame), path), frame, self.root, self._holders)

    def _note(self, kind: Kind, name: str, path: str = "") -> None:
        frame = sys._getframe(1)
        self._remember(kind, name, path, frame)
        self._keep(kind, self._shown(kind, name), path, frame)

    def _keep(self, kind: Kind, name: str, path: str, frame: FrameType) -> None:
        """Keep a sight, by the name under which it may be recorded, for who is at work."""
        spec = imported_module(frame, self.root) if self.root else None
        if spec is not None:  # a later step that loads the module doesn't see its import, and depends on it as well
            keep_read(spec, kind, name, by=self._place(frame), path=path)
        if (kind, name) not in self._seen or (kind, name) in self._recalled:
            self._recalled -= {(kind, name)}
            self._seen[kind, name] = Observation(kind, name, self._place(frame))

    def _shown(self, kind: Kind, name: str) -> str:
        """A name as it is recorded: without secrets, and only then shortened, since a part of one would not be found."""
        found = self._names.get(name)
        if found is None:
            found = redact(name)
            found = self._names[name] = shorten(found, _SHOWN_PROGRAM_LENGTH) if kind == "subprocess" else found
        return found

    def _place(self, frame: FrameType | None) -> str:
        found = project_frame(frame, self.root)
        if found is None:
            return ""
        filename = found.f_code.co_filename
        shown = self._relative(filename) if filename.startswith(self.root + os.sep) else os.path.basename(filename)
        return f"{shown}:{found.f_lineno}"


class _Moving(list[tuple[str, str]]):
    """Takes each thing that is read by a moving name for a sight of the observer."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def __contains__(self, item: object) -> bool:
        return False  # another function may read, and remember, the same

    def append(self, item: tuple[str, str]) -> None:
        self._observer.moved(*item)


def keep_read(spec: ModuleSpec, kind: Kind, name: str, *, by: str, path: str) -> None:
    """Note what a module's import reads. Looking at it for its digest is our own work."""
    with unwatched():
        import_reads().note(spec, kind, name, by=by, path=path)


def _forget_lines(paths: Collection[str]) -> None:
    """Have `linecache` read files anew that it was asked for as data: a later task is to be seen to read them."""
    import linecache

    for name, entry in list(linecache.cache.items()):
        if absolute(entry[-1]) in paths:
            del linecache.cache[name]


@lru_cache(maxsize=1)
def _install() -> None:
    follow_threads()
    environ.install(current)
    readers.install(current)
    events.install(current)


def _canonical(address: str) -> str:
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit():
        host, colon, port = address, "", ""
    return ("127.0.0.1" if host.strip("[]") in _LOOPBACK else host) + colon + port


def _words(value: object) -> list[str]:
    if isinstance(value, str | bytes | os.PathLike):
        return [os.fsdecode(value)]
    return [os.fsdecode(word) for word in value] if isinstance(value, Iterable) else []
