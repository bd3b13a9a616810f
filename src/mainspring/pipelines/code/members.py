"""What a class of a notebook holds: its code, and its values, from its body or set behind it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from types import FunctionType
from typing import NamedTuple

from mainspring.pipelines.code.contents import ATOMS, CONTAINERS, attribute_of, module_of
from mainspring.pipelines.code.origins import codes_in, texts_of

_NOT_TOLD = frozenset(
    "__dict__ __weakref__ __module__ __qualname__ _abc_impl __firstlineno__ __static_attributes__ __slotnames__".split()
)
_TOLD = frozenset(
    "__annotations__ __slots__ __dataclass_fields__ __dataclass_params__ __match_args__ __abstractmethods__ "
    "__orig_bases__ __parameters__ __attrs_attrs__ __private_attributes__ "
    "__pydantic_fields__ __pydantic_config__ __pydantic_decorators__ __pydantic_generic_metadata__".split()
)


_TELLING = frozenset("builtins abc enum __main__ msgspec msgspec._core pydantic._internal._model_construction".split())
_GIVING_PLAIN = frozenset("typing sklearn pydantic".split())
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_GENERATED = "<attrs generated"  # of the fields, with a constant that differs from process to process


class Member(NamedTuple):
    """An entry of a class. What is code is told with the class; `is_machinery` may be what a metaclass put there."""

    name: str
    value: object
    is_code: bool
    is_of_body: bool
    is_machinery: bool


def members_of(cls: type, nodes: Iterable[ast.ClassDef]) -> Iterator[Member]:
    """The entries of a class in their order; `nodes` are what its source may be."""
    body = _names_set_in(tuple(nodes))
    is_made = type(cls) is not type or any("__init_subclass__" in vars(each) for each in cls.__mro__[:-1])
    for name, value in list(vars(cls).items()):
        if name in _NOT_TOLD or (name.startswith("__pydantic_") and name not in _TOLD):  # which it builds of the fields
            continue
        if getattr(attribute_of(value, "__code__"), "co_filename", "").startswith(_GENERATED):
            continue
        if name == "__doc__" and type(value) is str:
            value = _ADDRESS.sub("", value)  # dataclasses write the representations of defaults there
        is_special = name.startswith("__") and name.endswith("__")
        is_code = isinstance(value, type) and value.__qualname__ == f"{cls.__qualname__}.{name}"
        is_descriptor = attribute_of(type(value), "__get__") is not None
        is_code = is_code or is_descriptor or is_special
        if is_special and not (name in _TOLD or name in body or is_descriptor or _is_plain(value)):
            continue
        of_body = name in body or name.startswith("_") or (is_made and _may_be_given(cls, name))
        yield Member(name, value, is_code, of_body, is_made)


def _may_be_given(cls: type, name: str) -> bool:
    """Whether a metaclass or `__init_subclass__` may have put a name into a class that is more than a plain value."""
    if any(module_of(each) not in _TELLING or module_of(each) == "__main__" for each in type.mro(type(cls))[:-1]):
        return True
    pending = [
        attribute_of(vars(base)["__init_subclass__"], "__func__")
        for base in cls.__mro__[1:-1]
        if "__init_subclass__" in vars(base) and module_of(base).partition(".")[0] not in _GIVING_PLAIN
    ]
    met: set[int] = set()
    while pending:
        maker = pending.pop()
        if not isinstance(maker, FunctionType):
            return True
        met.add(id(maker))
        names = {word for each in codes_in(maker.__code__) for word in (*each.co_names, *texts_of(each))}
        if names & {name, "setattr", "update"}:
            return True
        called = [maker.__globals__.get(each) for each in names]
        pending += [each for each in called if isinstance(each, FunctionType) and id(each) not in met]
    return False


def struct_settings(cls: type) -> dict[str, object]:
    """The defaults and options of a `msgspec.Struct`, which keeps them past its attributes."""
    fields = attribute_of(cls, "__struct_fields__")
    defaults = attribute_of(cls, "__struct_defaults__")
    if type(fields) is not tuple or type(defaults) is not tuple:
        return {}
    config, encoded = attribute_of(cls, "__struct_config__"), attribute_of(cls, "__struct_encode_fields__")
    said = {each: repr(attribute_of(config, each)) for each in dir(config) if not each.startswith("__")}
    options: dict[str, object] = {"(options)": str(sorted(said.items())), "(encoded)": repr(encoded)}
    return options | dict(zip(fields[len(fields) - len(defaults) :], defaults, strict=True))


def hides_what_it_is_told(cls: type) -> bool:
    """Whether a metaclass of a library may keep where nothing finds it what the class's decorators and options said."""
    metaclasses = type.mro(type(cls))[:-1]
    return any(module_of(each) not in _TELLING for each in metaclasses)


def class_text(node: ast.ClassDef) -> ast.Module:
    """What the body of a class runs, but for its functions."""
    kept = [each for each in node.body if not isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))]
    return ast.Module(list(kept), [])


def _is_plain(value: object) -> bool:
    """Whether it is nothing that a metaclass of a library would put there."""
    return type(value) in ATOMS or type(value) in CONTAINERS or module_of(type(value)) == "__main__"


@lru_cache(maxsize=1_000)
def _names_set_in(nodes: tuple[ast.AST, ...]) -> set[str]:
    """The names that statements anywhere in these nodes define, or set to more than a constant, such as `tokenizer = None`."""
    inner = [each for node in nodes for each in ast.walk(node)]
    defined = {each.name for each in inner if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))}
    placed = {
        id(name)
        for each in inner
        if isinstance(each, (ast.Assign, ast.AnnAssign)) and isinstance(each.value, ast.Constant)
        for name in (each.targets if isinstance(each, ast.Assign) else [each.target])
    }
    named = (each for each in inner if isinstance(each, ast.AnnAssign) and each.value is None)
    placed |= {id(each.target) for each in named}
    names = (each for each in inner if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store))
    return defined | {each.id for each in names if id(each) not in placed}
