"""The audit hook: turns Python's own events (open, listings, sockets, programs) into sights of the current task.

It is installed once per process, as audit hooks can't be removed, and returns after one look-up for an event that
nobody watches or while no task is watched. It never raises into the program.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any
from weakref import WeakSet

from mainspring.pipelines.observation.watcher import Current, Watcher

_Args = tuple[Any, ...]

_READ_ONLY_MODES = frozenset({"r", "rb", "rt", "rU"})


def install(current: Current) -> None:
    """Watch this process's audit events."""
    find = dict(_WATCHED).get

    def hook(event: str, args: _Args) -> None:
        see = find(event)
        if see is None:
            return
        if event == "socket.bind":
            remember_server(args[0])
            return
        watcher = current()
        if watcher is not None:
            see(watcher, args)

    sys.addaudithook(hook)


# Sockets that this process bound, so that connecting to one's own server is not an input.
_servers: WeakSet[Any] = WeakSet()


def remember_server(server: object) -> None:
    """Note a socket that this process binds."""
    if hasattr(server, "getsockname") and hasattr(server, "__weakref__"):
        _servers.add(server)


def own_addresses() -> set[object]:
    """The ports and socket paths that this process listens at."""
    found: set[object] = set()
    for server in list(_servers):
        try:
            address = server.getsockname()
        except OSError:  # closed meanwhile
            continue
        found.add(address[1] if isinstance(address, tuple) else address)
    return found


def _opened(watcher: Watcher, args: _Args) -> None:
    path, mode, flags = args
    if isinstance(path, int):
        return
    if not os.path.isabs(path):
        path = _below_open_folder(path, sys._getframe(2))
        if path is None:
            return
    if mode in _READ_ONLY_MODES or not flags & (os.O_WRONLY | os.O_RDWR):
        watcher.read(path)
        return
    replaces = bool(flags & (os.O_TRUNC | os.O_EXCL))
    watcher.write(path, replaces=replaces)  # first, so that reading back what is new here is no input
    if flags & os.O_RDWR and not replaces:
        watcher.read(path)


def _below_open_folder(name: Any, frame: FrameType) -> Any:
    """The path of a name that the standard library opens relative to a folder it holds open, which the event can't tell.

    None where it does so only to remove what is there (`shutil.rmtree`).
    """
    caller = frame.f_code.co_name
    if frame.f_globals.get("__name__") == "shutil" and caller.startswith("_rmtree"):
        return None
    if frame.f_globals.get("__name__") == "os" and caller == "_fwalk":
        top = frame.f_locals["toppath"]
        return top if "topname" in frame.f_locals else os.path.join(top, name)  # up to Python 3.11 it is the one above
    return name


def _database(watcher: Watcher, args: _Args) -> None:
    see_database(watcher, args[0])


def see_database(watcher: Watcher, path: object) -> None:
    """A database file is opened: made if it is not there, read otherwise."""
    if isinstance(path, bytes):
        path = os.fsdecode(path)
    if isinstance(path, str):
        if path in ("", ":memory:", ":default:") or path.startswith(":memory:"):
            return
        if path.startswith("file:"):
            path = path[len("file:") :].split("?")[0]
            if path.startswith(":memory:") or not path:
                return
        if path.startswith("md:") or "://" in path:
            watcher.url(path)
            return
    watcher.write(path, replaces=False)
    watcher.read(path)


def _symlinked(watcher: Watcher, args: _Args) -> None:
    """What a symbolic link leads to is told from where the link stands."""
    try:
        leads_to, stands = os.fsdecode(args[0]), os.fsdecode(_placed(args[1], args[2]))
    except TypeError:
        return
    watcher.link(os.path.join(os.path.dirname(stands), leads_to), stands)


def _placed(path: Any, folder: int) -> Any:
    """A path that is relative to an open folder (−1: to the working directory), made absolute."""
    try:
        name = os.fsdecode(path)
        return name if folder == -1 or os.path.isabs(name) else os.path.join(_folder_path(folder), name)
    except (TypeError, OSError):
        return path


def _folder_path(descriptor: int) -> str:
    if sys.platform == "darwin":
        import fcntl

        return os.fsdecode(fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0"))
    return os.readlink(f"/proc/self/fd/{descriptor}")


def _listed(watcher: Watcher, args: _Args) -> None:
    if not isinstance(args[0], int):
        watcher.listing("." if args[0] is None else args[0])


def _library(watcher: Watcher, args: _Args) -> None:
    if isinstance(args[0], str) and os.sep in args[0]:
        watcher.read(args[0])


_WATCHED: dict[str, Callable[[Watcher, _Args], None]] = {
    "open": _opened,
    "sqlite3.connect": _database,
    "ctypes.dlopen": _library,
    "os.listdir": _listed,
    "os.scandir": _listed,
    "os.mkdir": lambda watcher, args: watcher.make(_placed(args[0], args[2])),
    "os.link": lambda watcher, args: watcher.link(_placed(args[0], args[2]), _placed(args[1], args[3])),
    "os.symlink": _symlinked,
    "os.rename": lambda watcher, args: watcher.move(_placed(args[0], args[2]), _placed(args[1], args[3])),
    "shutil.rmtree": lambda watcher, args: watcher.write(args[0], replaces=True),
    "socket.bind": lambda watcher, args: None,
    "socket.connect": lambda watcher, args: watcher.connect(args[1]),
    "socket.sendto": lambda watcher, args: watcher.connect(args[1]),
    "socket.sendmsg": lambda watcher, args: watcher.connect(args[1]),
    "socket.getaddrinfo": lambda watcher, args: watcher.look_up(args[0], args[1]),
    "socket.gethostbyname": lambda watcher, args: watcher.look_up(args[0], None),
    "subprocess.Popen": lambda watcher, args: watcher.process(args[1], program=args[0]),
    "os.system": lambda watcher, args: watcher.process(args[0]),
    "os.exec": lambda watcher, args: watcher.process(args[1], program=args[0]),
    "os.posix_spawn": lambda watcher, args: watcher.process(args[1], program=args[0]),
    "os.spawn": lambda watcher, args: watcher.process(args[2], program=args[1]),
    "os.fork": lambda watcher, args: watcher.process("fork"),
    "os.forkpty": lambda watcher, args: watcher.process("fork"),
}
