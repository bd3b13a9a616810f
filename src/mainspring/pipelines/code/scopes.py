"""Which names a function binds itself, so that a local of the same name is not taken for a module's definition."""

from __future__ import annotations

import ast
from collections.abc import Iterable

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class Scope:
    """The names of one function, class or comprehension. `imports` maps an alias to the keys of its imports.

    What is `deferred` is executed by a call, not where it stands. `values` are what its names are bound to or taken from,
    `given` are those that the caller binds.
    """

    def __init__(self, *, deferred: bool = False) -> None:
        self.names: set[str] = set()
        self.outer: set[str] = set()
        self.statements: list[ast.Import | ast.ImportFrom] = []
        self.imports: dict[str, list[str]] = {}
        self.values: dict[str, list[ast.expr]] = {}
        self.given: set[str] = set()
        self.deferred = deferred

    def collect(self, nodes: Iterable[ast.AST]) -> Scope:
        """Take in what these statements bind, without entering the scopes inside them."""
        pending = list(nodes)
        while pending:
            node = pending.pop()
            self._bind(node)
            if isinstance(node, _SCOPES):
                continue
            if isinstance(node, _COMPREHENSIONS):
                for inner in ast.walk(node):
                    if isinstance(inner, ast.NamedExpr):
                        self.names.add(inner.target.id)
                        self.give(inner.target, inner.value)
                continue
            pending.extend(ast.iter_child_nodes(node))
        return self

    def _bind(self, node: ast.AST) -> None:
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                self.names.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                self.names.add(name)
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                self.names.add(name)
            case ast.MatchMapping(rest=str(name)):
                self.names.add(name)
            case ast.Global(names=names):
                self.outer.update(names)
            case ast.Import() | ast.ImportFrom():
                self.statements.append(node)
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    self.give(target, value)
            case (
                ast.AnnAssign(target=target, value=ast.expr() as value)
                | ast.AugAssign(target=target, value=value)
                | ast.NamedExpr(target=target, value=value)
                | ast.For(target=target, iter=value)
                | ast.AsyncFor(target=target, iter=value)
            ):
                self.give(target, value)
            case _:
                pass

    def give(self, target: ast.expr, value: ast.expr) -> None:
        """Note what the names in a target are bound to."""
        for node in ast.walk(target):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                self.values.setdefault(node.id, []).append(value)


def function_scope(node: FunctionNode) -> Scope:
    """The scope of a function or lambda: its parameters, and what its body binds."""
    scope = Scope(deferred=True)
    given = node.args
    for argument in [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]:
        if argument is not None:
            scope.names.add(argument.arg)
            scope.given.add(argument.arg)
    named = [*given.posonlyargs, *given.args]
    defaults = zip(
        [*named[len(named) - len(given.defaults) :], *given.kwonlyargs],
        [*given.defaults, *given.kw_defaults],
        strict=True,
    )
    for argument, default in defaults:
        if default is not None:
            scope.values[argument.arg] = [default]
    return scope.collect(node.body if isinstance(node.body, list) else [node.body])


def comprehension_scope(generators: list[ast.comprehension]) -> Scope:
    """The scope of a comprehension: its targets."""
    scope = Scope()
    for generator in generators:
        scope.collect([generator.target]).give(generator.target, generator.iter)
    return scope


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
