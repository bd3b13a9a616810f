"""Laws of the record: nodes stay as they are, walks find what a search by hand finds, events are whole and in order."""

from __future__ import annotations

import itertools
import random

import pytest

from mainspring.errors import NotFoundError
from mainspring.ledger import Actor, Edge, Ledger, acting, new_id
from mainspring.store import open_database


def record(ledger: Ledger, pairs: list[tuple[str, str]]) -> None:
    with ledger.database.transaction() as tx:
        for name in {name for pair in pairs for name in pair}:
            ledger.node(tx, "artifact", name)
        for src, dst in pairs:
            ledger.edge(tx, src, "input", dst)


def test_a_node_is_recorded_once_and_stays_as_it_is(ledger: Ledger) -> None:
    for label in ("first", "second"):
        with ledger.database.transaction() as tx:
            ledger.node(tx, "artifact", "a", label, content_digest="d")
    node = ledger.get_node("a")
    assert (node.kind, node.label, node.content_digest) == ("artifact", "first", "d")
    with pytest.raises(NotFoundError, match="b"):
        ledger.get_node("b")


def test_one_content_may_be_many_nodes(ledger: Ledger) -> None:
    with ledger.database.transaction() as tx:
        for name, digest in (("b", "same"), ("a", "same"), ("c", "other"), ("d", None)):
            ledger.node(tx, "artifact", name, content_digest=digest)
    assert [node.id for node in ledger.same_content("same")] == ["a", "b"]


def test_nodes_are_found_by_the_beginning_of_their_id(ledger: Ledger) -> None:
    with ledger.database.transaction() as tx:
        for name in ("abc1", "abc2", "abc3", "ABC4", "ab", "abd"):
            ledger.node(tx, "artifact", name)
    assert [node.id for node in ledger.starting("abc")] == ["abc1", "abc2"]
    assert [node.id for node in ledger.starting("abc", limit=9)] == ["abc1", "abc2", "abc3"]
    assert [node.id for node in ledger.starting("abc2")] == ["abc2"]
    assert [node.id for node in ledger.starting("ab", limit=1)] == ["ab"]
    assert ledger.starting("b") == ledger.starting("%") == []


def test_nodes_are_found_by_label_newest_first(ledger: Ledger) -> None:
    for name, kind, label in (
        ("a", "file", "x"),
        ("b", "file", "x"),
        ("c", "address", "x"),
        ("d", "task", "x"),
        ("e", "file", "y"),
    ):
        with ledger.database.transaction() as tx:
            ledger.node(tx, kind, name, label)
    assert [node.id for node in ledger.labelled("x", ("file", "address"))] == ["c", "b", "a"]
    assert ledger.labelled("X", ("file",)) == []


def test_what_the_caller_undoes_was_never_recorded(ledger: Ledger) -> None:
    def fail() -> None:
        with ledger.database.transaction() as tx:
            ledger.node(tx, "artifact", "a")
            ledger.edge(tx, "a", "input", "b")
            ledger.append(tx, "made", "a")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert ledger.nodes(["a"]) == {}
    assert ledger.walk("a") == []
    assert ledger.events() == []


def test_an_edge_is_recorded_once_for_each_role(ledger: Ledger) -> None:
    with ledger.database.transaction() as tx:
        for role, task in (("input", "t1"), ("input", "t2"), ("model", None)):
            ledger.edge(tx, "a", role, "b", by_task=task)
    edges = sorted(ledger.edges(["a"]), key=lambda edge: edge.role)
    assert edges == [Edge("a", "input", "b", "t1"), Edge("a", "model", "b", None)]


