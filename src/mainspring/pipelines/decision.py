"""Run or reuse: the cache key of a task, and in words why a result could not be reused."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from blake3 import blake3

from mainspring.errors import NotFoundError
from mainspring.pipelines._store import TaskStore, leaves
from mainspring.pipelines.code.facts import NOT_REUSABLE, is_mention
from mainspring.pipelines.code.fingerprint import Fingerprint, Fingerprinter, compare, fingerprint_of
from mainspring.pipelines.code.homes import is_replaced
from mainspring.pipelines.code.live import Live
from mainspring.pipelines.code.probe import VALUE
from mainspring.pipelines.graph import Literal, Stored
from mainspring.pipelines.seeds import task_seed
from mainspring.pipelines.task import Task
from mainspring.pipelines.values import Values
from mainspring.runs import RunStore

# Raise it whenever the same key would stand for something else.
_RECIPE = "cache 2"
# The recipes of the codecs: what one of them digested otherwise must not be taken for what it is today. A table, because
# asking the codecs would import the libraries that they are for.
CODEC_RECIPES = {
    "arrow.table": 1, "bundle": 2, "bytes": 1, "catboost": 1, "json": 2, "lightgbm": 1, "numpy.array": 2, "pandas.frame": 2,
    "pandas.series": 2, "path": 1, "polars.frame": 1, "polars.lazy": 1, "polars.series": 1, "sklearn": 2, "torch.module": 1,
    "onnx": 1, "torch.tensor": 1, "torch.tensors": 1, "xgboost": 1,
}  # fmt: skip


class Decider:
    """Decides for the tasks of one run. The key is fingerprint × arguments × seed × what the outputs are to be.

    Where `reuse` is off, `told` is the reason that is given. With `keep=False` nothing is written, not even fingerprints.
    `entry` is the pipeline's module, for tasks of a run that isn't recorded.
    """

    def __init__(
        self, store: TaskStore, values: Values, fingerprinter: Fingerprinter, run_seed: int, *, reuse: bool = True,
        told: str = "this run was told not to reuse", keep: bool = True, entry: str = "",
    ) -> None:  # fmt: skip
        self.store = store
        self.values = values
        self.fingerprinter = fingerprinter
        self._run_seed = run_seed
        self._reuse = reuse
        self._told = told
        self._keep = keep
        self._kept: set[str] = set()
        self._entry = entry
        self._entries: dict[str, str] = {}

    def fingerprint(self, task: Task, function: Callable[..., Any] | None) -> Fingerprint:
        """The fingerprint of a task's step: from its module's source, or from the function where it can't be imported."""
        is_other = function is not None and is_replaced(function, task.module, task.qualname)
        if function is not None and (is_other or not _in_project(self.fingerprinter, task)):
            return self.fingerprinter.of_function(function, self._carried(task))
        found = self.fingerprinter.of(
            task.module,
            task.qualname,
            carried=self._carried(task),
            entry=self._entry_of(task.run),
            live=function is not None,
        )
        return found if function is not None else self._recalled(task, found)

    def live(self, task: Task) -> Live | None:
        """What a task's step reaches in this process; None for one that no module gives back."""
        if not _in_project(self.fingerprinter, task):
            return None
        carried, entry = self._carried(task), self._entry_of(task.run)
        return self.fingerprinter.live(task.module, task.qualname, carried=carried, entry=entry)

    def _recalled(self, task: Task, found: Fingerprint) -> Fingerprint:
        """With what importing the step's modules read before, for this process imports none of them."""
        before = task.fingerprint
        if before is None:
            earlier = self.store.previous(task.module, task.qualname, task.run, task.name)
            before = earlier.fingerprint if earlier is not None else None
        parts = self.store.fingerprint_parts(before) if before else {}
        # Nothing was set at run time in the process that will execute it.
        parts = {name: part for name, part in parts.items() if not name.startswith(VALUE)}
        return self.fingerprinter.recalled(found, parts) if parts else found

    def _carried(self, task: Task) -> tuple[str, ...]:
        """The definitions that arguments bring along: classes of values, and what a text names as `module:name`."""
        found: set[str] = set()
        for binding in task.arguments.values():
            for leaf in leaves(binding):
                if isinstance(leaf, Stored):
                    found.update(self.values.artifact(leaf.artifact).encoded.brings)
                elif isinstance(leaf, Literal):
                    found.update(_mentions(leaf.value))
        return tuple(sorted(found))

    def _entry_of(self, run_id: str) -> str:
        """The module of a run's pipeline."""
        if run_id not in self._entries:
            self._entries[run_id] = self._entry
            with suppress(NotFoundError):
                self._entries[run_id] = RunStore(self.store.database, self.store.ledger).get(run_id).module
        return self._entries[run_id]

    def prepare(self, task: Task, function: Callable[..., Any] | None) -> Fingerprint:
        """Fill in fingerprint, seed and cache key of a task whose arguments are known."""
        fingerprint = self.fingerprint(task, function)
        task.fingerprint = fingerprint.digest
        task.seed = task_seed(self._run_seed, task.seed_name or task.name)
        task.cache_key = self._key(task)
        if self._keep and fingerprint.digest not in self._kept:
            self.store.keep_fingerprint(fingerprint.digest, fingerprint.parts)
            self._kept.add(fingerprint.digest)
        return fingerprint

    def origin(self, task: Task, fingerprint: Fingerprint) -> Task | None:
        """The task whose result may be reused, if there is one."""
        if not (self._reuse and task.options.cache and fingerprint.reusable and task.cache_key):
            return None
        if fingerprint.differences:
            return None  # what was replaced would not be what made the result
        return self.store.entry(task.cache_key)

    def explain(self, task: Task, fingerprint: Fingerprint, live: list[str]) -> list[str]:
        """Why a task runs instead of taking an earlier result, most telling first; notes on reuse later begin with
        `not reusable`.
        """
        notes = [f"{NOT_REUSABLE}{line}" for line in live]
        notes += [line for line in fingerprint.unresolved if line.startswith(NOT_REUSABLE)]
        if not self._reuse:
            return [self._told, *notes]
        if not task.options.cache:
            return ["the step says cache=False", *notes]
        before = self.store.previous(task.module, task.qualname, task.run, task.name)
        if before is None:
            return [self._nothing_before(task), *notes]
        return [*(self._changes(before, task, fingerprint) or _seen(before) or self._lost(before)), *notes]

    def _nothing_before(self, task: Task) -> str:
        failed = self.store.previous(task.module, task.qualname, task.run, task.name, failed=True)
        if failed is None:
            return "no earlier result of this step"
        return f"in run {failed.run[:12]} it failed, so there is no earlier result"

    def _lost(self, before: Task) -> list[str]:
        """Why a result with the very same key can't be taken."""
        if all(map(self.values.has, before.outputs.values())):
            # In other words than the reason's own, which would keep this result from reuse, too.
            noted = [each.removeprefix(NOT_REUSABLE) for each in before.reasons if each.startswith(NOT_REUSABLE)]
            return [f"its result was not kept for reuse: {each}" for each in noted] or [
                "its result was not kept for reuse"
            ]
        return ["its stored bytes are damaged or gone, so it is made again"]

    def _changes(self, before: Task, task: Task, fingerprint: Fingerprint) -> list[str]:
        if before.cache_key == task.cache_key:
            return []
        old_parts = self.store.fingerprint_parts(before.fingerprint or "")
        changes = compare(fingerprint_of(old_parts), fingerprint) if before.fingerprint != fingerprint.digest else []
        for name in sorted(before.arguments.keys() | task.arguments.keys()):
            old, new = before.arguments.get(name), task.arguments.get(name)
            if old is None or new is None:
                changes.append(f"argument {name} {'is new' if old is None else 'is gone'}")
            elif self.values.digest(old) != self.values.digest(new):
                changes.append(f"argument {name} changed")
        if before.seed != task.seed and not (task.seed_name and changes):  # a mapped item's seed goes with the item
            changes.append("the seed changed")
        if _meaning(before) != _meaning(task):
            changes.append("its declared outputs changed")
        return changes or ["another version of Mainspring keys or stores values in another way"]

    def _key(self, task: Task) -> str:
        hasher = blake3(_RECIPE.encode())
        parts = [task.fingerprint or "", _meaning(task), str(task.seed), *map(str, CODEC_RECIPES.values())]
        for name, binding in sorted(task.arguments.items()):
            parts += [name, self.values.digest(binding)]
        for part in parts:
            data = part.encode()
            hasher.update(len(data).to_bytes(4, "little") + data)
        return hasher.hexdigest()


def _mentions(value: Any) -> list[str]:
    """The texts in a plain value that may name a definition."""
    if isinstance(value, str):
        return [value] if ":" in value and is_mention(value) else []
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    return [text for item in value for text in _mentions(item)] if isinstance(value, list) else []


def _in_project(fingerprinter: Fingerprinter, task: Task) -> bool:
    return "<" not in task.qualname and fingerprinter.project.find(task.module) is not None


def _meaning(task: Task) -> str:
    """The options that are part of what a step means."""
    return f"{','.join(task.options.outputs)} {task.options.ordered}"


def _seen(task: Task) -> list[str]:
    return [f"not reusable: it read the undeclared {each['kind']} `{each['name']}`{_by(each)}" for each in task.seen]


def _by(each: dict[str, Any]) -> str:
    return f" ({each['by']})" if each.get("by") else ""
