"""Holds what a step reaches in this process against its sources: what was replaced or set at run time must not pass for them.

Code and constants that differ make a result not reusable. What a source can't tell, or what can be changed in place, is
compared by value with what the source gives, and where that is something else the value is part of the key.
"""

from __future__ import annotations

import enum
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import msgspec

from mainspring.pipelines.code.closure import Project, Walk
from mainspring.pipelines.code.facts import EFFECT, ModuleFacts
from mainspring.pipelines.code.objects import code_digest
from mainspring.pipelines.code.state import ATOMS, TooLargeError, is_immutable, state_digest

_SAYS = "is not what its source says (replaced at run time, or edited since it was imported)"
_GONE = object()
VALUE = "value "


class Held(msgspec.Struct):
    """What differs from the sources, one line each, and parts of a fingerprint for values that sources can't tell."""

    differences: list[str] = []
    values: dict[str, str] = {}


class Live:
    """The objects that one walk reaches. Looking again costs little where nothing can have changed."""

    def __init__(self, project: Project, walk: Walk) -> None:
        self._project = project
        self._imports = sorted(walk.imports.items())
        names = set(walk.names)
        for module in walk.wholes:
            facts = project.facts(module)
            names.update((module, name) for name in (facts.bound if facts is not None else ()))
        self._probes = [
            _Probe(project, facts, name)
            for module, name in sorted(names)
            if (facts := project.facts(module)) is not None and not facts.imported.get(name)
        ]
        self._modules: dict[str, tuple[ModuleType | None, ModuleType | str | None]] = {}

    def look(self) -> Held:
        """How things are at this moment. Only modules that are imported already are looked at."""
        differences: dict[str, None] = {}
        values: dict[str, str] = {}
        for probe in self._probes:
            live = self._module(probe.facts.name)
            if isinstance(live, str):
                differences[live] = None
            elif live is not None:
                found = probe.look(live)
                differences.update(dict.fromkeys(found.differences))
                values.update(found.values)
        for (module, alias), targets in self._imports:
            live = self._module(module)
            if isinstance(live, ModuleType) and _is_rebound(self._project, module, alias, targets, live):
                differences[
                    f"{module}.{alias} is not {' or '.join(sorted(targets))} any more (replaced at run time)"
                ] = None
        return Held(list(differences), values)

    def _module(self, name: str) -> ModuleType | str | None:
        present = sys.modules.get(name)
        known = self._modules.get(name)
        if known is None or known[0] is not present:
            known = self._modules[name] = (present, _live(self._project, name))
        return known[1]


def _live(project: Project, module: str) -> ModuleType | str | None:
    """The module as it is imported; that of a script is `__main__`. A text says that it comes from elsewhere."""
    found = project.find(module)
    if found is None or found.path is None:
        return None
    path = os.path.realpath(found.path)
    script = sys.modules["__main__"]
    if os.path.realpath(getattr(script, "__file__", None) or os.devnull) == path:
        return script
    live = sys.modules.get(module)
    if live is None:
        return None
    source = getattr(live, "__file__", None)
    if source is None or os.path.realpath(source) != path:
        return f"{module} is imported from {source}, not from {found.path}"
    # pytest rewrites the asserts of test modules, so that their code never equals their source.
    return None if type(getattr(live, "__loader__", None)).__name__ == "AssertionRewritingHook" else live


