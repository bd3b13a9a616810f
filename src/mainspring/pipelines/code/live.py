"""Holds what a step reaches in this process against its sources: what was replaced or set at run time must not pass for them.

Code and constants that differ make a result not reusable. What a source can't tell, or what can be changed in place, is
compared by value with what the source gives, and where that is something else the value is part of the key.
"""

from __future__ import annotations

import enum
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from types import FunctionType, MethodType, ModuleType
from typing import Any

import msgspec

from mainspring.pipelines.code.closure import Walk
from mainspring.pipelines.code.contents import ATOMS, attribute_of, code_of, dict_of, module_of
from mainspring.pipelines.code.facts import EFFECT, ModuleFacts
from mainspring.pipelines.code.objects import code_digest
from mainspring.pipelines.code.project import Project
from mainspring.pipelines.code.state import Definitions, TooLargeError, is_immutable, told

_SAYS = "is not what its source says (replaced at run time, or edited since it was imported)"
_GONE = object()
VALUE = "value "


class Held(msgspec.Struct):
    """What differs from the sources, one line each, and parts of a fingerprint for values that sources can't tell.

    `late` are the values that are as their module's import left them, where a task of this process imported it.
    """

    differences: list[str] = []
    values: dict[str, str] = {}
    late: set[str] = set()

    @property
    def counted(self) -> dict[str, str]:
        """The values that belong into a key: not those that are there or not by which tasks ran before."""
        return {name: digest for name, digest in self.values.items() if name not in self.late}


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
        self._probes = [_Probe(project, facts, name, self._definitions) for facts, name in _bound(project, walk)]
        self._by_name = by_name
        self._named: list[tuple[str, str]] | None = None
        self._modules: dict[str, tuple[ModuleType | None, ModuleType | str | None]] = {}

    def look(self) -> Held:
        """How things are at this moment. Only modules that are imported already are looked at."""
        differences: dict[str, None] = {}
        values: dict[str, str] = {}
        late: set[str] = set()
        for probe in self._probes:
            live = self._module(probe.facts.name)
            if isinstance(live, str):
                differences[live] = None
            elif live is not None:
                found = probe.look(live)
                differences.update(dict.fromkeys(found.differences))
                values.update(found.values)
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
        return Held(list(differences), values, late)

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
    script = sys.modules["__main__"]
    if os.path.realpath(getattr(script, "__file__", None) or os.devnull) == path:
        return script
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


class _Probe:
    """One name at the top of a module, with what is defined below it."""

    def __init__(self, project: Project, facts: ModuleFacts, name: str, definitions: Definitions | None = None) -> None:
        self.project = project
        self.facts = facts
        self.name = name
        self.definitions = definitions
        inside = f"{name}."
        # enum and NamedTuple put a `__new__` of their own in its place
        self.codes = [
            known
            for known in facts.codes
            if (known == name or known.startswith(inside)) and not known.endswith(".__new__")
        ]
        self.attributes = [known for known in facts.held if known.startswith(inside) and not known.endswith("()")]
        self.strict = all(facts.units[place].kind != EFFECT for place in facts.bound[name])
        self._part = f"{VALUE}{facts.name}.{name}"
        self._expected: dict[str, str | None] = {}
        self._found = Held()
        self._token: tuple[object, ...] | None = None
        self._fluid = False

    def holds(self, part: str) -> bool:
        """Whether a part of a fingerprint is about this name, or what is below it."""
        return part == self._part or part.startswith((f"{self._part}.", f"{self._part} "))

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
            else:
                self._function(live, qualname)
        for qualname in self.attributes:
            self._attribute(live, qualname)
        if isinstance(value, type) and self._is_plain_class(value):
            self._added(live, value)
        if not self.codes and value is not _GONE and not isinstance(value, (type, ModuleType)):
            self._compare(live, self.name, self.name, value)

    def _differs(self, what: str) -> None:
        self._found.differences.append(f"{self.facts.name}.{what} {_SAYS}")

    def _function(self, live: ModuleType, qualname: str) -> None:
        """What a function keeps: its defaults, and attributes that were given to it."""
        has_defaults = f"{qualname}()" in self.facts.held
        present, found = followed(live, qualname)
        if not present or not (has_defaults or _kept_by(_inside(found))):
            return
        digests = self.facts.codes[qualname]
        functions = _functions(found, unwrap=_is_wrapped(self.facts, qualname, live, found))
        function = next((each for each in functions if code_digest(each.__code__) in digests), None)
        if function is not None and has_defaults:
            self._compare(live, f"{qualname}()", f"{qualname} (defaults)", _defaults_of(function))
        if function is not None and _kept_by(function):
            self._compare(live, "", f"{qualname} (attributes)", _kept_by(function))

    def _is_plain_class(self, cls: type) -> bool:
        """Whether nothing but the project's code gives a class attributes: no decorator, no installed base or metaclass."""
        homes = [base.__module__ for base in (*cls.__mro__, type(cls))]
        return not (self.name in self.facts.decorated or issubclass(cls, tuple)) and all(
            home in ("builtins", "abc", "__main__") or self.project.owns(home) for home in homes
        )

    def _added(self, live: ModuleType, cls: type) -> None:
        """Attributes of a class that its source doesn't name."""
        named = {known.rpartition(".")[2] for known in (*self.facts.codes, *self.facts.held)}
        for name, value in list(vars(cls).items()):
            if not (name in named or name.startswith(("__", "_abc_")) or hasattr(type(value), "__get__")):
                self._compare(live, "", f"{self.name}.{name}", value)

    def _attribute(self, live: ModuleType, qualname: str) -> None:
        owner, _, name = qualname.rpartition(".")
        present, cls = followed(live, owner)
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
        return told(value, str(self.project.modules.root), self.project.owns, self.definitions).digest

    def _evaluated(self, live: ModuleType, key: str, text: str) -> str | None:
        """The digest of what a source gives beside the live names; None where it fails."""
        if key not in self._expected:
            present, owner = followed(live, key.rpartition(".")[0]) if "." in key else (False, None)
            flags = getattr(vars(live).get("annotations"), "compiler_flag", 0)
            try:
                code = compile(text, "<source>", "eval", flags=flags, dont_inherit=True)
                space = dict(vars(owner)) if present and isinstance(owner, type) else {}
                self._expected[key] = self._digest(eval(code, vars(live), space))  # noqa: S307  # known to be pure
            except Exception:  # noqa: BLE001  # whatever it is, the live value counts then
                self._expected[key] = None
        return self._expected[key]


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
            found = [_Probe(project, facts, name).look(live).values for name in names]
            self._modules[module] = (live, {name: digest for values in found for name, digest in values.items()})

    def of(self, live: ModuleType) -> Mapping[str, str]:
        """The parts of a fingerprint that its values were; none of a module that was there before."""
        known = self._modules.get(live.__name__)
        return known[1] if known is not None and known[0] is live else {}


