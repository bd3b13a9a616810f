"""What a training is made of between two steps, and when it has gone on long enough. Nothing here knows PyTorch by import.

Invariant: a training that is put back to what was captured goes on as if it had never stopped: weights, optimizer, schedule,
random numbers and the place in the data are one state.
"""

from __future__ import annotations

import copy
import math
import random
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, TypeVar

from mainspring.errors import InvalidError, NotFoundError, WrongTypeError, close_names

T = TypeVar("T")


class TrainingState:
    """The parts of a training, by name, and where it stands: `epoch` and `batch`, both counted when begun, and `step`.

    `position` holds whatever else says where it stands.

    A part is anything with `state_dict` and `load_state_dict` (a module, an optimizer, a scheduler, an `EarlyStopping`), or a
    `numpy.random.Generator`. The random numbers of Python, NumPy and PyTorch are a part of every state.

    >>> stopping = EarlyStopping("loss", patience=2)
    >>> state = TrainingState(stopping=stopping)
    >>> state.step += 1
    >>> kept = state.capture()
    >>> state.step += 1
    >>> state.restore(kept)
    >>> state.step
    1
    """

    def __init__(self, **parts: Any) -> None:
        for name, part in parts.items():
            if not (hasattr(part, "state_dict") and hasattr(part, "load_state_dict")) and not hasattr(
                part, "bit_generator"
            ):
                raise WrongTypeError(
                    name, part, "something with `state_dict` and `load_state_dict`, or a NumPy generator"
                )
        self.parts = parts
        self.epoch = 0
        self.batch = 0
        self.step = 0
        self._begun: dict[str, Any] = {}  # the random numbers as they were when the epoch's batches began
        self.position: dict[str, Any] = {}

    def epochs(self, count: int) -> Iterator[int]:
        """The epochs that are left of so many, from 0; one that was stopped among its batches comes again."""
        first = self.epoch - (self.batch > 0)
        for epoch in range(first, max(count, self.epoch)):
            self.epoch = epoch + 1
            yield epoch

    def batches(self, items: Iterable[T]) -> Iterator[T]:
        """The batches of an epoch, without those that were done before it was stopped, in the same order.

        Whatever shuffles them draws from Python's, NumPy's or PyTorch's random numbers, or from a generator that is a part.
        """
        now = self._draws()
        if self.batch:
            self._set_draws(self._begun)
        else:
            self._begun = copy.deepcopy(now)
        left = iter(items)
        for _ in range(self.batch):
            next(left, None)
        if self.batch:
            self._set_draws(now)
        for item in left:
            self.batch += 1
            yield item
        self.batch = 0

    def capture(self) -> dict[str, Any]:
        """The state as a value. It shares memory with the parts: store it, or copy it, before they go on."""
        parts = {name: _state(part) for name, part in self.parts.items()}
        place = {"epoch": self.epoch, "batch": self.batch, "step": self.step, "position": dict(self.position)}
        return {**place, "parts": parts, "random": _random_states(), "begun": self._begun if self.batch else {}}

    def restore(self, kept: Any) -> None:
        """Put every part back to what was captured.

        Raises:
            InvalidError: it was captured of other parts.
        """
        if not isinstance(kept, dict) or kept.get("parts", {}).keys() != self.parts.keys():
            found = sorted(kept.get("parts", ())) if isinstance(kept, dict) else type(kept).__qualname__
            raise InvalidError("state", found, f"a captured state with the parts {sorted(self.parts)}")
        for name, part in self.parts.items():
            if hasattr(part, "load_state_dict"):
                part.load_state_dict(kept["parts"][name])
            else:
                part.bit_generator.state = kept["parts"][name]
        self.epoch, self.batch, self.step = kept["epoch"], kept["batch"], kept["step"]
        self.position, self._begun = dict(kept["position"]), kept["begun"]
        _set_random_states(kept["random"])

    def _draws(self) -> dict[str, Any]:
        """The states of everything that random numbers are drawn from."""
        generators = {name: _state(part) for name, part in self.parts.items() if hasattr(part, "bit_generator")}
        return {"global": _random_states(), "parts": generators}

    def _set_draws(self, kept: Mapping[str, Any]) -> None:
        _set_random_states(kept["global"])
        for name, state in kept["parts"].items():
            self.parts[name].bit_generator.state = state


