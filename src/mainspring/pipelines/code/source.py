"""The analysis of one module's source: pure text in, facts out. Comments, layout and line numbers leave no trace."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from mainspring.errors import GraphError, shorten
from mainspring.pipelines.code.changes import ChangeCollector
from mainspring.pipelines.code.facts import CONSTANT, DEFINITION, EFFECT, ModuleFacts, Unit
from mainspring.pipelines.code.held import held_in
from mainspring.pipelines.code.making import class_made, only_keeps
from mainspring.pipelines.code.names import Collector, ModuleNames, bind_module, references_of
from mainspring.pipelines.code.objects import codes_of, digest_of
from mainspring.pipelines.code.purity import (
    Canonical,
    called,
    declares,
    evaluated_by,
    is_constant,
    is_plain_class,
    is_plain_function,
    is_purely_decorated,
    is_step_decorator,
    runs_on_subclassing,
)  # fmt: skip
from mainspring.pipelines.code.suspects import Suspects, handles_in

_LONGEST_LABEL = 60
_IMPORTS = (ast.Import, ast.ImportFrom)


def analyse(source: bytes | str, name: str, *, package: bool = False, filename: str = "<source>") -> ModuleFacts:
    """Everything that fingerprints need to know of one module.

    Raises:
        GraphError: the source is no valid Python; the message names file and line.
    """
    tree = parse(source, filename)
    codes = codes_of(compile(tree, filename, "exec", dont_inherit=True))
    decorated, optional = _marks(tree)
    names = ModuleNames(name, package=package)
    statements = list(_flatten(tree.body))
    bind_module(names, statements)
    units = _Units(names, filename)
    units.handles = handles_in(statements, Collector(names).canonical)
    for statement in statements:
        units.add(statement)
    bound: dict[str, list[int]] = {}
    for place, unit in enumerate(units.found):
        for bind in unit.binds:
            bound.setdefault(bind, []).append(place)
    imported: dict[str, list[int]] = {}
    for place, found in enumerate(names.imports):
        imported.setdefault(found.alias, []).append(place)
    return ModuleFacts(
        name,
        package,
        tuple(units.found),
        tuple(names.imports),
        {bind: tuple(places) for bind, places in bound.items()},
        {alias: tuple(places) for alias, places in imported.items()},
        codes,
        decorated,
        optional,
        digest_of(units.texts),
        held_in(statements, Collector(names).canonical),
    )


def parse(source: bytes | str, filename: str) -> ast.Module:
    """The syntax tree of a source text."""
    try:
        return ast.parse(source, filename)
    except SyntaxError as error:
        raise GraphError(f"{filename}:{error.lineno}: the source is not valid Python: {error.msg}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise GraphError(f"{filename}:1: the source can't be read as Python: {error}") from error


def normalised(node: ast.AST) -> str:
    """A statement's meaning as text: its tree without positions, string prefixes and comments."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Constant):
            inner.kind = None
    return ast.dump(node, annotate_fields=False)


