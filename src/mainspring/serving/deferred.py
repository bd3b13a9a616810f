"""A predictor that loads its model when rows are first to be answered: a job whose answers are all there loads none."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from threading import Lock
from typing import Any

from mainspring.errors import UnsupportedError
from mainspring.models import Predictor, Signature
from mainspring.models.predictor import Prediction
from mainspring.models.signature import Columns
from mainspring.models.version import InputKind


class Absent:
    """Stands for a model that isn't loaded here."""

    def predict(self, _table: Any) -> Any:
        raise UnsupportedError("The model isn't loaded here; its predictor answers columns and no tables.")


class DeferredPredictor(Predictor):
    """Answers by the predictor that `load` gives, which is called once, by the first answer; for any number of threads."""

    def __init__(self, signature: Signature, input_kind: InputKind, load: Callable[[], Predictor]) -> None:
        super().__init__(Absent(), signature, input_kind)
        self._load, self._loading = load, Lock()
        self.when_loaded: Callable[[float], None] = lambda _: None  # is told how many seconds it took
        self._found: Predictor | None = None

    @property
    def _loaded(self) -> Predictor:
        with self._loading:
            if self._found is None:
                began = time.monotonic()
                self._found = self._load()
                self.when_loaded(time.monotonic() - began)
            return self._found

    def answer(self, columns: Columns, rows: int) -> list[Prediction]:
        """Predictions for columns that were checked; raises what loading the model and calling it do."""
        return self._loaded.answer(columns, rows)

    def stream(self, columns: Columns) -> Generator[Any, None, None]:
        """The parts of the answer to one row, each made when it is asked for."""
        return self._loaded.stream(columns)

    @property
    def streams(self) -> bool:
        """Whether the model can give its answer to a row in parts."""
        return self._loaded.streams

    def close(self) -> None:
        """End the model's own process, if there is one by now."""
        if self._found is not None:
            self._found.close()
