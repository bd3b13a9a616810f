"""The project's definitions that a model needs, as modules that hold these, what they use, and nothing else.

Invariant: what a definition names goes along, through imports and packages, with every statement of its modules that isn't a
definition; what nobody names stays, such as the training beside a network. Names that are only computed aren't seen.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from mainspring.artifacts.project import module_file
from mainspring.errors import CodecError

_KEEPS = ("mainspring.artifacts", "mainspring.artifacts.arguments"), "keep_arguments"
_KEPT = "def {name}(cls):  # how it was made is said in model.json\n    return cls"
_ALL = "*"
_IMPORTS = (ast.Import, ast.ImportFrom)
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class Definitions(msgspec.Struct, frozen=True):
    """Source files by their paths, the modules that they are, and the top-level modules that they import besides."""

    files: dict[str, bytes]
    modules: dict[str, str]
    imports: frozenset[str]


def definitions_of(references: Iterable[str]) -> Definitions:
    """What `module:qualname` of the project need, in the project that is imported from now.

    Raises:
        CodecError: one of them needs Mainspring itself, or isn't there; the text names the module and line.
    """
    found = _Walk()
    for reference in references:
        module, _, name = reference.partition(":")
        if module_file(module) is None:
            raise CodecError(f"The project has no module `{module}`, which defines `{name}`.")
        found.want(module, name.partition(".")[0])
    files, modules = {}, {}
    for name, each in found.modules.items():
        place = name.replace(".", "/")
        modules[name] = f"{place}/__init__.py" if each.file.name == "__init__.py" else f"{place}.py"
        files[modules[name]] = each.trimmed().encode()
    return Definitions(files, modules, frozenset(found.imports - sys.stdlib_module_names - {"mainspring"}))


class _Module:
    """A module's statements: what each binds, and which are wanted."""

    def __init__(self, name: str, file: Path) -> None:
        self.name, self.file = name, file
        self.text = file.read_text(encoding="utf-8")
        self.body = [each for each in ast.parse(self.text).body if not _is_left_out(each)]
        self.binds = [set(_bound(each)) for each in self.body]
        self.is_late = any(isinstance(each, ast.ImportFrom) and each.module == "__future__" for each in self.body)
        self.wanted: set[str] = set()
        self.kept: set[int] = set()

    def package(self) -> str:
        """The package in which its relative imports begin."""
        return self.name if self.file.name == "__init__.py" else self.name.rpartition(".")[0]

    def home(self, node: ast.ImportFrom) -> str:
        """The full name of the module that is imported from."""
        parts = self.package().split(".")
        upwards = parts[: len(parts) - node.level + 1] if node.level else []
        return ".".join([*upwards, *([node.module] if node.module else [])])

    def trimmed(self) -> str:
        """The source of what is kept, as it is written; imports with the names that are used."""
        lines, parts = self.text.splitlines(), []
        for place in sorted(self.kept):
            node = self.body[place]
            if isinstance(node, _IMPORTS):
                parts.append(self._import(node))
                continue
            first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])
            parts.append("\n".join(lines[first - 1 : node.end_lineno]))
        return "".join(f"{part}\n" for part in parts if part)

    def _import(self, node: ast.Import | ast.ImportFrom) -> str:
        names = [
            alias for alias in node.names if _alias(alias, node) in self.wanted or _ALL in (alias.name, *self.wanted)
        ]
        if isinstance(node, ast.Import):
            self._expect_alone([alias.name for alias in names], node)
            return ast.unparse(ast.Import(names)) if names else ""
        home = self.home(node)
        if home == "__future__":
            return ast.unparse(node)
        keeps = [alias for alias in names if home in _KEEPS[0] and alias.name == _KEEPS[1]]
        names = [alias for alias in names if alias not in keeps]
        self._expect_alone([f"{home}.{alias.name}" for alias in names], node)
        parts = [_KEPT.format(name=alias.asname or alias.name) for alias in keeps]
        if names:
            parts.append(ast.unparse(ast.ImportFrom(node.module, names, node.level)))
        return "\n".join(parts)

    def _expect_alone(self, names: list[str], node: ast.stmt) -> None:
        for name in names:
            if name.partition(".")[0] == "mainspring":
                raise CodecError(
                    f"What the model's classes use needs `{name}` (`{self.name}`, line {node.lineno}), which isn't there "
                    "without Mainspring. Keep them apart from what uses it, or import it in the functions that do."
                )


