"""The project's definitions that stored values name: which may be looked up again, and why another may not.

Invariant: nothing is imported or found but what a module below the project's import folders defines under its own name. Where
the module lies decides, never what a stored value says of it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from pathlib import Path
from types import ModuleType

from mainspring.artifacts.script import home_of, script
from mainspring.errors import CodecError, shorten
from mainspring.ledger import note_moving

# Set for as long as the process works on a project or on recorded code; unset, the project here is meant.
import_folders: ContextVar[tuple[Path, ...]] = ContextVar("import_folders", default=())
# Set where these hold the code that a run recorded, which has what its steps and its pipeline reach and no more.
is_recorded_code: ContextVar[bool] = ContextVar("is_recorded_code", default=False)


@contextmanager
def importing_from(folders: Sequence[Path]) -> Iterator[None]:
    """Make these the folders of the project's modules for the block."""
    token = import_folders.set(tuple(folders))
    try:
        yield
    finally:
        import_folders.reset(token)


def find_definition(path: str) -> str:
    """The `module:qualname` of a class or function of the project that a stored value calls `module.qualname`.

    Its module is loaded afterwards. The script that runs counts as the module that it is when it is imported. The task at work
    is noted to use it.

    Raises:
        CodecError: the project has no such definition; the text is the reason alone.
    """
    if "<" in path:
        raise CodecError("it has no name to be found by; define it with `def` or `class` at the top level of a module")
    home, qualname = _split(path)
    module = _module(home)
    found: object = module
    for name in qualname.split("."):
        found = getattr(found, name, None)
    if found is None:
        raise CodecError(f"the module `{home}` has no `{qualname}` at its top level")
    if (getattr(found, "__module__", None), getattr(found, "__qualname__", None)) != (module.__name__, qualname):
        raise CodecError(f"the module `{home}` doesn't define `{qualname}` itself")
    name = home_of(home, qualname)
    note_moving("code", f"{name}.{qualname}")
    return f"{name}:{qualname}"


def missing_import(module: str) -> str:
    """What to do if a module of the project isn't in the recorded code that this process works on; else empty."""
    if not is_recorded_code.get() or not module or module_file(module) is not None:
        return ""
    return (
        f"Import `{module}` in the module of the step or of its pipeline: a worker gets the modules that these import."
    )


def _split(path: str) -> tuple[str, str]:
    """The longest module of the project that a path begins with, and the rest."""
    home, _, name = path.rpartition(".")
    outermost = home
    while home:
        if home in ("__main__", script.get()) or module_file(home) is not None:
            return home, name
        home, _, last = home.rpartition(".")
        name = f"{last}.{name}"
    folder = shorten(str(_folders()[0]), 200)
    of = "recorded code" if is_recorded_code.get() else "project"
    raise CodecError(f"the {of} in {folder} has no module `{outermost}`")


def _module(name: str) -> ModuleType:
    if name in ("__main__", script.get()):
        return sys.modules["__main__"]
    if name not in sys.modules:
        find_modules()
        try:
            import_module(name)
        except Exception as error:
            text = shorten(f"{type(error).__name__}: {error}", 200)
            raise CodecError(f"the module `{name}` can't be imported: {text}") from error
    module = sys.modules[name]
    expected, place = module_file(name), getattr(module, "__file__", None)
    if expected is None or place is None or Path(place).resolve() != expected.resolve():
        raise CodecError(f"another module `{name}` than the project's is loaded, from {place}")
    return module


def find_modules() -> None:
    """Have the project's modules found when they are imported."""
    for folder in reversed(_folders()):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))


def module_file(name: str) -> Path | None:
    """Where the project has a module, as Python's own search would find it; None if it has none of this name."""
    if not all(part.isidentifier() for part in name.split(".")):
        return None
    for folder in _folders():
        place = folder.joinpath(*name.split("."))
        for file in (place / "__init__.py", place.with_name(f"{place.name}.py")):
            if file.is_file():
                return file
    return None


def _folders() -> tuple[Path, ...]:
    folders = import_folders.get()
    if folders:
        return folders
    from mainspring.workspace import find_project

    project = find_project()
    return tuple(project.source_roots) or (project.root,)
