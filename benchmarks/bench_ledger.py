"""A walk and a shortest path in a ledger of a million edges, against the rows it must read at least.

The floor, measured in the same run, reads the same edges by one indexed query for each node that is reached. A hub is a
dataset version that a tenth as many tasks read, each with an output: a bounded walk from it must keep the budget, a whole
one is held against one query for all the edges at the hub. `--small` runs it once, on a few thousand edges.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Callable

from mainspring.ledger import Ledger
from mainspring.store import open_database

BUDGET_MS = 50
BOUND = 1_000  # edges, of a bounded walk
_FANOUT, _STATIONS = 3, 40  # what a run of forty steps looks like, each with three inputs


def build(ledger: Ledger, edges: int) -> tuple[str, str]:
    """Many runs side by side, each a layered graph; gives the newest node of one and a source of it."""
    draw = random.Random(5)
    rows, runs = [], edges // (_STATIONS * _FANOUT)
    for run in range(runs):
        for station in range(1, _STATIONS + 1):
            targets = draw.sample(range(max(0, station - 6), station), min(_FANOUT, station))
            rows += [(f"{run:08x}{station:04x}", "uses", f"{run:08x}{target:04x}", None) for target in targets]
    with ledger.database.transaction() as tx:
        tx.executemany("INSERT INTO edge VALUES (?, ?, ?, ?) ON CONFLICT (src, role, dst) DO NOTHING", rows)
    middle = runs // 2
    return f"{middle:08x}{_STATIONS:04x}", f"{middle:08x}{0:04x}"


def build_hub(ledger: Ledger, tasks: int) -> str:
    """A dataset version that many tasks read; gives its node."""
    rows = [(f"task{task:08x}", "reads", "hub", None) for task in range(tasks)]
    rows += [(f"out{task:08x}", "made_by", f"task{task:08x}", None) for task in range(tasks)]
    with ledger.database.transaction() as tx:
        tx.executemany("INSERT INTO edge VALUES (?, ?, ?, ?) ON CONFLICT (src, role, dst) DO NOTHING", rows)
    return "hub"


def best_ms(call: Callable[[], object], rounds: int) -> float:
    """The best of some rounds, in milliseconds."""
    spent = []
    for _ in range(rounds):
        started = time.perf_counter()
        call()
        spent.append(time.perf_counter() - started)
    return min(spent) * 1e3


def main() -> None:
    """Print the costs."""
    small = "--small" in sys.argv
    edges, rounds = (6_000, 1) if small else (1_000_000, 7)
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(open_database(f"sqlite://{folder}/state.db"))
        end, source = build(ledger, edges)
        (count,) = ledger.database.query("SELECT count(*) FROM edge")[0]
        reached = {end} | {edge.dst for edge in ledger.walk(end)}
        query = ledger.database.query
        floor_ms = best_ms(lambda: [query("SELECT dst FROM edge WHERE src = ?", (node,)) for node in reached], rounds)
        print(f"{count:,} edges; {len(reached)} nodes reached")
        print(f"{'floor, a query for each node':<32}{floor_ms:8.2f} ms")
        walk_ms, down_ms = (
            best_ms(lambda: ledger.walk(end), rounds),
            best_ms(lambda: ledger.walk(source, "down"), rounds),
        )
        path_ms = best_ms(lambda: ledger.path(end, source), rounds)
        for title, spent_ms in (("walk up", walk_ms), ("walk down", down_ms), ("shortest path", path_ms)):
            print(f"{title:<32}{spent_ms:8.2f} ms  x{spent_ms / floor_ms:.2f}, budget {BUDGET_MS} ms")
        measure_hub(ledger, build_hub(ledger, edges // 10), rounds)
        ledger.database.close()


def measure_hub(ledger: Ledger, hub: str, rounds: int) -> None:
    """Print what walks from and past a hub cost."""
    statement = "SELECT src, role, dst, by_task FROM edge WHERE dst = ?"
    floor_ms = best_ms(lambda: ledger.database.query(statement, (hub,)), rounds)
    count = len(ledger.database.query(statement, (hub,)))
    print(f"{f'floor, the {count:,} edges at a hub':<32}{floor_ms:8.2f} ms")
    bounded_ms = best_ms(lambda: ledger.walk(hub, "down", at_most=BOUND), rounds)
    past_ms = best_ms(lambda: ledger.walk(f"out{0:08x}"), rounds)
    for title, spent_ms in ((f"down, at most {BOUND:,} edges", bounded_ms), ("up, past the hub", past_ms)):
        print(f"{title:<32}{spent_ms:8.2f} ms  x{spent_ms / floor_ms:.2f}, budget {BUDGET_MS} ms")
    whole_ms = best_ms(lambda: ledger.walk(hub, "down"), min(rounds, 3))
    print(f"{f'down, all {2 * count:,} edges':<32}{whole_ms:8.2f} ms  x{whole_ms / floor_ms:.2f}")


if __name__ == "__main__":
    main()
