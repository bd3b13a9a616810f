"""What one module-level statement changes that it doesn't make itself, as dotted names: attributes that it sets or deletes,
what it registers something with, what it calls for nothing but an effect.

A statement whose only effect is the name that it binds changes nothing, whatever it calls. What a name is that others are
bound to (`ctx = decimal.getcontext()`) is told too, since a change of it is one of theirs. `outside` judges whose it is.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from mainspring.pipelines.code.names import Collector, ModuleNames
from mainspring.pipelines.code.purity import called, is_pure_decorator, only_wraps, tells_only
from mainspring.pipelines.code.scopes import FunctionNode, Scope, chain_of

# So begin the names of what changes something even where its result is kept: `old = np.seterr(all="raise")`.
_CHANGING = ("register", "set", "use_", "enable", "disable", "patch", "install", "override", "configure")
_NOT_CHANGING = frozenset({"set", "settings", "setting", "setattr", "setdefault", "setup_module"})
_CHANGING_WHEN_MADE = frozenset({"polars.Config"})
# So begin the names of what gives an object that others have too, rather than a new one.
_SHARING = (*_CHANGING, "get", "current", "default", "instance", "shared", "global")


class ChangeCollector(Collector):
    """Also keeps what a statement changes when it is executed, what its functions would, and what it names anew."""

    def __init__(self, module: ModuleNames) -> None:
        super().__init__(module)
        self.changes: set[str] = set()
        self.body_changes: set[str] = set()
        self.stands_for: set[str] = set()
        self._aliases: dict[tuple[int, str], set[str]] = {}
        self._at_once: set[int] = set()

    def visit_Assign(self, node: ast.Assign) -> None:
        self._bind(node.targets, node.value)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._bind([node.target], node.value)
        super().visit_AnnAssign(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._change(node.target)
        self.generic_visit(node)

    def visit_Delete(self, node: ast.Delete) -> None:
        self._bind(node.targets, ast.Constant(None))
        self.generic_visit(node)

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self._bind([node.target], node.iter)
        self.generic_visit(node)

    visit_AsyncFor = visit_For

    def visit_withitem(self, node: ast.withitem) -> None:
        if node.optional_vars is not None:
            self._bind([node.optional_vars], node.context_expr)
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        for call in _calls_for_effect(node.value):
            self._call(call)
        super().visit_Expr(node)

    def visit_Call(self, node: ast.Call) -> None:
        if _is_changing(node.func) or self.canonical(node.func) in _CHANGING_WHEN_MADE:
            self._change(node.func)
        super().visit_Call(node)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        # A decorator that the module defines itself may call what it decorates.
        if any(isinstance(called(each), ast.Name) and not self.canonical(called(each)) for each in node.decorator_list):
            self._at_once.add(id(node))
        super().visit_FunctionDef(node)

    visit_AsyncFunctionDef = visit_FunctionDef

    def opened(self, node: FunctionNode) -> Scope:
        scope = super().opened(node)
        scope.deferred = id(node) not in self._at_once
        return scope

    def _decorators(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        for decorator in node.decorator_list:
            if is_pure_decorator(decorator, self.canonical) or only_wraps(self.canonical(called(decorator))):
                continue
            if isinstance(decorator, ast.Call):
                self._call(decorator)
            else:
                self._change(decorator)
        super()._decorators(node)

    def _call(self, node: ast.Call) -> None:
        """A call that is made for its effect changes what has the method, or what it is given by name."""
        if tells_only(self.canonical(node.func)):
            return
        self._change(node.func)
        for given in [*node.args, *(word.value for word in node.keywords)]:
            if chain_of(given):
                self._change(given)

    def _change(self, node: ast.expr) -> None:
        into = self.body_changes if any(scope.deferred for scope in self.scopes) else self.changes
        into.update(name for chain in _bases(node) for name in self._meant(chain))

    def _bind(self, targets: Iterable[ast.expr], value: ast.expr) -> None:
        for target in targets:
            if isinstance(target, (ast.Tuple, ast.List)):
                self._bind(target.elts, value)
            elif isinstance(target, (ast.Attribute, ast.Subscript)):
                self._change(target.value)
            elif isinstance(target, ast.Name):
                meant = {name for chain in self._shared(value) for name in self._meant(chain)}
                scope = self._scope_of(target.id)
                if not self.scopes:
                    self.stands_for |= meant
                elif scope is not None:
                    self._aliases.setdefault((id(scope), target.id), set()).update(meant)

    def _meant(self, chain: list[str]) -> list[str]:
        """The dotted names at the top of the module that a chain means; for a local those that it was bound to."""
        scope = self._scope_of(chain[0])
        return self.outer(chain) if scope is None else sorted(self._aliases.get((id(scope), chain[0]), ()))

    def _scope_of(self, name: str) -> Scope | None:
        """The function whose local a name is."""
        for scope in reversed(self.scopes):
            if name in scope.imports or name in scope.outer:
                return None
            if name in scope.names:
                return scope
        return None

    def _shared(self, value: ast.expr) -> Iterator[list[str]]:
        """The names of what a value may be, if it is not made anew."""
        if isinstance(value, (ast.Tuple, ast.List, ast.Set)):
            for item in value.elts:
                yield from self._shared(item)
        elif isinstance(value, ast.IfExp):
            yield from self._shared(value.body)
            yield from self._shared(value.orelse)
        elif isinstance(value, ast.Call):
            last = _last(value.func)
            if last.startswith(_SHARING) or self.canonical(value.func) in _CHANGING_WHEN_MADE:
                yield from _bases(value)
        elif isinstance(value, (ast.Name, ast.Attribute, ast.Subscript, ast.NamedExpr, ast.Starred, ast.Await)):
            yield from _bases(value)


def _calls_for_effect(node: ast.expr) -> Iterator[ast.Call]:
    """The calls for whose effect alone a statement stands there."""
    match node:
        case ast.Call():
            yield node
        case ast.Await(value=inner) | ast.NamedExpr(value=inner):
            yield from _calls_for_effect(inner)
        case ast.ListComp(elt=inner) | ast.SetComp(elt=inner) | ast.GeneratorExp(elt=inner) | ast.DictComp(value=inner):
            yield from _calls_for_effect(inner)
        case ast.IfExp(body=body, orelse=orelse):
            yield from _calls_for_effect(body)
            yield from _calls_for_effect(orelse)
        case ast.BoolOp(values=items) | ast.Tuple(elts=items) | ast.List(elts=items):
            for item in items:
                yield from _calls_for_effect(item)


def _bases(node: ast.expr) -> Iterator[list[str]]:
    """The dotted names that an expression starts from: of `vars(pl)["x"].y` those are `vars` and `pl`."""
    chain = chain_of(node)
    if chain:
        yield chain
    elif isinstance(node, ast.Call):
        yield from _bases(node.func)
        yield from (found for given in node.args if (found := chain_of(given)))
    elif isinstance(node, (ast.Attribute, ast.Subscript, ast.Starred, ast.Await, ast.NamedExpr)):
        yield from _bases(node.value)


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _is_changing(node: ast.expr) -> bool:
    name = _last(node)
    return name.startswith(_CHANGING) and name not in _NOT_CHANGING
