"""A training that is put back goes on as if it had never stopped; early stopping tells when, and keeps the best."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mainspring.artifacts import load, save
from mainspring.errors import InvalidError, NotFoundError, WrongTypeError
from mainspring.runs import EarlyStopping, TrainingState
from mainspring.testing.codecs import FolderBlobs


class Momentum:
    """An optimizer with a state."""

    def __init__(self, model: Any) -> None:
        self.model, self.speed = model, [torch.zeros_like(weight) for weight in model.parameters()]

    def step(self) -> None:
        with torch.no_grad():
            for weight, speed in zip(self.model.parameters(), self.speed, strict=True):
                speed.mul_(0.9).add_(weight.grad)
                weight.sub_(0.1 * speed)

    def state_dict(self) -> dict[str, Any]:
        return {"speed": self.speed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.speed = [each.clone() for each in state["speed"]]


def made() -> tuple[TrainingState, Any]:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Dropout(0.5), torch.nn.Linear(4, 1))
    draws = np.random.default_rng(1)
    return TrainingState(model=model, optimizer=Momentum(model), draws=draws), model


def trained(state: TrainingState, epochs: int) -> list[float]:
    losses = []
    model, optimizer, draws = state.parts.values()
    for _ in state.epochs(epochs):
        noise = float(np.random.rand()) + random.random() + draws.random()
        model.zero_grad()
        loss = (model(torch.randn(8, 3)) + noise).square().mean()
        loss.backward()
        optimizer.step()
        state.step += 1
        losses.append(loss.item())
    return losses


def test_a_training_that_was_put_back_goes_on_as_if_it_had_never_stopped() -> None:
    blobs = FolderBlobs()
    random.seed(3)
    np.random.seed(3)
    whole, _ = made()
    trained(whole, 2)
    kept = save(whole.capture(), blobs)[1]
    rest, weights = trained(whole, 6), whole.parts["model"].state_dict()
    again, model = made()
    trained(again, 1)
    again.restore(load(kept, blobs))
    assert (again.epoch, again.step) == (2, 2)
    assert trained(again, 6) == rest
    assert all(torch.equal(model.state_dict()[name], weights[name]) for name in weights)


@pytest.mark.parametrize("stopped_at", [1, 3, 4, 5])
def test_one_stopped_among_its_batches_sees_the_others_in_the_order_that_was_drawn(stopped_at: int) -> None:
    def shuffled(state: TrainingState, until: int = 99) -> list[int]:
        seen: list[int] = []
        for epoch in state.epochs(2):
            for item in state.batches(Shuffled(state.parts["draws"])):
                seen.append(epoch * 10 + item)
                random.random()
                if len(seen) == until:
                    return seen
        return seen

    def begun() -> TrainingState:
        random.seed(1)
        return TrainingState(draws=np.random.default_rng(4))

    whole, state = shuffled(begun()), begun()
    first = shuffled(state, stopped_at)
    kept = copy.deepcopy(state.capture())
    again = begun()
    again.restore(kept)
    assert first + shuffled(again) == whole


class Shuffled:
    """Draws its order when it is iterated, as a loader does."""

    def __init__(self, draws: Any) -> None:
        self.draws = draws

    def __iter__(self) -> Iterator[int]:
        order = random.sample(range(4), 4)
        return iter([order[place] for place in self.draws.permutation(4)])


def test_a_state_of_other_parts_is_refused() -> None:
    state, model = made()
    with pytest.raises(InvalidError, match="model"):
        TrainingState(model=model).restore(state.capture())
    with pytest.raises(InvalidError):
        state.restore([1])
    with pytest.raises(WrongTypeError, match="state_dict"):
        TrainingState(rows=[1])


@given(st.lists(st.floats(-10, 10) | st.just(math.nan), min_size=1, max_size=30), st.integers(1, 5), st.floats(0, 1))
def test_early_stopping_stops_after_so_many_looks_without_a_better_one(
    values: list[float], patience: int, delta: float
) -> None:
    stopping = EarlyStopping("loss", patience, delta)
    best, since = math.inf, 0
    for value in values:
        if value < best - delta:
            best, since = value, 0
        else:
            since += 1
        half = EarlyStopping("loss", patience, delta)
        half.load_state_dict(stopping.state_dict())  # as after a kill
        stopping = half
        assert stopping.update({"loss": value}) == (since >= patience)
    assert stopping.best == best or (math.isnan(stopping.best) and best == math.inf)


def test_early_stopping_restores_the_best_and_takes_a_larger_one_if_told() -> None:
    _, model = made()
    stopping = EarlyStopping("auc", patience=1, mode="max")
    with pytest.raises(InvalidError, match="keep=model"):
        stopping.restore(model)
    stopping.update(0.5, model)
    best = model[0].weight.tolist()
    with torch.no_grad():
        model[0].weight.zero_()
    assert stopping.update(0.4, model)
    stopping.restore(model)
    assert model[0].weight.tolist() == best
    with pytest.raises(NotFoundError, match=r"metric `auc`.*Nearest: acc"):
        stopping.update({"acc": 0.5})
    for wrong in ({"patience": 0}, {"mode": "low"}, {"min_delta": -1.0}):
        with pytest.raises(InvalidError):
            EarlyStopping("x", **wrong)
