"""The codec of PyTorch modules: safetensors for the weights, and how to build the module again; nothing is unpickled.

A module is its class (of PyTorch or of the project), the arguments of its constructor, its weights, and what else stands on
it and on the project's modules in it: plain values, and what has a codec. The arguments are those that `keep_arguments`
recorded, else what the module holds under their names, as PyTorch's own layers do. That this builds the same module is tried
when it is stored.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

import torch
from torch import nn

from mainspring.artifacts._models import ModelCodec, Parts, reference_to, referred
from mainspring.artifacts._tree import is_tree
from mainspring.artifacts.arguments import KEPT, kept_arguments
from mainspring.artifacts.torch import check, content, pack, unpack
from mainspring.artifacts.torch_program import called, hold, put_aside, restore
from mainspring.errors import CodecError, shorten

_OWN = frozenset(vars(nn.Module())) | {KEPT}  # what every module holds
_HOOKS = [name for name in sorted(_OWN) if name.endswith("_hooks") and "state_dict" not in name]
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_LEFT_OUT = ("device", "dtype")  # of a constructor: the weights say
_LIBRARY = "torch"


class ModuleCodec(ModelCodec):
    """A module in training or evaluation mode, with frozen weights and tied ones."""

    name, recipe, library = "torch.module", 1, _LIBRARY
    types = ("torch.nn.modules.module.Module",)

    def take_apart(self, value: nn.Module) -> Parts:
        """How it is built, and its weights as safetensors."""
        _check(value)
        arguments = _arguments(value)
        weights = _weights(value)
        written = _Written(frozenset(map(id, value.modules()))).write(arguments)
        held = _held(value)
        _try(value, written, held, weights)
        state = {"arguments": written, "modules": held, "frozen": _frozen(value), "tied": _tied(value)}
        if aside := _aside(value):
            state["aside"] = list(aside)
        meaning = "\n".join(
            f"{name} {content(tensor)} {tensor.dtype} {list(tensor.shape)}" for name, tensor in weights.items()
        )
        return Parts(state, pack(weights), meaning or "no weights")

    def put_together(self, cls: type, state: dict[str, Any], payload: bytes) -> nn.Module:
        """The constructor called with the arguments, without drawing random numbers that anybody misses, then the weights."""
        with torch.random.fork_rng(devices=()):
            value: nn.Module = called(cls, _read(state["arguments"]))
        restore(value, unpack(payload), state, _read)
        return value

    def content(self, value: nn.Module) -> Any:
        """All tensors by name."""
        return _weights(value)

    def details(self, value: nn.Module) -> dict[str, Any]:
        """How many weights, and the layers."""
        layers = [f"{name}: {shorten(module, 100)}" for name, module in value.named_children()]
        return {"weights": sum(parameter.numel() for parameter in value.parameters()), "layers": layers[:100]}


class _Written:
    """Arguments and attributes as trees: modules, types, functions and devices become dicts that say what they are.

    Of modules only how they are built is said, so they must be among those whose weights are stored; one that comes again
    is said by its place among those that are built.
    """

    def __init__(self, modules: frozenset[int] = frozenset()) -> None:
        self._modules = modules
        self._built: dict[int, int] = {}

    def write(self, value: Any) -> Any:
        """The tree of a value."""
        if isinstance(value, nn.Module):
            if id(value) not in self._modules:
                raise CodecError(
                    f"`{shorten(value)}` is no part of the module. Assign it to an attribute, or hold it in a `ModuleList`."
                )
            if id(value) in self._built:
                return {"$again": self._built[id(value)]}
            _expect_class(value)
            made = {"class": _name(type(value)), "arguments": self.write(_arguments(value))}
            self._built[id(value)] = len(self._built)
            return {"$module": made}
        if isinstance(value, torch.dtype | torch.device):
            return {"$torch": [type(value).__name__, str(value).removeprefix("torch.")]}
        if isinstance(value, torch.Size):
            return {"$torch": ["Size", list(value)]}
        if type(value) is dict:
            return {"$dict": [[key, self.write(item)] for key, item in value.items()]}
        if type(value) in (list, tuple):
            items = [self.write(item) for item in value]
            return items if type(value) is list else tuple(items)
        if isinstance(value, type) or (callable(value) and not is_tree(value) and hasattr(value, "__qualname__")):
            return {"$named": _reference(value)}
        return value


class _Read:
    """The inverse of `_Written`."""

    def __init__(self) -> None:
        self._built: list[nn.Module] = []

    def read(self, tree: Any) -> Any:
        """The value of a tree."""
        if type(tree) in (list, tuple):
            made = [self.read(item) for item in tree]
            return made if type(tree) is list else tuple(made)
        if type(tree) is not dict or len(tree) != 1:
            return tree
        ((tag, inner),) = tree.items()
        if tag == "$dict":
            return {key: self.read(item) for key, item in inner}
        if tag == "$module":
            self._built.append(called(_module_class(inner["class"]), self.read(inner["arguments"])))
            return self._built[-1]
        if tag == "$again":
            return self._built[inner]
        if tag == "$named":
            return referred(inner, _LIBRARY)
        if tag == "$torch":
            kind, said = inner
            return (
                torch.Size(said) if kind == "Size" else torch.device(said) if kind == "device" else getattr(torch, said)
            )
        return tree


def _read(tree: Any) -> Any:
    return _Read().read(tree)


def _reference(value: Any) -> str:
    """Where a type or function is found; PyTorch's functions in C stand under other names than they say."""
    name = value.__name__
    for home in ("torch", "torch.nn.functional"):
        if getattr(import_module(home), name, None) is value:
            return f"{home}:{name}"
    return reference_to(f"{value.__module__}.{value.__qualname__}", _LIBRARY)


