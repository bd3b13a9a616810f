"""Which names a function binds itself, so that a local of the same name is not taken for a module's definition."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class Scope:
    """The names of one function, class or comprehension. `imports` maps an alias to the keys of its imports.

    What is `deferred` is executed by a call, not where it stands. `times` counts how often a name is bound, `values` are
    what plain assignments bind.
    """

    def __init__(self, *, deferred: bool = False) -> None:
        self.names: set[str] = set()
        self.outer: set[str] = set()
        self.statements: list[ast.Import | ast.ImportFrom] = []
        self.imports: dict[str, list[str]] = {}
        self.times: Counter[str] = Counter()
        self.values: dict[str, ast.expr] = {}
        self.deferred = deferred

    def collect(self, nodes: Iterable[ast.AST]) -> Scope:
        """Take in what these statements bind, without entering the scopes inside them."""
        pending = list(nodes)
        while pending:
            node = pending.pop()
            self._bind(node)
            if isinstance(node, _SCOPES):
                inside = (inner.names for inner in ast.walk(node) if isinstance(inner, ast.Nonlocal))
                self.times.update(name for names in inside for name in [*names, *names])
                continue
            if isinstance(node, _COMPREHENSIONS):
                for inner in ast.walk(node):
                    if isinstance(inner, ast.NamedExpr):
                        self._bind(inner.target)
                continue
            pending.extend(ast.iter_child_nodes(node))
        return self

    def _bind(self, node: ast.AST) -> None:
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                self._add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                self._add(name)
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                self._add(name)
            case ast.MatchMapping(rest=str(name)):
                self._add(name)
            case ast.Global(names=names):
                self.outer.update(names)
            case ast.Nonlocal(names=names):
                self.times.update([*names, *names])
            case ast.Import() | ast.ImportFrom():
                self.statements.append(node)
                self.times.update(alias.asname or alias.name.partition(".")[0] for alias in node.names)
            case ast.Assign(targets=targets, value=value):
                self.values.update({target.id: value for target in targets if isinstance(target, ast.Name)})
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                self.values[name] = value
            case _:
                pass

    def _add(self, name: str) -> None:
        self.names.add(name)
        self.times[name] += 1


def function_scope(node: FunctionNode) -> Scope:
    """The scope of a function or lambda: its parameters, and what its body binds."""
    scope = Scope(deferred=True)
    given = node.args
    for argument in [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]:
        if argument is not None:
            scope.names.add(argument.arg)
            scope.times[argument.arg] += 1
    return scope.collect(node.body if isinstance(node.body, list) else [node.body])


def comprehension_scope(targets: list[ast.expr]) -> Scope:
    """The scope of a comprehension: its targets."""
    return Scope().collect(targets)


def class_scope(node: ast.ClassDef) -> Scope:
    """The scope of a class body. Its names hide nothing: Python falls back to the module's until they are bound."""
    scope = Scope().collect(node.body)
    scope.names.clear()
    return scope


def chain_of(node: ast.expr) -> list[str]:
    """The names of a dotted expression, outermost last; empty if it is none."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return [node.id, *reversed(parts)] if isinstance(node, ast.Name) else []
