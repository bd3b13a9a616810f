"""Walks and shortest paths of any graph agree with a search of all its edges."""

from __future__ import annotations

import random
from collections import deque
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.ledger import Ledger
from mainspring.store import open_database


def record(ledger: Ledger, edges: list[tuple[str, str]]) -> None:
    with ledger.database.transaction() as tx:
        for src, dst in edges:
            ledger.node(tx, "thing", src)
            ledger.node(tx, "thing", dst)
            ledger.edge(tx, src, "from", dst)


def reached(edges: list[tuple[str, str]], start: str) -> dict[str, int]:
    """Distance of everything upstream, the obvious way."""
    found, line = {start: 0}, deque([start])
    while line:
        at = line.popleft()
        for src, dst in edges:
            if src == at and dst not in found:
                found[dst] = found[at] + 1
                line.append(dst)
    return found


def check(ledger: Ledger, edges: list[tuple[str, str]], names: list[str]) -> None:
    turned = [(dst, src) for src, dst in edges]
    for start in names:
        up, down = reached(edges, start), reached(turned, start)
        assert {edge.dst for edge in ledger.walk(start)} | {start} == set(up)
        assert {edge.src for edge in ledger.walk(start, "down")} | {start} == set(down)
        for goal in names:
            path = ledger.path(start, goal)
            if goal not in up:
                assert path is None
                continue
            assert path is not None
            assert len(path) == up[goal]
            stations = [start, *(edge.dst for edge in path)]
            assert stations[-1] == goal
            assert all(pair in edges for pair in pairwise(stations))


def test_walks_and_shortest_paths_agree_with_a_search_of_all_edges(ledger: Ledger) -> None:
    draw = random.Random(7)
    names = [f"n{i:02}" for i in range(24)]
    edges = sorted({(draw.choice(names), draw.choice(names)) for _ in range(45)})
    record(ledger, edges)
    check(ledger, edges, names)


@pytest.mark.one_backend("the two answer alike, and a schema for each example would take minutes")
@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("abcdefgh")), max_size=16, unique=True))
def test_walks_of_any_graph_agree(tmp_path_factory: pytest.TempPathFactory, edges: list[tuple[str, str]]) -> None:
    database = open_database(f"sqlite://{tmp_path_factory.mktemp('ledger')}/state.db")
    try:
        ledger = Ledger(database)
        record(ledger, edges)
        check(ledger, edges, list("abcdefgh"))
    finally:
        database.close()


@pytest.mark.parametrize("at_most", [0, 1, 7, 450, 1_500])
def test_a_bounded_walk_ends_with_so_many_edges_also_within_a_level(ledger: Ledger, at_most: int) -> None:
    names = [f"n{i:04}" for i in range(1000)]
    record(ledger, [(name, "hub") for name in names] + [("end", name) for name in names])
    walked = ledger.walk("hub", "down", at_most=at_most)
    assert len(walked) == at_most
    assert walked == ledger.walk("hub", "down", at_most=2_000)[:at_most]
    assert ledger.walk("nowhere", "down", at_most=at_most) == []


def test_an_edge_that_is_not_followed_leads_nowhere(ledger: Ledger) -> None:
    record(ledger, [("a", "b"), ("b", "c"), ("a", "d"), ("d", "e"), ("c", "e")])
    walked = ledger.walk("a", follow=lambda edge: edge.dst != "b")
    assert [(edge.src, edge.dst) for edge in walked] == [("a", "d"), ("d", "e")]


def test_a_run_came_from_what_its_parts_came_from(ledger: Ledger) -> None:
    with ledger.database.transaction() as tx:
        for src, role, dst in (
            ("run", "ran", "code"), ("t1", "part_of", "run"), ("t2", "part_of", "run"), ("t2.0", "part_of", "run"),
            ("t2.0", "part_of", "t2"), ("t1", "reads", "data"), ("t2.0", "uses", "out"), ("out", "made_by", "t1"),
            ("data", "read_from", "file"), ("code", "lies_in", "old"), ("next", "uses", "out"),
        ):  # fmt: skip
            ledger.edge(tx, src, role, dst)
    walked = [(edge.src, edge.role, edge.dst) for edge in ledger.walk_run("run")]
    assert walked[:4] == [("run", "ran", "code"), ("run", "has", "t1"), ("run", "has", "t2"), ("t2", "has", "t2.0")]
    assert sorted(walked[4:]) == [
        ("code", "lies_in", "old"), ("data", "read_from", "file"), ("out", "made_by", "t1"), ("t1", "reads", "data"),
        ("t2.0", "part_of", "t2"), ("t2.0", "uses", "out"),
    ]  # fmt: skip
    followed = ledger.walk_run("run", follow=lambda edge: edge.dst not in ("code", "data"))
    assert {edge.dst for edge in followed} == {"t1", "t2", "t2.0", "out"}


def test_a_walk_crosses_more_nodes_than_one_statement_takes(ledger: Ledger) -> None:
    names = [f"n{i:04}" for i in range(1000)]
    record(ledger, [("start", name) for name in names] + [(name, "end") for name in names])
    assert len(ledger.walk("start")) == 2000
    assert len(ledger.walk("end", "down")) == 2000
    path = ledger.path("start", "end")
    assert path is not None
    assert len(path) == 2
