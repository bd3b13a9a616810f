"""What a source says that names, attributes and defaults hold, in a form that can be evaluated again beside the live values."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from mainspring.pipelines.code.purity import Canonical, is_constant

_LONGEST = 20_000  # characters; a longer table counts by its value


def held_in(statements: Iterable[ast.stmt], canonical: Canonical) -> dict[str, str]:
    r"""The sources of what the names of a module are set to, those of classes as `Class.name`, defaults as `function()`.

    A source is empty where evaluating it may do something, or where several statements set the name.

    >>> held_in(ast.parse("A = 1\ndef f(x, y=[2]): pass\nclass C:\n    n: int = 3").body, lambda node: "")
    {'A': '1', 'f()': "{'y': [2]}", 'C.n': '3'}
    """
    found: dict[str, str] = {}
    for name, value in _bindings(statements, ""):
        text = ast.unparse(value) if value is not None and is_constant(value, canonical) else ""
        found[name] = text if name not in found and len(text) <= _LONGEST else ""
    return found


def is_literal(text: str) -> bool:
    """Whether a source is of a value that nothing can change.

    >>> is_literal("(1, 'a')"), is_literal("-2.5"), is_literal("[1]"), is_literal("2 * 10")
    (True, True, False, False)
    """
    try:
        return _is_frozen(ast.literal_eval(text))
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False


def _is_frozen(value: object) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_frozen, value))
    return not isinstance(value, (list, dict, set))


def _bindings(statements: Iterable[ast.stmt], prefix: str) -> Iterator[tuple[str, ast.expr | None]]:
    """Each name that is set, and to what; None where a statement leaves it open."""
    for statement in statements:
        match statement:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    is_one = isinstance(target, ast.Name)
                    yield from ((prefix + name, value if is_one else None) for name in _names(target))
            case ast.AnnAssign(target=ast.Name(id=name), value=value) if value is not None:
                yield prefix + name, value
            case ast.AugAssign(target=target):
                yield from ((prefix + name, None) for name in _names(target))
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield from _defaults(statement, prefix)
            case ast.ClassDef(name=name, body=body):
                yield from _bindings(body, f"{prefix}{name}.")
            case ast.If() | ast.Try() | ast.TryStar() | ast.With() | ast.For() | ast.While() | ast.Match():
                inner = (node for node in ast.walk(statement) if isinstance(node, ast.Name))
                yield from ((prefix + node.id, None) for node in inner if isinstance(node.ctx, ast.Store))
            case _:
                pass


def _defaults(node: ast.FunctionDef | ast.AsyncFunctionDef, prefix: str) -> Iterator[tuple[str, ast.expr | None]]:
    given = node.args
    positional = [*given.posonlyargs, *given.args]
    pairs = list(zip(positional[len(positional) - len(given.defaults) :], given.defaults, strict=True))
    pairs += [(key, value) for key, value in zip(given.kwonlyargs, given.kw_defaults, strict=True) if value is not None]
    if pairs:
        keys: list[ast.expr | None] = [ast.Constant(argument.arg) for argument, _ in pairs]
        yield f"{prefix}{node.name}()", ast.Dict(keys, [value for _, value in pairs])


def _names(target: ast.expr) -> Iterator[str]:
    if isinstance(target, (ast.Tuple, ast.List)):
        for inner in target.elts:
            yield from _names(inner)
    elif isinstance(target, ast.Starred):
        yield from _names(target.value)
    elif isinstance(target, ast.Name):
        yield target.id
