"""Registrations made for a step by modules that only its pipeline's module loads: a plugin, a `singledispatch` variant.

A step that reads a registry depends on who fills it. Such a statement counts for the step that reaches what it fills, and
a worker imports the pipeline's module before the step's then, so that every runner finds the same in the registry.
"""

from __future__ import annotations

from collections.abc import Iterable

from mainspring.pipelines.code.closure import Project, Walk
from mainspring.pipelines.code.facts import EFFECT
from mainspring.pipelines.code.held import is_literal
from mainspring.pipelines.code.objects import digest_of

_PART = "registrations "


def add_registrations(project: Project, walk: Walk, entry: Walk) -> None:
    """Count the statements run by `entry` that touch what `walk` reaches and that can be changed, and what they reach."""
    pending = {at: _touched(project, entry, *at) for at in sorted(_candidates(project, walk, entry))}
    found = True
    while found:
        found = False
        is_open = {at for at in walk.names if _is_open(project, *at)}
        for (module, place), touched in list(pending.items()):
            if touched & is_open or walk.follows_subclasses:
                del pending[module, place]
                walk.execute(module, place)
                found = True


def registration_parts(project: Project, walk: Walk) -> dict[str, str]:
    """The parts of a fingerprint for what `add_registrations` found."""
    places: dict[str, list[str]] = {}
    for module, place in sorted(walk.registered):
        facts = project.facts(module)
        places.setdefault(module, []).append(facts.units[place].digest if facts is not None else "")
    return {f"{_PART}{module}": digest_of(digests) for module, digests in places.items()}


def has_registrations(parts: Iterable[str]) -> bool:
    """Whether the pipeline's module must be imported for a step whose fingerprint has these parts."""
    return any(name.startswith(_PART) for name in parts)


def _candidates(project: Project, walk: Walk, entry: Walk) -> set[tuple[str, int]]:
    candidates = entry.effects - walk.effects
    if walk.follows_subclasses:
        for module in entry.loaded - walk.loaded:
            facts = project.facts(module)
            candidates |= {(module, n) for n, unit in enumerate(facts.units if facts is not None else ()) if unit.bases}
    return candidates


def _touched(project: Project, entry: Walk, module: str, place: int) -> set[tuple[str, str]]:
    """The names that a statement reaches, without what the modules it names do when they are loaded."""
    walk = Walk(project)
    walk.loaded.update(entry.loaded)
    return walk.execute(module, place).names


def _is_open(project: Project, module: str, name: str) -> bool:
    """Whether something may be put into what a name stands for: a container, an object, a class that holds one."""
    facts = project.facts(module)
    if facts is None:
        return False
    if name in facts.codes:
        inside = f"{name}."
        attributes = (text for key, text in facts.held.items() if key.startswith(inside) and not key.endswith("()"))
        return name in facts.decorated or not all(text and is_literal(text) for text in attributes)
    text = facts.held.get(name, "")
    return not (text and is_literal(text)) or any(facts.units[n].kind == EFFECT for n in facts.bound.get(name, ()))
