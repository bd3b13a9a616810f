"""Compares live objects with their recorded source: a function replaced at run time must not pass for its source."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from types import CodeType, ModuleType

from mainspring.pipelines.code.closure import Project, Walk
from mainspring.pipelines.code.facts import EFFECT, ModuleFacts
from mainspring.pipelines.code.objects import code_digest

_SAYS = "is not what its source says (replaced at run time, or edited since it was imported)"


def live_differences(project: Project, walk: Walk) -> list[str]:
    """One line for each reached object of an imported module that differs from the module's source."""
    names, imports = set(walk.names), dict(walk.imports)
    for module in walk.wholes:
        facts = project.facts(module)
        names.update((module, name) for name in (facts.bound if facts is not None else ()))
    found: dict[str, None] = {}
    for module, name in sorted(names):
        live, facts = _live(project, module), project.facts(module)
        if isinstance(live, str):
            found[live] = None
        elif live is not None and facts is not None and not facts.imported.get(name):
            found.update(dict.fromkeys(_differing(facts, name, live)))
    for (module, alias), targets in sorted(imports.items()):
        live = _live(project, module)
        if isinstance(live, ModuleType) and _is_rebound(project, module, alias, targets, live):
            found[f"{module}.{alias} is not {' or '.join(sorted(targets))} any more (replaced at run time)"] = None
    return list(found)


def _live(project: Project, module: str) -> ModuleType | str | None:
    live, found = sys.modules.get(module), project.find(module)
    if live is None or found is None or found.path is None:
        return None
    source = getattr(live, "__file__", None)
    if source is None or os.path.realpath(source) != os.path.realpath(found.path):
        return f"{module} is imported from {source}, not from {found.path}"
    # pytest rewrites the asserts of test modules, so that their code never equals their source.
    return None if type(getattr(live, "__loader__", None)).__name__ == "AssertionRewritingHook" else live


def _differing(facts: ModuleFacts, name: str, live: ModuleType) -> Iterator[str]:
    units = [facts.units[place] for place in facts.bound[name]]
    qualnames = [known for known in facts.codes if known == name or known.startswith(name + ".")]
    strict = all(unit.kind != EFFECT for unit in units)
    for qualname in qualnames:
        if qualname.endswith(".__new__"):
            continue  # enum and NamedTuple put theirs in its place
        if not _same_code(facts, qualname, live, strict=strict):
            yield f"{facts.name}.{qualname} {_SAYS}"
    if not qualnames and len(units) == 1 and units[0].literal and units[0].binds == (name,):
        value = vars(live).get(name)
        if repr(value) != units[0].literal:
            yield f"{facts.name}.{name} {_SAYS}"


def _same_code(facts: ModuleFacts, qualname: str, live: ModuleType, *, strict: bool) -> bool:
    present, found = _follow(live, qualname)
    if not present:
        return not strict or qualname in facts.optional
    decorated = qualname in facts.decorated
    for candidate in _code_objects(found, unwrap=decorated):
        if code_digest(candidate) in facts.codes[qualname]:
            return True
    # What an unknown decorator makes of a function can't be told from a replacement.
    return not strict or isinstance(found, type)


def _follow(live: ModuleType, qualname: str) -> tuple[bool, object]:
    owner: object = live
    enclosing = ""
    for part in qualname.split("."):
        mangled = f"_{enclosing.lstrip('_')}{part}" if part.startswith("__") and not part.endswith("__") else part
        space = getattr(owner, "__dict__", {})
        if part not in space and mangled not in space:
            return False, None
        owner = space[part] if part in space else space[mangled]
        enclosing = part
    return True, owner


def _code_objects(found: object, *, unwrap: bool) -> Iterator[CodeType]:
    """The code of the functions inside what a known decorator makes of them."""
    pending, seen = [found], 0
    while pending and seen < 50:
        item, seen = pending.pop(), seen + 1
        code = getattr(item, "__code__", None)
        if isinstance(code, CodeType):
            yield code
        if isinstance(item, (staticmethod, classmethod)):
            pending.append(item.__func__)
        elif isinstance(item, property):
            pending += [each for each in (item.fget, item.fset, item.fdel) if each is not None]
        elif unwrap:
            pending += unwrapped(item)


def unwrapped(item: object) -> list[object]:
    """What a wrapper says that it wraps; a step or pipeline its function."""
    names = ("function",) if type(item).__module__.startswith("mainspring.") else ("__wrapped__", "func")
    inner = [vars(item).get(name) for name in names] if hasattr(item, "__dict__") else []
    if not inner and type(item).__module__.startswith("mainspring."):
        inner = [getattr(item, "function", None)]
    return [each for each in inner if each is not None]


def _is_rebound(project: Project, module: str, alias: str, targets: frozenset[str], live: ModuleType) -> bool:
    facts = project.facts(module)
    if facts is None or alias not in facts.imported or facts.bound.get(alias) or alias not in vars(live):
        return False
    value = vars(live)[alias]
    for target in targets:
        if target in sys.modules and sys.modules[target] is value:
            return False
        home, _, name = target.rpartition(".")
        if home not in sys.modules or name not in vars(sys.modules[home]):
            return False  # it can't be told
        if vars(sys.modules[home])[name] is value:
            return False
    return True
