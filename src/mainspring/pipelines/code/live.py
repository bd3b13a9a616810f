"""Holds what a step reaches in this process against its sources: what was replaced or set at run time must not pass for them.

Code and constants that differ make a result not reusable. What a source can't tell, or what can be changed in place, is
compared by value with what the source gives, and where that is something else the value is part of the key.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import ModuleType

from mainspring.artifacts.script import script_file
from mainspring.pipelines.code.closure import Walk
from mainspring.pipelines.code.facts import ModuleFacts
from mainspring.pipelines.code.probe import VALUE, Held, Probe
from mainspring.pipelines.code.project import Project
from mainspring.pipelines.code.state import Definitions


class Live:
    """The objects that one walk reaches. Looking again costs little where nothing can have changed.

    `by_name` gives the walk that finds what is reached by a name alone; without it, that is the same. `definitions` say
    how functions and classes count that values hold.
    """

    def __init__(
        self,
        project: Project,
        walk: Walk,
        by_name: Callable[[], Walk] | None = None,
        definitions: Definitions | None = None,
    ) -> None:
        self._project = project
        self._imports = sorted(walk.imports.items())
        self._definitions = definitions or Definitions()
        self._probes = [Probe(project, facts, name, self._definitions) for facts, name in _bound(project, walk)]
        self._by_name = by_name
        self._named: list[tuple[str, str]] | None = None
        self._modules: dict[str, tuple[ModuleType | None, ModuleType | str | None]] = {}

    def look(self) -> Held:
        """How things are at this moment. Only modules that are imported already are looked at."""
        differences: dict[str, None] = {}
        values: dict[str, str] = {}
        late: set[str] = set()
        caches: list[object] = []
        for probe in self._probes:
            live = self._module(probe.facts.name)
            if isinstance(live, str):
                differences[live] = None
            elif live is not None:
                found = probe.look(live)
                differences.update(dict.fromkeys(found.differences))
                values.update(found.values)
                caches += found.caches
                if found.values:
                    first = first_values().of(live)
                    late.update(name for name, digest in found.values.items() if first.get(name) == digest)
        for (module, alias), targets in self._imports:
            live = self._module(module)
            if isinstance(live, ModuleType) and _is_rebound(self._project, module, alias, targets, live):
                differences[
                    f"{module}.{alias} is not {' or '.join(sorted(targets))} any more (replaced at run time)"
                ] = None
        differences.update(dict.fromkeys(self._definitions.problems()))
        return Held(list(differences), values, late, caches)

    def changes(self, parts: Mapping[str, str]) -> tuple[list[str], list[str]]:
        """What is otherwise in this process, now, than in a fingerprint with these parts: the names of values, sorted.

        Also what differs from the sources, in lines.
        """
        keyed = {name: digest for name, digest in parts.items() if name.startswith(VALUE)}
        held = self.look()
        changed = {name for name in held.values.keys() - keyed.keys() if name not in held.late}
        changed |= {
            name
            for name, digest in keyed.items()
            if held.values.get(name, digest) != digest or self._is_plain(name, held)
        }
        return sorted(name[len(VALUE) :] for name in changed), held.differences

    def _is_plain(self, name: str, held: Held) -> bool:
        """Whether a value is what its source gives, of a module that is imported."""
        return name not in held.values and any(
            isinstance(self._module(probe.facts.name), ModuleType) for probe in self._probes if probe.holds(name)
        )

    def definitions(self) -> set[tuple[int, str]]:
        """What is reached by name in modules that are imported: the ids of these, with names at their top."""
        if self._named is None:
            bound = _bound(self._project, self._by_name()) if self._by_name is not None else None
            names = ((probe.facts, probe.name) for probe in self._probes) if bound is None else bound
            self._named = [(facts.name, name) for facts, name in names]
        found = ((self._module(module), name) for module, name in self._named)
        return {(id(live), name) for live, name in found if isinstance(live, ModuleType)}

    def _module(self, name: str) -> ModuleType | str | None:
        present = sys.modules.get(name)
        known = self._modules.get(name)
        if known is None or known[0] is not present:
            known = self._modules[name] = (present, _live(self._project, name))
        return known[1]


def _bound(project: Project, walk: Walk) -> list[tuple[ModuleFacts, str]]:
    """The names at the top of modules that a walk reaches, but for imported ones."""
    names = set(walk.names)
    for module in walk.wholes:
        facts = project.facts(module)
        names.update((module, name) for name in (facts.bound if facts is not None else ()))
    return [
        (facts, name)
        for module, name in sorted(names)
        if (facts := project.facts(module)) is not None and not facts.imported.get(name)
    ]


def _live(project: Project, module: str) -> ModuleType | str | None:
    """The module as it is imported; that of a script is `__main__`. A text says that it comes from elsewhere."""
    found = project.find(module)
    if found is None or found.path is None:
        return None
    path = os.path.realpath(found.path)
    if os.path.realpath(script_file() or os.devnull) == path:
        return sys.modules["__main__"]
    live = sys.modules.get(module)
    if live is None:
        return None
    source = getattr(live, "__file__", None)
    if not isinstance(source, str) or os.path.realpath(source) != path:  # an object that answers to any name, perhaps
        stands = (
            f"is imported from {source}" if isinstance(source, str) else f"is a {type(live).__name__} in sys.modules"
        )
        return f"{module} {stands}, not the module of {found.path}"
    # pytest rewrites the asserts of test modules, so that their code never equals their source.
    return None if type(getattr(live, "__loader__", None)).__name__ == "AssertionRewritingHook" else live


class FirstValues:
    """What sources can't tell, as the import of a module left it; noted where a task imports the module."""

    def __init__(self) -> None:
        self._modules: dict[str, tuple[ModuleType, dict[str, str]]] = {}

    def note(self, project: Project, module: str) -> None:
        """Look at a module that was imported this moment."""
        live, facts = _live(project, module), project.facts(module)
        if isinstance(live, ModuleType) and facts is not None:
            held = {key.partition(".")[0].removesuffix("()") for key in facts.held}
            names = [name for name in facts.bound if name in held and not facts.imported.get(name)]
            found = [Probe(project, facts, name).look(live).values for name in names]
            self._modules[module] = (live, {name: digest for values in found for name, digest in values.items()})

    def of(self, live: ModuleType) -> Mapping[str, str]:
        """The parts of a fingerprint that its values were; none of a module that was there before."""
        known = self._modules.get(live.__name__)
        return known[1] if known is not None and known[0] is live else {}


@lru_cache(maxsize=1)
def first_values() -> FirstValues:
    """Those of this process, which has one table of imported modules."""
    return FirstValues()


def _is_rebound(project: Project, module: str, alias: str, targets: frozenset[str], live: ModuleType) -> bool:
    facts = project.facts(module)
    if facts is None or alias not in facts.imported or facts.bound.get(alias) or alias not in vars(live):
        return False
    value = vars(live)[alias]
    for target in targets:
        if target in sys.modules and sys.modules[target] is value:
            return False
        home, _, name = target.rpartition(".")
        if target in sys.modules and not home:
            continue
        if home not in sys.modules or name not in vars(sys.modules[home]):
            return False  # it can't be told
        if vars(sys.modules[home])[name] is value:
            return False
    return True
