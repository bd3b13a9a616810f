"""What is inside a live object by its wrappers and descriptors, and what a dotted name below a module leads to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import singledispatchmethod
from types import FunctionType, MappingProxyType, ModuleType
from typing import Any

from mainspring.pipelines.code.contents import attribute_of, code_of, dict_of, module_of, wrapped_in


def followed(live: ModuleType, qualname: str) -> tuple[bool, object]:
    """What a dotted name below a module stands for, as it lies there (a descriptor is not called); False if nothing."""
    owner: object = live
    enclosing = ""
    for part in qualname.split("."):
        mangled = f"_{enclosing.lstrip('_')}{part}" if part.startswith("__") and not part.endswith("__") else part
        space = vars(owner) if isinstance(owner, (type, ModuleType)) else dict_of(owner)
        if part not in space and mangled not in space:
            return False, None
        owner = space[part] if part in space else space[mangled]
        enclosing = part
    return True, owner


def functions_in(found: object, *, unwrap: bool) -> Iterator[Any]:
    """The functions inside what a known decorator makes of them."""
    return (item for item in layers(found, unwrap=unwrap) if code_of(item) is not None)


def layers(value: object, *, unwrap: bool = True) -> Iterator[object]:
    """An object and what it is a descriptor of, or says that it wraps, from the outermost on."""
    pending, seen = [value], 0
    while pending and seen < 50:
        item, seen = pending.pop(), seen + 1
        yield item
        if isinstance(item, (staticmethod, classmethod)):
            pending.append(item.__func__)
        elif isinstance(item, property):
            pending += [each for each in (item.fget, item.fset, item.fdel) if each is not None]
        elif unwrap:
            pending += unwrapped(item)


def variants_of(item: object) -> Mapping[type, Any] | None:
    """What a function of `functools.singledispatch`, or a method, calls by the type of its argument; None of any other."""
    found = attribute_of(item, "dispatcher") if isinstance(item, singledispatchmethod) else item
    registry = found.__dict__.get("registry") if isinstance(found, FunctionType) else None
    return registry if isinstance(registry, MappingProxyType) else None


def unwrapped(item: object) -> list[object]:
    """What a wrapper says that it wraps; a step or pipeline its function."""
    is_step = module_of(type(item)).startswith("mainspring.")
    inner = [attribute_of(item, "function")] if is_step else [wrapped_in(item), dict_of(item).get("func")]
    return [each for each in inner if each is not None]