def _module_class(name: str) -> type[nn.Module]:
    found = referred(name, _LIBRARY)
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise CodecError(f"`{name}` is no module of PyTorch, so it isn't built.")
    return found


def _name(cls: type) -> str:
    return reference_to(f"{cls.__module__}.{cls.__qualname__}", _LIBRARY)


def _check(value: nn.Module) -> None:
    """Refuse what only pickle could store, or what stands for another module."""
    if isinstance(value, torch.jit.ScriptModule):
        raise CodecError(
            "A scripted module holds compiled code. Store the module that it was made of, or export it to ONNX."
        )
    if hasattr(value, "_orig_mod"):
        raise CodecError("A compiled module stands for another. Store that one, its `_orig_mod`.")
    if isinstance(value, nn.DataParallel | nn.parallel.DistributedDataParallel):
        raise CodecError("A module in parallel stands for another. Store that one, its `module`.")
    _expect_class(value)
    if hooked := _hooked(value):
        raise CodecError(f"At `{hooked}` a hook is registered, which has no stored form. Remove it first.")


def _expect_class(value: nn.Module) -> None:
    """Refuse a layer whose class PyTorch made for it alone, unless it is made where a constructor makes it."""
    if torch.nn.utils.parametrize.is_parametrized(value):
        raise CodecError(
            f"`{type(value).__qualname__}` is parametrized, as by `weight_norm`, and so of a class of its own. Let the"
            " constructor of a module of the project make it, or call `torch.nn.utils.parametrize.remove_parametrizations`."
        )


def _hooked(value: nn.Module) -> str:
    """The first layer with a hook."""
    named = (
        name or "the module itself" for name, each in value.named_modules() if any(vars(each)[key] for key in _HOOKS)
    )
    return next(named, "")


def _weights(value: nn.Module) -> dict[str, torch.Tensor]:
    """All tensors by name: parameters and buffers, also those that a state leaves aside."""
    state = value.state_dict(keep_vars=True)
    for name, item in state.items():
        if not isinstance(item, torch.Tensor):
            kind = type(item).__qualname__
            raise CodecError(
                f"The state `{name}` is a `{kind}`, not a tensor. Register it as a buffer, or hold it as an attribute."
            )
    state |= {name: buffer for name, buffer in _aside(value).items() if buffer is not None}
    for name, item in state.items():
        try:
            check(item)
        except CodecError as error:
            raise CodecError(f"At `{name}`: {error}") from error
    return {name: item.detach() for name, item in state.items()}


def _aside(value: nn.Module) -> dict[str, torch.Tensor | None]:
    """The buffers by name that PyTorch leaves out of a state (`persistent=False`), also those without a tensor."""
    return {
        f"{path}.{name}" if path else name: module._buffers.get(name)
        for path, module in value.named_modules(remove_duplicate=False)
        for name in sorted(module._non_persistent_buffers_set)
    }


def _frozen(value: nn.Module) -> list[str]:
    return [name for name, parameter in value.named_parameters() if not parameter.requires_grad]


def _tied(value: nn.Module) -> list[list[str]]:
    """The names of weights that are one parameter."""
    names: dict[int, list[str]] = {}
    for name, parameter in value.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return [group for group in names.values() if len(group) > 1]


def _held(value: nn.Module) -> dict[str, Any]:
    """Of every module in it the mode and what it holds; of PyTorch's own the plain public values."""
    found: dict[str, Any] = {}
    for name, module in value.named_modules(remove_duplicate=False):
        attributes = {
            key: item
            for key, item in vars(module).items()
            if key not in _OWN and (not _is_own(module) or (not key.startswith("_") and is_tree(item)))
        }
        kept = [[key, _Written().write(item)] for key, item in sorted(attributes.items())]
        found[name] = {"training": module.training, "attributes": {"$dict": kept}}
    return found