class _Probe:
    """One name at the top of a module, with what is defined below it."""

    def __init__(self, project: Project, facts: ModuleFacts, name: str) -> None:
        self.project = project
        self.facts = facts
        self.name = name
        inside = f"{name}."
        # enum and NamedTuple put a `__new__` of their own in its place
        self.codes = [
            known
            for known in facts.codes
            if (known == name or known.startswith(inside)) and not known.endswith(".__new__")
        ]
        self.attributes = [known for known in facts.held if known.startswith(inside) and not known.endswith("()")]
        self.strict = all(facts.units[place].kind != EFFECT for place in facts.bound[name])
        self._expected: dict[str, str | None] = {}
        self._found = Held()
        self._token: tuple[object, ...] | None = None
        self._fluid = False

    def look(self, live: ModuleType) -> Held:
        """What it is now."""
        value = vars(live).get(self.name, _GONE)
        token = _token(value)
        known = self._token
        if known is None or len(known) != len(token) or any(a is not b for a, b in zip(known, token, strict=True)):
            self._found, self._fluid = Held(), False
            self._take(live, value)
            self._token = None if self._fluid else token
        return self._found

    def _take(self, live: ModuleType, value: object) -> None:
        for qualname in self.codes:
            if not _same_code(self.facts, qualname, live, strict=self.strict):
                self._differs(qualname)
            elif f"{qualname}()" in self.facts.held:
                self._defaults(live, qualname)
        for qualname in self.attributes:
            self._attribute(live, qualname)
        if not self.codes and value is not _GONE and not isinstance(value, (type, ModuleType)):
            self._compare(live, self.name, self.name, value)

    def _differs(self, what: str) -> None:
        self._found.differences.append(f"{self.facts.name}.{what} {_SAYS}")

    def _defaults(self, live: ModuleType, qualname: str) -> None:
        present, found = _follow(live, qualname)
        functions = list(_functions(found, unwrap=qualname in self.facts.decorated)) if present else []
        digests = self.facts.codes[qualname]
        function = next((each for each in functions if code_digest(each.__code__) in digests), None)
        if function is not None:
            self._compare(live, f"{qualname}()", f"{qualname} (defaults)", _defaults_of(function))

    def _attribute(self, live: ModuleType, qualname: str) -> None:
        owner, _, name = qualname.rpartition(".")
        present, cls = _follow(live, owner)
        if not present or not isinstance(cls, type):
            return
        found, value = _attribute_of(cls, name)
        if found and not isinstance(value, (type, ModuleType, FunctionType)):
            self._compare(live, qualname, qualname, value, literal=not issubclass(cls, enum.Enum))

    def _compare(self, live: ModuleType, key: str, shown: str, value: object, *, literal: bool = True) -> None:
        """Hold a value against what the source gives; where that can't be told, or is something else, it counts itself."""
        text = self.facts.held.get(key, "")
        if text and type(value) in ATOMS and repr(value) == text:
            return
        self._fluid |= not is_immutable(value)
        try:
            digest = self._digest(value)
        except TooLargeError:
            self._found.differences.append(f"{self.facts.name}.{shown} is too large to be compared for each task")
            return
        if text and digest == self._evaluated(live, key, text):
            return
        if literal and self._is_set_once(key) and _is_literal(text) and is_immutable(value):
            self._differs(shown)
        else:
            self._found.values[f"{VALUE}{self.facts.name}.{shown}"] = digest

    def _is_set_once(self, key: str) -> bool:
        return key != self.name or len(self.facts.bound[key]) == 1

    def _digest(self, value: object) -> str:
        return state_digest(value, str(self.project.modules.root), self.project.owns)

    def _evaluated(self, live: ModuleType, key: str, text: str) -> str | None:
        """The digest of what a source gives beside the live names; None where it fails."""
        if key not in self._expected:
            present, owner = _follow(live, key.rpartition(".")[0]) if "." in key else (False, None)
            flags = getattr(vars(live).get("annotations"), "compiler_flag", 0)
            try:
                code = compile(text, "<source>", "eval", flags=flags, dont_inherit=True)
                space = dict(vars(owner)) if present and isinstance(owner, type) else {}
                self._expected[key] = self._digest(eval(code, vars(live), space))  # noqa: S307  # known to be pure
            except Exception:  # noqa: BLE001  # whatever it is, the live value counts then
                self._expected[key] = None
        return self._expected[key]


def changed_values(parts: Mapping[str, str], root: Path) -> list[str]:
    """The values in parts of a fingerprint that are otherwise in this process, which has imported them from `root`."""
    inside = f"{root}{os.sep}"

    def owns(module: str) -> bool:
        found = sys.modules.get(module.partition(".")[0])
        places = [getattr(found, "__file__", None) or "", *getattr(found, "__path__", ())]
        return any(place.startswith(inside) for place in places)

    return [
        part[len(VALUE) :]
        for part, digest in parts.items()
        if part.startswith(VALUE) and _digest_here(part[len(VALUE) :], str(root), owns) not in (digest, None)
    ]