@lru_cache(maxsize=1)
def first_values() -> FirstValues:
    """Those of this process, which has one table of imported modules."""
    return FirstValues()


def _is_literal(text: str) -> bool:
    from mainspring.pipelines.code.held import is_literal  # here: a process in which nothing differs needs no parser

    return bool(text) and is_literal(text)


def _token(value: object) -> tuple[object, ...]:
    """The objects that decide what a definition is: while they are the same, so is it."""
    if type(value) is FunctionType and not value.__dict__:  # most are, and every task asks for each that it reaches
        return (value, value.__code__, value.__defaults__)
    found = [value]
    inner = list(vars(value).values()) if isinstance(value, type) else []
    functions = inner or _functions(value, unwrap=True)
    for item in functions:
        found.append(item)
        if isinstance(item, FunctionType):
            found += (item.__code__, item.__defaults__, len(item.__dict__))
    return tuple(found)


def _same_code(facts: ModuleFacts, qualname: str, live: ModuleType, *, strict: bool) -> bool:
    present, found = followed(live, qualname)
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
    home = str(found.__globals__.get("__name__", "")).partition(".")[0] if isinstance(found, FunctionType) else ""
    owner = followed(live, qualname.rpartition(".")[0])[1] if "." in qualname else None
    bases = owner.__mro__[1:] if isinstance(owner, type) else ()
    return home != live.__name__.partition(".")[0] and any(base.__module__.partition(".")[0] == home for base in bases)


def followed(live: ModuleType, qualname: str) -> tuple[bool, object]:
    """What a dotted name below a module stands for, as it lies there (a descriptor is not called); False if nothing."""
    owner: object = live
    enclosing = ""
    for part in qualname.split("."):
        mangled = f"_{enclosing.lstrip('_')}{part}" if part.startswith("__") and not part.endswith("__") else part
        space = vars(owner) if isinstance(owner, (type, ModuleType)) else dict_of(owner)
        if part not in space and mangled not in space:
            return False, None
        owner = space[part] if part in space else space[mangled]
        enclosing = part
    return True, owner


def _functions(found: object, *, unwrap: bool) -> Iterator[Any]:
    """The functions inside what a known decorator makes of them."""
    return (item for item in layers(found, unwrap=unwrap) if code_of(item) is not None)


def layers(value: object, *, unwrap: bool = True) -> Iterator[object]:
    """An object and what it is a descriptor of, or says that it wraps, from the outermost on."""
    pending, seen = [value], 0
    while pending and seen < 50:
        item, seen = pending.pop(), seen + 1
        yield item
        if isinstance(item, (staticmethod, classmethod)):
            pending.append(item.__func__)
        elif isinstance(item, property):
            pending += [each for each in (item.fget, item.fset, item.fdel) if each is not None]
        elif unwrap:
            pending += unwrapped(item)


def unwrapped(item: object) -> list[object]:
    """What a wrapper says that it wraps; a step or pipeline its function."""
    names = ("function",) if module_of(type(item)).startswith("mainspring.") else ("__wrapped__", "func")
    inner = [dict_of(item).get(name) for name in names]
    if module_of(type(item)).startswith("mainspring."):
        inner = [attribute_of(item, "function")]
    return [each for each in inner if each is not None]


def _defaults_of(function: Any) -> dict[str, object]:
    code, given = function.__code__, function.__defaults__ or ()
    names = code.co_varnames[: code.co_argcount]
    return dict(zip(names[len(names) - len(given) :], given, strict=True)) | (function.__kwdefaults__ or {})


def _inside(found: object) -> object:
    return found.__func__ if isinstance(found, (staticmethod, classmethod, MethodType)) else found


def _kept_by(function: object) -> dict[str, object]:
    """What a function was given as attributes."""
    given = function.__dict__ if isinstance(function, FunctionType) else {}
    return {name: value for name, value in given.items() if name != "__wrapped__"} if given else given


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