def _is_own(module: nn.Module) -> bool:
    """Whether it is one of PyTorch's own layers."""
    return type(module).__module__.partition(".")[0] == _LIBRARY


def _arguments(value: nn.Module) -> dict[str, Any]:
    """What its class is to be called with; `*` are arguments without names."""
    recorded = kept_arguments(value)
    if recorded is not None:
        return recorded
    if type(value) in _CONTAINERS:
        items = {name: layer for name, layer in value._modules.items() if layer is not None}
        numbered = list(items.values()) if list(items) == [*map(str, range(len(items)))] else items
        return {"*": numbered if type(value) is nn.Sequential and type(numbered) is list else [numbered]}
    found: dict[str, Any] = {}
    for name, parameter in inspect.signature(type(value)).parameters.items():
        if name in _LEFT_OUT:
            continue
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            found |= _recurrent(value)
        elif hasattr(value, name):
            item = getattr(value, name)
            # `bias=True` makes a parameter of this name.
            found[name] = (
                item is not None if isinstance(item, nn.Parameter) or (name == "bias" and item is None) else item
            )
        elif parameter.default is parameter.empty:
            raise CodecError(
                f"`{type(value).__qualname__}` can't be built again: its argument `{name}` is nowhere on it. Keep it as "
                f"`self.{name}`, or decorate the class with `@mainspring.artifacts.keep_arguments`."
            )
    return found


def _recurrent(value: nn.Module) -> dict[str, Any]:
    """The arguments of a recurrent layer, whose signature doesn't name them."""
    names = getattr(value, "__constants__", ()) if isinstance(value, nn.RNNBase) else ()
    kept = {name: getattr(value, name) for name in names if name != "mode"}
    if type(value) is nn.RNN:
        kept["nonlinearity"] = value.nonlinearity
    return kept if isinstance(value, nn.LSTM) else {name: item for name, item in kept.items() if name != "proj_size"}


def _try(value: nn.Module, tree: Any, held: dict[str, Any], weights: dict[str, torch.Tensor]) -> None:
    """Build it, and hold its weights and layers against those of the value."""
    kind = type(value).__qualname__
    try:
        with torch.random.fork_rng(devices=()):
            again = called(type(value), _read(tree))
    except TypeError as error:
        raise CodecError(
            f"`{kind}` can't be built again with what is known of its arguments: {error}. {_ADVICE}"
        ) from error
    aside = _aside(value)
    expected, found = (
        {name: tuple(item.shape) for name, item in each.items() if name not in aside}
        for each in (weights, again.state_dict())
    )
    if found != expected:
        name = next(name for name in (*expected, *found) if expected.get(name) != found.get(name))
        told = f"`{name}` has the shape {found.get(name, 'nothing')} and not {expected.get(name, 'nothing')}"
    else:
        told = _other_layer(value, again, held)
    if not told:
        put_aside(again, aside)
    else:
        raise CodecError(f"`{kind}` is built otherwise with what is known of its arguments: {told}. {_ADVICE}")


def _other_layer(value: nn.Module, again: nn.Module, held: dict[str, Any]) -> str:
    """The first layer that is another one when the module is built again, in words; empty if none is."""
    expected, found = (dict(each.named_modules(remove_duplicate=False)) for each in (value, again))
    for name in dict.fromkeys((*expected, *found)):
        old, new = (_kind(each.get(name)) for each in (expected, found))
        if old != new:
            return f"the layer `{name}` is {new} and not {old}"
    if hooked := _hooked(again):
        return f"it gets a hook at `{hooked}`"
    hold(again, held, _read)
    for name, module in expected.items():
        if _is_own(module) and (key := _other_attribute(module, found[name])):
            return f"`{key}` of `{name or type(value).__qualname__}` is not what it was set to"
        if isinstance(module, nn.Sequential) and list(module._modules) != list(found[name]._modules):
            return f"the layers of `{name}` come in another order"
    return ""


def _kind(layer: nn.Module | None) -> str:
    """By name: the class of a parametrized layer is made for it alone."""
    return "nothing" if layer is None else f"`{type(layer).__module__}.{type(layer).__qualname__}`"


def _other_attribute(module: nn.Module, again: nn.Module) -> str:
    """What stands on a layer of PyTorch's and doesn't come back, such as a method that replaced another; "" if all does."""
    known = vars(again)
    for key, item in vars(module).items():
        if key in _OWN or key.startswith("_") or is_tree(item):
            continue
        other = known.get(key)
        if type(other) is not type(item) or (callable(item) and other is not item):
            return key
        if isinstance(item, torch.Tensor) and not torch.equal(item, known[key]):
            return key
    return ""


_ADVICE = (
    "Decorate its class with `@mainspring.artifacts.keep_arguments`, and don't replace its layers after it was made."
)
