"""From one step to everything it depends on in the project: the modules it loads and the definitions it reaches.

Nothing is imported. Where a name can't be resolved, the whole module counts: too much is safe, too little is stale.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Iterator

from mainspring.errors import GraphError
from mainspring.pipelines.code.facts import (
    DEFINITION,
    EFFECT,
    TABLES,
    Import,
    LookUp,
    ModuleFacts,
    Suspect,
    Unit,
)
from mainspring.pipelines.code.project import Project
from mainspring.pipelines.code.texts import ANY, Texts, names_in

_ALWAYS_THERE = {"__name__", "__file__", "__doc__", "__package__", "__spec__", "__path__", "__loader__"}
RUN_BY_DUCKDB = frozenset(
    ["mainspring.sql", *(f"mainspring.data.{name}" for name in ("sql", "query", "scan_query"))]
)  # the engine's release is a part of what they give
_Step = tuple[Callable[..., None], tuple[object, ...]]


class Walk:
    """Everything found so far. `load` and `reach` add to it; a finished walk can be copied and continued.

    With `by_name`, what a loaded module only makes (`CFG = Cfg()`) leads to the class where the name is used, not before.
    With `at_once`, steps that a pipeline names are left out: they run later, as tasks.
    """

    def __init__(self, project: Project, *, by_name: bool = False, at_once: bool = False) -> None:
        self.project = project
        self._by_name = by_name
        self._at_once = at_once
        self.loaded: set[str] = set()
        self.names: set[tuple[str, str]] = set()
        self.wholes: dict[str, str] = {}
        self.imports: dict[tuple[str, str], frozenset[str]] = {}
        self.effects: set[tuple[str, int]] = set()
        self.registered: set[tuple[str, int]] = set()
        self.externals: set[str] = set()
        self.engines: set[str] = set()  # what Mainspring runs, on connections of its own
        self.files: set[tuple[str, str]] = set()
        self.env: set[str] = set()
        self.broken: set[str] = set()
        self.units: set[tuple[str, int]] = set()
        self.texts = Texts()
        self.open: set[tuple[str, LookUp]] = set()
        self.wide: set[tuple[str, str]] = set()
        self._asked_for = (0, 0, 0, 0)
        self._chains: set[tuple[str, tuple[str, ...]]] = set()
        self._belows: set[str] = set()
        self.follows_subclasses = False
        self._everything = False
        # A list of what is still to do instead of recursion: call chains may be deeper than Python's stack.
        self._pending: list[_Step] = []

    def copied(self) -> Walk:
        """A walk that continues from here on its own."""
        other = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, (set, dict, list, Texts)):
                setattr(other, name, value.copy())
        return other

    def load(self, module: str) -> Walk:
        """Run everything that importing the module runs."""
        self._do(self._load, module)
        return self.settle()

    def reach(self, module: str, *chain: str) -> Walk:
        """Follow a dotted name used at the top of a module."""
        self._do(self._resolve, module, chain)
        return self.settle()

    def attribute(self, module: str, *chain: str) -> Walk:
        """Follow a dotted name taken from a module object."""
        self._do(self._attribute, module, chain)
        return self.settle()

    def mention(self, text: str) -> Walk:
        """Follow `module:name` or `module.name`, if it names a definition of the project."""
        self._do(self._mention, text)
        return self.settle()

    def ask(self, module: str, names: Iterable[str]) -> Walk:
        """Follow those words of a text that name something at the top of a module."""
        self._ask(module, names)
        return self.settle()

    def execute(self, module: str, place: int) -> Walk:
        """Follow one statement of a module that was loaded by something else."""
        self.registered.add((module, place))
        self._do(self._unit, module, place)
        return self.settle()

    def units_of(self, module: str) -> list[Unit]:
        """The statements of a module that were followed."""
        facts = self.project.facts(module)
        return [facts.units[place] for home, place in self.units if home == module] if facts is not None else []

    def _do(self, action: Callable[..., None], *arguments: object) -> None:
        self._pending.append((action, arguments))

    def settle(self) -> Walk:
        """Follow all that is still to do."""
        while True:
            while self._pending:
                action, arguments = self._pending.pop()
                action(*arguments)
            now = (len(self.texts), len(self.open), len(self.wide), len(self.units))
            if now == self._asked_for:
                return self
            self._asked_for = now
            self._ask_open()

    # loading

    def _load(self, module: str) -> None:
        if module in self.loaded or (self.project.find(module) is None and self.project.facts(module) is None):
            return
        self.loaded.add(module)
        if "." in module:
            self._do(self._load, module.rpartition(".")[0])
        facts = self.project.facts(module)
        if facts is None:
            return
        for found in facts.imports:
            self._load_import(module, found)
        for place, unit in enumerate(facts.units):
            if unit.kind == EFFECT or (
                unit.bases and (self.follows_subclasses or self.project.registers(module, place))
            ):
                self.effects.add((module, place))
                if self._by_name and self.project.only_makes(module, unit):
                    self._follow_references(module, [name for name in unit.references if name != unit.makes])
                else:
                    self._do(self._unit, module, place)

    def _load_import(self, module: str, found: Import) -> None:
        if not self.project.owns(found.loads):
            if not found.local:
                self.externals.add(found.loads.partition(".")[0])
            return
        self._do(self._load, found.loads)
        if found.name == "*":
            self._do(self._whole, found.module, f"star import in {module}")
        elif found.name:
            self._do(self._load, f"{found.module}.{found.name}")

    # reaching

    def _unit(self, module: str, place: int) -> None:
        facts = self.project.facts(module)
        if (module, place) in self.units or facts is None:
            return
        self.units.add((module, place))
        unit = facts.units[place]
        if unit.problem:
            raise GraphError(unit.problem)
        self.files.update((module, path) for path in unit.files)
        self.env.update(unit.env)
        is_plan = self._at_once and unit.mark == "pipeline"
        self._follow_references(
            module, [name for name in unit.references if not (is_plan and self._is_step(module, name))]
        )
        for item in unit.dynamic:
            self._dynamic(module, *item.split(":", 1))
        for text in unit.mentions:
            self._do(self._mention, text)
        self._ask(module, unit.formulas)
        self.texts.take(unit.asked)
        for each in unit.look_ups:
            self._look_up(module, each)

    def _is_step(self, module: str, name: str) -> bool:
        return bool(found := list(self.project.units(module, name))) and all(unit.mark == "step" for unit in found)

    def _ask(self, module: str, names: Iterable[str]) -> None:
        for name in names:
            chain = tuple(name.split("."))
            if (module, chain) not in self._chains and self._names_something(module, chain):
                self._do(self._resolve, module, chain)

    def _names_something(self, module: str, chain: tuple[str, ...]) -> bool:
        """Whether a module binds a name at its top; a module alone is no value that a library takes."""
        facts = self.project.facts(module)
        if facts is None or chain[0] in facts.bound:
            return facts is not None
        found = [facts.imports[place] for place in facts.imported.get(chain[0], ())]
        return any(len(chain) > 1 or (each.name and self.project.find(each.target) is None) for each in found)

    def _look_up(self, module: str, call: LookUp) -> None:
        """Follow what a call looks up in texts that are told, unless it calls the project's own; note it if others aren't."""
        if call.by and any(self.project.units(module, call.by)):
            return
        texts = self.project.composed(module, call.texts)
        if call.is_open or texts is None:
            self.open.add((module, call))
        for kind in call.kinds:
            names = {name for text in texts or () for name in names_in(text, kind)}
            self.look_up(module, call.at_top(names), kind)
            self.note_wide(call, kind, names, is_open=call.is_open or texts is None)

    def note_wide(self, call: LookUp, kind: str, names: set[str], *, is_open: bool) -> None:
        """Note what is looked up in other modules too: tables, as Polars does, or by what is handed on to them."""
        if call.is_wide:
            self.wide |= {(kind, name) for name in call.at_top(names) & names}
        if is_open and (call.is_wide or kind == TABLES):
            self.wide.add((kind, ANY))

    def look_up(self, module: str, names: Iterable[str], kind: str) -> Walk:
        """Follow names of a kind in texts."""
        self._ask(module, [name for name in names if kind != TABLES or not self.project.defines(module, name)])
        return self

    def _ask_open(self) -> None:
        """Follow all that may be looked up in texts which aren't told."""
        for module, call in list(self.open):
            for kind in call.kinds:
                self.look_up(
                    module, call.at_top(self.texts.of(kind, self.project.bound(module) | dict(call.own).keys())), kind
                )
        for module in {module for module, _ in self.units if self.wide}:
            for kind, names in self.asked_everywhere(self.project.bound(module)):
                self.look_up(module, names, kind)

    def asked_everywhere(self, bound: Collection[str]) -> Iterator[tuple[str, set[str]]]:
        """The names that are looked up in each module that is reached, where these are `bound`, with their kinds."""
        for kind, name in self.wide:
            yield kind, self.texts.of(kind, bound) if name == ANY else {name}

    def _follow_references(self, module: str, references: Iterable[str]) -> None:
        for reference in references:
            self._do(self._resolve, module, tuple(reference.split(".")))

    def _mention(self, text: str) -> None:
        """Follow a text that names a definition of the project; any other means nothing."""
        found = self.project.mentioned(text)
        if found is not None:
            self._do(self._load, found[0])
            self._do(self._attribute, *found)

    def _dynamic(self, module: str, scope: str, reason: str) -> None:
        if scope == "own":
            self._do(self._whole, module, reason)
        elif scope == "all" and not self._everything:
            self._everything = True
            for found in self.project.modules.everything():
                if self._is_readable(found.name):
                    self._do(self._whole, found.name, f"{reason} in {module}")
        elif scope == "subclasses" and not self.follows_subclasses:
            self.follows_subclasses = True
            again, self.loaded = self.loaded, set()
            for name in again:
                self._do(self._load, name)

    def _is_readable(self, module: str) -> bool:
        """A template that is no Python must not stop a step that may, in theory, import it by a computed name."""
        try:
            return self.project.facts(module) is not None
        except GraphError:
            self.broken.add(module)
            return False

    def _resolve(self, module: str, chain: tuple[str, ...]) -> None:
        facts = self.project.facts(module)
        if facts is None or (module, chain) in self._chains:
            return
        self._chains.add((module, chain))
        head, rest = chain[0], chain[1:]
        bound = facts.bound.get(head, ())
        if bound:
            self.names.add((module, head))
            for place in bound:
                self._do(self._unit, module, place)
        imported = facts.imported.get(head, ())
        for place in imported:
            self._follow(module, facts.imports[place], rest)
        if not bound and not imported and facts.package and self.project.find(f"{module}.{head}") is not None:
            self._do(self._submodule, f"{module}.{head}", rest)

    def _follow(self, module: str, found: Import, rest: tuple[str, ...]) -> None:
        if found.name == "*":
            return
        alias = (module, found.alias.partition("@")[0])
        target = found.target
        if not self.project.owns(found.module):
            self.externals.add(found.loads.partition(".")[0])
            if ".".join([found.target, *rest]) in RUN_BY_DUCKDB:
                self.engines.add("duckdb")
        elif self.project.find(found.module) is None and self.project.facts(found.module) is None:
            target += " (missing)"
        elif found.name and module == found.module:
            self._do(self._submodule, found.target, rest)
        else:
            self._do(self._load, found.module)
            self._do(self._attribute, found.module, (found.name, *rest) if found.name else rest)
        self.imports[alias] = self.imports.get(alias, frozenset()) | {target}

    def _submodule(self, name: str, rest: tuple[str, ...]) -> None:
        self._do(self._load, name)
        self._do(self._attribute, name, rest)

    def _attribute(self, module: str, chain: tuple[str, ...]) -> None:
        """Follow names taken from a project module as an object."""
        if not chain:
            self._do(self._whole, module, "used as a value, e.g. by getattr")
            return
        head, rest = chain[0], chain[1:]
        facts = self.project.facts(module)
        lazy = facts is not None and ("__getattr__" in facts.bound or "__getattr__" in facts.imported)
        if facts is not None and (head in facts.bound or head in facts.imported):
            self._do(self._load, module)
            self._do(self._resolve, module, chain)
            if lazy and head not in facts.bound:  # an import under TYPE_CHECKING, perhaps, that never runs
                self._unfound(module, facts, head)
        elif self.project.find(f"{module}.{head}") is not None:
            self._do(self._submodule, f"{module}.{head}", rest)
            if facts is not None and lazy:  # asked first while the submodule isn't imported
                self._unfound(module, facts, head)
        elif facts is not None and head not in _ALWAYS_THERE:
            self._unfound(module, facts, head)

    def _unfound(self, module: str, facts: ModuleFacts, head: str) -> None:
        stars = [facts.imports[place] for place in facts.imported.get("*", ())]
        bound = facts.bound.get("__getattr__", ())
        if bound or "__getattr__" in facts.imported:
            self._do(self._whole, module, "__getattr__")
            if not bound or any(facts.units[place].kind == EFFECT for place in bound):
                self._below(module)
        elif not stars:
            self._do(self._whole, module, f"{head} is not found in it")
        for star in stars:
            self.imports[(module, "*")] = self.imports.get((module, "*"), frozenset()) | {star.target}

    def _below(self, package: str) -> None:
        """A lazy `__getattr__` made elsewhere may load anything below its package."""
        if package in self._belows:
            return
        self._belows.add(package)
        for found in self.project.modules.below(package):
            self._do(self._whole, found.name, f"__getattr__ of {package}")

    def _whole(self, module: str, reason: str) -> None:
        facts = self.project.facts(module)
        if facts is None:
            return
        self._do(self._load, module)
        if module in self.wholes:
            self.wholes[module] = min(self.wholes[module], reason)
            return
        self.wholes[module] = reason
        for place in range(len(facts.units)):
            self._do(self._unit, module, place)
        for found in facts.imports:
            if found.name and not found.local and self.project.find(found.target) is None:
                self._follow(module, found, ())


