"""Where live functions and classes come from: the very source that compiles to a code object, or the names in its bytecode.

Invariant: a source is taken for a function's only if it compiles to its code; the text of another cell never is.
"""

from __future__ import annotations

import ast
import dis
import linecache
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType

from mainspring.pipelines.code.contents import attribute_of, dict_of, module_of
from mainspring.pipelines.code.names import ModuleNames
from mainspring.pipelines.code.objects import code_digest
from mainspring.pipelines.code.scopes import FunctionNode

_FLAGS = 0x1FE0000  # of `from __future__`, as compile() takes them
# What these do only a source tells.
_BY_SOURCE = frozenset(
    "eval exec globals vars locals __import__ import_module query sql execute executemany getattr file env".split()
)
_NAME = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_CLASSDEREF"})
_ATTRIBUTE = frozenset({"LOAD_ATTR", "LOAD_METHOD"})


def source_nodes(function: FunctionType) -> list[FunctionNode]:
    """The definitions in the source that a live function may come from; several lambdas on a line are all."""
    code = function.__code__
    lines = _lines(code.co_filename, function.__globals__)
    return list(_nodes(code.co_filename, lines, code.co_flags & _FLAGS).get(_key(code), ()))


def class_nodes(cls: type, space: Mapping[str, object]) -> list[ast.ClassDef]:
    """The definitions in sources that a live class may come from: around a method of its own, or else all of its name."""
    for item in vars(cls).values():
        inner = item.__func__ if isinstance(item, (staticmethod, classmethod)) else item
        inner = inner.fget if isinstance(inner, property) else inner
        if type(inner) is not FunctionType or inner.__qualname__.rpartition(".")[0] != cls.__qualname__:
            continue
        code = inner.__code__
        lines = _lines(code.co_filename, inner.__globals__)
        if _key(code) in _nodes(code.co_filename, lines, code.co_flags & _FLAGS):
            found = [each for each in _classes(lines, cls.__name__) if _is_around(each, code.co_firstlineno)]
            return found[-1:]
    names = [str(space["__file__"])] if space.get("__file__") else []
    names += [name for name in linecache.cache if name.startswith("<") or "ipykernel" in name]
    found = [each for name in names for each in _classes(_lines(name, space), cls.__name__) if _fits(each, cls)]
    return list({ast.dump(each): each for each in found}.values())


def codes_in(code: CodeType) -> Iterator[CodeType]:
    """A code object and those nested in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes_in(constant)


def texts_of(code: CodeType) -> set[str]:
    """The texts in a code object."""
    return {each for inner in codes_in(code) for each in inner.co_consts if isinstance(each, str)}


def is_told_by_bytecode(code: CodeType) -> bool:
    """Whether the names in a code object say all that its source would, as far as a fingerprint needs it."""
    return not any(_BY_SOURCE.intersection(each.co_names) for each in codes_in(code))


def names_taken(code: CodeType) -> tuple[set[str], set[tuple[str, str]]]:
    """The dotted names that a code object takes from where it is defined; and modules that it imports, with names in them."""
    names: set[str] = set()
    imports: set[tuple[str, str]] = set()
    for each in codes_in(code):
        chain: list[str] = []
        module = ""
        for step in dis.get_instructions(each):
            if step.opname in _ATTRIBUTE and chain:
                chain.append(str(step.argval))
                continue
            names.update([".".join(chain)] if chain else [])
            chain = [str(step.argval)] if step.opname in _NAME else []
            if step.opname == "IMPORT_NAME":
                module = str(step.argval)
                imports.add((module, ""))
            elif step.opname == "IMPORT_FROM":
                imports.add((module, str(step.argval)))
        names.update([".".join(chain)] if chain else [])
    return names, imports


def hint_texts(function: FunctionType) -> set[str]:
    """The type hints of a function that are written as texts, which are looked up later."""
    found: set[str] = set()
    pending: list[object] = list(function.__annotations__.values())
    while pending and len(found) < 1_000:
        each = pending.pop()
        if isinstance(each, str):
            found.add(each)
        elif module_of(type(each)) in ("typing", "types"):
            pending += attribute_of(each, "__args__") or ()
            pending += [dict_of(each).get("__forward_arg__") or attribute_of(each, "__forward_arg__")]
    return found


def _lines(filename: str, space: Mapping[str, object]) -> tuple[str, ...]:
    linecache.checkcache(filename)
    return tuple(linecache.getlines(filename, dict(space)))


def _key(code: CodeType) -> tuple[str, int, str]:
    return code.co_name, code.co_firstlineno, code_digest(code)


@lru_cache(maxsize=64)
def _nodes(
    filename: str, lines: tuple[str, ...], flags: int
) -> Mapping[tuple[str, int, str], Collection[FunctionNode]]:
    """The definitions in a source by what they compile to."""
    text = "".join(lines)
    try:
        tree = ast.parse(text)
        # IPython compiles each statement of a cell alone, and a call of what a unit imports otherwise than of a global.
        units: list[str | ast.Module] = [text, *(ast.Module([each], []) for each in tree.body)]
        compiled = [compile(each, filename, "exec", flags=flags, dont_inherit=True) for each in units]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    places: dict[tuple[str, int], list[FunctionNode]] = {}
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            places.setdefault((node.name, first), []).append(node)
        elif isinstance(node, ast.Lambda):
            places.setdefault(("<lambda>", node.lineno), []).append(node)
    found: dict[tuple[str, int, str], list[FunctionNode]] = {}
    for code in (each for unit in compiled for each in codes_in(unit)):
        nodes = places.get((code.co_name, code.co_firstlineno))
        if nodes:
            found[_key(code)] = nodes
    return found


@lru_cache(maxsize=256)
def _tree(lines: tuple[str, ...]) -> ast.Module:
    try:
        return ast.parse("".join(lines))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ast.Module([], [])


@lru_cache(maxsize=1_000)
def _classes(lines: tuple[str, ...], name: str) -> tuple[ast.ClassDef, ...]:
    if not any(name in line for line in lines):
        return ()
    return tuple(each for each in ast.walk(_tree(lines)) if isinstance(each, ast.ClassDef) and each.name == name)


def _fits(node: ast.ClassDef, cls: type) -> bool:
    """Whether a class has what its body would give it."""
    names = {each.name for each in node.body if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))}
    for each in node.body:
        targets = each.targets if isinstance(each, ast.Assign) else []
        names |= {target.id for target in targets if isinstance(target, ast.Name) and not target.id.startswith("_")}
    return names <= vars(cls).keys()


def _is_around(node: ast.ClassDef, line: int) -> bool:
    return node.lineno <= line <= (node.end_lineno or node.lineno)


def aliases_in(module: str, space: Mapping[str, object]) -> ModuleNames:
    """The aliases of a live namespace, so that `ms.step` is known whatever it is called there."""
    names = ModuleNames(module, package=False)
    for name, value in list(space.items()):
        if issubclass(type(value), ModuleType):
            names.aliases[name] = value.__name__  # type: ignore[attr-defined]  # a module
        elif issubclass(type(value), (FunctionType, type, BuiltinFunctionType)) and value.__module__ != module:
            home = "mainspring" if str(value.__module__).startswith("mainspring.") else value.__module__
            names.aliases[name] = f"{home}.{value.__qualname__}"  # type: ignore[attr-defined]  # as its class says
        else:
            names.defined.add(name)
    return names
