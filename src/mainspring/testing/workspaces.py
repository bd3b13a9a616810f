"""A small project on a pair of backends, whose modules are given as text and run here or in another process."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mainspring.pipelines.launch import resume_run, run_pipeline
from mainspring.pipelines.observation.importing import ImportWatch
from mainspring.pipelines.results import RunResult
from mainspring.pipelines.task import Task
from mainspring.workspace import Workspace, find_project

_IMPORTS = "import mainspring as ms\n"


class Lab:
    """A project with a workspace. `run("a.b")` imports the modules anew, as a new process would see them."""

    def __init__(self, root: Path, database_url: str, blob_url: str, *, opened: bool = True, **settings: Any) -> None:
        self.root = root.resolve()
        self.root.mkdir(parents=True, exist_ok=True)
        self.settings: dict[str, Any] = {"database": database_url, "blobs": blob_url, **settings}
        self._opened: Workspace | None = self.open() if opened else None

    @property
    def workspace(self) -> Workspace:
        """The workspace, opened at the latest now."""
        if self._opened is None:
            self._opened = self.open()
        return self._opened

    @workspace.setter
    def workspace(self, workspace: Workspace) -> None:
        self._opened = workspace

    def open(self) -> Workspace:
        """Another view of the workspace, as another process has it."""
        project = find_project(self.root, overrides=self.settings)
        project.root = self.root
        return Workspace.open(project=project)

    def write(self, text: str, module: str = "flow") -> Path:
        """Write a module, `import mainspring as ms` put in front."""
        path = self.root.joinpath(*module.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_IMPORTS + textwrap.dedent(text))
        return path

    def load(self, module: str = "flow") -> Any:
        """The module, imported from its present source together with all others of the project."""
        self.forget()
        importlib.invalidate_caches()
        if str(self.root) not in sys.path:
            sys.path.insert(0, str(self.root))
        written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
        try:
            with ImportWatch(self.workspace):
                return importlib.import_module(module)
        finally:
            sys.dont_write_bytecode = written

    def forget(self) -> None:
        """Drop the project's modules from this process."""
        here = f"{self.root}{os.sep}"
        # A copy at once: a list made item by item can meet an import of another thread.
        for name, module in sys.modules.copy().items():
            if str(getattr(module, "__file__", None) or "").startswith(here):
                del sys.modules[name]

    def run(self, pipeline: str = "main", *, module: str = "flow", params: Any = None, **options: Any) -> RunResult:
        """Run a pipeline of a freshly imported module; gives the result also when a step failed."""
        found = getattr(self.load(module), pipeline)
        return run_pipeline(found, params or {}, workspace=self.workspace, **options)

    def write_and_run(self, text: str, **options: Any) -> RunResult:
        """`write` and `run`."""
        self.write(text)
        return self.run(**options)

    def resume(self, run: str, **options: Any) -> RunResult:
        """Go on with a run, its modules freshly imported."""
        self.load()
        return resume_run(run, workspace=self.workspace, **options)

    def environment(self, **more: str) -> dict[str, str]:
        """The variables with which a process finds the workspace."""
        names = {f"MAINSPRING_{name.upper()}": str(value) for name, value in self.settings.items()}
        return os.environ | names | {"PYTHONHASHSEED": "0", "PYTHONPATH": str(self.root)} | more

    def start(self, code: str, **environment: str) -> subprocess.Popen[str]:
        """A process that runs some code in the project's folder."""
        return subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)], cwd=self.root, env=self.environment(**environment),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def close(self) -> None:
        """Forget the modules and close the database."""
        self.forget()
        if str(self.root) in sys.path:
            sys.path.remove(str(self.root))
        if self._opened is not None:
            self._opened.close()
            self._opened = None


@contextmanager
def lab_in(root: Path, database_url: str, blob_url: str, *, opened: bool = True, **settings: Any) -> Iterator[Lab]:
    """A lab for the block."""
    lab = Lab(root, database_url, blob_url, opened=opened, **settings)
    try:
        yield lab
    finally:
        lab.close()


def task_of(result: RunResult, name: str) -> Task:
    """The task of that name."""
    return {task.name: task for task in result.tasks}[name]


def states(result: RunResult) -> dict[str, str]:
    """What became of each task."""
    return {task.name: task.state.value for task in result.tasks}


def digests(result: RunResult) -> dict[str, str]:
    """The content digest of every output, by task and output."""
    store = result._store.artifacts
    found: Mapping[str, Any] = store.get_many(a for task in result.tasks for a in task.outputs.values())
    return {
        f"{task.name}.{name}": found[artifact].content_digest
        for task in result.tasks
        for name, artifact in task.outputs.items()
    }