def name_units(facts: ModuleFacts, name: str) -> list[Unit]:
    """The statements that bind a name, in the source's order."""
    return [facts.units[place] for place in facts.bound.get(name, ())]


def called_units(
    project: Project, module: str, calls: Iterable[str], *, at_once: bool = False
) -> Iterator[tuple[str, Unit]]:
    """What calls of these names at the top of a module reach, each statement with its module."""
    walk = Walk(project, at_once=at_once)
    for chain in sorted(set(calls)):
        walk.reach(module, *chain.split("."))
    for home, place in walk.units:
        facts = project.facts(home)
        if facts is not None:
            yield home, facts.units[place]


def import_suspects(project: Project, module: str, units: Collection[Unit] | None = None) -> tuple[str, ...]:
    """What importing a module may read, or some of its statements: `env:NAME`, or `file:line: call`, sorted."""
    facts = project.facts(module)
    if facts is None:
        return ()
    units = facts.units if units is None else units
    found = {(module, read) for unit in units for read in unit.reads}
    calls = (chain for unit in units for chain in unit.calls)
    reached = called_units(project, module, calls, at_once=True)
    found.update((home, read) for home, unit in reached for read in unit.bodies)
    return tuple(sorted({read.text for home, read in found if not _is_judged_by_body(project, home, read)}))


def _is_judged_by_body(project: Project, module: str, read: Suspect) -> bool:
    units = list(project.units(module, read.of)) if read.of else []
    return bool(units) and all(unit.kind == DEFINITION for unit in units)
