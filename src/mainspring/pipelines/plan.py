"""From recorded calls to tasks, and from a task's bindings to what they wait for and receive."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from mainspring.artifacts.record import Artifact
from mainspring.errors import GraphError
from mainspring.ledger import new_id
from mainspring.pipelines._store import awaited_in, leaves
from mainspring.pipelines.graph import (
    Binding,
    Call,
    Entries,
    FromTask,
    Items,
    Literal,
    Missing,
    Output,
    Stored,
    listed_items,
)
from mainspring.pipelines.hints import accepts, hints_of
from mainspring.pipelines.reading import checked_value
from mainspring.pipelines.task import DONE, UNFINISHED, Failed, Task, TaskState
from mainspring.pipelines.values import Values
from mainspring.secrets import refuse_output, refuse_value

Functions = dict[int, Callable[..., Any]]  # by the position of the call
_PLAIN_KINDS = (bool, int, float, str)


def planned(calls: Sequence[Call], run_id: str, values: Values, keep: Callable[[Artifact], None]) -> list[Task]:
    """The tasks for the calls of a pipeline; values that JSON can't hold are saved and given to `keep`.

    Raises:
        WrongTypeError: a plain argument doesn't fit its hint.
        CodecError: no codec takes an argument.
    """
    tasks = []
    for position, call in enumerate(calls):
        hints = hints_of(call.step.function)
        bindings = {}
        for name, value in call.arguments.items():
            place = f"Step `{call.name}`, parameter `{name}`"
            if type(value) in _PLAIN_KINDS and name != call.mapped:
                value = checked_value(place, value, hints.get(name), strict=True)
            refuse_value(place, name, value)
            bindings[name] = values.bind(place, value, keep)
        task = Task(
            id=new_id(), run=run_id, position=position, name=call.name, module=call.step.module,
            qualname=call.step.qualname, mapped=call.mapped, options=call.step.options, bindings=bindings,
            tolerates=[name for name in bindings if accepts(hints.get(name), Failed)],
        )  # fmt: skip
        tasks.append(task)
    return tasks


def named_outputs(returned: Any) -> dict[str, Any]:
    """What a pipeline returned, by name: a dict's keys, or `result`."""
    if isinstance(returned, dict):
        return {str(key): value for key, value in returned.items() if isinstance(value, Output | list | tuple)}
    return {"result": returned} if isinstance(returned, Output | list | tuple) else {}


def bound_outputs(returned: dict[str, Any], values: Values, keep: Callable[[Artifact], None]) -> dict[str, Binding]:
    """The bindings of what a pipeline returned.

    Raises:
        SecretError: it returned the value of a secret.
    """
    for name, value in returned.items():
        refuse_output(f"The pipeline's output `{name}`", value)
    return {name: values.bind(f"output `{name}`", value, keep) for name, value in returned.items()}


