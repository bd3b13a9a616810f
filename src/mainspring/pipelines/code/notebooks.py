"""What modules of a project hold of a notebook, and caches that hold what came of a notebook's earlier code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import FunctionType, ModuleType

from mainspring.pipelines.code.caches import caches
from mainspring.pipelines.code.contents import attribute_of, dict_of
from mainspring.pipelines.code.facts import NOT_REUSABLE
from mainspring.pipelines.code.reads import shown_part
from mainspring.pipelines.code.state import Definitions, home_of_value

_Function = Callable[..., object]


class OfNotebook(Definitions):
    """Tells what a module of the project holds of a notebook by all that it reaches.

    `fingerprint` gives the digest of a function's fingerprint and its notes.
    """

    def __init__(self, fingerprint: Callable[[_Function], tuple[str, Sequence[str]]], answers: OldAnswers) -> None:
        self._fingerprint = fingerprint
        self._answers = answers
        self._problems: list[str] = []
        self._known: dict[int, tuple[str, object]] = {}

    def refer(self, value: FunctionType | type | ModuleType) -> str | None:
        """The name, and of a notebook's function or class the digest of its fingerprint."""
        if isinstance(value, ModuleType) or home_of_value(value) != "__main__":
            return super().refer(value)
        if id(value) not in self._known:
            digest, notes = self._fingerprint(value)
            self._problems += [each[len(NOT_REUSABLE) :] for each in notes if each.startswith(NOT_REUSABLE)]
            self._known[id(value)] = f"{value.__qualname__} {digest}", value
        return self._known[id(value)][0]

    def kept(self, cache: object) -> None:
        """Note what may keep something of its calls."""
        self._problems += self._answers.of([cache])

    def problems(self) -> list[str]:
        """What can't be told of the notebook's functions and classes."""
        found, self._problems = self._problems, []
        self._known.clear()
        return found


class OldAnswers:
    """Finds caches that may give what their code, as it is now, would not. `reached` gives what a function stands on."""

    def __init__(self, reached: Callable[[_Function], Mapping[str, str]]) -> None:
        self._reached = reached
        self._asked: set[int] = set()  # a cache may be reached by what it is around

    def of(self, found: Iterable[object]) -> list[str]:
        """Which of these caches do, one line each."""
        return [
            note
            for cache in {id(each): each for each in found}.values()
            if id(cache) not in self._asked
            for note in self._note(cache)
        ]

    def _note(self, cache: object) -> Iterator[str]:
        self._asked.add(id(cache))
        inner = dict_of(cache)["__wrapped__"]
        changed = caches().changed(cache, self._reached(inner))
        self._asked.discard(id(cache))
        if changed:
            name = attribute_of(inner, "__qualname__", type(inner).__qualname__)
            yield f"`{name}` may keep what it gave before {shown_part(changed[0])} changed; define it again"
