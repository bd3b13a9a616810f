"""What driving a run needs, opened together: stores, the code it runs from, and the runners for its steps."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex

from mainspring.artifacts.project import import_folders
from mainspring.errors import CorruptBlobError, GraphError, InvalidError, NotFoundError
from mainspring.ledger import new_id
from mainspring.pipelines._store import TaskStore
from mainspring.pipelines.code.fingerprint import Fingerprinter
from mainspring.pipelines.code.tree import materialise, read_tree, record
from mainspring.pipelines.execution import Place, stamp
from mainspring.pipelines.interpreter import Interpreter, this_interpreter
from mainspring.pipelines.leftovers import note_late_imports
from mainspring.pipelines.progress import Listener
from mainspring.pipelines.seeds import threads_environment
from mainspring.pipelines.task import Task, TaskState
from mainspring.pipelines.values import Values
from mainspring.runners import Exit, InlineRunner, Runner, WorkOrder
from mainspring.runs.code import CodeTree
from mainspring.runs.environment import Environment, installed, snapshot
from mainspring.store import blob_digest
from mainspring.workspace import Workspace

if TYPE_CHECKING:
    from mainspring.pipelines.code.excerpt import Excerpt

RUNNERS = ("auto", "inline", "pool", "detached")
WORKER = "mainspring.pipelines.worker"
_HASH_SEED = "0"
_NOT_PASSED_ON = (
    "PYTHONPATH", "PYTHONSTARTUP", "PWD", "OLDPWD", "MAINSPRING_CACHE", "MAINSPRING_CODE", "MAINSPRING_PROJECT",
)  # fmt: skip


class Session:
    """The means of driving one run. `root` is the project, or a folder with the run's recorded code; `interpreter` runs the
    workers, this one unless given.
    """

    def __init__(
        self, workspace: Workspace, root: Path, *, jobs: int, runner: str, listener: Listener, threads: int = 0,
        interpreter: Interpreter | None = None,
    ) -> None:  # fmt: skip
        if runner not in RUNNERS:
            raise InvalidError("runner", runner, f"one of {', '.join(RUNNERS)}")
        if not _is_count(jobs):
            raise InvalidError("jobs", jobs, "a whole number of at least 1")
        self.workspace = workspace
        self.root = root.resolve()
        self.jobs = jobs
        self.runner = runner
        self.threads = threads or int(workspace.project.settings.threads) or os.cpu_count() or 1
        self.store = TaskStore(workspace.database, workspace.ledger, workspace.leases)
        self.values = Values(self.store.artifacts, workspace.blobs)
        self.interpreter = interpreter or this_interpreter()
        paths = self.interpreter.paths
        self.environment: Environment = snapshot(paths)
        self.fingerprinter = Fingerprinter(
            self.root, workspace.cache, self.environment, self.threads,
            import_roots=source_roots(workspace, self.root),
            distributions=lambda: installed(None if paths else workspace.cache, paths),
        )  # fmt: skip
        self.place = Place(workspace, self.store, self.values, self.root, isolated=False, follow=listener.printed)
        self.place.loads = lambda module: self.fingerprinter.load(module).loaded
        import_folders.set(tuple(source_roots(workspace, self.root)))
        self._runners: dict[str, Runner] = {}
        self._record_again: Callable[[], None] | None = None

    def record_code(
        self, tasks: Sequence[Task], module: str, functions: Mapping[int, Callable[..., Any]] | None = None
    ) -> CodeTree:
        """Keep the sources that the steps and the pipeline's module may load, and the files that the steps declare.

        Of steps that no module gives back, `functions` by the position of their calls, excerpts are kept.
        """
        steps = {(task.module, task.qualname) for task in tasks if self.is_importable(task)}
        live = {task.position: (functions or {}).get(task.position) for task in tasks if not self.is_importable(task)}
        excerpts, texts = self._excerpts({place: function for place, function in live.items() if function is not None})
        names = {name for name, _ in steps} | {module} | {name for each in excerpts.values() for name in each.imports}
        known = sorted(name for name in names if self.fingerprinter.project.find(name) is not None)
        sources = {found.path: found for name in known for found in self.fingerprinter.modules(name)}
        note_late_imports(self.fingerprinter.project, (found.name for found in sources.values()))
        declared = {file for step in steps for file in self.fingerprinter.of(*step).files}
        declared |= {file for function in live.values() if function is not None for file in self._files(function)}
        files = [found.path for found in sources.values()] + [self.root / file for file in declared]
        self.place.stamps = {str(path): stamp(path) for path in files}  # first: what changes from here on is noticed
        tree = record(self.root, list(sources.values()), declared, self.workspace.blobs, texts)
        self._record_again = lambda: self._repaired(tree, lambda: self.record_code(tasks, module, functions))
        return tree

    def _repaired(self, tree: CodeTree, record_again: Callable[[], object]) -> None:
        """Have every damaged blob of the code noticed, and put all of them again."""
        for digest in tree.blobs:
            with suppress(CorruptBlobError, NotFoundError):
                self.workspace.blobs.read(digest)
        record_again()

    def _code_folder(self, manifest: str) -> Path:
        """The recorded code; what is damaged of it is put again if it was recorded here."""
        try:
            return code_folder(self.workspace, manifest)
        except (CorruptBlobError, NotFoundError):
            if self._record_again is None:
                raise
            self._record_again()
            return code_folder(self.workspace, manifest)

    def _excerpts(self, live: Mapping[int, Callable[..., Any]]) -> tuple[dict[int, Excerpt], dict[str, str]]:
        """The excerpts of functions by position, and the files that keep them."""
        if not live:
            return {}, {}
        from mainspring.pipelines.code.excerpt import excerpt_of, files_of

        known = {function: excerpt_of(function, self._asked(function)) for function in live.values()}
        excerpts = {position: known[function] for position, function in live.items()}
        return excerpts, files_of(excerpts, self._import_root())

    def _asked(self, function: Callable[..., Any]) -> Mapping[int, Collection[str]]:
        """The names that texts ask for in a function which no module gives back, by the id of the function they are in."""
        try:
            return self.fingerprinter.live_walk(function).asked
        except GraphError:
            return {}

    def _files(self, function: Callable[..., Any]) -> tuple[str, ...]:
        """The files that a function declares which no module gives back; what is wrong with it is said when it is called."""
        try:
            return self.fingerprinter.of_function(function).files
        except GraphError:
            return ()

    def _import_root(self) -> str:
        """A folder of the project that is searched for modules, with a slash at its end; empty for the root itself."""
        inside = [folder for folder in source_roots(self.workspace, self.root) if folder.is_relative_to(self.root)]
        relative = inside[0].relative_to(self.root).as_posix() if inside else "."
        return "" if relative == "." else f"{relative}/"

    def is_importable(self, task: Task) -> bool:
        """Whether another process can import the step from the project's sources."""
        return "<" not in task.qualname and self.fingerprinter.project.find(task.module) is not None

    def runner_for(self, run_id: str, code: str | None, execute: Any, task: Task) -> Runner:
        """The runner of a task; each kind is made once. Raises as `kind_of` does."""
        kind = self.kind_of(task)
        if kind not in self._runners:
            self._runners[kind] = self._made(kind, run_id, code, execute)
        return self._runners[kind]

    def kind_of(self, task: Task) -> str:
        """The kind of runner that a task needs.

        Raises:
            GraphError: inline can't enforce what the step declares, or another process can't import it.
        """
        importable = self.is_importable(task)
        asked = task.options.needs_isolation
        if self.runner == "inline" and asked:
            raise GraphError(
                "its timeout_s, memory_mb or isolated can't be enforced inline; use --runner pool", task.name
            )
        kind = self.runner
        if kind == "auto":
            kind = "pool" if asked or (self.jobs > 1 and importable) else "inline"
        if kind != "inline" and not importable:
            raise GraphError(
                f"another process can't import `{task.step}`, so the {kind} can't run it; move it into a module",
                task.name,
            )
        return kind

    def _made(self, kind: str, run_id: str, code: str | None, execute: Any) -> Runner:
        if kind == "inline":
            return InlineRunner(execute)
        environment = self._environment()
        if kind == "detached":
            from mainspring.runners import DetachedRunner

            return DetachedRunner(self.jobs, self._program, self._ended, environment=environment)
        environment |= {
            "MAINSPRING_CODE": str(self._code_folder(code or "")),
            "MAINSPRING_CACHE": str(self.workspace.cache),
            "MAINSPRING_PROJECT": str(self.workspace.project.root),
        }
        from mainspring.runners import ChildProcess, PoolRunner

        folder = self.workspace.scratch / run_id / "pool"
        return PoolRunner(
            self.jobs,
            lambda number: ChildProcess(
                [self.interpreter.program, "-m", WORKER], environment=environment, folder=folder / str(number)
            ),
        )

    def _environment(self) -> dict[str, str]:
        settings = self.workspace.project.settings
        return worker_environment(os.environ, settings.database, settings.blobs, self.threads) | {
            "MAINSPRING_LEASE_S": str(settings.lease_s),
            "MAINSPRING_SOURCE": os.pathsep.join(settings.source),
        }

    def _program(self, order: WorkOrder) -> list[str]:
        payload = order.payload
        return [self.interpreter.program, "-m", WORKER, "--task", payload["task"], "--token", str(payload["token"])]

    def _ended(self, order: WorkOrder) -> Exit | None:
        """What the database says of a detached order."""
        task = self.store.get(order.payload["task"])
        if task is not None and task.state is not TaskState.RUNNING:
            return Exit(order=order.id, kind="done")
        if not self.workspace.leases.held(f"task:{order.payload['task']}"):
            return Exit(order=order.id, kind="lost", message="its worker fell silent and its lease ran out")
        return None


