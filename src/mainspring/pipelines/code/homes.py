"""Where functions and classes are at home: in a library, in a module of the project that has them, or only in this process."""

from __future__ import annotations

import enum
import sys
from collections.abc import Mapping
from types import FunctionType

from mainspring.pipelines.code.contents import dict_of, is_made
from mainspring.pipelines.code.layers import followed, layers
from mainspring.pipelines.code.objects import code_digest
from mainspring.pipelines.code.project import Project


class Kind(enum.Enum):
    """How something counts: by the project's sources, by its distribution, by what it is, or by what it wraps."""

    OURS = "ours"
    LIBRARY = "library"
    LIVE = "live"
    WRAPPER = "wrapper"


def kind_of(project: Project, value: FunctionType | type) -> Kind:
    """How a function or class counts. What a module has under its name is this very object, or it counts by what it is."""
    home = str(value.__module__)
    if home != "__main__" and project.owns(home) and is_there(value):
        return Kind.OURS
    if isinstance(value, type):
        is_live = home == "__main__" or project.owns(home) or is_made(value)
        return Kind.LIVE if is_live else Kind.LIBRARY
    home = str(value.__globals__.get("__name__"))
    if home == "__main__" or home not in sys.modules or project.owns(home):
        return Kind.LIVE
    is_ours = str(value.__module__) == "__main__" or project.owns(str(value.__module__))
    return Kind.LIBRARY if not is_ours and is_there(value) else Kind.WRAPPER


def is_there(value: FunctionType | type) -> bool:
    """Whether a module has this very object under its qualified name, alone or inside what a decorator made of it."""
    module = sys.modules.get(str(value.__module__))
    if module is None or "<" in value.__qualname__:
        return False
    present, found = followed(module, value.__qualname__)
    return present and any(each is value for each in layers(found))


def is_replaced(function: object, module: str, qualname: str) -> bool:
    """Whether a module that is loaded has other code than a function under its name, as after `importlib.reload`."""
    live = sys.modules.get(module)
    inner = next((each for each in layers(function) if isinstance(each, FunctionType)), None)
    present, found = followed(live, qualname) if live is not None else (False, None)
    codes = {code_digest(each.__code__) for each in layers(found) if isinstance(each, FunctionType)}
    return present and inner is not None and bool(codes) and code_digest(inner.__code__) not in codes


def name_of(value: FunctionType | type) -> str:
    """The module and qualified name of a function or class."""
    return f"{value.__module__}.{value.__qualname__}"


def space_of(value: FunctionType | type) -> Mapping[str, object]:
    """The names at the top of where something is defined."""
    if isinstance(value, FunctionType):
        return value.__globals__
    home = sys.modules.get(value.__module__)
    return vars(home) if home is not None else {}


def cells_of(value: FunctionType | type) -> dict[str, object]:
    """What a closure holds by name."""
    if not isinstance(value, FunctionType) or not value.__closure__:
        return {}
    found: dict[str, object] = {}
    for name, cell in zip(value.__code__.co_freevars, value.__closure__, strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:
            continue  # not bound yet: a function that is still being defined
    return found


def names_at(value: FunctionType | type) -> set[str]:
    """The names that code may use where something is defined."""
    return {*space_of(value), *cells_of(value)}


def value_at(value: FunctionType | type, name: str) -> object:
    """What a dotted name stands for where a live function is; None if that is nothing."""
    root, *rest = name.split(".")
    found = cells_of(value).get(root, space_of(value).get(root))
    for attribute in rest:
        found = dict_of(found).get(attribute) if not isinstance(found, type) else vars(found).get(attribute)
    return found
