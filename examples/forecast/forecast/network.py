"""A small temporal convolutional network (Bai et al. 2018) that says three quantiles of each of the next 28 days.

It reads the last 56 days of a station, then judges each day ahead by what is known of it. The quantiles can't cross: the
outer ones are the middle one less and plus something positive.
"""

import numpy as np
import torch
from torch import nn

from forecast.panel import FEATURES, HISTORY, HORIZON, KNOWN, LAGS
from forecast.raw import STATIONS

WEEK = KNOWN.index(LAGS[0])


class Block(nn.Module):
    """A causal convolution with what came in added to what goes out."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.channels, self.dilation = channels, dilation
        self.convolution = nn.Conv1d(channels, channels, 3, dilation=dilation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.relu(self.convolution(nn.functional.pad(x, (2 * self.dilation, 0))))


class Network(nn.Module):
    """From windows × 56 days and windows × days × `KNOWN` to windows × days × three quantiles, all relative to the level."""

    def __init__(self, channels: int = 16, hidden: int = 48) -> None:
        super().__init__()
        self.channels, self.hidden = channels, hidden
        self.first = nn.Conv1d(1, channels, 1)
        self.blocks = nn.ModuleList([Block(channels, 2**power) for power in range(4)])
        self.place = nn.Embedding(len(STATIONS), 6)
        self.weekday = nn.Embedding(8, 4)
        self.head = nn.Sequential(
            nn.Linear(channels + 6 + 4 + len(KNOWN), hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(),
            nn.Linear(hidden, 3),
        )  # fmt: skip

    def forward(self, station: torch.Tensor, history: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        x = self.first(history[:, None, :] - 1)
        for block in self.blocks:
            x = block(x)
        of_window = torch.cat([x[:, :, -1], self.place(station)], dim=1)
        weekday = self.weekday(known[:, :, KNOWN.index("weekday")].long())
        scaled = torch.cat([known[:, :, :1] / HORIZON, known[:, :, 1:]], dim=2)
        days = torch.cat([of_window[:, None, :].expand(-1, known.shape[1], -1), weekday, scaled], dim=2)
        below, middle, above = self.head(days).unbind(dim=2)
        middle = known[:, :, WEEK : WEEK + 4].mean(dim=2) + middle
        soft = nn.functional.softplus
        return torch.stack([middle - soft(below - 2), middle, middle + soft(above - 2)], dim=2)

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """The middle quantile of rows with the columns of `FEATURES` and `PAST`, one for each."""
        with torch.no_grad():
            given = torch.as_tensor(np.asarray(rows), dtype=torch.float32)
            known, history = given[:, None, 1 : len(FEATURES)], given[:, -HISTORY:]
            return self(given[:, 0].long(), history, known)[:, 0, 1].double().numpy()


def pinball(said: torch.Tensor, truth: torch.Tensor, quantiles: tuple[float, ...]) -> torch.Tensor:
    """The mean quantile loss (Koenker and Bassett 1978)."""
    error = truth[:, :, None] - said
    wanted = torch.tensor(quantiles)
    return torch.maximum(wanted * error, (wanted - 1) * error).mean()