def _is_count(given: Any) -> bool:
    return not isinstance(given, bool) and isinstance(given, SupportsIndex) and index(given) >= 1


def source_roots(workspace: Workspace, root: Path) -> list[Path]:
    """The import roots of a project or of a tree of its recorded code."""
    folders = [(root / name).resolve() for name in workspace.project.settings.source]
    return [folder for folder in folders if folder.is_dir()] or [root]


def code_folder(workspace: Workspace, manifest: str) -> Path:
    """A folder of this machine with the recorded code; written at first use, and again if it isn't what was recorded.

    Raises:
        CorruptBlobError, NotFoundError: the recorded code is damaged or gone.
    """
    folder = workspace.cache / "code" / manifest
    if folder.is_dir() and not _is_intact(folder, manifest, workspace):
        import shutil

        wrong = folder.with_name(f"{manifest}.{new_id()}")
        with suppress(FileNotFoundError):  # another process was first
            folder.rename(wrong)
        shutil.rmtree(wrong, ignore_errors=True)
    if folder.is_dir():
        os.utime(folder)  # for the collector: it is in use
    else:
        partial = folder.with_name(f"{manifest}.{new_id()}")  # a process id would come again in a container
        materialise(manifest, workspace.blobs, partial)
        try:
            partial.rename(folder)
        except OSError:  # another process was first
            import shutil

            shutil.rmtree(partial, ignore_errors=True)
    return folder


def _is_intact(folder: Path, manifest: str, workspace: Workspace) -> bool:
    """Whether a folder has the files of the recorded code, byte for byte, and no others that could be imported."""
    recorded = {entry.path: entry.blob for entry in read_tree(manifest, workspace.blobs).entries}
    there = {
        path.relative_to(folder).as_posix(): path
        for path in folder.rglob("*")
        if not path.is_dir() and path.parent.name != "__pycache__"
    }
    return recorded.keys() == there.keys() and all(
        not path.is_symlink() and blob_digest(path.read_bytes()) == recorded[name] for name, path in there.items()
    )


def worker_environment(base: Mapping[str, str], database: str, blobs: str, threads: int) -> dict[str, str]:
    """The variables of a worker process: fixed hash seed and threads, and where state lives."""
    kept = {name: value for name, value in base.items() if name not in _NOT_PASSED_ON}
    return (
        kept
        | threads_environment(threads)
        | {"PYTHONHASHSEED": _HASH_SEED, "MAINSPRING_DATABASE": database, "MAINSPRING_BLOBS": blobs}
    )
