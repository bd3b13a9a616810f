"""Collects the names that one statement uses, as dotted references, and whatever makes names unresolvable in it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from mainspring.pipelines.code.facts import TABLES, Asked, Import, LookUp, is_mention
from mainspring.pipelines.code.lookups import (
    ENGINES,
    Told,
    formula_in,
    given_texts,
    is_engine,
    is_given_tables,
    is_of_relation,
    is_text,
    looked_up_by,
    tells,
)
from mainspring.pipelines.code.purity import called, is_step_decorator
from mainspring.pipelines.code.scopes import (
    FunctionNode,
    Scope,
    chain_of,
    class_scope,
    comprehension_scope,
    function_scope,
)
from mainspring.pipelines.code.texts import asked_in

_OWN = {"eval", "exec", "globals", "vars"}
_ALL = {
    "sys.modules", "runpy.run_module", "runpy.run_path", "importlib.reload", "importlib.util.spec_from_file_location",
    "importlib.util.find_spec", "importlib.util.module_from_spec", "pkgutil.resolve_name", "pkgutil.iter_modules",
    "pkgutil.walk_packages",
}  # fmt: skip
_IMPORTERS = {"importlib.import_module", "__import__", "importlib.__import__"}

_NAMING = {"getattr", "operator.methodcaller"}  # their texts name methods


class ModuleNames:
    """What a module is called and which names it binds at its top: the ground on which its statements are read."""

    def __init__(self, name: str, *, package: bool) -> None:
        self.name = name
        self.package = package
        self.imports: list[Import] = []
        self.aliases: dict[str, str] = {}
        self.defined: set[str] = set()

    def absolute(self, module: str | None, level: int) -> str:
        """The absolute name of a possibly relative import."""
        if not level:
            return module or ""
        parts = self.name.split(".")
        keep = len(parts) - level + (1 if self.package else 0)
        base = parts[: max(keep, 0)]
        return ".".join([*base, module] if module else base)

    def take(self, statement: ast.Import | ast.ImportFrom, *, local: bool) -> Iterator[tuple[str, Import]]:
        """Note the imports of one statement; gives alias and import. A local alias gets a key of its own."""
        for item in statement.names:
            if isinstance(statement, ast.Import):
                alias = item.asname or item.name.split(".")[0]
                found = Import(alias, item.name, item.name if item.asname else alias, "", local)
            else:
                base = self.absolute(statement.module, statement.level)
                found = Import(item.asname or item.name, base, base, item.name, local)
            yield found.alias, self.add(found)

    def add(self, found: Import) -> Import:
        """Note one import."""
        if found.local:
            found = Import(f"{found.alias}@{len(self.imports)}", found.loads, found.module, found.name, local=True)
        else:
            self.aliases[found.alias] = found.target
        self.imports.append(found)
        return found


class Collector(ast.NodeVisitor):
    """Walks one module-level statement and keeps what it uses."""

    def __init__(self, module: ModuleNames) -> None:
        self.module = module
        self.scopes: list[Scope] = []
        self.references: set[str] = set()
        self.dynamic: set[str] = set()
        self.files: set[str] = set()
        self.env: set[str] = set()
        self.assigned: set[str] = set()
        self.mentions: set[str] = set()
        self.formulas: set[str] = set()
        self.look_ups: list[LookUp] = []
        self.problem = ""
        self._texts: set[str] = set()  # all but those that are only told to people
        self._arguments: set[str] = set()
        self._seen: set[int] = set()  # functions of calls that are noted
        self._is_telling = False  # whether the texts here are only told to people

    @property
    def asked(self) -> Asked:
        """The dotted names in its texts, but for those that are only told to people."""
        return msgspec.structs.replace(asked_in(self._texts), arguments=tuple(sorted(self._arguments)))

    # names

    def canonical(self, node: ast.expr) -> str:
        """The dotted name of an expression with its first part resolved through imports; empty for a local."""
        parts = chain_of(node)
        if not parts:
            return ""
        for scope in reversed(self.scopes):
            if parts[0] in scope.imports:
                keys = scope.imports[parts[0]]
                target = next(found.target for found in self.module.imports if found.alias == keys[0])
                return ".".join([target, *parts[1:]])
            if parts[0] in scope.names and parts[0] not in scope.outer:
                return ""
        if parts[0] in self.module.aliases:
            return ".".join([self.module.aliases[parts[0]], *parts[1:]])
        return "" if parts[0] in self.module.defined else ".".join(parts)

    def refer(self, parts: list[str]) -> None:
        """Keep a use of a dotted name, unless its first part is a local of a function around it."""
        self.references.update(self.outer(parts))

    def outer(self, parts: list[str]) -> list[str]:
        """What a dotted name is at the top of the module; nothing if its first part is a local of a function around it."""
        root = parts[0]
        for scope in reversed(self.scopes):
            if root in scope.imports:
                return [".".join([key, *parts[1:]]) for key in scope.imports[root]]
            if root in scope.outer:
                break
            if root in scope.names:
                return []
        return [".".join(parts)]

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Store) and any(node.id in scope.outer for scope in self.scopes):
            self.assigned.add(node.id)
        if self.scopes or isinstance(node.ctx, ast.Load):
            self.refer([node.id])
        self._note_function(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if node.attr == "__subclasses__":
            self.dynamic.add("subclasses:__subclasses__")
        self._note_function(node)
        parts = chain_of(node)
        if not parts:
            self.generic_visit(node)
            return
        if self.canonical(node) in _ALL:
            self.dynamic.add(f"all:{self.canonical(node)}")
        self.refer(parts)

    # texts

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # else a docstring
            self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            if is_mention(node.value):
                self.mentions.add(node.value)
            for name in formula_in(node.value):
                self.formulas.update(self.outer(name.split(".")))
            self._texts.update([] if self._is_telling else [node.value])

    def visit_keyword(self, node: ast.keyword) -> None:
        """The name of an argument is a text to what is called with it: `above(LIMIT="fare")`."""
        self._arguments.update([node.arg] if node.arg and not self._is_telling else [])
        self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        match node.exc:
            case ast.Call(func=function, args=args, keywords=keywords):
                self.visit(function)
                self._tell([*args, *keywords])
            case ast.expr() as raised:
                self.visit(raised)
        if node.cause is not None:
            self.visit(node.cause)

    def visit_Assert(self, node: ast.Assert) -> None:
        self.visit(node.test)
        self._tell([node.msg] if node.msg is not None else [])

    def _tell(self, nodes: Iterable[ast.AST], *, is_telling: bool = True) -> None:
        """Visit what is only told to people, or what isn't."""
        before, self._is_telling = self._is_telling, is_telling
        for node in nodes:
            self.visit(node)
        self._is_telling = before

    def told(self, node: ast.expr) -> frozenset[str] | None:
        """The texts that an expression is told to be where it stands; None if that isn't told."""
        return Told(self.scopes, self.canonical).of(node)

    def _note_texts(self, node: ast.Call, name: str) -> None:
        """Note that a call looks names up in the texts that it is given."""
        kinds, is_relation = looked_up_by(node.func, name), False
        if not kinds and is_of_relation(node.func):
            kinds, is_relation = (TABLES,), True
        if not kinds:
            return
        self._seen.add(id(node.func))
        found = [(self.told(each), each) for each in given_texts(node)]
        texts = {text for told, _ in found for text in told or ()}
        is_open = any(
            told is None and (not is_relation or is_text(each) or self._knows(*ENGINES)) for told, each in found
        )
        if texts or is_open:
            is_wide = self._knows("polars") and not is_engine(name)  # which looks into all frames
            self._look_up(node.func, kinds, texts, is_open=is_open, is_wide=is_wide)

    def _knows(self, *libraries: str) -> bool:
        """Whether the module imports a library."""
        known = [*self.module.aliases.values(), *(found.module for found in self.module.imports)]
        return any(name.partition(".")[0] in libraries for name in known)

    def _note_function(self, node: ast.Name | ast.Attribute) -> None:
        """Note what looks names up and is handed on itself, so that anything may call it."""
        kinds = looked_up_by(node, self.canonical(node)) if isinstance(node.ctx, ast.Load) else ()
        if kinds and id(node) not in self._seen:
            self._look_up(node, kinds, (), is_open=True, is_wide=True)

    def _look_up(
        self, function: ast.expr, kinds: tuple[str, ...], texts: Iterable[str], *, is_open: bool, is_wide: bool
    ) -> None:
        by = self.outer(chain) if (chain := chain_of(function)) else []
        # Libraries look into the frame that calls them: names of functions further out are there only if they are used.
        scope = self.scopes[-1] if self.scopes else Scope()
        own = dict.fromkeys(scope.names - scope.outer, ()) | {name: tuple(k) for name, k in scope.imports.items()}
        called = by[0] if by else ""
        self.look_ups.append(LookUp(called, kinds, tuple(sorted(texts)), tuple(sorted(own.items())), is_open, is_wide))

    # scopes

    def _inside(self, scope: Scope, nodes: list[ast.stmt] | list[ast.expr]) -> None:
        for statement in scope.statements:
            for alias, found in self.module.take(statement, local=True):
                scope.imports.setdefault(alias, []).append(found.alias)
                self.references.add(found.alias) if found.name == "*" else None
        self.scopes.append(scope)
        for node in nodes:
            self.visit(node)
        self.scopes.pop()

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        """Imports are taken when their scope is opened."""

    visit_ImportFrom = visit_Import

    def _function(self, node: FunctionNode) -> None:
        given = node.args
        for default in [*given.defaults, *given.kw_defaults]:
            if default is not None:
                self.visit(default)
        for argument in [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]:
            if argument is not None and argument.annotation is not None:
                self.annotation(argument.annotation)
        if not isinstance(node, ast.Lambda) and node.returns is not None:
            self.annotation(node.returns)
        self.visit_body(node)

    def visit_body(self, node: FunctionNode) -> None:
        """Visit what a call of a function runs, without what defining it evaluates."""
        self._inside(self.opened(node), node.body if isinstance(node.body, list) else [node.body])

    def opened(self, node: FunctionNode) -> Scope:
        """The scope of a function that is about to be walked through."""
        return function_scope(node)

    def _decorators(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        # The engine keys what matters of @step(...) itself; retries or memory in it must not count.
        node.decorator_list = [
            decorator for decorator in node.decorator_list if not is_step_decorator(self.canonical(called(decorator)))
        ]
        for decorator in node.decorator_list:
            self.visit(decorator)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._decorators(node)
        self._function(node)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._function(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._decorators(node)
        for outside in [*node.bases, *(word.value for word in node.keywords)]:
            self.visit(outside)
        self._inside(class_scope(node), node.body)

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> None:
        self.visit(node.generators[0].iter)
        inner: list[ast.expr] = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        for place, generator in enumerate(node.generators):
            inner += generator.ifs + ([generator.iter] if place else [])
        self._inside(comprehension_scope([each.target for each in node.generators]), inner)

    visit_ListComp = visit_SetComp = visit_GeneratorExp = visit_DictComp = _comprehension

    # annotations

    def annotation(self, node: ast.expr) -> None:
        """Visit a type hint, also one written as a string."""
        self.visit(node)
        for inner in ast.walk(node):
            if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                try:
                    self.visit(ast.parse(inner.value, mode="eval").body)
                except (SyntaxError, ValueError):
                    continue  # a word of a Literal[...], not a type

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.annotation(node.annotation)
        self.visit(node.target)
        if node.value is not None:
            self.visit(node.value)

    # calls that make names unresolvable, or declare an input

    def visit_Call(self, node: ast.Call) -> None:
        name = self.canonical(node.func)
        self._note_texts(node, name)
        if name in _NAMING:
            for method in (each for each in node.args if _is_text([each])):
                self._note_function(ast.Attribute(node.func, _texts([method])[0], ast.Load()))
        if name in {"getattr", "hasattr"} and _is_text(node.args[1:2]) and chain_of(node.args[0]):
            self.refer([*chain_of(node.args[0]), *_texts(node.args[1:2])])
            node = ast.Call(node.func, node.args[2:], node.keywords)
        elif name in _OWN and not (name == "vars" and node.args):
            self.dynamic.add(f"own:{name}")
        elif name in _IMPORTERS:
            self._import_call(node, name)
        elif name == "pydoc.locate" and not _is_text(node.args[:1]):
            self.dynamic.add("all:pydoc.locate")
        elif name in {"mainspring.file", "mainspring.env"}:
            self._declare(node, name)
        elif name == "typing.cast" and _is_text(node.args[:1]):
            self.annotation(node.args[0])
        elif is_given_tables(name):
            node = ast.Call(node.func, [each for each in node.args if not _is_text([each])], node.keywords)
        elif name == "logging.getLogger":
            return  # its argument is the name of a logger, not of a module
        goes_on = self._is_telling and isinstance(node.func, ast.Attribute) and is_text(node.func.value)
        self._tell(ast.iter_child_nodes(node), is_telling=tells(node, name) or goes_on)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if self.canonical(node.value) == "sys.modules" and getattr(node.slice, "id", "") == "__name__":
            self.dynamic.add("own:sys.modules")
            return
        self.generic_visit(node)

    def _import_call(self, node: ast.Call, name: str) -> None:
        if not _is_text(node.args[:1]):
            self.dynamic.add(f"all:{name.rpartition('.')[2]} of a computed name")
            return
        wanted = _texts(node.args[:1])[0]
        level = len(wanted) - len(wanted.lstrip("."))
        target = self.module.absolute(wanted.lstrip("."), level)
        found = self.module.add(Import(target.rpartition(".")[2], target, target, "", local=True))
        self.references.add(found.alias)

    def _declare(self, node: ast.Call, name: str) -> None:
        kind = name.rpartition(".")[2]
        if not _is_text(node.args[:1]):
            self.problem = self.problem or (
                f"{node.lineno}: ms.{kind}() needs its first argument written out as text, e.g. "
                f'ms.{kind}("{"conf.yaml" if kind == "file" else "REGION"}"), because it is read from the source'
            )
            return
        (self.files if kind == "file" else self.env).update(_texts(node.args[:1]))


def bind_module(module: ModuleNames, statements: list[ast.stmt]) -> None:
    """Note every name and import that a module binds at its top, also inside `if`, `try`, `with` and loops."""
    scope = Scope().collect(statements)
    module.defined |= scope.names
    # collect() works backwards; the source's order decides which alternative of a try comes first
    for statement in sorted(scope.statements, key=lambda found: (found.lineno, found.col_offset)):
        for _ in module.take(statement, local=False):
            pass


def references_of(module: ModuleNames, node: ast.expr) -> Mapping[str, None]:
    """The dotted names that an expression at module level uses."""
    collector = Collector(module)
    collector.visit(node)
    return dict.fromkeys(sorted(collector.references))


def _is_text(nodes: list[ast.expr]) -> bool:
    return bool(nodes) and isinstance(nodes[0], ast.Constant) and isinstance(nodes[0].value, str)


def _texts(nodes: list[ast.expr]) -> list[str]:
    return [str(node.value) for node in nodes if isinstance(node, ast.Constant)]