def test_all_that_came_of_an_attempt_is_parted_from_what_comes_of_the_next(ledger: Ledger) -> None:
    def linked(*, down: bool) -> dict[str, set[tuple[str, str]]]:
        edges = ledger.edges(["task", "one", "two"], "down" if down else "up")
        found: dict[str, set[tuple[str, str]]] = {}
        for edge in edges:
            here, other = (edge.dst, edge.src) if down else (edge.src, edge.dst)
            found.setdefault(here, set()).add((edge.role, other))
        return found

    own = ("part_of", "run")
    with ledger.database.transaction() as tx:
        ledger.node(tx, "task", "task")
        ledger.edge(tx, "task", "part_of", "run")
        ledger.edge(tx, "item", "part_of", "task")
        ledger.edge(tx, "task", "reads", "a", "task")
        ledger.set_aside(tx, "task", "run", "one", "1 of task")
    assert linked(down=False) == {"task": {own}}
    roles = {"made_by", "checkpoint_of", "logged_by", "what_comes_later"}
    with ledger.database.transaction() as tx:
        ledger.edge(tx, "task", "reads", "b", "task")
        for role in roles:
            ledger.edge(tx, f"of {role}", role, "task", "task")
        ledger.set_aside(tx, "task", "run", "two", "2 of task")
        ledger.edge(tx, "task", "reads", "c", "task")
    assert linked(down=False) == {"task": {own, ("reads", "c")}, "two": {own, ("reads", "b")}}
    assert linked(down=True) == {"task": {("part_of", "item")}, "two": {(role, f"of {role}") for role in roles}}
    assert (ledger.get_node("two").kind, ledger.get_node("two").label) == ("attempt", "2 of task")


def test_walks_and_paths_agree_with_a_search_by_hand(ledger: Ledger) -> None:
    chance = random.Random(11)
    names = [f"n{number:02}" for number in range(40)]
    pairs = sorted({(chance.choice(names), chance.choice(names)) for _ in range(70)})
    record(ledger, pairs)
    for start in names:
        for direction, (here, there) in {"up": (0, 1), "down": (1, 0)}.items():
            reached, level = {start}, {start}
            while level:
                level = {pair[there] for pair in pairs if pair[here] in level} - reached
                reached |= level
            expected = {pair for pair in pairs if pair[here] in reached}
            assert {(edge.src, edge.dst) for edge in ledger.walk(start, direction)} == expected  # type: ignore[arg-type]  # a parameter of the test
    for _ in range(60):
        src, dst = chance.choice(names), chance.choice(names)
        path = ledger.path(src, dst)
        steps = distance(pairs, src, dst)
        assert (None if path is None else len(path)) == steps
        if path:
            assert (path[0].src, path[-1].dst) == (src, dst)
            assert all(first.dst == second.src for first, second in itertools.pairwise(path))


def distance(pairs: list[tuple[str, str]], src: str, dst: str) -> int | None:
    reached, steps = {src}, 0
    while dst not in reached:
        further = reached | {there for here, there in pairs if here in reached}
        if further == reached:
            return None
        reached, steps = further, steps + 1
    return steps


def test_a_walk_of_more_nodes_than_a_statement_takes(ledger: Ledger) -> None:
    record(ledger, [("top", f"leaf{number}") for number in range(1_000)])
    assert len(ledger.walk("top")) == 1_000
    assert len(ledger.nodes(f"leaf{number}" for number in range(1_000))) == 1_000


def test_events_are_numbered_in_order_and_say_who(ledger: Ledger) -> None:
    with acting(Actor("ada", verified=True)), ledger.database.transaction() as tx:
        first = ledger.append(tx, "made", "a", {"text": "ä😀", "n": [1, None]})
    with ledger.database.transaction() as tx:
        second = ledger.append(tx, "made", "b")
        third = ledger.append(tx, "moved", "a", actor=Actor("bob"))
    assert first < second < third
    events = ledger.events()
    assert [(event.seq, event.kind, event.subject) for event in events] == [
        (first, "made", "a"),
        (second, "made", "b"),
        (third, "moved", "a"),
    ]
    assert (events[0].actor, events[0].verified, events[0].payload) == ("ada", True, {"text": "ä😀", "n": [1, None]})
    assert not events[1].verified
    assert [event.seq for event in ledger.events(first, limit=1)] == [second]
    assert [event.seq for event in ledger.events(subject="a")] == [first, third]
    assert ledger.events(third) == []


def test_a_second_view_of_the_ledger_sees_what_was_committed(ledger: Ledger, database_url: str) -> None:
    record(ledger, [("a", "b")])
    other = open_database(database_url)
    assert [edge.dst for edge in Ledger(other).walk("a")] == ["b"]
    other.close()


def test_ids_of_one_process_strictly_increase() -> None:
    ids = [new_id() for _ in range(2_000)]
    assert ids == sorted(set(ids))
    assert {len(made) for made in ids} == {32}
