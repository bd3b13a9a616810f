"""What is made again because a step could not read it: results whose bytes are damaged or gone, or of code that is no more."""

from __future__ import annotations

from mainspring.errors import CodecError, CorruptBlobError, NotFoundError
from mainspring.pipelines._store import stored_in
from mainspring.pipelines.graph import Stored
from mainspring.pipelines.plan import Tasks
from mainspring.pipelines.task import Task, TaskState
from mainspring.pipelines.values import Values

UNREADABLE = (CodecError, CorruptBlobError, NotFoundError)


class Remakes:
    """Finds whose results are to be made again in one run. Each task can ask once, so that no run goes in circles."""

    def __init__(self, tasks: Tasks, values: Values) -> None:
        self._tasks = tasks
        self._values = values
        self._asked: set[str] = set()
        self._replaced: set[str] = set()
        self._faults: dict[str, str] = {}

    def faults(self, maker: Task) -> list[str]:
        """What is wrong with the outputs of a task that is made again: the blob with where it lies, or the class."""
        return list(dict.fromkeys(self._faults[each] for each in maker.outputs.values() if each in self._faults))

    def makers(self, task: Task) -> list[Task] | None:
        """The tasks to run again before one that could not read its arguments, maybe none; None if that would not help."""
        if task.id in self._asked:
            return None
        self._asked.add(task.id)
        taken = {artifact for binding in task.arguments.values() for artifact in stored_in(binding)}
        unread = {artifact for artifact in taken - self._replaced if not self._can_be_read(artifact)}
        makers = [other for other in self._tasks if self._helps(other, unread)]
        for maker in makers:
            self._replaced.update(maker.outputs.values())
        return makers if makers or taken & self._replaced else None

    def _can_be_read(self, artifact: str) -> bool:
        try:
            self._values.value(Stored(artifact))
        except UNREADABLE as error:
            where = f"{error.place}, {error.digest[:12]}" if isinstance(error, CorruptBlobError) else str(error)
            self._faults[artifact] = where.removesuffix(".")
            return False
        return True

    def _helps(self, maker: Task, unread: set[str]) -> bool:
        """Whether running it again may help. What is whole and was made in this very run would be the same again."""
        made = unread & set(maker.outputs.values())
        return bool(made) and (maker.state is TaskState.REUSED or not all(map(self._values.has, made)))
