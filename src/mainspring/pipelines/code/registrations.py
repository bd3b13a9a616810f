"""What modules that only the pipeline's module loads do for a step: a plugin, a `singledispatch` variant, a changed library.

A step that reads a registry depends on who fills it. Such a statement counts for the step that reaches what it fills; one
that changes something outside the project, such as a method or setting of a library, counts for every step. A worker
imports the pipeline's module before the step's then, so that every runner finds the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mainspring.pipelines.code.closure import Walk, called_units
from mainspring.pipelines.code.facts import DEFINITION, EFFECT
from mainspring.pipelines.code.held import is_literal
from mainspring.pipelines.code.objects import digest_of
from mainspring.pipelines.code.project import Project
from mainspring.pipelines.code.purity import tells_only

_PART = "registrations "
_DEEPEST = 20  # names that stand for names


def add_registrations(project: Project, walk: Walk, entry: Walk) -> None:
    """Count the statements run by `entry` that touch what `walk` reaches and that can be changed, and what they reach.

    Those that change what is not the project's count whatever `walk` reaches.
    """
    candidates = sorted(_candidates(project, walk, entry))
    outside = [at for at in candidates if _changes_outside(project, *at)]
    for at in outside:
        walk.execute(*at)
    pending = {at: _touched(project, entry, *at) for at in candidates if at not in outside}
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


def _changes_outside(project: Project, module: str, place: int) -> bool:
    """Whether a statement changes something that is not the project's, by itself or by a function that it calls."""
    facts = project.facts(module)
    if facts is None:
        return False
    unit = facts.units[place]
    if any(_is_outside(project, module, name) for name in unit.changes):
        return True
    called = (chain for chain in unit.calls if not _starts_a_run(project, module, chain))
    return any(
        _is_outside(project, home, name)
        for home, reached in called_units(project, module, called)
        for name in reached.body_changes
    )


def _is_outside(project: Project, module: str, name: str, depth: int = 0) -> bool:
    """Whether a dotted name at the top of a module is, or may be, something of a library that a change of it would show in."""
    return depth < _DEEPEST and any(
        not tells_only(other) if home is None else _is_outside(project, home, other, depth + 1)
        for home, other in _meant(project, module, name)
    )


def _meant(project: Project, module: str, name: str) -> Iterator[tuple[str | None, str]]:
    """What a dotted name stands for, one step on: a name in another module or in this one; without a module, of a library."""
    facts = project.facts(module)
    head, _, rest = name.partition(".")
    imports = [facts.imports[place] for place in facts.imported.get(head, ())] if facts is not None else []
    bound = facts.bound.get(head, ()) if facts is not None else ()
    for found in imports:
        if not project.owns(found.module):
            yield None, f"{found.target}.{rest}" if rest else found.target
        elif project.find(found.target) is None:
            yield found.module, f"{found.name}.{rest}" if rest else found.name
        elif rest:
            yield found.target, rest
    for place in bound:
        yield from ((module, other) for other in (facts.units[place].stands_for if facts is not None else ()))
    if rest and not imports and not bound and project.find(f"{module}.{head}") is not None:
        yield f"{module}.{head}", rest


def _starts_a_run(project: Project, module: str, chain: str) -> bool:
    """Whether a call is that of a pipeline's own method, as in `main.run()`, which reaches all that the pipeline does."""
    owner, _, method = chain.rpartition(".")
    if not owner or method != "run":
        return False
    for home, place in project.definitions(module, owner):
        facts = project.facts(home)
        if facts is not None and facts.units[place].kind == DEFINITION and owner.rpartition(".")[2] in facts.decorated:
            return True
    return False


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