class _Units:
    def __init__(self, names: ModuleNames, filename: str) -> None:
        self.names = names
        self.filename = filename
        self.found: list[Unit] = []
        self.seen: set[str] = set()
        self.made: set[str] = set()  # by effects: objects that may do something when a class takes them as attributes
        self.texts: list[str] = []
        self.declared: set[str] = set()  # names of Mainspring's declarations and of expressions
        self.effects = 0
        self.handles: set[str] = set()

    def add(self, statement: ast.stmt) -> None:
        if isinstance(statement, (*_IMPORTS, ast.Pass)) or _is_docstring(statement):
            self.texts.append(normalised(statement))
            return
        names = Collector(self.names)
        kind = self._kind(statement, names)
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef() if is_purely_decorated(statement, names.canonical):
                # Only what defining it evaluates can have an effect: its body runs where something calls it.
                if kind == EFFECT:
                    self._take(evaluated_by(statement), EFFECT, label=statement.name)
                kind = DEFINITION
        self._take(statement, kind)

    def _take(self, node: ast.stmt | ast.expr, kind: str, *, label: str = "") -> None:
        collector = ChangeCollector(self.names)
        suspects = Suspects(collector.canonical, self.handles, self.filename)
        suspects.visit(node)
        mark = _mark(node, collector.canonical)
        made = node if isinstance(node, ast.ClassDef) else None
        bases = tuple(name for base in made.bases for name in references_of(self.names, base)) if made else ()
        registers = made is not None and runs_on_subclassing(made, collector.canonical)
        collector.visit(node)
        binds = (_binds(node) if isinstance(node, ast.stmt) else ()) + tuple(sorted(collector.assigned))
        if kind == EFFECT or (kind == CONSTANT and self.seen.intersection(binds)):
            self.effects += 1
        if isinstance(node, ast.stmt):
            self._note_declared(node, binds, collector.canonical)
            label = _label(node, binds) if kind == EFFECT or bases else ""
        self.seen.update(binds)
        if kind == EFFECT:
            self.made.update(binds)
        self.texts.append(normalised(node))
        self.found.append(
            Unit(
                kind,
                binds,
                digest_of(self.texts[-1:]),
                references=tuple(sorted(collector.references)),
                dynamic=tuple(sorted(collector.dynamic)),
                files=tuple(sorted(collector.files)),
                env=tuple(sorted(collector.env)),
                problem=f"{self.filename}:{collector.problem}" if collector.problem else "",
                bases=bases,
                registers=registers,
                after=self.effects if kind == CONSTANT and collector.references else 0,
                mentions=tuple(sorted(collector.mentions)),
                formulas=tuple(sorted(collector.formulas)),
                asked=collector.asked,
                look_ups=tuple(collector.look_ups),
                told=_told(node, collector),
                reads=tuple(sorted(suspects.reads)),
                bodies=tuple(sorted(suspects.bodies)),
                calls=tuple(sorted(suspects.calls)),
                changes=tuple(sorted(collector.changes)),
                body_changes=tuple(sorted(collector.body_changes)),
                stands_for=tuple(sorted(collector.stands_for)),
                label=label,
                makes=class_made(node, self.names) if kind == EFFECT and isinstance(node, ast.stmt) else "",
                mark=mark,
                keeps=made is not None and kind == DEFINITION and only_keeps(made, collector.canonical),
            )
        )

    def _kind(self, statement: ast.stmt, collector: Collector) -> str:
        canonical = collector.canonical
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                return DEFINITION if is_plain_function(statement, canonical) else EFFECT
            case ast.ClassDef():
                plain = is_plain_class(statement, canonical) and not self.made.intersection(_attributes(statement))
                return DEFINITION if plain else EFFECT
            case ast.Assign(targets=targets, value=value):
                plain = all(isinstance(name, ast.Name) for target in targets for name in _targets(target))
                return CONSTANT if plain and is_constant(value, canonical, self._declared_in(value)) else EFFECT
            case ast.AnnAssign(target=ast.Name(), value=value):
                is_plain = value is None or is_constant(value, canonical, self._declared_in(value))
                return CONSTANT if is_plain else EFFECT
            case ast.AugAssign(target=ast.Name(id="__all__")):
                return CONSTANT
            case ast.If(test=test, body=body, orelse=orelse):
                plain = is_constant(test, canonical) and self._only_define(body + orelse, collector)
                return CONSTANT if plain else EFFECT
            case ast.Try() | ast.TryStar():
                inner = [statement.body, statement.orelse, statement.finalbody, *(h.body for h in statement.handlers)]
                return CONSTANT if self._only_define([s for body in inner for s in body], collector) else EFFECT
        return CONSTANT if type(statement).__name__ == "TypeAlias" else EFFECT

    def _declared_in(self, value: ast.expr) -> set[str]:
        """The names that stand for declarations in a value; what it calls so itself may be anything."""
        own = {node.arg for node in ast.walk(value) if isinstance(node, ast.arg)}
        own |= {node.id for node in ast.walk(value) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        return self.declared - own

    def _note_declared(self, statement: ast.stmt, binds: tuple[str, ...], canonical: Canonical) -> None:
        value = statement.value if isinstance(statement, ast.Assign | ast.AnnAssign) else None
        if value is None or not self.seen.isdisjoint(binds) or not declares(value, canonical, self._declared_in(value)):
            self.declared.difference_update(binds)
        elif all(isinstance(target, ast.Name) for target in getattr(statement, "targets", ())):
            self.declared.update(binds)

    def _only_define(self, statements: list[ast.stmt], collector: Collector) -> bool:
        return all(
            isinstance(inner, (*_IMPORTS, ast.Pass, ast.Raise))
            or _is_docstring(inner)
            or self._kind(inner, collector) != EFFECT
            for inner in statements
        )


def _flatten(statements: list[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in statements:
        if isinstance(statement, ast.If) and _is_main_guard(statement.test):
            yield from _flatten(statement.orelse)
        elif isinstance(statement, ast.If) and _is_type_checking(statement.test):
            yield from _flatten(statement.body + statement.orelse)
        else:
            yield statement


def _is_main_guard(test: ast.expr) -> bool:
    match test:
        case ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]):
            sides = {getattr(side, "id", getattr(side, "value", None)) for side in (left, right)}
            return sides == {"__name__", "__main__"}
    return False


def _is_type_checking(test: ast.expr) -> bool:
    return getattr(test, "id", getattr(test, "attr", "")) == "TYPE_CHECKING"


def _told(node: ast.AST, collector: Collector) -> tuple[str, ...]:
    """The texts one of which the names are that a plain assignment binds; none if that isn't told."""
    match node:
        case ast.Assign(targets=targets, value=value) if all(isinstance(target, ast.Name) for target in targets):
            return tuple(sorted(collector.told(value) or ()))
        case ast.AnnAssign(target=ast.Name(), value=ast.expr() as value):
            return tuple(sorted(collector.told(value) or ()))
    return ()


def _label(statement: ast.stmt, binds: tuple[str, ...]) -> str:
    """What people know a statement by: the names that it binds, what it sets or calls, or else its first line."""
    match statement:
        case _ if binds:
            said = ", ".join(binds)
        case ast.Assign(targets=targets) | ast.Delete(targets=targets):
            said = ", ".join(map(ast.unparse, targets))
        case ast.AugAssign(target=target) | ast.AnnAssign(target=target):
            said = ast.unparse(target)
        case ast.Expr(value=ast.Call(func=function)):
            said = f"{ast.unparse(function)}(…)"
        case _:
            said = ast.unparse(statement).partition("\n")[0]
    return shorten(said, _LONGEST_LABEL)


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _attributes(node: ast.ClassDef) -> Iterator[str]:
    """The names that a class body gives other names to."""
    for member in node.body:
        value = getattr(member, "value", None)
        if isinstance(member, (ast.Assign, ast.AnnAssign)) and isinstance(value, ast.Name):
            yield value.id


def _targets(target: ast.expr) -> Iterator[ast.expr]:
    if isinstance(target, (ast.Tuple, ast.List)):
        for inner in target.elts:
            yield from _targets(inner)
    elif isinstance(target, ast.Starred):
        yield from _targets(target.value)
    else:
        yield target


def _binds(statement: ast.stmt) -> tuple[str, ...]:
    names = ModuleNames("", package=False)
    bind_module(names, [statement])
    # an import inside try or if is a binding too: the condition around it decides
    return tuple(sorted(names.defined | {alias for alias in names.aliases if alias != "*"}))


def _mark(node: ast.AST, canonical: Canonical) -> str:
    """`step` or `pipeline` for what is decorated so."""
    names = [canonical(called(each)) for each in getattr(node, "decorator_list", ())]
    return next((name.rpartition(".")[2] for name in names if is_step_decorator(name)), "")


def _marks(tree: ast.Module) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The qualified names of decorated definitions, and of those under a condition."""
    decorated: list[str] = []
    optional: list[str] = []
    pending: list[tuple[ast.AST, str, bool]] = [(node, "", False) for node in tree.body]
    while pending:
        node, prefix, conditional = pending.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            name = prefix + node.name
            if node.decorator_list:
                decorated.append(name)
            if conditional:
                optional.append(name)
            if isinstance(node, ast.ClassDef):
                pending += [(inner, f"{name}.", conditional) for inner in node.body]
        elif not isinstance(node, ast.expr):
            pending += [(inner, prefix, True) for inner in ast.iter_child_nodes(node)]
    return tuple(sorted(decorated)), tuple(sorted(optional))
