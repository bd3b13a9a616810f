"""Modules as users write them."""

from __future__ import annotations

from typing import Any

import msgspec
import torch
from torch import nn

from mainspring.artifacts import keep_arguments


class Config(msgspec.Struct, frozen=True):
    hidden: int = 4
    act: str = "relu"


class Plain(nn.Module):
    """Holds its arguments under their names."""

    def __init__(self, hidden: int, rate: float = 0.5, act: Any = torch.relu) -> None:
        super().__init__()
        self.hidden, self.rate, self.act = hidden, rate, act
        self.first, self.last = nn.Linear(3, hidden), nn.Linear(hidden, 1)
        self.dropout = nn.Dropout(rate)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.last(self.dropout(self.act(self.first(rows))))
        return out


@keep_arguments
class Kept(nn.Module):
    """Holds none of them."""

    def __init__(self, inner: nn.Module, *sizes: int, layer: type[nn.Module] = nn.GELU, **more: int) -> None:
        super().__init__()
        self.net = nn.Sequential(inner, nn.Linear(sizes[0], sizes[1]), layer(), nn.Linear(sizes[1], more.get("out", 1)))
        self.register_buffer("seen", torch.zeros(()))
        self.scale = torch.tensor([1.0, 2.0])
        self._device = torch.device("cpu")
        self.history: list[float] = []


class Configured(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.lstm = nn.LSTM(2, config.hidden, batch_first=True)
        self.norm = nn.BatchNorm1d(config.hidden)


class Centred(nn.Module):
    """Holds buffers that PyTorch leaves out of a state: one of values, one that is filled when it is used."""

    mean: torch.Tensor
    cache: torch.Tensor | None

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.width = width
        self.layer = nn.Linear(width, 1)
        self.register_buffer("mean", torch.zeros(width), persistent=False)
        self.register_buffer("cache", None, persistent=False)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layer(rows - self.mean)
        return out if self.cache is None else out + self.cache.sum()


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 3)
        self.out = nn.Linear(3, 5, bias=False)
        self.out.weight = self.embedding.weight


class Normed(nn.Module):
    """A layer whose class PyTorch makes for it alone."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.layer = torch.nn.utils.parametrizations.weight_norm(nn.Linear(width, 1))
        self.relu = nn.ReLU()

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.relu(self.layer(rows))
        return out


class Forgetful(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(width, 1)
