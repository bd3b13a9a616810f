"""Which pipeline is meant: a declared name, `module`, `module:pipeline`, `file.py` or `file.py:pipeline`."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mainspring.cli.app import Invocation, described
from mainspring.errors import GraphError, InvalidError, NotFoundError, close_names

if TYPE_CHECKING:
    from mainspring.pipelines.observation.importing import ImportWatch
    from mainspring.pipelines.pipeline import Pipeline
    from mainspring.workspace import Project

_MAIN = "main"
_USUAL_MODULES = ("pipeline", "pipelines")
_HINT = "Give a name of [pipelines], `module:pipeline` or `file.py`."


def pipeline_for(invocation: Invocation, target: str) -> Pipeline[Any, Any]:
    """Import the pipeline that a target names; the project of a file becomes that of the call.

    Raises:
        NotFoundError: there is no such pipeline, module or file; the nearest are named.
        InvalidError: the target leaves open which pipeline is meant.
        GraphError: its module can't be imported.
    """
    file, _, name = target.partition(":")
    if file.endswith(".py"):
        path = Path(file).resolve()
        if not path.is_file():
            raise NotFoundError("file", file, close_names(path.name, _python_files(path.parent)))
        project = invocation.project_of(path.parent) if invocation.start is None else invocation.project
        _enter(invocation, project)
        return _chosen(_module_of(project, path), name, target, _modules(project))
    _enter(invocation, invocation.project)
    module, _, name = _declared(invocation.project, target).partition(":")
    return _chosen(module, name, target, _modules(invocation.project))


def pipeline_of(project: Project, module: str, qualname: str) -> Pipeline[Any, Any]:
    """Import the pipeline that a run was of, by what the run recorded.

    Raises:
        NotFoundError: the module or the pipeline is gone; the nearest are named.
        GraphError: its module can't be imported.
    """
    from mainspring.pipelines.pipeline import Pipeline

    if module == "__main__" or "<" in qualname:
        raise GraphError(
            f"the pipeline `{module}:{qualname}` of the latest run can't be imported, so what would run now isn't known;"
            " `mainspring why latest` says what ran"
        )
    prepare(project)
    found = {
        value.qualname: value
        for value in vars(_imported(module, _modules(project))).values()
        if isinstance(value, Pipeline) and value.module == module
    }
    if qualname not in found:
        near = [f"{module}:{name}" for name in close_names(qualname, found) or sorted(found)]
        hint = "The latest run was of it; `mainspring why RUN` says what ran."
        raise NotFoundError("pipeline", f"{module}:{qualname}", near, hint)
    return found[qualname]


def module_of(
    project: Project, name: str, hint: str = "Name modules of the project, e.g. `flights.views`."
) -> ModuleType:
    """Import a module of the project, once it is prepared.

    Raises:
        NotFoundError: there is none; the nearest are named.
        GraphError: it can't be imported.
    """
    return _imported(name, _modules(project), hint)


def _enter(invocation: Invocation, project: Project) -> None:
    # Opened first, so that a module which uses the workspace while it is imported finds this one.
    invocation.start_in(project)
    prepare(project)


def prepare(project: Project) -> None:
    """Make the project's modules importable here, under the thread counts that its settings say."""
    from mainspring.pipelines.seeds import threads_environment

    # Before the first numerical library is loaded: most read these once.
    os.environ.update(threads_environment(int(project.settings.threads) or os.cpu_count() or 1))
    roots = [str(root) for root in project.source_roots]
    sys.path[:] = [*roots, *(entry for entry in sys.path if entry not in roots)]


def _declared(project: Project, target: str) -> str:
    """The `module:pipeline` that is meant; the pipeline may be left out."""
    declared = project.pipelines
    if target in declared:
        return declared[target]
    if ":" in target:
        return target
    if not target:
        return _only(project, declared)
    if not _exists(target):
        raise NotFoundError("pipeline", target, close_names(target, [*declared, *_modules(project)]), _HINT)
    return target


def _only(project: Project, declared: dict[str, str]) -> str:
    """The pipeline of a call that names none."""
    if len(declared) == 1 or _MAIN in declared:
        return declared.get(_MAIN) or next(iter(declared.values()))
    if declared:
        raise InvalidError("TARGET", "", "clear", f"This project has the pipelines {', '.join(sorted(declared))}.")
    names = _modules(project)
    chosen = [name for name in _USUAL_MODULES if name in names] or (names if len(names) == 1 else [])
    if not chosen:
        raise NotFoundError("pipeline", _MAIN, (), f"The project in {project.root} declares none. {_HINT}")
    return chosen[0]


def _chosen(module_name: str, name: str, target: str, known: list[str]) -> Pipeline[Any, Any]:
    from mainspring.pipelines.pipeline import Pipeline

    module = _imported(module_name, known)
    found = {key: value for key, value in vars(module).items() if isinstance(value, Pipeline)}
    if name:
        if name not in found:
            near = close_names(name, found) or sorted(found)
            raise NotFoundError("pipeline", f"{module_name}:{name}", [f"{module_name}:{key}" for key in near])
        return found[name]
    own = {key: value for key, value in found.items() if value.module == module_name} or found
    if len(own) == 1 or _MAIN in own:
        return own.get(_MAIN) or next(iter(own.values()))
    if not own:
        raise NotFoundError("pipeline", target or module_name, (), "Decorate a function of it with @ms.pipeline.")
    raise InvalidError("TARGET", target, "clear", f"Say which: {', '.join(f'{target}:{key}' for key in sorted(own))}.")


def _imported(name: str, known: list[str], hint: str = _HINT) -> ModuleType:
    if not _exists(name):
        raise NotFoundError("module", name, close_names(name, known), hint)
    try:
        with _watched():
            return import_module(name)
    except SyntaxError as error:
        raise GraphError(_no_python(name, error)) from error
    except (Exception, SystemExit) as error:
        raise GraphError(f"importing `{name}` failed: {described(error)}") from error


def _no_python(name: str, error: SyntaxError) -> str:
    """What is wrong in which file, and that it is one which the module imports."""
    place = f"{error.filename}:{error.lineno}"
    own = find_spec(name)
    if own is None or error.filename in (None, own.origin):
        return f"`{name}` is not Python: {error.msg} ({place})"
    return f"importing `{name}` failed: `{Path(error.filename).name}` is not Python: {error.msg} ({place})"


def _exists(module: str) -> bool:
    try:
        with _watched():  # to find a module Python imports the packages that it is in
            return find_spec(module) is not None
    except (ImportError, ValueError, AttributeError):
        return False


def _watched() -> ImportWatch:
    """What the project's modules read while they are imported is an input of their steps."""
    from mainspring.pipelines.observation.importing import ImportWatch
    from mainspring.workspace import current_workspace

    return ImportWatch(current_workspace())


def _module_of(project: Project, path: Path) -> str:
    for root in reversed(project.source_roots):
        if path.is_relative_to(root):
            parts = path.relative_to(root).with_suffix("").parts
            if any("." in part for part in parts):
                raise InvalidError("TARGET", path.name, "a file that can be imported", "Take the dots out of its name.")
            return ".".join(parts)
    raise NotFoundError("module", str(path), (), f"It lies outside the project in {project.root}.")


def _modules(project: Project) -> list[str]:
    return sorted({Path(name).stem for root in project.source_roots for name in _python_files(root)})


def _python_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.py")) if folder.is_dir() else []
