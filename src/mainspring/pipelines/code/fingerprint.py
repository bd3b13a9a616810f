"""The fingerprint of a step: a digest of everything in code and environment that its result may depend on, with parts.

Equal fingerprints mean that no reached definition, effect, declared input or required distribution differs. Each part
has a name that people can read, so that two fingerprints can be compared part by part.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from blake3 import blake3

from mainspring.errors import GraphError, close_names
from mainspring.pipelines.code.analyses import Analyses
from mainspring.pipelines.code.closure import Walk, import_suspects, name_units
from mainspring.pipelines.code.contents import attribute_of
from mainspring.pipelines.code.facts import CONSTANT, DEFINITION, EFFECT, NOT_REUSABLE, Unit
from mainspring.pipelines.code.live import Live
from mainspring.pipelines.code.modules import ModuleFile, ProjectModules
from mainspring.pipelines.code.notebooks import OfNotebook, OldAnswers
from mainspring.pipelines.code.probe import VALUE, Held
from mainspring.pipelines.code.project import Project
from mainspring.pipelines.code.reads import ReadParts, import_reads, recalled, shown_part, value_digest
from mainspring.pipelines.code.settings import settings
from mainspring.pipelines.code.shared_connection import shared_connection
from mainspring.runs.environment import Environment, Installed, installed

if TYPE_CHECKING:
    from mainspring.pipelines.code.inline import LiveWalk

# Raise it whenever the same code would get another digest.
_RECIPE = "fingerprint 2"
_ORDER = "order of effects in "
_OF_PROCESS = ("distribution ", "hash seed", "platform", "python", "threads")
_NOT_COUNTED = frozenset(sys.stdlib_module_names) | {"mainspring", "__future__", "__main__"}


class Fingerprint(msgspec.Struct, frozen=True):
    """A digest over named parts. `unresolved` says where whole modules count, or why a result can't be reused.

    `files` (relative to the project's root) and `env` are the inputs that the code declares. `differences` say what in
    this process is not what its source says.
    """

    digest: str
    parts: dict[str, str]
    unresolved: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()

    @property
    def reusable(self) -> bool:
        """Whether a result may be reused at all: everything that it depends on could be recorded."""
        return not any(note.startswith(NOT_REUSABLE) for note in self.unresolved)


class Difference(msgspec.Struct, frozen=True):
    """The names of the parts in which two fingerprints differ."""

    changed: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]

    @property
    def lines(self) -> list[str]:
        """One line for people per part."""
        rows = [(name, "changed") for name in self.changed]
        rows += [(name, "is new") for name in self.added] + [(name, "is gone") for name in self.removed]
        return [_line(name, what) for name, what in rows]


def _line(name: str, what: str) -> str:
    if name.startswith(VALUE) and what == "is gone":
        return f"{name} is what its source gives, or can't be seen in this process"
    if name.startswith("setting ") and what != "changed":
        return f"{name} {'was set' if what == 'is new' else 'is its default again'}"
    return f"{shown_part(name)} {what}"


def difference(old: Fingerprint, new: Fingerprint) -> Difference:
    """In which parts two fingerprints differ."""
    changed = {name for name in old.parts.keys() & new.parts.keys() if old.parts[name] != new.parts[name]}
    added, removed = new.parts.keys() - old.parts.keys(), old.parts.keys() - new.parts.keys()
    # Effects that come or go say by themselves that the order of all is another.
    told = {f"{_ORDER}{name[8:].partition(':')[0]}" for name in added | removed if name.startswith("effects ")}
    return Difference(*(tuple(sorted(names - told)) for names in (changed, added, removed)))


def compare(old: Fingerprint, new: Fingerprint) -> list[str]:
    """What changed between two fingerprints, one line each; empty when they are equal.

    >>> old = fingerprint_of({"distribution numpy": "2.3.0", "code a.f": "1"})
    >>> compare(old, fingerprint_of({"distribution numpy": "2.4.6", "code a.f": "2"}))
    ['code a.f changed', 'distribution numpy changed: 2.3.0 → 2.4.6']
    """
    found = difference(old, new)
    shown = ("distribution", "python", "platform", "threads", "hash seed", "import", "setting")
    return [
        f"{line}: {old.parts[line[:-8]]} → {new.parts[line[:-8]]}"
        if line.startswith(shown) and line.endswith(" changed")
        else line
        for line in found.lines
    ]


def fingerprint_of(
    parts: dict[str, str], unresolved: Sequence[str] = (), files: Sequence[str] = (), env: Sequence[str] = ()
) -> Fingerprint:
    """The fingerprint with these parts."""
    hasher = blake3(_RECIPE.encode())
    for item in sorted(parts.items()):
        for text in item:
            data = text.encode("utf-8", "surrogatepass")
            hasher.update(len(data).to_bytes(4, "little") + data)
    return Fingerprint(hasher.hexdigest(), dict(sorted(parts.items())), tuple(unresolved), tuple(files), tuple(env))


def extended(
    base: Fingerprint, parts: dict[str, str], notes: Iterable[str] = (), differences: Iterable[str] = ()
) -> Fingerprint:
    """A fingerprint with further parts, notes and differences."""
    found = fingerprint_of(base.parts | parts, [*base.unresolved, *notes], base.files, base.env)
    return msgspec.structs.replace(found, differences=(*base.differences, *differences))


_Key = tuple[str, str, tuple[str, ...], str]


class _Known(NamedTuple):
    walk: Walk
    extra: dict[str, str]
    live: Live


class Fingerprinter:
    """Fingerprints of a project's steps, in one process and at one moment. `flush()` keeps what was learnt on disk."""

    def __init__(
        self,
        project_root: Path,
        cache_dir: Path | None,
        environment: Environment,
        threads: int,
        *,
        import_roots: Sequence[Path] | None = None,
        distributions: Callable[[], Installed] | None = None,
    ) -> None:
        self.root = Path(os.path.abspath(project_root))
        self.environment = environment
        self.threads = threads
        self.analyses = Analyses(cache_dir)
        self.project = Project(ProjectModules(self.root, import_roots), self.analyses)
        self._loads: dict[str, Walk] = {}
        self._steps: dict[_Key, _Known] = {}
        self._done: dict[_Key, Fingerprint] = {}
        self._distributions = distributions or (lambda: installed(cache_dir))
        self._old_answers = OldAnswers(self._reached_by)
        self._closures: dict[tuple[str, ...], dict[str, str]] = {}
        self._suspected: dict[str, tuple[str, ...]] = {}

    def of(
        self, module: str, qualname: str, *, carried: tuple[str, ...] = (), entry: str = "", live: bool = False
    ) -> Fingerprint:
        """The fingerprint of an importable step, from its source files. Nothing is imported.

        Args:
            carried: definitions that arguments bring with them, as `module:name`; those of the project count.
            entry: the pipeline's module, whose imports may register something that the step reaches.
            live: whether values in this process that the sources can't tell count too.

        Raises:
            GraphError: there is no such module or name in the project, a module it loads is not valid Python, or it
                declares an input by something else than a literal.
        """
        key = (module, qualname, carried, entry)
        if key not in self._done:
            known = self._reached(*key)
            self._done[key] = self.finish(known.walk, known.extra)
        return self._with_values(self._done[key], self._reached(*key).live) if live else self._done[key]

    def live(self, module: str, qualname: str, *, carried: tuple[str, ...] = (), entry: str = "") -> Live:
        """What an importable step reaches in this process; arguments and errors are those of `of`."""
        return self._reached(module, qualname, carried, entry).live

    def of_function(self, function: Callable[..., object], carried: tuple[str, ...] = ()) -> Fingerprint:
        """The fingerprint of a function that can't be imported by name: of `__main__`, a notebook, a lambda, a closure.

        Taken from its source and the live values of the names it uses.
        """
        if at := self._place_of(function):
            return self.of(*at, carried=carried, live=True)
        found = self.live_walk(function, carried)
        files = found.file_parts()
        done = self.finish(found.walk, found.parts, found.notes)
        kept, problems = shared_connection(found.walk.externals)
        set_by_hand = settings() | kept
        done = extended(done, set_by_hand, problems) if set_by_hand or problems else done
        done = self._with_held(done, found.held, found.caches.values())
        return msgspec.structs.replace(done, files=tuple(sorted({*done.files, *files})))

    def _place_of(self, function: Callable[..., object]) -> tuple[str, str] | None:
        """The module and qualified name by which the project's sources tell a function."""
        from mainspring.pipelines.code.homes import is_replaced
        from mainspring.pipelines.code.inline import home_of

        home, qualname = home_of(function)
        is_known = home != "__main__" and "<" not in qualname and self.project.facts(home) is not None
        return (home, qualname) if is_known and not is_replaced(function, home, qualname) else None

    def _reached_by(self, function: Callable[..., object]) -> dict[str, str]:
        """What a function stands on that may become another in this process, as parts of a fingerprint."""
        if at := self._place_of(function):
            parts, held = self.of(*at).parts, self.live(*at).look()
        else:
            found = self.live_walk(function)
            found.file_parts()
            parts, held = self.finish(found.walk, found.parts).parts, found.held
        found_here = {name: part for name, part in parts.items() if not name.startswith(_OF_PROCESS)}
        return found_here | held.counted | settings()

    def live_walk(self, function: Callable[..., object], carried: tuple[str, ...] = ()) -> LiveWalk:
        """What a function that can't be imported by name stands on, with the definitions that its arguments bring along.

        Raises:
            GraphError: as `of`.
        """
        from mainspring.pipelines.code.inline import LiveWalk

        found = LiveWalk(self.project, self.root, self.content)
        found.value(str(attribute_of(function, "__qualname__") or type(function).__qualname__), function)
        for text in carried:
            found.brought(text)
        return found.settle()

    def modules(self, module: str) -> list[ModuleFile]:
        """The project modules that a module loads, itself included, sorted by name.

        Imports inside functions and conditions count; a module that imports by computed names may load all of them.
        """
        walk = self._with_mentioned(self.load(module))
        names = set(walk.loaded)
        for name in walk.loaded:
            facts = self.project.facts(name)
            if facts is not None and any(item.startswith("all:") for unit in facts.units for item in unit.dynamic):
                names.update(found.name for found in self.project.modules.everything())
                break
        found = [self.project.find(name) for name in sorted(names)]
        return [ModuleFile(each.name, each.path) for each in found if each is not None and each.path is not None]

    def _with_mentioned(self, walk: Walk) -> Walk:
        """A walk that also loads the modules that texts in loaded ones name, as `module:name` or `module.name`."""
        walk, done = walk.copied(), set[str]()
        while more := walk.loaded - done:
            done |= more
            known = [facts for name in more if (facts := self.project.facts(name)) is not None]
            for text in {text for facts in known for unit in facts.units for text in unit.mentions}:
                found = self.project.mentioned(text)
                if found is not None:
                    walk.load(found[0])
        return walk

    def live_differences(self, module: str, qualname: str) -> list[str]:
        """Reached functions, classes and constants whose live object is not what the source says (a monkeypatch).

        Only modules that are imported already are looked at.
        """
        return self.live(module, qualname).look().differences

    def recalled(self, now: Fingerprint, before: dict[str, str]) -> Fingerprint:
        """A fingerprint with the import reads that an earlier one names, as they would be now.

        For comparing in a process that has not imported the modules; `before` are the earlier one's parts.
        """
        parts, notes = recalled(before, self.root, self.content)
        parts |= {name: digest for name, digest in before.items() if name.startswith(VALUE)}
        return fingerprint_of(parts | now.parts, [*now.unresolved, *notes], now.files, now.env)

    def flush(self) -> None:
        """Keep what was learnt for the next process."""
        self.analyses.flush()

    def load(self, module: str) -> Walk:
        """What importing a module of the project runs.

        Raises:
            GraphError: the project has no such module.
        """
        if module not in self._loads:
            if self.project.facts(module) is None:
                known = [found.name for found in self.project.modules.everything()]
                near = ", ".join(close_names(module, known))
                raise GraphError(
                    f"the project {self.root} has no module `{module}`." + (f" Nearest: {near}." if near else "")
                )
            self._loads[module] = Walk(self.project).load(module)
        return self._loads[module]

    def finish(self, walk: Walk, extra: dict[str, str] | None = None, notes: Sequence[str] = ()) -> Fingerprint:
        """The fingerprint of everything that a walk found, with further parts and notes."""
        parts = dict(extra or {})
        unresolved = list(notes)
        self._code_parts(walk, parts)
        for module, reason in sorted(walk.wholes.items()):
            facts = self.project.facts(module)
            if facts is not None:
                parts[f"module {module} (names can't be resolved: {reason})"] = facts.digest
                unresolved.append(f"the whole of {module} counts: {reason}")
        for module in walk.broken:
            found = self.project.find(module)
            if found is not None and found.path is not None:
                parts[f"module {module} (not valid Python)"] = self.content(found.path)
        files = self._file_parts(walk, parts)
        for name in walk.env:
            parts[f"env {name}"] = value_digest(name)
        self._environment_parts((walk.externals | walk.engines) - _NOT_COUNTED, parts, unresolved)
        read = self._read_parts(walk, parts)
        parts |= read.parts
        return fingerprint_of(parts, [*unresolved, *read.notes], sorted({*files, *read.files}), sorted(walk.env))

    def _reached(self, module: str, qualname: str, carried: tuple[str, ...], entry: str) -> _Known:
        key = (module, qualname, carried, entry)
        known = self._steps.get(key)
        if known is None:
            walk = self.load(module)
            facts = self.project.facts(module)
            top = qualname.partition(".")[0]
            if facts is None or (top not in facts.bound and top not in facts.imported):
                names = close_names(top, facts.bound if facts is not None else ())
                near = f" Nearest: {', '.join(names)}." if names else ""
                raise GraphError(f"the module `{module}` has no `{qualname}`.{near}")
            walk = self._walked(walk.copied(), key)
            extra: dict[str, str] = {}
            if walk.registered:
                from mainspring.pipelines.code.registrations import registration_parts

                extra = registration_parts(self.project, walk)

            def by_name() -> Walk:
                return self._walked(Walk(self.project, by_name=True).load(module), key)

            live = Live(self.project, walk, by_name, OfNotebook(self._told, self._old_answers))
            known = self._steps[key] = _Known(walk, extra, live)
        return known

    def _walked(self, walk: Walk, key: _Key) -> Walk:
        """A walk that loaded a step's module, gone on to all that the step reaches."""
        module, qualname, carried, entry = key
        walk.reach(module, qualname.partition(".")[0])
        for text in carried:
            walk.mention(text)
        if entry and entry not in walk.loaded and self.project.facts(entry) is not None:
            from mainspring.pipelines.code.registrations import add_registrations

            add_registrations(self.project, walk, self.load(entry))
        return walk

    def _with_values(self, base: Fingerprint, live: Live) -> Fingerprint:
        """A fingerprint with what this process holds otherwise than the sources say."""
        return self._with_held(base, live.look())

    def _told(self, function: Callable[..., object]) -> tuple[str, tuple[str, ...]]:
        found = self.of_function(function)
        return found.digest, found.unresolved

    def _with_held(self, base: Fingerprint, held: Held, caches: Iterable[object] = ()) -> Fingerprint:
        old = [f"{NOT_REUSABLE}{each}" for each in self._old_answers.of([*caches, *held.caches])]
        if not (held.counted or held.differences or old):
            return base
        return extended(base, held.counted, old, held.differences)

    def _code_parts(self, walk: Walk, parts: dict[str, str]) -> None:
        for module, name in walk.names:
            facts = self.project.facts(module)
            units = name_units(facts, name) if facts is not None else []
            plain = [unit for unit in units if unit.kind != EFFECT]
            if plain:
                kind = "code" if any(unit.kind == DEFINITION for unit in plain) else CONSTANT
                text = " ".join(f"{unit.digest}{unit.after or ''}" for unit in units)
                parts[f"{kind} {module}.{name}"] = text if len(units) == 1 else _short(text)
        for (module, alias), targets in walk.imports.items():
            parts[f"import {module}.{alias}"] = " or ".join(sorted(targets))
        effects: dict[str, list[int]] = {}
        for module, place in walk.effects:
            effects.setdefault(module, []).append(place)
        for module, places in effects.items():
            facts = self.project.facts(module)
            parts.update(_effect_parts(module, [facts.units[place] for place in sorted(places)]) if facts else {})

    def _file_parts(self, walk: Walk, parts: dict[str, str]) -> list[str]:
        from mainspring.pipelines.code.declared import place_of

        files: set[str] = set()
        for module, written in sorted(walk.files):
            found = self.project.find(module)
            home = found.path.parent if found is not None and found.path is not None else self.root
            path = place_of(written, home, self.root)
            shown = self.project.modules.shown(path)
            files.add(shown)
            parts[f"file {shown}"] = self.content(path)
        return sorted(files)

    def _read_parts(self, walk: Walk, declared: dict[str, str]) -> ReadParts:
        """What the loaded modules read while they were imported here; of an unwatched import, what looks like reading.

        Of a module that only the pipeline's loads that is asked if what it does for the step looks like reading.
        """
        found = ReadParts()
        for module in sorted(walk.loaded | {module for module, _ in walk.registered}):
            at = self.project.find(module)
            if at is None or at.path is None:
                continue
            suspects = () if module in walk.loaded else import_suspects(self.project, module, walk.units_of(module))
            if module not in walk.loaded and not suspects:
                continue
            reads = import_reads().of(module, at.path)
            if reads is None:
                for call in suspects or self._suspects(module):
                    if call.replace(":", " ", 1) not in declared:
                        found.suspect(module, call)
            for read in reads or ():
                if f"{read.kind} {read.name}" not in declared:
                    found.add(module, read, self.root, self.content)
        return found

    def _suspects(self, module: str) -> tuple[str, ...]:
        if module not in self._suspected:
            self._suspected[module] = import_suspects(self.project, module)
        return self._suspected[module]

    def content(self, path: Path) -> str:
        """The digest of a file, or of all files below a folder; `missing` if there is nothing."""
        try:
            if not path.is_dir():
                return self.analyses.digest(path)
        except FileNotFoundError:
            return "missing"
        except OSError as error:
            raise GraphError(f"the declared file `{path}` can't be read: {error.strerror}") from error
        inside = sorted(file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
        rows = [f"{file.relative_to(path).as_posix()}\0{self.analyses.digest(file)}" for file in inside]
        return _short("\0".join(rows))

    def _environment_parts(self, externals: set[str], parts: dict[str, str], unresolved: list[str]) -> None:
        parts["python"] = self.environment.python_minor
        parts["platform"] = self.environment.platform
        parts["threads"] = str(self.threads)
        parts["hash seed"] = os.environ.get("PYTHONHASHSEED", "") or "random"
        if not externals:
            return
        key = tuple(sorted(externals))
        if key not in self._closures:
            found = self._distributions()
            rows = {f"distribution {name}": at for name, at in found.closure(found.distributions_of(key)).items()}
            for name in found.editable:
                if rows.pop(f"distribution {name}", None) is not None:
                    modules = found.modules_of(name) or [name.replace("-", "_")]
                    rows |= {f"module {module} (installed for editing)": self._outside(module) for module in modules}
            for name in key:
                if not found.distributions_of([name]):
                    rows[f"module {name} (outside the project)"] = self._outside(name)
            self._closures[key] = rows
        parts.update(self._closures[key])
        unresolved += [
            f"{part[7:]} belongs to no distribution; its sources count as a whole"
            for part in self._closures[key]
            if part.endswith(" (outside the project)")
        ]

    def _outside(self, name: str) -> str:
        """The digest of a module that no distribution names: an editable install, a folder on PYTHONPATH."""
        from importlib.util import find_spec

        try:
            spec = find_spec(name)
        except (ImportError, ValueError):
            spec = None
        if spec is None:
            return "missing"
        if not spec.submodule_search_locations:
            return self.content(Path(spec.origin)) if spec.origin and os.path.exists(spec.origin) else "built in"
        sources = sorted(file for folder in spec.submodule_search_locations for file in Path(folder).rglob("*.py"))
        return _short(" ".join(self.analyses.digest(file) for file in sources))


def _effect_parts(module: str, units: list[Unit]) -> dict[str, str]:
    """A part for each statement, and one for their order, on which it may depend what they do."""
    digests: dict[str, str] = {}
    for unit in units:
        digests[unit.label] = f"{digests.get(unit.label, '')} {unit.digest}".strip()
    parts = {f"effects {module}: {label}": _short(found) for label, found in digests.items()}
    if len(units) > 1:
        parts[f"{_ORDER}{module}"] = _short("\n".join(unit.label for unit in units))
    return parts


def _short(text: str) -> str:
    return blake3(text.encode("utf-8", "surrogatepass")).hexdigest(16)