class EarlyStopping:
    """Tells when a metric has not become better for so many looks, and keeps what was best.

    Better is smaller by more than `min_delta`, or larger with `mode="max"`; NaN never is.

    >>> stopping = EarlyStopping("loss", patience=2)
    >>> [stopping.update(loss) for loss in (1.0, 0.5, 0.6, 0.7)], stopping.best
    ([False, False, False, True], 0.5)
    """

    def __init__(
        self, metric: str, patience: int = 5, min_delta: float = 0.0, mode: Literal["min", "max"] = "min"
    ) -> None:
        if patience < 1 or min_delta < 0:
            raise InvalidError(
                "EarlyStopping", (patience, min_delta), "a patience of at least 1, and no negative delta"
            )
        if mode not in ("min", "max"):
            raise InvalidError("mode", mode, "`min` or `max`")
        self.metric, self.patience, self.min_delta, self.mode = metric, patience, min_delta, mode
        self.best = math.nan
        self.best_look = -1
        self.looks = 0
        self._kept: Any = None

    @property
    def should_stop(self) -> bool:
        """Whether the metric has not become better for `patience` looks."""
        return self.looks - 1 - self.best_look >= self.patience if self.best_look >= 0 else self.looks >= self.patience

    def update(self, value: float | Mapping[str, float], keep: Any = None) -> bool:
        """Look at the metric, or at it among others; whether to stop. `keep` is copied if this is the best so far.

        It is a module, or another part of a training, whose state `restore` puts back.

        Raises:
            NotFoundError: the metric is not among those that are given.
        """
        if isinstance(value, Mapping) and self.metric not in value:
            raise NotFoundError("metric", self.metric, close_names(self.metric, value), "`EarlyStopping` looks at it.")
        number = float(value[self.metric] if isinstance(value, Mapping) else value)
        if self._is_better(number):
            self.best, self.best_look = number, self.looks
            self._kept = None if keep is None else copy.deepcopy(_state(keep))
        self.looks += 1
        return self.should_stop

    def restore(self, part: Any) -> None:
        """Put a part back to its best.

        Raises:
            InvalidError: nothing was kept.
        """
        if self._kept is None:
            raise InvalidError("EarlyStopping", None, "a best state", "Give `keep=model` to `update`.")
        part.load_state_dict(copy.deepcopy(self._kept))

    def state_dict(self) -> dict[str, Any]:
        """Where it stands, with what was best, so that it is a part of a `TrainingState`."""
        return {"best": self.best, "best_look": self.best_look, "looks": self.looks, "kept": self._kept}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Stand where `state_dict` stood."""
        self.best, self.best_look, self.looks, self._kept = (state[k] for k in ("best", "best_look", "looks", "kept"))

    def _is_better(self, value: float) -> bool:
        if math.isnan(value):
            return False
        if math.isnan(self.best):
            return True
        return value < self.best - self.min_delta if self.mode == "min" else value > self.best + self.min_delta


def _state(part: Any) -> Any:
    return part.state_dict() if hasattr(part, "state_dict") else part.bit_generator.state


def _random_states() -> dict[str, Any]:
    """The global generators of the libraries that are loaded."""
    found: dict[str, Any] = {"python": random.getstate()}
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None:
        found["numpy"] = numpy.random.get_state()
    if torch is not None:
        found["torch"] = torch.get_rng_state()
        if torch.cuda.is_available():
            found["cuda"] = torch.cuda.get_rng_state_all()
    return found


def _set_random_states(kept: Mapping[str, Any]) -> None:
    random.setstate(kept["python"])
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None and "numpy" in kept:
        numpy.random.set_state(kept["numpy"])
    if torch is not None and "torch" in kept:
        torch.set_rng_state(kept["torch"])
        if "cuda" in kept and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(kept["cuda"])
