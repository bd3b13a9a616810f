"""Fingerprints of functions that no module can give back: from `__main__`, a notebook, a lambda, a closure.

The live objects are the truth: code, closures, defaults, attributes and the values of names, by what they are now. Names
only say which part of the fingerprint something is told by.
"""

from __future__ import annotations

import ast
import os
import sys
from collections import deque
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, ModuleType

from mainspring.errors import GraphError
from mainspring.pipelines.code.closure import Walk
from mainspring.pipelines.code.contents import ATOMS, CONTAINERS, attribute_of, dict_of, module_of
from mainspring.pipelines.code.declared import place_of
from mainspring.pipelines.code.facts import NOT_REUSABLE, TABLES, LookUp
from mainspring.pipelines.code.homes import Kind, cells_of, kind_of, name_of, names_at, space_of, value_at
from mainspring.pipelines.code.layers import followed, unwrapped, variants_of
from mainspring.pipelines.code.live import Live
from mainspring.pipelines.code.lookups import looked_up_by
from mainspring.pipelines.code.members import Member, class_text, hides_what_it_is_told, members_of, struct_settings
from mainspring.pipelines.code.names import Collector, ModuleNames
from mainspring.pipelines.code.objects import code_digest, digest_of
from mainspring.pipelines.code.origins import (
    aliases_in,
    class_nodes,
    hint_texts,
    is_told_by_bytecode,
    names_taken,
    source_nodes,
    texts_of,
)
from mainspring.pipelines.code.probe import Held
from mainspring.pipelines.code.project import Project
from mainspring.pipelines.code.source import normalised
from mainspring.pipelines.code.state import Definitions, Told, TooLargeError, given_to, told
from mainspring.pipelines.code.texts import ANY, asked_in, composed, names_in

_Defined = FunctionType | type
_COUNTED = "statistics"  # what tenacity tells of the last call


def home_of(function: Callable[..., object]) -> tuple[str, str]:
    """Module and qualified name of the innermost function inside decorators."""
    inner = (unwrapped(function) or [function])[0]
    return attribute_of(inner, "__module__") or "", attribute_of(inner, "__qualname__", "<unnamed>")


