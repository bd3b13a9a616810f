"""A predictor whose model is in a process of its own; what it takes is checked here, and only columns go there."""

from __future__ import annotations

import weakref
from collections.abc import Generator
from itertools import count
from typing import Any

from mainspring.artifacts.project import import_folders
from mainspring.models import ModelVersion, Predictor
from mainspring.models.predictor import Prediction
from mainspring.models.signature import Columns, Signature
from mainspring.models.version import expect_model
from mainspring.serving.deferred import Absent
from mainspring.serving.isolation.environment import Isolation
from mainspring.serving.isolation.process import ModelProcess
from mainspring.serving.isolation.wire import Order, asked
from mainspring.serving.runtime import Runtime
from mainspring.workspace import Workspace


class IsolatedPredictor(Predictor):
    """Answers as the model does in its own process, which ends when this is closed or no longer used."""

    def __init__(self, process: ModelProcess, signature: Signature) -> None:
        super().__init__(Absent(), signature, "columns")
        self.process = process
        self._names = tuple(field.name for field in signature.inputs)
        self._streams = count(1)
        weakref.finalize(self, process.close)

    def answer(self, columns: Columns, rows: int) -> list[Prediction]:
        """Predictions for columns that were checked.

        Raises:
            ModelError: the model raised something.
            ModelAwayError: its process ended meanwhile, or another is being started.
        """
        if not rows:
            return []
        answers: list[Prediction] = self.process.ask(asked(columns, rows, self._names)).answers
        return answers

    def stream(self, columns: Columns) -> Generator[Any, None, None]:
        """The parts of the answer to one row, each made when it is asked for.

        Raises:
            ModelError: the model raised something, or yields nothing.
            ModelAwayError: its process ended meanwhile, or another is being started.
        """
        number, child = next(self._streams), self.process.child
        frame = asked(columns, 1, self._names, stream=number)
        try:
            while (told := self.process.ask(frame, child=child)).has_more:
                yield told.answers
                frame = asked({}, 0, (), stream=number)
            number = 0
        finally:
            if number and self.process.child == child:
                self.process.end_stream(number, child)

    @property
    def streams(self) -> bool:
        """Whether the model can give its answer to a row in parts."""
        return self.process.streams

    @property
    def restarts(self) -> int | None:
        """How often the model's process was replaced."""
        return self.process.replaced

    @property
    def away_s(self) -> float:
        """For how long the model's process has been away."""
        return self.process.away_s

    def give_up(self, after_s: float) -> bool:
        """End the question that has taken so long, with the process, which is started again; whether one is being answered."""
        return self.process.give_up(after_s)

    def close(self) -> None:
        """End the process."""
        self.process.close()


def isolated_predictor(
    version: ModelVersion, runtime: Runtime, isolation: Isolation, workspace: Workspace
) -> IsolatedPredictor:
    """The predictor of a version in a process of its own, which is started and warm.

    Raises:
        NotAllowedError: the version is files that aren't loaded.
        UnavailableError: the process doesn't start, or can't load the model; what it said.
        ModelError: the model failed at its warm-up.
        InvalidError: the process holds more than its limit as soon as it is warm.
    """
    _, signature = expect_model(version)
    project = workspace.project
    folders = dict.fromkeys(str(each) for each in (*import_folders.get(), *project.source_roots))
    settings = {name: each.value for name, each in project.settings.origins.items()}
    order = Order(str(project.root), settings, tuple(folders), version.id, runtime)
    process = ModelProcess(str(version), order, isolation.interpreter, memory_bytes=isolation.memory_bytes)
    process.start()
    return IsolatedPredictor(process, signature)