class _Walk:
    """From names to the statements that bind them, and on to the names that those use."""

    def __init__(self) -> None:
        self.modules: dict[str, _Module] = {}
        self.imports: set[str] = set()

    def want(self, name: str, wanted: str = "") -> None:
        """Keep what binds a name in a module of the project, and what that uses; `*` are all, no name is the module alone."""
        module = self._module(name)
        if wanted in module.wanted or not wanted:
            return
        module.wanted.add(wanted)
        for place, binds in enumerate(module.binds):
            if wanted in binds or wanted == _ALL or _ALL in binds:
                self._keep(module, place, wanted)

    def _module(self, name: str) -> _Module:
        """A module, with the packages around it and its statements that define nothing."""
        found = self.modules.get(name)
        if found is not None:
            return found
        file = module_file(name)
        assert file is not None  # whoever asks has looked
        found = self.modules[name] = _Module(name, file)
        package = name.rpartition(".")[0]
        if package and module_file(package) is not None:
            self._module(package)
        for place, binds in enumerate(found.binds):
            if not binds:
                self._keep(found, place, _ALL)
        return found

    def _keep(self, module: _Module, place: int, wanted: str) -> None:
        node = module.body[place]
        if isinstance(node, _IMPORTS):
            module.kept.add(place)
            for alias in node.names:
                if wanted == _ALL or _alias(alias, node) in (wanted, _ALL):
                    self._import(module, node, alias, [] if wanted == _ALL else None)
            return
        if place in module.kept:
            return
        module.kept.add(place)
        inner = [each for each in ast.walk(node) if isinstance(each, _IMPORTS)]
        local = {_alias(alias, each): (each, alias) for each in inner for alias in each.names}
        for each, alias in local.values():
            self._import(module, each, alias, None)
        for first, *rest in _used(node, late=module.is_late):
            imported = local.get(first) or _imported(module, first)
            if imported is not None:
                self._import(module, *imported, rest)
            self.want(module.name, first)

    def _import(
        self, module: _Module, node: ast.Import | ast.ImportFrom, alias: ast.alias, rest: list[str] | None
    ) -> None:
        """Follow an import into the project, to the attributes that are used of it; None: whichever are told elsewhere."""
        if isinstance(node, ast.ImportFrom):
            home = module.home(node)
            if module_file(home) is None and module_file(f"{home}.{alias.name}") is None:
                self.imports.add(home.partition(".")[0])
            elif alias.name == _ALL:
                self.want(home, _ALL)
            else:
                self._follow(home, [alias.name], rest)
            return
        parts = alias.name.split(".")
        if module_file(alias.name) is None:
            self.imports.add(parts[0])
        elif alias.asname:
            self._follow(alias.name, [], rest)
        else:
            self.want(alias.name)
            self._follow(parts[0], [], rest)

    def _follow(self, home: str, names: list[str], rest: list[str] | None) -> None:
        """The module that attributes lead to, and the first of them that is none."""
        path = [*names, *(rest or ())]
        while path and module_file(f"{home}.{path[0]}") is not None and not self._binds(home, path[0]):
            home, path = f"{home}.{path[0]}", path[1:]
        if module_file(home) is None:
            return
        self.want(home, path[0] if path else "" if rest is None else _ALL)

    def _binds(self, home: str, name: str) -> bool:
        return module_file(home) is not None and any(name in binds for binds in self._module(home).binds)


def _imported(module: _Module, name: str) -> tuple[ast.Import | ast.ImportFrom, ast.alias] | None:
    """The import at the top of a module that binds a name."""
    nodes = [node for node in module.body if isinstance(node, _IMPORTS)]
    return next(((node, alias) for node in nodes for alias in node.names if _alias(alias, node) == name), None)


def _alias(alias: ast.alias, node: ast.Import | ast.ImportFrom) -> str:
    return alias.asname or (alias.name if isinstance(node, ast.ImportFrom) else alias.name.partition(".")[0])


def _is_left_out(node: ast.stmt) -> bool:
    """Docstrings, and what runs only in a script or for a type checker."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    return (
        isinstance(node, ast.If)
        and not node.orelse
        and ast.unparse(node.test).startswith(("__name__ ==", "TYPE_CHECKING", "typing.TYPE"))
    )


def _bound(node: ast.AST) -> Iterator[str]:
    """The names that a statement binds or changes in its module."""
    if isinstance(node, _DEFINITIONS):
        yield node.name
    elif isinstance(node, _IMPORTS):
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            return  # it binds nothing that is used, and holds for the whole module
        yield from (_alias(alias, node) for alias in node.names)
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    elif isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store):
        base: ast.AST = node
        while isinstance(base, ast.Attribute | ast.Subscript):
            base = base.value
        yield from [base.id] if isinstance(base, ast.Name) else ()
    elif not isinstance(node, ast.Lambda | ast.comprehension):
        for child in ast.iter_child_nodes(node):
            yield from _bound(child)


def _used(node: ast.AST, *, late: bool) -> Iterator[list[str]]:
    """The names that are read anywhere in a statement, with the attributes behind each; `late`: annotations aren't read."""
    chain: list[str] = []
    base = node
    while isinstance(base, ast.Attribute):
        chain, base = [base.attr, *chain], base.value
    if isinstance(base, ast.Name):
        yield [base.id, *chain]
        return
    for name, value in ast.iter_fields(base):
        if late and name in ("annotation", "returns"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _used(child, late=late)
