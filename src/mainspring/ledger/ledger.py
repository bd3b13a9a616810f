"""Nodes, edges and events.

A node is a record, not a digest: the same content made twice is two nodes with one content digest. An edge points from
what was made to what it was made from. An event is a state change of a named record; it is never rewritten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

import msgspec

from mainspring import clock
from mainspring.errors import NotFoundError
from mainspring.ledger.actor import Actor, current_actor
from mainspring.store import Database, Transaction, batches

MIGRATIONS = [
    """
    CREATE TABLE node (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, label TEXT NOT NULL, content_digest TEXT, created_at INTEGER NOT NULL
    );
    CREATE INDEX node_by_content ON node (content_digest);
    CREATE INDEX node_by_kind ON node (kind, label);
    CREATE TABLE edge (
        src TEXT NOT NULL, role TEXT NOT NULL, dst TEXT NOT NULL, by_task TEXT, PRIMARY KEY (src, role, dst)
    );
    CREATE INDEX edge_by_dst ON edge (dst, role, src);
    CREATE TABLE event (
        seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, actor TEXT NOT NULL, verified INTEGER NOT NULL,
        kind TEXT NOT NULL, subject TEXT NOT NULL, payload TEXT NOT NULL
    );
    CREATE INDEX event_by_subject ON event (subject, seq)
    """,
]
_BEHIND_IDS = "~"  # sorts behind every character of an id
_NODE = "SELECT id, kind, label, content_digest, created_at FROM node"
CONFIRMED_BY = "confirmed_by"
"""The role of an edge from what stood already to a task that came to the same. Neither came of the other: no walk takes it."""
Direction = Literal["up", "down"]


class Node(msgspec.Struct, frozen=True):
    """A record in the lineage."""

    id: str
    kind: str
    label: str
    content_digest: str | None
    created_at: int


class Edge(msgspec.Struct, frozen=True):
    """`src` was made from, or is part of, `dst`; `role` says how, `by_task` which task recorded it."""

    src: str
    role: str
    dst: str
    by_task: str | None


class Event(msgspec.Struct, frozen=True):
    """A state change: when (microseconds), by whom, of what."""

    seq: int
    at: int
    actor: str
    verified: bool
    kind: str
    subject: str
    payload: dict[str, Any]


Follow = Callable[[Edge], bool]


class Ledger:
    """The record of a workspace. Writes go into the caller's transaction; reads see what was committed."""

    def __init__(self, database: Database) -> None:
        self.database = database
        database.migrate("ledger", MIGRATIONS)

    def node(
        self, tx: Transaction, kind: str, node_id: str, label: str = "", content_digest: str | None = None
    ) -> None:
        """Record a node; one that is there stays as it is."""
        tx.execute(
            "INSERT INTO node VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
            (node_id, kind, label, content_digest, clock.now_us()),
        )

    def edge(self, tx: Transaction, src: str, role: str, dst: str, by_task: str | None = None) -> None:
        """Record that `src` was made from `dst`; one that is there stays as it is."""
        tx.execute(
            "INSERT INTO edge VALUES (?, ?, ?, ?) ON CONFLICT (src, role, dst) DO NOTHING", (src, role, dst, by_task)
        )

    def set_aside(self, tx: Transaction, task: str, run: str, attempt: str = "", label: str = "") -> None:
        """Part what an attempt of a task recorded from what the next one will: it goes, as nothing came of it.

        If something did (an edge that the task recorded leads to it, whatever its role), that came of a node of its own from
        here on, a part of the run, which has all that the attempt recorded.
        """
        if not attempt or tx.query_one("SELECT 1 FROM edge WHERE dst = ? AND by_task = ?", (task, task)) is None:
            tx.execute("DELETE FROM edge WHERE src = ? AND by_task = ?", (task, task))
            return
        self.node(tx, "attempt", attempt, label)
        for end in ("src", "dst"):
            tx.execute(f"UPDATE edge SET {end} = ? WHERE {end} = ? AND by_task = ?", (attempt, task, task))
        self.edge(tx, attempt, "part_of", run)

    def part(self, tx: Transaction, src: str, roles: Sequence[str], dst: str) -> bool:
        """Remove the edges of these roles from `src`, if one of them leads to `dst`; False, and nothing goes, if none does."""
        where, params = f"src = ? AND role IN ({', '.join('?' * len(roles))})", [src, *roles]
        if (dst,) not in tx.query(f"SELECT dst FROM edge WHERE {where}", params):
            return False
        tx.execute(f"DELETE FROM edge WHERE {where}", params)
        return True

    def append(
        self,
        tx: Transaction,
        kind: str,
        subject: str,
        payload: dict[str, Any] | None = None,
        actor: Actor | None = None,
    ) -> int:
        """Record an event and give its number. Numbers grow in the order of commits: write transactions are serial."""
        actor = actor or current_actor()
        row = tx.query_one(
            "INSERT INTO event SELECT COALESCE(MAX(seq), 0) + 1, ?, ?, ?, ?, ?, ? FROM event RETURNING seq",
            (
                clock.now_us(),
                actor.name,
                int(actor.verified),
                kind,
                subject,
                msgspec.json.encode(payload or {}).decode(),
            ),
        )
        return int(row[0]) if row else 0

    def last_seq(self) -> int:
        """The number of the newest event; 0 if there is none."""
        row = self.database.query_one("SELECT MAX(seq) FROM event")
        return int(row[0] or 0) if row else 0

    def events(self, after_seq: int = 0, *, subject: str | None = None, limit: int = 1000) -> list[Event]:
        """The events after a cursor, oldest first, at most `limit`."""
        where, params = ("AND subject = ? ", [subject]) if subject else ("", [])
        columns = "seq, at, actor, verified, kind, subject, payload"
        rows = self.database.query(
            f"SELECT {columns} FROM event WHERE seq > ? {where}ORDER BY seq LIMIT ?",
            [after_seq, *params, limit],
        )
        return [
            Event(seq, at, actor, bool(ok), kind, sub, msgspec.json.decode(p))
            for seq, at, actor, ok, kind, sub, p in rows
        ]

    def get_node(self, node_id: str) -> Node:
        """A node by its id; raises `NotFoundError`."""
        nodes = self.nodes([node_id])
        if not nodes:
            raise NotFoundError("node", node_id)
        return nodes[node_id]

    def nodes(self, ids: Iterable[str]) -> dict[str, Node]:
        """The nodes among these ids, by id."""
        found = {}
        for batch, marks in batches(ids):
            rows = self.database.query(f"{_NODE} WHERE id IN ({marks})", batch)
            found.update({row[0]: Node(*row) for row in rows})
        return found

    def same_content(self, content_digest: str) -> list[Node]:
        """Every node with this content, oldest first."""
        rows = self.database.query(f"{_NODE} WHERE content_digest = ? ORDER BY id", (content_digest,))
        return [Node(*row) for row in rows]

    def starting(self, prefix: str, *, limit: int = 2) -> list[Node]:
        """The nodes whose ids begin so, in the order of their ids; two are enough to know that it fits several."""
        rows = self.database.query(
            f"{_NODE} WHERE id >= ? AND id < ? ORDER BY id LIMIT ?", (prefix, prefix + _BEHIND_IDS, limit)
        )
        return [Node(*row) for row in rows]

    def labelled(self, label: str, kinds: Sequence[str]) -> list[Node]:
        """The nodes of these kinds with a label, newest first."""
        marks = ", ".join("?" * len(kinds))
        rows = self.database.query(
            f"{_NODE} WHERE kind IN ({marks}) AND label = ? ORDER BY created_at DESC, id DESC", [*kinds, label]
        )
        return [Node(*row) for row in rows]

    def edges(self, ids: Iterable[str], direction: Direction = "up", *, at_most: int | None = None) -> Iterator[Edge]:
        """The edges that leave these nodes upstream, or enter them from downstream; `at_most` so many of them."""
        end, other = ("src", "dst") if direction == "up" else ("dst", "src")
        tail = "" if at_most is None else f" ORDER BY {end}, role, {other} LIMIT ?"
        left = at_most
        for batch, marks in batches(ids):
            statement = f"SELECT src, role, dst, by_task FROM edge WHERE {end} IN ({marks}){tail}"
            rows = self.database.query(statement, batch if left is None else [*batch, left])
            yield from (Edge(*row) for row in rows)
            if left is not None:
                left -= len(rows)
                if left <= 0:
                    return

    def walk(
        self, start: str, direction: Direction = "up", *, at_most: int | None = None, follow: Follow | None = None
    ) -> list[Edge]:
        """Every edge on the way from a node to all that it came from (or, down, all that came from it), nearest first.

        Breadth first, one query a level: the cost is that of the part that is reached, not of the ledger. It ends with
        `at_most` edges, also within a level, as a dataset version may be used by a hundred thousand tasks. An edge that
        `follow` denies is left out, and what only it leads to.
        """
        return self._onward([], [start], {start}, direction, at_most=at_most, follow=follow)

    def walk_run(self, run: str, *, follow: Follow | None = None) -> list[Edge]:
        """Every edge on the way from a run to all that it came from, through each of its parts: tasks, and runs within it.

        To each part leads an edge `has`, from the run or from the mapped task that it is an item of, in the order of their
        ids. The ledger does not hold these edges; it holds `part_of`, the way back, and of that none to the run is given.
        """

        def goes(edge: Edge) -> bool:
            return edge.dst != run and (follow is None or follow(edge))

        own = [edge for edge in self.edges([run]) if goes(edge)]
        parts = sorted(edge.src for edge in self.edges([run], "down") if edge.role == "part_of")
        holders = {edge.src: edge.dst for edge in self.edges(parts) if edge.role == "part_of" and edge.dst != run}
        has = [Edge(holders.get(part, run), "has", part, None) for part in parts]
        level = list(dict.fromkeys([*(edge.dst for edge in own), *parts]))
        return self._onward([*own, *has], level, {run, *level}, "up", follow=goes)

    def _onward(
        self, walked: list[Edge], level: list[str], seen: set[str], direction: Direction, *,
        at_most: int | None = None, follow: Follow | None = None,
    ) -> list[Edge]:  # fmt: skip
        left = at_most
        while level and left != 0:
            following = []
            for edge in self.edges(level, direction, at_most=left):
                if left is not None:
                    left -= 1
                if edge.role == CONFIRMED_BY or (follow is not None and not follow(edge)):
                    continue
                walked.append(edge)
                other = edge.dst if direction == "up" else edge.src
                if other not in seen:
                    seen.add(other)
                    following.append(other)
            level = following
        return walked

    def path(self, src: str, dst: str) -> list[Edge] | None:
        """A shortest way upstream from `src` to `dst`; empty if they are one, None if there is none."""
        came: dict[str, Edge] = {}
        if src == dst:
            return []
        level = [src]
        while level:
            following = []
            for edge in self.edges(level):
                if edge.role == CONFIRMED_BY or edge.dst in came or edge.dst == src:
                    continue
                came[edge.dst] = edge
                if edge.dst == dst:
                    return _traced(came, src, dst)
                following.append(edge.dst)
            level = following
        return None


def _traced(came: dict[str, Edge], src: str, dst: str) -> list[Edge]:
    steps = []
    while dst != src:
        steps.append(came[dst])
        dst = came[dst].src
    return steps[::-1]