class LiveWalk(Definitions):
    """What a live function stands on: the walk through the project's sources, and what only exists in this process.

    Functions and classes that no module gives back are told once each, in parts of their own; where something holds
    one, its name is written, with a number if several have it, in the order in which they are met.
    """

    def __init__(self, project: Project, root: Path, content: Callable[[Path], str], *, is_apart: bool = False) -> None:
        self.project = project
        self._is_apart = is_apart
        self.root = root
        self.content = content
        self.walk = Walk(project)
        self.notes: list[str] = []
        self.files: set[tuple[Path, str]] = set()
        self.asked: dict[int, set[str]] = {}  # by the id of a function: names that texts ask for where it is
        self.held = Held()
        self.caches: dict[int, object] = {}
        self._rows: dict[str, dict[str, str]] = {}
        self._seen: dict[int, tuple[str, object]] = {}
        self._references: dict[int, tuple[str, object]] = {}
        self._numbers: dict[str, int] = {}
        self._pending: deque[tuple[_Defined, str]] = deque()
        self._names: dict[int, tuple[ModuleNames, Mapping[str, object]]] = {}
        self._taken: set[tuple[str, str, int]] = set()
        self._sources: list[tuple[_Defined, ModuleNames]] = []
        self._look_ups: list[tuple[_Defined, ModuleNames, LookUp]] = []
        self._rebound: set[str] = set()

    @property
    def parts(self) -> dict[str, str]:
        """The parts of the fingerprint so far, but for those of the project's sources."""
        return {
            part: next(iter(rows.values()))
            if len(rows) == 1
            else digest_of(f"{key}={rows[key]}" for key in sorted(rows))
            for part, rows in self._rows.items()
        }

    # what is met

    def value(self, label: str, value: object, rest: tuple[str, ...] = (), key: str = "") -> None:
        """Take in a live value that the code calls `label`, and the attributes that it takes from it."""
        kind = type(value)
        if issubclass(kind, ModuleType):
            if not self._is_made(value):  # type: ignore[arg-type]  # a module, as its class says
                self._module(label, value.__name__, rest)  # type: ignore[attr-defined]  # a module
            return
        inner = unwrapped(value) if module_of(kind).startswith("mainspring.") else []
        value = inner[0] if inner else value
        if issubclass(type(value), (FunctionType, type)):  # without asking the object, which may be a proxy
            name = self.refer(value)  # type: ignore[arg-type]  # a function or class, as its class says
            if name != label:
                self._row(f"import {label}", key, name)
        elif type(value) is BuiltinFunctionType and isinstance(value.__self__, (ModuleType, type(None))):
            self.outside(value)
            self._row(f"import {label}", key, f"{value.__module__}.{value.__qualname__}")
        else:
            self._keep(label, value, key)

    def refer(self, value: FunctionType | type | ModuleType) -> str:
        """The name of a function, class or module; what it is is taken in by itself."""
        if isinstance(value, ModuleType):
            if not self._is_made(value):
                self._module("", value.__name__, ())
            return f"module {value.__name__}"
        if id(value) not in self._references:
            kind, name = kind_of(self.project, value), name_of(value)
            if kind is Kind.OURS:
                self.walk.load(value.__module__).reach(value.__module__, value.__qualname__.partition(".")[0])
            elif kind is Kind.LIBRARY:
                self.outside(value)
            else:
                number = self._numbers[name] = self._numbers.get(name, 0) + 1
                self._pending.append((value, f"#{number}" if number > 1 else ""))
                name += f"#{number}" if number > 1 else ""
            self._references[id(value)] = name, value
            if (registry := variants_of(value)) is not None and kind is not Kind.LIVE:
                self._keep(f"{name}.registry", dict(registry))
        return self._references[id(value)][0]

    def brought(self, text: str) -> None:
        """Take in a definition that an argument brings along, as `module:name`: what it is here, if it is here."""
        self.walk.mention(text)
        module, _, qualname = text.partition(":")
        if qualname and module in sys.modules and (module == "__main__" or self.project.owns(module)):
            value = followed(sys.modules[module], qualname)[1]
            if isinstance(value, (FunctionType, type)):
                self.refer(value)

    def outside(self, value: object) -> None:
        """Note something of an installed library; what looks names up in texts may be called by another name."""
        home = str(attribute_of(value, "__module__") or "builtins")
        name = str(attribute_of(value, "__qualname__") or "")
        if home == "mainspring.data.etl.sql":
            self.walk.engines.add("duckdb")
        self.walk.externals.add(home.partition(".")[0])
        function = ast.Name(name.rpartition(".")[2])
        if kinds := looked_up_by(function, f"{home}.{name}") if home and not self.project.owns(home) else ():
            self.walk.wide |= {(kind, ANY) for kind in kinds}

    def kept(self, cache: object) -> None:
        """Note what may keep something of its calls."""
        self.caches[id(cache)] = cache

    def apart(self, value: object) -> str:
        """A digest of all that a value reaches, from a walk of its own."""
        if self._is_apart:
            return ""
        other = LiveWalk(self.project, self.root, self.content, is_apart=True)
        other._keep("", value)
        return digest_of(f"{part}={digest}" for part, digest in sorted(other.settle().parts.items()))

    def _row(self, part: str, key: str, text: str) -> None:
        self._rows.setdefault(part, {})[key] = text

    def _told(self, label: str, value: object, *, bulk: bool = True) -> Told | None:
        root = str(self.project.modules.root)
        try:
            found = told(value, root, self.project.owns, self, self._seen, label, bulk=bulk)
        except TooLargeError:
            self._note(f"`{label}` is too large to be compared")
            return None
        self.walk.texts.take(asked_in(found.texts))
        return found

    def _keep(self, label: str, value: object, key: str = "", *, quiet: bool = False) -> Told | None:
        """Take in a value by what it holds; what nothing tells is noted unless `quiet`, and so is what may be large."""
        if (label, key, id(value)) in self._taken:
            return None
        self._taken.add((label, key, id(value)))
        found = self._told(label, value, bulk=quiet)
        if found is None:
            return None
        self._row(f"value {label}", key, found.digest)
        for place, cls in () if quiet else found.untold.items():
            self._note(f"closure over `{place}` (of type {cls.__qualname__}), which can't be recorded")
        return found

    def _note(self, what: str) -> None:
        if f"{NOT_REUSABLE}{what}" not in self.notes:
            self.notes.append(f"{NOT_REUSABLE}{what}")

    def _module(self, label: str, name: str, rest: tuple[str, ...]) -> None:
        if not self.project.owns(name) or name == "__main__":
            self.walk.externals.add(name.partition(".")[0])
        else:
            self.walk.load(name).attribute(name, *rest)
            self._added(name, rest)
        if label:
            self._row(f"import {label}", "", name)

    def _is_made(self, module: ModuleType) -> bool:
        """Whether no import finds a module, as `types.ModuleType("conf")`: what it holds is taken in then.

        One of an installed distribution, which may have hidden it, counts by that.
        """
        name = module.__name__
        known = (module, sys.modules.get(name.partition(".")[0]))
        is_imported = sys.modules.get(name) is module or "-packages" in str(attribute_of(module, "__file__"))
        if (
            type(module) is not ModuleType
            or name == "__main__"
            or (is_imported and any(attribute_of(each, "__spec__") for each in known))
        ):
            return False
        if id(module) not in self._references:
            number = self._numbers[name] = self._numbers.get(name, 0) + 1
            self._references[id(module)] = name, module
            held = {each: item for each, item in vars(module).items() if not each.startswith("__")}
            self._keep(name, held, f"#{number}")
        return True

    def _added(self, module: str, rest: tuple[str, ...]) -> None:
        """Take in what a module was given by others under a name that its source doesn't have."""
        facts, live = self.project.facts(module), sys.modules.get(module)
        if rest and facts is not None and live is not None and rest[0] in vars(live):
            given = vars(live)[rest[0]]
            if not (rest[0] in self.project.bound(module) or isinstance(given, ModuleType) or facts.imported.get("*")):
                self.value(f"{module}.{rest[0]}", given, rest[1:])

    # to the end

    def settle(self) -> LiveWalk:
        """Take in all that is reached: what functions name, what texts ask for, what modules of the project hold."""
        while True:
            while self._pending:
                self._define(*self._pending.popleft())
            before = self._size()
            for each in list(self._look_ups):
                self._look_up(*each)
            self.walk.settle()
            for value, names in list(self._sources) if self.walk.wide else ():
                for kind, asked in list(self.walk.asked_everywhere(names_at(value))):
                    self._ask(value, names, asked, kind)
            if self._pending or before != self._size():
                continue
            self.held = Live(self.project, self.walk, definitions=self).look()
            if not self._pending and before == self._size():
                return self

    def _size(self) -> tuple[int, ...]:
        walk = self.walk
        reached = len(walk.texts), len(walk.open), len(walk.wide), len(walk.units)
        return (*reached, len(self._look_ups), len(self._rebound), len(self._taken), len(self._references))

    def file_parts(self) -> list[str]:
        """Add the declared files to the parts; gives their names."""
        shown = []
        for home, written in sorted(self.files):
            path = place_of(written, home, self.root)
            shown.append(self.project.modules.shown(path))
            self._row(f"file {shown[-1]}", "", self.content(path))
        return shown

    # functions

    def _define(self, value: _Defined, number: str) -> None:
        if isinstance(value, type):
            self._class(value, name_of(value), number)
        elif kind_of(self.project, value) is Kind.WRAPPER:
            self._wrapper(value, name_of(value), number)
        else:
            self._function(value, name_of(value), number)

    def _function(self, value: FunctionType, name: str, number: str) -> None:
        owner = name.rpartition(".")[0]
        is_method = "." in value.__qualname__ and not owner.endswith("<locals>")
        key = f"{name}{number}"
        said = code_digest(value.__code__)
        if value.__annotations__ and (hints := self._told(f"{name} (hints)", value.__annotations__)) is not None:
            said = digest_of([said, hints.digest])
        self._row(f"source {owner if is_method else name}", key, said)
        defaults, keyword_defaults, attributes, wrapped = given_to(value)
        for kind, given in (
            ("defaults", defaults), ("keyword defaults", keyword_defaults), ("attributes", attributes),
        ):  # fmt: skip
            if given:
                self._keep(f"{name} ({kind})", given, key)
        if wrapped is not None:
            self.value(f"{name}.__wrapped__", wrapped, (), key)
        self._uses(value, name, key)

    def _wrapper(self, value: FunctionType, name: str, number: str) -> None:
        """What a function that an installed decorator made holds: its code counts by its distribution."""
        self.walk.externals.add(str(value.__globals__.get("__name__")).partition(".")[0])
        held = {name: item for name, item in dict_of(value).items() if name != _COUNTED}
        remembers = value.__globals__.get("__name__") == "functools"  # what was called, in cells
        if not remembers:
            cells = cells_of(value)
            told = {each: item for each, item in cells.items() if self._is_told(item)}
            held |= {f"{each} (closure)": item for each, item in told.items()}
            if told.keys() != cells.keys() and "__wrapped__" in held:
                self.kept(value)
        self._keep(f"{name} (wrapper)", held, f"{name}{number}", quiet=remembers)

    def _is_told(self, value: object) -> bool:
        """Whether a wrapper of a library holds something of its user's, or a plain value."""
        cls = type(value)
        is_own = module_of(cls) == "__main__" or self.project.owns(module_of(cls))
        return is_own or cls in ATOMS or cls in CONTAINERS or callable(value)

    def _uses(self, value: FunctionType, name: str, key: str) -> None:
        """Take in what the code of a function takes from where it stands."""
        space, names = space_of(value), self._names_at(value)
        nodes = source_nodes(value)
        collector = Collector(names)
        for node in nodes:
            collector.visit_body(node)
        references = collector.references
        if nodes:
            for text in sorted(hint_texts(value)):
                _visit_hint(collector, text)
        else:
            references, imports = names_taken(value.__code__)
            if not is_told_by_bytecode(value.__code__) or any(self.project.owns(module) for module, _ in imports):
                self._note(f"the source of {name} is not known")
            self.walk.externals |= {module.partition(".")[0] for module, _ in imports}
            self.walk.texts.take(asked_in(texts_of(value.__code__)))
        self._declared(collector, space)
        for reference in sorted(references):
            self._reference(value, names, reference.split("."), key)
        for each in sorted(cells_of(value).keys() - {reference.partition(".")[0] for reference in references}):
            self._reference(value, names, [each], key)
        self._ask(value, names, collector.formulas)
        self._rebound |= collector.assigned
        self.walk.texts.take(collector.asked)
        self._sources.append((value, names))
        self._look_ups += [(value, names, call) for call in collector.look_ups if not self._is_own(call, value)]

    def _names_at(self, value: _Defined) -> ModuleNames:
        """The aliases of the namespace in which something is defined; project modules that it imported have run."""
        space = space_of(value)
        if id(space) not in self._names:
            self._names[id(space)] = aliases_in(str(space.get("__name__", value.__module__)), space), space
            self._load_imports(space)
        return self._names[id(space)][0]

    def _reference(self, value: _Defined, names: ModuleNames, chain: list[str], key: str = "") -> None:
        root, rest = chain[0], tuple(chain[1:])
        space, cells = space_of(value), cells_of(value)
        home = str(space.get("__name__", value.__module__))
        if "@" in root:
            found = next(each for each in names.imports if each.alias == root)
            self._module(root.partition("@")[0], found.module, (*([found.name] if found.name else []), *rest))
        elif root in cells:
            self.value(root, cells[root], rest, key)
        elif home != "__main__" and self.project.facts(home) is not None and root in self.project.bound(home):
            self.walk.load(home).reach(home, *chain)
            if isinstance(live := space.get(root), (FunctionType, type)) and kind_of(self.project, live) is Kind.LIVE:
                self.value(f"{home}.{root}", live, rest)
        elif root in space:
            self.value(f"{home}.{root}", space[root], rest, self._space_key(space))

    def _space_key(self, space: Mapping[str, object]) -> str:
        """Which of several namespaces of one name is meant, by the order in which they are met."""
        number = list(self._names).index(id(space)) if id(space) in self._names else 0
        return f"#{number}" if number else ""

    # classes

    def _class(self, cls: type, name: str, number: str) -> None:
        key = f"{name}{number}"
        rows = [cls.__qualname__, *(self.refer(base) for base in cls.__mro__[1:])]
        rows += [] if type(cls) is type else [self.refer(type(cls))]
        space = space_of(cls)
        nodes = class_nodes(cls, space)
        names = self._names_at(cls)
        for node in nodes:
            collector = Collector(names)
            collector.visit(class_text(node))
            self._declared(collector, space, is_run=True)
            self._ask(cls, names, collector.formulas)
        for member in members_of(cls, nodes):
            rows.append(member.name)  # their order is what `vars` and a registry of methods see
            if member.is_code:
                found = self._told(f"{name}.{member.name}", member.value)
                rows.append(found.digest if found is not None else "")
                if found is not None and found.untold and len(nodes) == 1:
                    self._taken_by_body(cls, key, nodes[0])
            else:
                self._member(cls, member, f"{name}.{member.name}", key, nodes)
        if given := struct_settings(cls):
            self._keep(f"{name} (defaults)", given, key)
        if len(nodes) == 1 and hides_what_it_is_told(cls):
            rows.append(normalised(nodes[0]))
        self._row(f"source {name}", key, digest_of(rows))

    def _member(self, cls: type, member: Member, label: str, key: str, nodes: list[ast.ClassDef]) -> None:
        """Take in an object that a class holds; where nothing tells it, what its making says counts."""
        found = self._keep(label, member.value, key, quiet=True)
        if found is None or not found.untold:
            return
        kinds = ", ".join(sorted(each.__qualname__ for each in found.untold.values()))
        if not member.is_of_body:
            self._note(f"`{label}` (of type {kinds}) was set behind its class, and can't be recorded")
        elif len(nodes) == 1:
            self._taken_by_body(cls, key, nodes[0])
        elif not (member.is_machinery or member.name.startswith("_")):
            self._note(f"`{label}` (of type {kinds}) can't be recorded, and the source of its class is not known")

    def _taken_by_body(self, cls: type, key: str, node: ast.ClassDef) -> None:
        """Take in the body of a class as it is written, with what it names."""
        names = self._names_at(cls)
        self._row(f"source {name_of(cls)}", f"{key} as written", digest_of([normalised(node)]))
        collector = Collector(names)
        collector.visit(class_text(node))
        for reference in sorted(collector.references):
            self._reference(cls, names, reference.split("."))

    # names in texts

    def _ask(self, value: _Defined, names: ModuleNames, asked: Collection[str], kind: str = "") -> None:
        """Take in what names in texts stand for where a library looks them up."""
        space, cells = space_of(value), cells_of(value)
        home = str(space.get("__name__", value.__module__))
        is_sourced = home != "__main__" and self.project.facts(home) is not None
        local = {found.alias for found in names.imports}
        for name in sorted(asked):
            root, dot, _ = name.partition(".")
            found = cells.get(root, space.get(root))
            if is_sourced and root not in cells and root not in local:
                self.walk.load(home).look_up(home, [name], kind).settle()
            elif root in local or (
                (root in cells or root in space) and not _is_none_of(kind, found, is_chain=bool(dot))
            ):
                self.asked.setdefault(id(value), set()).add(root)
                self._reference(value, names, name.split("."))

    def _look_up(self, value: _Defined, names: ModuleNames, call: LookUp) -> None:
        """Take in what a call looks up in texts that are told; in others, any that are met may stand."""
        found = [composed(text, lambda name: self._text_of(value, names, name)) for text in call.texts]
        is_open = call.is_open or None in found
        bound = names_at(value) | dict(call.own).keys()
        for kind in call.kinds:
            known = {name for texts in found for text in texts or () for name in names_in(text, kind)}
            self.walk.note_wide(call, kind, known, is_open=is_open)
            self._ask(value, names, call.at_top(known | (self.walk.texts.of(kind, bound) if is_open else set())), kind)

    def _text_of(self, value: _Defined, names: ModuleNames, name: str) -> list[str] | None:
        """The text that a dotted name stands for where a live function is, unless that may become another."""
        root, *rest = name.split(".")
        local = next((each for each in names.imports if each.alias == root), None)
        found = sys.modules.get(local.module) if local is not None else value_at(value, root)
        for attribute in ([local.name] if local is not None and local.name else []) + rest:
            found = vars(found).get(attribute) if isinstance(found, ModuleType) else None
        return [found] if type(found) is str and root not in self._rebound else None

    def _is_own(self, call: LookUp, value: _Defined) -> bool:
        """Whether what a call in a live function calls is defined by the project or the notebook: its body is met itself."""
        found = value_at(value, call.by) if call.by else None
        return isinstance(found, (FunctionType, type)) and (
            found.__module__ == "__main__" or self.project.owns(found.__module__)
        )

    def _load_imports(self, space: Mapping[str, object]) -> None:
        for item in list(space.values()):
            home = item.__name__ if isinstance(item, ModuleType) else attribute_of(item, "__module__")
            if isinstance(home, str) and home != "__main__" and self.project.find(home) is not None:
                self.walk.load(home)

    def _declared(self, collector: Collector, space: Mapping[str, object], *, is_run: bool = False) -> None:
        """Take in the inputs that code declares, and what makes its names unresolvable unless it has run already."""
        if collector.problem:
            raise GraphError(f"{space.get('__file__', '<notebook>')}:{collector.problem}")
        source = space.get("__file__")
        home = Path(os.path.abspath(str(source))).parent if source else self.root
        self.files.update((home, path) for path in collector.files)
        self.walk.env.update(collector.env)
        for item in () if is_run else sorted(collector.dynamic):
            self._note(f"names can't be resolved: {item.partition(':')[2]}")


def _is_none_of(kind: str, value: object, *, is_chain: bool) -> bool:
    """Whether a value is none that a library takes from a text: a module alone, or as a table something that is called."""
    return (isinstance(value, ModuleType) and not is_chain) or (kind == TABLES and callable(value))


def _visit_hint(collector: Collector, text: str) -> None:
    try:
        collector.visit(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError):
        return  # a word of a Literal[...], not a type
