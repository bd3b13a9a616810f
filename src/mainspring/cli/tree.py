"""How a lineage is drawn: a branch for each edge, in words that fit the direction; siblings that are alike as one branch."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from mainspring.cli import text

if TYPE_CHECKING:
    from mainspring.ledger import Edge, Node

_SHOWN_ID = 16  # what one process makes within a millisecond shares the first digits
_MOST_ALIKE = 5
_MOST_SOURCES = 20
_SOURCES = ("source_file", "source_folder", "source_address", "code")
_INDEX = re.compile(r"\[(\d+)\](?=[^\[\]]*$)")
# Roles are named from what was made to what it was made from; the second word is the way back.
_WORDS = {
    "made_by": ("made by", "made"),
    "made_within": ("made within", "made"),
    "answered_by": ("answered by", "answered"),
    "uses": ("uses", "used by"),
    "checkpoint_of": ("checkpoint of", "kept the checkpoint"),
    "part_of": ("part of", "has"),
    "has": ("has", "part of"),
    "reused": ("reused", "reused by"),
    "ran": ("ran", "run by"),
    "logged_by": ("logged by", "logged"),
    "converted_from": ("converted from", "converted into"),
    "materialized_from": ("materialized from", "materialized into"),
    "of": ("of", "has"),
    "trained_on": ("trained on", "trained"),
    "binds": ("binds", "bound by"),
    "reads": ("read", "read by"),
    "follows": ("follows", "followed by"),
    "read_from": ("read from", "read into"),
    "lies_in": ("lies in", "holds"),
    "set_apart_from": ("set apart from", "set apart into"),
    "split_by": ("split by", "split into"),
    "replays": ("replays", "replayed by"),
    "is": ("is", "known as"),
}


class _Branch(msgspec.Struct, frozen=True):
    """An edge as it is drawn: its word, where it leads, as which parameter; and how many it stands for, which items."""

    word: str
    node: str
    parameter: str = ""
    count: int = 1
    items: tuple[int, int] | None = None


class Tree:
    """What came from, or led to, one node.

    With `everything`, siblings that are alike, such as the tasks of a mapped step, are drawn one by one. `removed` are the
    nodes whose data is kept no longer.
    """

    def __init__(
        self, edges: Sequence[Edge], nodes: dict[str, Node], *, down: bool = False, everything: bool = False,
        removed: Collection[str] = (),
    ) -> None:  # fmt: skip
        self._nodes = nodes
        self._removed = removed
        self._down = down
        self._everything = everything
        self._room = text.columns()
        self._items = {edge.src for edge in edges if edge.role == "part_of" and nodes[edge.dst].kind == "task"}
        self._following: dict[str, list[tuple[str, str]]] = {}
        for edge in edges:
            here, there = (edge.dst, edge.src) if down else (edge.src, edge.dst)
            self._following.setdefault(here, []).append((edge.role, there))

    def lines(self, start: str, depth: int) -> Iterator[str]:
        """The tree, depth first; what was drawn is not drawn again."""
        yield self.line("", self._nodes[start])
        seen = {start}
        # With a stack: a chain of artifacts may be longer than Python recurses.
        stack = [("", iter(self._branches(start, seen)))]
        while stack:
            indent, branches = stack[-1]
            found = next(branches, None)
            if found is None:
                stack.pop()
                continue
            branch, is_last = found
            fork, under = ("└─ ", "   ") if is_last else ("├─ ", "│  ")
            again = branch.node in seen
            more = self._branches(branch.node, seen) if len(stack) < depth else []
            note = "" if not more else "shown above" if again else "below, the first" if branch.count > 1 else ""
            yield self.line(f"{indent}{fork}{branch.word} ", self._nodes[branch.node], branch, note)
            if not again:
                seen.add(branch.node)
            if more and not again:
                stack.append((indent + under, iter(more)))

    def sources(self) -> Iterator[str]:
        """Where it all began, with digests."""
        found = [node for node in self._nodes.values() if node.kind in _SOURCES]
        found.sort(key=lambda node: (node.kind, node.label))
        shown = found if self._everything else found[:_MOST_SOURCES]
        if not shown:
            return
        yield from ("", text.bold("It comes from"))
        width = max(len(node.label) for node in shown)
        digits = 64 if self._room is None or self._room >= 13 + width + 64 else text.ID_LENGTH
        if self._room is not None:
            width = min(width, max(self._room - 13 - digits, 2 * text.ID_LENGTH))
        for node in shown:
            digest = text.dim((node.content_digest or "")[:digits])
            yield f"  {_kind(node).ljust(7)}  {_cut(node.label, width).ljust(width)}  {digest}"
        if len(found) > len(shown):
            yield text.dim(f"  … {len(found) - len(shown):,} more; `--all` shows them")

    def _branches(self, node: str, seen: set[str]) -> list[tuple[_Branch, bool]]:
        """The ways on from a node, each with whether it is the last.

        That each task is part of the run is said once; of the tasks of a mapped step, the step says it.
        """
        groups: dict[tuple[str, str, str], list[str]] = {}
        for role, other in self._following.get(node, ()):
            if not self._is_said(role, node, other, seen):
                groups.setdefault((role, self._nodes[other].kind, _stem(self._nodes[other])), []).append(other)
        branches = [branch for (role, *_), others in groups.items() for branch in self._folded(role, others)]
        return [(branch, place == len(branches) - 1) for place, branch in enumerate(branches)]

    def _is_said(self, role: str, node: str, other: str, seen: set[str]) -> bool:
        if role != "part_of":
            return False
        return other in (self._items if self._down and self._nodes[node].kind == "run" else seen)

    def _folded(self, role: str, others: list[str]) -> list[_Branch]:
        role, _, parameter = role.partition(":")
        word = role_in_words(role, down=self._down)
        others.sort(key=lambda other: _index(self._nodes[other]) or 0)
        if self._everything or len(others) <= _MOST_ALIKE:
            return [_Branch(word, other, parameter) for other in others]
        first, last = _index(self._nodes[others[0]]), _index(self._nodes[others[-1]])
        items = None if first is None or last is None else (first, last)
        return [_Branch(word, others[0], parameter, len(others), items)]

    def line(self, lead: str, node: Node, branch: _Branch | None = None, note: str = "") -> str:
        """One node behind its branch; in a terminal what is too long loses digests first, then digits of its id."""
        name, digest = node.label or text.short(node.id), node.content_digest
        if branch is not None and branch.items is not None:
            name = _INDEX.sub(f"[{branch.items[0]}…{branch.items[1]}]", name)
        if branch is not None and branch.parameter:
            name += f" as {branch.parameter}"
        kind = _kind(node)
        kind = "" if name.startswith(f"{kind} of ") else f"{kind} "  # the code of a pipeline is called so
        if branch is not None and branch.count > 1:
            ends = [f"{branch.count:,} {_kind(node)}s" + (f" ({note})" if note else "")]
        else:
            content = f"  content {digest[:12]}" if digest else ""
            note = f"  ({note})" if note else ""
            if node.id in self._removed:
                note += "  (removed)"
            ends = [f"{node.id[:_SHOWN_ID]}{content}{note}", f"{node.id[:_SHOWN_ID]}{note}", node.id[: text.ID_LENGTH]]
        room = None if self._room is None else self._room - len(lead) - len(kind)
        end = next((end for end in ends if room is None or len(name) + 2 + len(end) <= room), ends[-1])
        if room is not None:
            name = _cut(name, max(room - 2 - len(end), text.ID_LENGTH))
        return f"{text.dim(lead)}{kind}{text.bold(name)}{text.dim('  ' + end)}"


def way(start: str, path: Sequence[Edge], nodes: dict[str, Node], removed: Collection[str] = ()) -> Iterator[str]:
    """A way from one node to another, a line for each step."""
    tree = Tree(path, nodes, removed=removed)
    yield tree.line("", nodes[start])
    for edge in path:
        yield tree.line(f"  {role_in_words(edge.role)} → ", nodes[edge.dst])


def role_in_words(role: str, *, down: bool = False) -> str:
    """What an edge says, read from what was made, or `down`, from what it was made from.

    >>> role_in_words("made_by"), role_in_words("made_by", down=True), role_in_words("uses:table")
    ('made by', 'made', 'uses')
    """
    name = role.partition(":")[0]
    up, back = _WORDS.get(name, (name.replace("_", " "), f"is what it {name.replace('_', ' ')}:"))
    return back if down else up


def _cut(name: str, width: int) -> str:
    """A name in so many characters; of a path, the end is what tells."""
    return "…" + name[len(name) - width + 1 :] if "/" in name and len(name) > width else text.fitted(name, width)


def _kind(node: Node) -> str:
    return node.kind.removeprefix("source_").replace("_", " ")


def _stem(node: Node) -> str:
    return _INDEX.sub("[]", node.label)


def _index(node: Node) -> int | None:
    found = _INDEX.search(node.label)
    return int(found[1]) if found else None
