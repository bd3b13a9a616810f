"""Nodes, edges and events.

A node is a record, not a digest: the same content made twice is two nodes with one content digest. An edge points from
what was made to what it was made from. An event is a state change of a named record; it is never rewritten.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

import msgspec

from mainspring import clock
from mainspring.errors import NotFoundError
from mainspring.ledger.actor import Actor, current_actor
from mainspring.store import Database, Transaction

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
_BATCH = 400  # placeholders in one statement
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
        for batch in _batches(ids):
            marks = ", ".join("?" * len(batch))
            rows = self.database.query(
                f"SELECT id, kind, label, content_digest, created_at FROM node WHERE id IN ({marks})", batch
            )
            found.update({row[0]: Node(*row) for row in rows})
        return found

    def same_content(self, content_digest: str) -> list[Node]:
        """Every node with this content, oldest first."""
        rows = self.database.query(
            "SELECT id, kind, label, content_digest, created_at FROM node WHERE content_digest = ? ORDER BY id",
            (content_digest,),
        )
        return [Node(*row) for row in rows]

    def edges(self, ids: Iterable[str], direction: Direction = "up") -> Iterator[Edge]:
        """The edges that leave these nodes upstream, or enter them from downstream."""
        end = "src" if direction == "up" else "dst"
        for batch in _batches(ids):
            marks = ", ".join("?" * len(batch))
            for row in self.database.query(f"SELECT src, role, dst, by_task FROM edge WHERE {end} IN ({marks})", batch):
                yield Edge(*row)

    def walk(self, start: str, direction: Direction = "up", *, at_most: int | None = None) -> list[Edge]:
        """Every edge on the way from a node to all that it came from (or, down, all that came from it), nearest first.

        Breadth first, one query a level: the cost is that of the part that is reached, not of the ledger. With `at_most`
        it ends after the level in which so many edges were reached.
        """
        seen, level = {start}, [start]
        walked: list[Edge] = []
        while level and (at_most is None or len(walked) < at_most):
            following = []
            for edge in self.edges(level, direction):
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
                if edge.dst in came or edge.dst == src:
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


def _batches(ids: Iterable[str]) -> Iterator[list[str]]:
    everything = list(ids)
    for start in range(0, len(everything), _BATCH):
        yield everything[start : start + _BATCH]