class Tasks:
    """The tasks of a run while it goes on: which can start, and what they receive."""

    def __init__(self, tasks: Iterable[Task], functions: Functions) -> None:
        self.functions = functions
        self.by_name: dict[str, Task] = {}
        self.children: dict[str, list[Task]] = {}
        self.mapped: dict[str, Task] = {}
        for task in tasks:
            self.add(task)

    def add(self, task: Task) -> None:
        """Take a task in."""
        self.by_name[task.name] = task
        if task.is_mapped:
            self.mapped[task.id] = task
        if task.map_of:
            self.children.setdefault(task.map_of, []).append(task)

    def __iter__(self) -> Any:
        return iter(list(self.by_name.values()))

    def function(self, task: Task) -> Callable[..., Any] | None:
        """The function in this process, if the step was met here."""
        return self.functions.get(task.position)

    def parents(self) -> list[Task]:
        """The tasks that stand for children."""
        return list(self.mapped.values())

    def blocked_by(self, task: Task) -> Task | None:
        """The task without a result that keeps another from starting, if there is one."""
        for parameter, binding in task.bindings.items():
            for name in awaited_in(binding):
                other = self.by_name[name]
                if other.state in (*DONE, *UNFINISHED):
                    continue
                allowed = other.state is TaskState.FAILED and other.options.may_fail
                if not (allowed and parameter in task.tolerates):
                    return other
        return None

    def denied(self, task: Task) -> Missing | None:
        """A failure among a task's resolved arguments that the parameter's hint doesn't take, if there is one."""
        for parameter in task.bindings:  # what an item shares with the others was looked at before there were items
            binding = task.arguments[parameter]
            if parameter in task.tolerates or (task.is_mapped and parameter == task.mapped):
                continue  # each item of a mapped parameter is its own child's affair
            for leaf in leaves(binding):
                if isinstance(leaf, Missing):
                    return leaf
        return None

    def settle(self, task: Task) -> TaskState | None:
        """The final state of a mapped task whose children are all done, else None."""
        children = self.children.get(task.id, [])
        if any(child.state in UNFINISHED for child in reversed(children)):  # the last is usually the last to end
            return None
        states = {child.state for child in children}
        if TaskState.CANCELLED in states:
            return TaskState.CANCELLED
        if not task.options.may_fail and TaskState.FAILED in states:
            return TaskState.FAILED
        if not task.options.may_fail and TaskState.SKIPPED in states:
            return TaskState.SKIPPED
        return TaskState.REUSED if states == {TaskState.REUSED} else TaskState.SUCCEEDED

    def reopen(self, task: Task) -> None:
        """Put a task that was done back in line, and with it the mapped one that it belongs to.

        Items whose shared arguments come from it have to wait for it themselves from now on.
        """
        task.state, task.outputs, task.reused_from = TaskState.WAITING, {}, None
        names = {task.name}
        if task.map_of in self.mapped:
            owner = self.mapped[task.map_of]
            owner.state = TaskState.MAPPED
            names.add(owner.name)
        for parent in self.mapped.values():
            if names & self.needs(parent):
                for child in self.children.get(parent.id, []):
                    child.bindings = parent.bindings | child.bindings

    def resolve(self, task: Task) -> None:
        """Turn a task's bindings into arguments, now that what it waited for is there."""
        own = {name: self.resolved(binding) for name, binding in task.bindings.items()}
        parent = self.mapped.get(task.map_of or "")
        # The very same bindings as the mapped task's, which are then digested, stored and drawn as edges once.
        task.arguments = own if parent is None else parent.arguments | own

    def needs(self, task: Task) -> set[str]:
        """What a task takes: names of tasks, and ids of artifacts that were there before."""
        ends = [leaf for binding in task.bindings.values() for leaf in leaves(binding)]
        return {leaf.task for leaf in ends if isinstance(leaf, FromTask)} | {
            leaf.artifact for leaf in ends if isinstance(leaf, Stored)
        }

    def owner(self, task: Task) -> str:
        """The name under which others take a task's result: an item's is the mapped task's."""
        parent = self.mapped.get(task.map_of or "")
        return task.name if parent is None else parent.name

    def made(self, need: str) -> list[str]:
        """The artifacts behind one of the `needs`."""
        task = self.by_name.get(need)
        if task is None:
            return [need]
        makers = self.children.get(task.id, []) if task.is_mapped else [task]
        return [artifact for maker in makers for artifact in maker.outputs.values()]

    def resolved(self, binding: Binding) -> Binding:
        """A binding with every task's result in it replaced by the artifacts that it is."""
        match binding:
            case FromTask(task=name, output=output):
                return self._result(self.by_name[name], output)
            case Items(items=items, is_tuple=is_tuple):
                return Items([self.resolved(item) for item in items], is_tuple)
            case Entries(entries=entries):
                return Entries([(key, self.resolved(item)) for key, item in entries])
        return binding

    def _result(self, task: Task, output: str) -> Binding:
        if task.is_mapped and task.state is not TaskState.FAILED:
            return Items([self._result(child, output) for child in self.children.get(task.id, [])])
        if task.state not in DONE:
            return Missing(task.name, task.error or "it has no result")
        names = task.options.outputs
        if output or not names:
            return Stored(task.outputs[output or "result"])
        return Items([Stored(task.outputs[name]) for name in names], is_tuple=True)


def expanded(task: Task, values: Values, keep: Callable[[Artifact], None]) -> list[Task]:
    """One task for each item of the list that a mapped task is over; its arguments are known.

    An item's bindings are its own only: all else is as the mapped task has it.

    Raises:
        InvalidError: what it is mapped over is no list.
    """
    parameter = task.mapped or ""
    over = task.arguments[parameter]
    children: list[Task] = []
    met: dict[str, int] = {}
    for index, item in enumerate(_items(task, parameter, over, values, keep)):
        # The seed follows the item, so that an item put in front moves no other's; equal items are counted apart.
        digest = values.digest(item)
        met[digest] = met.get(digest, -1) + 1
        child = msgspec.structs.replace(
            task, id=new_id(), name=f"{task.name}[{index}]", map_of=task.id, map_index=index, outputs={}, arguments={},
            seed_name=f"{task.name}[{digest} {met[digest]}]", state=TaskState.WAITING, bindings={parameter: item},
        )  # fmt: skip
        children.append(child)
    return children


def _items(
    task: Task, parameter: str, over: Binding, values: Values, keep: Callable[[Artifact], None]
) -> list[Binding]:
    if isinstance(over, Items):
        return over.items
    if isinstance(over, Missing):
        raise GraphError(f"can't be mapped over the result of `{over.task}`, which failed", task.name)
    known = listed_items(f"Step `{task.name}`, mapped over `{parameter}`", values.value(over))
    if isinstance(over, Literal):
        return [Literal(item) for item in known]
    return [
        values.bind(f"Step `{task.name}[{i}]`, parameter `{parameter}`", item, keep) for i, item in enumerate(known)
    ]
