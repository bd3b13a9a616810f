"""What a project's sources say of names: which module has them, which statements bind them, which texts they are told to be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mainspring.errors import GraphError
from mainspring.pipelines.code.analyses import Analyses
from mainspring.pipelines.code.facts import DEFINITION, ModuleFacts, Unit
from mainspring.pipelines.code.modules import Found, ProjectModules
from mainspring.pipelines.code.texts import composed

_DEEPEST = 20  # names that stand for names


class Project:
    """The facts of a project's modules by name."""

    def __init__(self, modules: ProjectModules, analyses: Analyses) -> None:
        self.modules = modules
        self.analyses = analyses
        self._facts: dict[str, ModuleFacts | None] = {}
        self._registering: dict[tuple[str, int], bool] = {}
        self._defines: dict[tuple[str, str], bool] = {}
        self._bound: dict[str, set[str]] = {}
        self._told: dict[tuple[str, str], set[str] | None] = {}

    def find(self, name: str) -> Found | None:
        """The project's module of that name, if it has one."""
        return self.modules.find(name)

    def facts(self, name: str) -> ModuleFacts | None:
        """The analysis of a module; `None` for a namespace package or a module that is not the project's."""
        if name not in self._facts:
            found = self.modules.find(name)
            if found is None or found.path is None:
                self._facts[name] = None
            else:
                shown = self.modules.shown(found.path)
                self._facts[name] = self.analyses.facts(found.path, name, package=found.package, shown=shown)
        return self._facts[name]

    def add(self, facts: ModuleFacts) -> None:
        """Take in a module that no file of the project holds, such as a script or a notebook's cell."""
        self._facts[facts.name] = facts
        self._told.clear()
        self._bound.clear()
        self._defines.clear()

    def owns(self, name: str) -> bool:
        """Whether a dotted name begins with a module of the project."""
        top = name.partition(".")[0]
        return self._facts.get(top) is not None or self.find(top) is not None

    def mentioned(self, text: str) -> tuple[str, tuple[str, ...]] | None:
        """The module and the names in it that `module:name` or `module.name` stands for, if the project has them."""
        module, colon, rest = text.partition(":")
        names = rest.split(".") if colon else []
        while module and self.find(module) is None and not colon:
            module, _, last = module.rpartition(".")
            names.insert(0, last)
        if not module or self.find(module) is None:
            return None
        try:
            facts = self.facts(module)
        except GraphError:
            return None
        if names and (facts is None or (names[0] not in facts.bound and names[0] not in facts.imported)):
            return None
        return module, tuple(names)

    def registers(self, module: str, place: int, depth: int = 0) -> bool:
        """Whether defining this class runs code of a base class in the project (`__init_subclass__`, a metaclass)."""
        key = (module, place)
        if key not in self._registering:
            self._registering[key] = False
            facts = self.facts(module)
            bases = facts.units[place].bases if facts is not None and depth < 50 else ()
            for base in bases:
                for home, unit in self.definitions(module, base):
                    found = self.facts(home)
                    if found is not None and (found.units[unit].registers or self.registers(home, unit, depth + 1)):
                        self._registering[key] = True
        return self._registering[key]

    def only_makes(self, module: str, unit: Unit) -> bool:
        """Whether a statement does nothing but make an object, which nobody gets but by the name that it binds."""
        if not unit.makes or unit.dynamic or unit.mentions or unit.formulas or unit.look_ups:
            return False
        classes = list(self.definitions(module, unit.makes))
        found = self.facts(classes[0][0]) if len(classes) == 1 else None
        return found is not None and found.units[classes[0][1]].keeps

    def definitions(self, module: str, name: str) -> Iterator[tuple[str, int]]:
        """The statements of the project that bind what a dotted name at the top of a module stands for."""
        return self._definitions(module, name.split("."), 0)

    def units(self, module: str, name: str) -> Iterator[Unit]:
        """The statements themselves that bind what a dotted name at the top of a module stands for."""
        for home, place in self.definitions(module, name):
            facts = self.facts(home)
            if facts is not None:
                yield facts.units[place]

    def told(self, module: str, name: str) -> set[str] | None:
        """The texts that a name at the top of a module is told to be: one plain assignment of the project binds it."""
        key = (module, name)
        if key not in self._told:
            self._told[key] = None  # while it is looked at: what stands for itself is not told
            places = list(set(self.definitions(module, name)))
            facts = self.facts(places[0][0]) if len(places) == 1 else None
            if facts is not None:
                self._told[key] = self.composed(facts.name, facts.units[places[0][1]].told) or None
        return self._told[key]

    def composed(self, module: str, texts: Iterable[str]) -> set[str] | None:
        """What told texts of a module may be; None if one of them isn't told."""
        found = [composed(text, lambda name: self.told(module, name)) for text in texts]
        return None if None in found else {text for each in found for text in each or ()}

    def _definitions(self, module: str, chain: list[str], depth: int) -> Iterator[tuple[str, int]]:
        facts = self.facts(module)
        if not chain or depth > _DEEPEST:
            return
        head, rest = chain[0], chain[1:]
        if facts is not None:
            yield from ((module, place) for place in facts.bound.get(head, ()) if not rest)
            for place in facts.imported.get(head, ()):
                found = facts.imports[place]
                yield from self._definitions(found.module, [*([found.name] if found.name else []), *rest], depth + 1)
            for place in facts.imported.get("*", ()):
                yield from self._definitions(facts.imports[place].module, chain, depth + 1)
        if self.find(f"{module}.{head}") is not None:
            yield from self._definitions(f"{module}.{head}", rest, depth + 1)

    def defines(self, module: str, name: str) -> bool:
        """Whether a name at the top of a module stands for nothing but a function or class of the project."""
        key = (module, name)
        if key not in self._defines:
            found = {unit.kind for unit in self.units(module, name)}
            self._defines[key] = found == {DEFINITION}
        return self._defines[key]

    def bound(self, module: str) -> set[str]:
        """The names at the top of a module."""
        if module not in self._bound:
            facts = self.facts(module)
            self._bound[module] = {*facts.bound, *facts.imported} if facts is not None else set()
        return self._bound[module]
