"""What makes a module of PyTorch of what is stored of it; an export ships this file, so it needs nothing of Mainspring.

Nothing is unpickled: the weights are a file of safetensors, and classes are called with what is said beside it. The codec says
that as a tree, model.json of an export as JSON, which `build` reads.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import nn


def build(data: bytes, settings: dict[str, Any]) -> nn.Module:
    """The module of an export with its weights, in the mode in which it was stored; `predict.py` calls it."""
    with torch.random.fork_rng(devices=()):
        module: nn.Module = called(_named(settings["class"]), _Reader().read(settings["arguments"]))
    restore(module, tensors_of(data), settings, lambda tree: _Reader().read(tree))
    return module


def called(cls: Any, arguments: dict[str, Any]) -> Any:
    """What a class makes of arguments; `*` are those without names."""
    return cls(*arguments.get("*", ()), **{name: item for name, item in arguments.items() if name != "*"})


def restore(
    module: nn.Module, tensors: dict[str, torch.Tensor], said: Mapping[str, Any], read: Callable[[Any], Any]
) -> None:
    """Give a module that was built its weights, what its parts hold, and which weights are tied or frozen."""
    put_aside(module, {name: tensors.pop(name, None) for name in said.get("aside", ())})
    module.load_state_dict(tensors, strict=True, assign=True)
    hold(module, said["modules"], read)
    for first, *others in said["tied"]:
        for name in others:
            owner, _, last = name.rpartition(".")
            module.get_submodule(owner).register_parameter(last, module.get_parameter(first))
    frozen = set(said["frozen"])
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name not in frozen)


def put_aside(module: nn.Module, buffers: Mapping[str, torch.Tensor | None]) -> None:
    """Register the buffers that PyTorch leaves out of a state, whatever the constructor put there."""
    for name, buffer in buffers.items():
        owner, _, last = name.rpartition(".")
        module.get_submodule(owner).register_buffer(last, buffer, persistent=False)


def hold(module: nn.Module, parts: Mapping[str, Any], read: Callable[[Any], Any]) -> None:
    """Give each part of a module its mode and the attributes that were said of it."""
    for name, held in parts.items():
        part = module.get_submodule(name)
        part.training = held["training"]
        vars(part).update(read(held["attributes"]))


def tensors_of(data: bytes) -> dict[str, torch.Tensor]:
    """The tensors by name; those that are one memory are stored once, as the file's metadata says."""
    import safetensors.torch

    length = int.from_bytes(data[:8], "little")
    kept = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["mainspring"])
    stored, made = safetensors.torch.load(data), dict[str, torch.Tensor]()
    for name, (first, kind, gradient) in kept.items():
        if first != name:
            made[name] = made[first]
        elif kind == "parameter":
            made[name] = nn.Parameter(stored[name], requires_grad=gradient)
        else:
            made[name] = stored[name].requires_grad_(gradient) if gradient else stored[name]
    return made


class _Reader:
    """Values from JSON, in which an object of one key says what it is."""

    def __init__(self) -> None:
        self._built: list[Any] = []

    def read(self, tree: Any) -> Any:
        if isinstance(tree, list):
            return [self.read(item) for item in tree]
        if not isinstance(tree, dict):
            return tree
        ((tag, inner),) = tree.items()
        return getattr(self, f"_{tag.removeprefix('$')}")(inner)

    def _dict(self, inner: Any) -> Any:
        return {self.read(key): self.read(item) for key, item in inner}

    def _tuple(self, inner: Any) -> Any:
        return tuple(self.read(item) for item in inner)

    def _float(self, inner: Any) -> Any:
        return float(inner)

    def _array(self, inner: Any) -> Any:
        dtype, shape, text = inner
        found = np.frombuffer(base64.b64decode(text), dtype).reshape(shape).copy()
        return found if shape else found[()]

    def _tensor(self, inner: Any) -> Any:
        return tensors_of(base64.b64decode(inner))["value"]

    def _named(self, inner: Any) -> Any:
        return _named(inner)

    def _torch(self, inner: Any) -> Any:
        kind, said = inner
        return torch.Size(said) if kind == "Size" else torch.device(said) if kind == "device" else getattr(torch, said)

    def _module(self, inner: Any) -> Any:
        self._built.append(called(_named(inner["class"]), self.read(inner["arguments"])))
        return self._built[-1]

    def _again(self, inner: Any) -> Any:
        return self._built[inner]

    def _enum(self, inner: Any) -> Any:
        return _named(inner[0])[inner[1]]

    def _record(self, inner: Any) -> Any:
        cls, fields = _named(inner[0]), {name: self.read(item) for name, item in inner[1].items()}
        if not dataclasses.is_dataclass(cls):
            return cls(**fields)
        made: Any = object.__new__(cls)  # type: ignore[arg-type]  # it is a class, not one of its values
        for name, item in fields.items():
            object.__setattr__(made, name, item)
        return made


def _named(name: str) -> Any:
    module, _, qualname = name.partition(":")
    found: Any = import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part)
    return found
