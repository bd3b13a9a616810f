"""Holds one name at the top of a module, and what is defined below it, against the module's source.

Code and constants that differ are named; what a source can't tell, or was given later, is told by its value.
"""

from __future__ import annotations

import enum
from types import FunctionType, GetSetDescriptorType, MemberDescriptorType, MethodType, ModuleType
from typing import Any

import msgspec

from mainspring.pipelines.code.caches import is_cache
from mainspring.pipelines.code.contents import ATOMS
from mainspring.pipelines.code.facts import EFFECT, ModuleFacts
from mainspring.pipelines.code.layers import followed, functions_in, layers, variants_of
from mainspring.pipelines.code.objects import code_digest
from mainspring.pipelines.code.project import Project
from mainspring.pipelines.code.state import (
    Definitions,
    TooLargeError,
    attributes_given_to,
    home_of_value,
    is_immutable,
    told,
)

_SAYS = "is not what its source says (replaced at run time, or edited since it was imported)"
_GONE = object()
_OF_TYPES = (GetSetDescriptorType, MemberDescriptorType)  # of slots, and what every class has
VALUE = "value "


class Held(msgspec.Struct):
    """What differs from the sources, one line each, and parts of a fingerprint for values that sources can't tell.

    `late` are the values that are as their module's import left them, where a task of this process imported it. `caches`
    may keep something of the calls of functions.
    """

    differences: list[str] = []
    values: dict[str, str] = {}
    late: set[str] = set()
    caches: list[object] = []

    @property
    def counted(self) -> dict[str, str]:
        """The values that belong into a key: not those that are there or not by which tasks ran before."""
        return {name: digest for name, digest in self.values.items() if name not in self.late}


class Probe:
    """One name at the top of a module, with what is defined below it. `look` costs little where nothing can have changed."""

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
            self._around(live, qualname)
        for qualname in self.attributes:
            self._attribute(live, qualname)
        if isinstance(value, type):
            self._added(live, value)
        if not self.codes and value is not _GONE and not isinstance(value, (type, ModuleType)):
            self._compare(live, self.name, self.name, value)

    def _differs(self, what: str) -> None:
        self._found.differences.append(f"{self.facts.name}.{what} {_SAYS}")

    def _function(self, live: ModuleType, qualname: str) -> None:
        """What a function keeps: its defaults, and attributes that were given to it."""
        has_defaults = f"{qualname}()" in self.facts.held
        present, found = followed(live, qualname)
        if not present or not (has_defaults or _is_given_more(_inside(found))):
            return
        digests = self.facts.codes[qualname]
        functions = functions_in(found, unwrap=_is_wrapped(self.facts, qualname, live, found))
        function = next((each for each in functions if code_digest(each.__code__) in digests), None)
        if function is not None and (has_defaults or _defaults_of(function)):
            self._compare(live, f"{qualname}()", f"{qualname} (defaults)", _defaults_of(function))
        if function is not None and (given := attributes_given_to(function)):
            self._compare(live, "", f"{qualname} (attributes)", given)

    def _around(self, live: ModuleType, qualname: str) -> None:
        """What is kept around a function: what it gave, and the variants by types that a notebook registered."""
        for each in layers(followed(live, qualname)[1]):
            if is_cache(each):
                self._found.caches.append(each)
            registry = variants_of(each)
            self._fluid |= registry is not None
            given = {kind: found for kind, found in (registry or {}).items() if home_of_value(found) == "__main__"}
            if given:
                self._compare(live, "", f"{qualname} (variants)", given)

    def _is_plain_class(self, cls: type) -> bool:
        """Whether nothing but the project's code gives a class attributes: no decorator, no installed base or metaclass."""
        homes = [base.__module__ for base in (*cls.__mro__, type(cls))]
        return not (self.name in self.facts.decorated or issubclass(cls, tuple)) and all(
            home in ("builtins", "abc", "__main__") or self.project.owns(home) for home in homes
        )

    def _added(self, live: ModuleType, cls: type) -> None:
        """What a class was given that its source doesn't name, and bases that only this process has."""
        inside = f"{self.name}.", f"{cls.__qualname__}."
        named = {
            known.rpartition(".")[2] for known in (*self.facts.codes, *self.facts.held) if known.startswith(inside)
        }
        is_plain = self._is_plain_class(cls)
        for name, value in list(vars(cls).items()):
            if name not in named and self._is_given(live, cls, name, value, by_any=is_plain):
                self._compare(live, "", f"{self.name}.{name}", value)
        if others := [base for base in cls.__mro__ if home_of_value(base) == "__main__"]:
            self._compare(live, "", f"{self.name} (bases)", others)

    def _is_given(self, live: ModuleType, cls: type, name: str, value: object, *, by_any: bool) -> bool:
        """Whether neither its body nor, as a rule, a library gave a class this: the latter `by_any` rules out."""
        if name.startswith("_abc_") or isinstance(value, _OF_TYPES):
            return False
        functions = [each for each in layers(value) if isinstance(each, FunctionType)]
        if any(each.__globals__ is vars(live) for each in functions):
            return by_any and not any(each.__qualname__.startswith(f"{cls.__qualname__}.") for each in functions)
        if by_any or any(self._is_own(str(each.__globals__.get("__name__"))) for each in functions):
            return bool(functions) or not name.startswith("__")
        is_public = not name.startswith("_") and not hasattr(type(value), "__get__")
        return is_public or (not name.startswith("__") and self._is_own(type(value).__module__))

    def _is_own(self, home: str) -> bool:
        return home == "__main__" or self.project.owns(home)

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


def _is_literal(text: str) -> bool:
    from mainspring.pipelines.code.held import is_literal  # here: a process in which nothing differs needs no parser

    return bool(text) and is_literal(text)


def _token(value: object) -> tuple[object, ...]:
    """The objects that decide what a definition is: while they are the same, so is it."""
    if type(value) is FunctionType and not value.__dict__:  # most are, and every task asks for each that it reaches
        return (value, *_given(value))
    found = [value]
    inner = [*vars(value).values(), *value.__mro__] if isinstance(value, type) else []
    functions = inner or functions_in(value, unwrap=True)
    for item in functions:
        found.append(item)
        if isinstance(item, FunctionType):
            found += (*_given(item), len(item.__dict__))
    return tuple(found)


def _given(function: FunctionType) -> tuple[object, ...]:
    """The objects that another may be put in place of."""
    return (
        function.__code__, function.__defaults__, function.__kwdefaults__,
        function.__name__, function.__qualname__, function.__doc__,
    )  # fmt: skip


def _same_code(facts: ModuleFacts, qualname: str, live: ModuleType, *, strict: bool) -> bool:
    present, found = followed(live, qualname)
    if not present:
        return not strict or qualname in facts.optional
    for candidate in functions_in(found, unwrap=_is_wrapped(facts, qualname, live, found)):
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


def _defaults_of(function: Any) -> dict[str, object]:
    code, given = function.__code__, function.__defaults__ or ()
    names = code.co_varnames[: code.co_argcount]
    return dict(zip(names[len(names) - len(given) :], given, strict=True)) | (function.__kwdefaults__ or {})


def _inside(found: object) -> object:
    return found.__func__ if isinstance(found, (staticmethod, classmethod, MethodType)) else found


def _is_given_more(function: object) -> bool:
    """Whether a function was given attributes or defaults."""
    return isinstance(function, FunctionType) and bool(
        function.__defaults__ or function.__kwdefaults__ or attributes_given_to(function)
    )


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
