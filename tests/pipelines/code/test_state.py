"""Digests of what modules hold: equal for equal values, whatever the process, the folder and the order of a set."""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import random
import re
import select
import sys
import threading
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, MappingProxyType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import Lasso, Ridge
from sklearn.pipeline import make_pipeline

from mainspring.pipelines.code.state import TooLargeError, attributes_given_to, state_digest, told
from mainspring.testing.codecs import digest_in_fresh_process


@dataclass
class Row:
    n: int
    more: object = None


class Slots:
    __slots__ = ("a",)

    def __init__(self, a: int) -> None:
        self.a = a


def digest(value: object, root: str = "/project") -> str:
    return state_digest(value, root, lambda name: name.startswith("tests"))


def adder(n: int) -> Any:
    return lambda x: x + n


DIFFERENT: list[list[object]] = [
    [1, 1.0, True, "1", b"1", None, 1j, (1,), [1], {1}, frozenset({1}), {1: 1}, range(1), Row(1), Slots(1)],
    [{"a": 1, "b": 2}, {"b": 2, "a": 1}, OrderedDict(a=1, b=2), Counter(a=1, b=2), MappingProxyType({"a": 1, "b": 2})],
    [list(range(100)), list(map(float, range(100))), tuple(range(100)), [*range(99), True]],
    [dict.fromkeys(range(100)), {n: n for n in range(100)}, set(range(100))],
    [adder(1), adder(2), functools.partial(adder, 1), functools.partial(adder, 2), len, [].append, [1].append],
    [Row(1), Row(2), Row(1, Row(2)), Row(1, [2])],
    [SimpleNamespace(a=1), SimpleNamespace(a=2), argparse.Namespace(a=1), argparse.Namespace(a=2)],
    [np.arange(3), np.arange(3.0), np.arange(4), np.dtype("f4"), np.dtype("f8"), np.int64(1), np.float32(1)],
    [pl.DataFrame({"a": [1]}), pl.DataFrame({"a": [2]}), pl.col("a"), pl.col("b"), pl.Int8, pl.Int8()],
    [np.random.default_rng(1), np.random.default_rng(2), random.Random(1), random.Random(2), np.random.RandomState(1)],
    [re.compile("a"), re.compile("b"), re.compile("a", re.IGNORECASE), itertools.count(), itertools.count(1)],
    [deque([1]), deque([2]), defaultdict(int, a=1), defaultdict(int, a=2), Path("a"), Path("b")],
    [[[1], [2]], [[1, 2]], [[1], 2], [1, [2]]],
    [Ridge(), Ridge(alpha=2.0), Lasso(), make_pipeline(Ridge()), make_pipeline(Lasso()), Ridge().fit([[1]], [1]),
     Ridge().fit([[1], [2]], [1, 2])],
]  # fmt: skip


@pytest.mark.parametrize("values", DIFFERENT, ids=lambda values: repr(values[0])[:20])
def test_different_values_have_different_digests(values: list[object]) -> None:
    digests = [digest(value) for value in values]
    assert len(set(digests)) == len(values), digests
    assert [digest(value) for value in values] == digests


def test_a_place_below_the_root_is_taken_relative_to_it() -> None:
    assert digest(Path("/one/a"), "/one") == digest(Path("/two/a"), "/two")
    assert digest(["/one/a"] * 100, "/one") == digest(["/two/a"] * 100, "/two")
    assert digest({"k": "/one/a"}, "/one") != digest({"k": "/two/a"}, "/one")


def test_what_holds_itself_ends_and_one_object_twice_is_not_two() -> None:
    ring: list[object] = [1]
    ring.append(ring)
    assert digest(ring) == digest(ring)
    shared = [1]
    assert digest([shared, shared]) != digest([[1], [1]])


def test_too_much_is_said_to_be_too_much() -> None:
    with pytest.raises(TooLargeError):
        digest([[n] for n in range(300_000)])


def test_the_digest_is_the_same_under_every_hash_seed() -> None:
    expression = "digest({'x': {'a', 'b', 'c'}, 'y': [len, digest], 'z': frozenset('abc')})"
    setup = (
        "from mainspring.pipelines.code.state import state_digest\n"
        "def digest(value): return state_digest(value, '/project', lambda name: False)"
    )
    found = {digest_in_fresh_process(expression, hash_seed=seed, setup=setup) for seed in (0, 1, 2)}
    assert len(found) == 1


def test_a_long_chain_and_objects_in_sets_that_hold_their_set_are_read() -> None:
    chain: object = None
    for n in range(20_000):
        chain = Row(n, chain)
    assert digest(chain) == digest(chain)
    rows = [SimpleNamespace(n=n) for n in range(3)]
    held = {id(row): row for row in rows}
    for row in rows:
        row.all = MappingProxyType(held)
    assert digest(rows) == digest(rows)


class Answering(dict[str, int]):
    __getattr__ = dict.__getitem__


class Moody:
    def __getattr__(self, name: str) -> int:
        raise RuntimeError(name)

    @property
    def n(self) -> int:
        raise RuntimeError("a property was read")


@pytest.mark.parametrize("make", [lambda n: Answering(a=n), lambda n: [Moody(), n]])
def test_whatever_foreign_attributes_do_what_is_kept_counts(make: Any) -> None:
    assert digest(make(1)) == digest(make(1)) != digest(make(2))


def test_what_compiled_code_keeps_in_a_few_bytes_is_told_by_nothing() -> None:
    poller = getattr(select, "epoll" if sys.platform == "linux" else "kqueue")()
    with contextlib.closing(poller):
        assert told([poller], "/project", lambda name: False, label="x").untold == {"x[0]": type(poller)}


def test_what_nothing_tells_is_named_by_its_place() -> None:
    held = {"a": [1, SimpleNamespace(lock=threading.Lock())]}
    assert told(held, "/project", lambda name: False, label="HELD").untold == {
        "HELD['a'][1].lock": type(threading.Lock())
    }
    frame = told([np.arange(10), np.arange(10_000)], "/project", lambda name: False, label="x", bulk=False)
    assert frame.untold == {"x[1]": np.ndarray}


def test_where_a_function_was_compiled_is_nothing_that_it_was_given() -> None:
    class Elsewhere:
        def rate(self) -> None: ...

    rate: FunctionType = vars(Elsewhere)["rate"]
    rate.__qualname__ = "Cfg.rate"  # as IPython's autoreload leaves a method
    assert attributes_given_to(rate) == {}
    rate.__qualname__ = "Cfg.speed"
    assert attributes_given_to(rate) == {"__qualname__": "Cfg.speed"}


@pytest.mark.parametrize("bulk", [False, True])
def test_objects_of_libraries_in_many_sets_of_each_other_end_soon_as_untold(
    bulk: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tangle", tangle := ModuleType("tangle"))
    exec("class Node:\n  def __init__(self): self.near = set()\n", vars(tangle))
    nodes = [tangle.Node() for _ in range(20)]
    for node in nodes:
        node.near = set(nodes)
    found = told(nodes[0], "/project", lambda name: False, bulk=bulk)
    assert list(found.untold) == [".near"]
    few = {tangle.Node(), tangle.Node()}
    assert told(few, "/project", lambda name: False, bulk=bulk).untold == {}