def _digest_here(name: str, root: str, owns: Callable[[str], bool]) -> str | None:
    """The digest of what a name holds here; None if its module is not imported, or no project's."""
    path, _, rest = name.partition(" ")
    module = path
    while module and not (module in sys.modules and owns(module)):
        module = module.rpartition(".")[0]
    if not module:
        return None
    owner, _, last = path[len(module) + 1 :].rpartition(".")
    present, found = _follow(sys.modules[module], path[len(module) + 1 :])
    if rest:
        functions = list(_functions(found, unwrap=True)) if present else []
        return state_digest(_defaults_of(functions[-1]), root, owns) if functions else ""
    if owner:
        _, cls = _follow(sys.modules[module], owner)
        present, found = _attribute_of(cls, last) if isinstance(cls, type) else (False, None)
    return state_digest(found, root, owns) if present else ""


def _is_literal(text: str) -> bool:
    from mainspring.pipelines.code.held import is_literal  # here: a process in which nothing differs needs no parser

    return bool(text) and is_literal(text)


def _token(value: object) -> tuple[object, ...]:
    """The objects that decide what a definition is: while they are the same, so is it."""
    found = [value]
    inner = list(vars(value).values()) if isinstance(value, type) else []
    functions = inner or _functions(value, unwrap=True)
    for item in functions:
        found.append(item)
        if isinstance(item, FunctionType):
            found += (item.__code__, item.__defaults__)
    return tuple(found)


def _same_code(facts: ModuleFacts, qualname: str, live: ModuleType, *, strict: bool) -> bool:
    present, found = _follow(live, qualname)
    if not present:
        return not strict or qualname in facts.optional
    for candidate in _functions(found, unwrap=_is_wrapped(facts, qualname, live, found)):
        if code_digest(candidate.__code__) in facts.codes[qualname]:
            return True
    # What an unknown decorator makes of a function can't be told from a replacement.
    return not strict or isinstance(found, type)


def _is_wrapped(facts: ModuleFacts, qualname: str, live: ModuleType, found: object) -> bool:
    """Whether what stands for a function is known to be around it: a decorator's, or an installed base class's.

    scikit-learn's `TransformerMixin` wraps each subclass's `transform`; its distribution is in the key.
    """
    if qualname in facts.decorated:
        return True
    home = getattr(found, "__globals__", {}).get("__name__", "").partition(".")[0]
    owner = _follow(live, qualname.rpartition(".")[0])[1] if "." in qualname else None
    bases = owner.__mro__[1:] if isinstance(owner, type) else ()
    return home != live.__name__.partition(".")[0] and any(base.__module__.partition(".")[0] == home for base in bases)


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


def _functions(found: object, *, unwrap: bool) -> Iterator[Any]:
    """The functions inside what a known decorator makes of them."""
    pending, seen = [found], 0
    while pending and seen < 50:
        item, seen = pending.pop(), seen + 1
        if isinstance(getattr(item, "__code__", None), CodeType):
            yield item
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


def _defaults_of(function: Any) -> dict[str, object]:
    code, given = function.__code__, function.__defaults__ or ()
    names = code.co_varnames[: code.co_argcount]
    return dict(zip(names[len(names) - len(given) :], given, strict=True)) | (function.__kwdefaults__ or {})


def _attribute_of(cls: type, name: str) -> tuple[bool, object]:
    """What a class body set an attribute to, wherever the kind of class keeps it; False where that can't be told."""
    if issubclass(cls, enum.Enum):
        member = cls._member_map_.get(name)
        return member is not None, getattr(member, "_value_", None)
    fields: dict[str, Any] = getattr(cls, "__dataclass_fields__", {})
    if name in fields:
        value = vars(cls).get(name, fields[name].default)
        value = fields[name].default if hasattr(type(value), "__get__") else value  # a slot
        return type(value).__name__ != "_MISSING_TYPE", value
    kept: dict[str, object] = getattr(cls, "_field_defaults", {})
    struct = getattr(cls, "__struct_fields__", ())
    if struct:
        defaults = cls.__struct_defaults__  # type: ignore[attr-defined]  # every Struct class has them
        kept = dict(zip(struct[len(struct) - len(defaults) :], defaults, strict=True))
    if name in kept:
        return True, kept[name]
    value = vars(cls).get(name, _GONE)
    return value is not _GONE and not hasattr(type(value), "__get__"), value


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
