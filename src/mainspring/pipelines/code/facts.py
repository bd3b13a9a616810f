"""What the analysis of one module finds, in the form that is kept on disk between processes.

Pure data: reading a cached analysis needs no parser. A module is cut into units, one per module-level statement.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

DEFINITION, CONSTANT, EFFECT = "definition", "constant", "effect"
NOT_REUSABLE = "not reusable: "
"""How a note begins that keeps a result from being taken by later runs."""
MARKED, TABLES, WORDS = "marked", "tables", "words"
"""Which names in a text are meant: those after `@`, those where SQL takes a table, or all."""
_MENTION = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*[.:][^\W\d]\w*(?:\.[^\W\d]\w*)*")


class Import(msgspec.Struct, frozen=True, array_like=True):
    """One imported name. `loads` is the module that the statement runs, `module` and `name` what the alias stands for.

    An empty `name` means the module itself, `*` a star import. An import inside a function has `local` set.
    """

    alias: str
    loads: str
    module: str
    name: str
    local: bool

    @property
    def target(self) -> str:
        """What the alias stands for, as one dotted name."""
        return f"{self.module}.{self.name}" if self.name else self.module


class Suspect(msgspec.Struct, frozen=True, array_like=True, order=True):
    """A call that looks like reading, as `env:NAME` or `file:line: call`.

    Where only the name of what is called, `of`, looks so, a function of the project is judged by its body instead.
    """

    text: str
    of: str = ""


class Asked(msgspec.Struct, frozen=True, array_like=True):
    """The dotted names in texts that may be put together: those after `@`, `*` for an `@` at a part's end, and all words.

    `arguments` are the names by which calls are given arguments; they may stand after an `@` alone, not for a table.
    """

    marked: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()


class LookUp(msgspec.Struct, frozen=True, array_like=True):
    """A use of what looks names of these `kinds` up in texts, called `by`.

    `texts` are those that it is told to be given, in which a name between NULs stands for a told text; with `is_open`,
    it may be given others. `own` are the names that the function around it binds, each with the imports that it stands
    for. With `is_wide`, names are looked up in what called it too.
    """

    by: str
    kinds: tuple[str, ...]
    texts: tuple[str, ...] = ()
    own: tuple[tuple[str, tuple[str, ...]], ...] = ()
    is_open: bool = True
    is_wide: bool = False

    def at_top(self, names: Iterable[str]) -> set[str]:
        """What names in its texts are at the top of its module; nothing for what the function around it binds."""
        own = dict(self.own)
        found = ((root, dot, rest) for root, dot, rest in (name.partition(".") for name in names))
        return {f"{key}{dot}{rest}" for root, dot, rest in found for key in own.get(root, (root,))}


class Unit(msgspec.Struct, frozen=True, array_like=True):
    """One module-level statement: what it binds, what it says, and which names it uses.

    `references` are dotted names as written. `dynamic` holds "scope:reason" pairs, where the scope is `own` (names of
    this module can't be resolved), `all` (nor those of any project module) or `subclasses`. `after` counts the effects
    before a computed constant, because their order decides its value. `registers`: making a subclass runs code.
    `formulas` are functions that its texts call as formulas; `asked` are names in its texts but for those that are only told
    to people, `look_ups` what looks names up in texts, and `told` the texts one of which the names that it binds stand for,
    written as in a `LookUp`; none if that can't be told.
    `reads` are the calls that look like reading where the statement is executed, `bodies` those in its functions; `calls` are
    the names that it calls when it is executed. `changes` are the names of what it changes then, `body_changes` those of what
    its functions change, and what it binds may be one of `stands_for`.
    `label` is what people know a statement with an effect by. `makes` is the class of which the statement only makes an
    object, for the names that it binds; `keeps` says of a class that making one only keeps what it is given.
    `mark` is `step` or `pipeline` for a function that is one.
    """

    kind: str
    binds: tuple[str, ...]
    digest: str
    references: tuple[str, ...] = ()
    dynamic: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    problem: str = ""
    bases: tuple[str, ...] = ()
    registers: bool = False
    after: int = 0
    mentions: tuple[str, ...] = ()
    formulas: tuple[str, ...] = ()
    asked: Asked = Asked()
    look_ups: tuple[LookUp, ...] = ()
    told: tuple[str, ...] = ()
    reads: tuple[Suspect, ...] = ()
    bodies: tuple[Suspect, ...] = ()
    calls: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    body_changes: tuple[str, ...] = ()
    stands_for: tuple[str, ...] = ()
    label: str = ""
    makes: str = ""
    keeps: bool = False
    mark: str = ""


class ModuleFacts(msgspec.Struct, frozen=True, array_like=True):
    """All units and imports of one module, and for each name the units and imports that bind it.

    `codes` maps a function's qualified name to the digests of the code that its source compiles to; `decorated` are
    the functions and classes under a decorator, `optional` those that are defined under a condition. `held` are the
    sources of what names and attributes are set to, and of a function's defaults as a dict under `name()`; empty where
    evaluating it again might do or give something else.
    """

    name: str
    package: bool
    units: tuple[Unit, ...]
    imports: tuple[Import, ...]
    bound: dict[str, tuple[int, ...]]
    imported: dict[str, tuple[int, ...]]
    codes: dict[str, tuple[str, ...]]
    decorated: tuple[str, ...]
    optional: tuple[str, ...]
    digest: str
    held: dict[str, str] = {}


def is_mention(text: str) -> bool:
    """Whether a text may name a definition, as in `Metric("cost", "binary", False, "costs:mean_cost")`.

    >>> is_mention("costs:mean_cost"), is_mention("pkg.costs.mean_cost"), is_mention("costs"), is_mention("a: b")
    (True, True, False, False)
    """
    return len(text) < 200 and ("." in text or ":" in text) and _MENTION.fullmatch(text) is not None
