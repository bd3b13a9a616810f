"""The network's training: checkpoints to go on from, early stopping, live metrics."""

from datetime import date

import numpy as np
import polars as pl
import torch

import mainspring as ms
from forecast.forecasts import QUANTILES, forecast
from forecast.network import Network, pinball
from forecast.panel import Panel, Windows, windows
from forecast.raw import STATIONS
from mainspring.data import DatasetVersion

BATCH = 256
HELD_OUT = 8
PATIENCE = 4
TOLERANCE = {"rtol": 1e-3, "atol": 1e-3}


@ms.step(**TOLERANCE)
def networked(origin: date, rides: DatasetVersion, games: DatasetVersion, years: int, epochs: int) -> pl.DataFrame:
    """A forecast at an origin by a network that was trained on what was known then."""
    panel = Panel.of(rides, games)
    at = panel.place(origin)
    model = fit(panel, at, years=years, epochs=epochs)
    asked = windows(panel, np.full(len(STATIONS), at), np.arange(len(STATIONS)), truth=False)
    with torch.no_grad():
        said = model(*_tensors(asked)).double().numpy()
    return forecast(panel, at, said * asked.level[:, None, None])


def fit(panel: Panel, at: int, *, years: int, epochs: int) -> Network:
    """Train until the last eight weeks' loss has not become better for a while, and take the best of the epochs.

    A training that was killed goes on from its last checkpoint when the run is resumed, and ends with the same weights.
    """
    learn, held_out = _parts(panel, at, years)
    model = Network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    stopping = ms.EarlyStopping("held_out", patience=PATIENCE)
    state = ms.TrainingState(model=model, optimizer=optimizer, schedule=schedule, stopping=stopping)
    kept = ms.checkpoints(keep_last=1, every_s=1)
    kept.resume(state)
    for epoch in state.epochs(epochs):
        if stopping.should_stop:
            break
        losses = [_learned(model, optimizer, batch) for batch in _batches(learn)]
        schedule.step()
        state.step += 1
        with torch.no_grad():
            metrics = {"loss": float(np.mean(losses)), "held_out": _loss(model, held_out).item()}
        ms.log_metrics(metrics, step=epoch)
        stopping.update(metrics, keep=model)
        kept.save_if_due(state)
    stopping.restore(model)
    print(f"{state.epoch} epochs, the best of them {stopping.best_look + 1}: {stopping.best:.4f} on what was held out")
    return model.eval()


def _parts(panel: Panel, at: int, years: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """What to learn from, and the last weeks, none of whose days is learned from."""
    origins, stations = panel.before(at, years)
    late = origins > origins[-1] - 7 * HELD_OUT
    early = origins <= origins[-1] - 7 * HELD_OUT - 28
    return tuple(_tensors(windows(panel, origins[part], stations[part], truth=True)) for part in (early, late))


def _tensors(given: Windows) -> list[torch.Tensor]:
    numbers = [given.history, given.known] + ([] if given.truth is None else [given.truth])
    return [torch.as_tensor(given.station), *(torch.as_tensor(each, dtype=torch.float32) for each in numbers)]


def _batches(part: list[torch.Tensor]):
    for chosen in torch.randperm(len(part[0])).split(BATCH):
        yield [each[chosen] for each in part]


def _learned(model: Network, optimizer: torch.optim.Optimizer, batch: list[torch.Tensor]) -> float:
    optimizer.zero_grad()
    loss = _loss(model, batch)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def _loss(model: Network, batch: list[torch.Tensor]) -> torch.Tensor:
    station, history, known, truth = batch
    return pinball(model(station, history, known), truth, QUANTILES)
