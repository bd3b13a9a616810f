"""The contract of an online store. A backend's own test subclasses it and gives a URL."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator

import pytest

from mainspring.errors import ConflictError, InvalidError, StorageError, WrongTypeError
from mainspring.store import KeyValue, open_keyvalue
from mainspring.testing._writers import TWINS, random_ranks, ranked
from mainspring.testing.processes import Child, crowd
from mainspring.testing.threads import at_once

_WRITERS = "mainspring.testing._writers"
_LENGTHS = [1, 2, 478, 479, 480, 509, 510, 511, 512, 1023, 1024]
_STRANGE = [b"\0", b"\0\0", b"a", b"a\0", b"a*", b"a?b", b"a[b]", b"a\\", b"a\\*", b"ab", b"b^-", b"\xff", b"\xff\xff"]


class KeyValueContract:
    """Every law that a `KeyValue` obeys."""

    @pytest.fixture
    def url(self) -> str:
        """A store that nobody uses, and whose place need not exist yet."""
        pytest.fail("a subclass gives this")

    @pytest.fixture
    def store(self, url: str) -> Iterator[KeyValue]:
        """That store."""
        store = open_keyvalue(url)
        yield store
        store.close()

    # ------------------------------------------------------------ values

    def test_a_value_comes_back_as_it_was(self, store: KeyValue, url: str) -> None:
        keys = [*(b"k" + os.urandom(length - 1) for length in _LENGTHS), *_STRANGE]
        values = {key: os.urandom(number % 5 * 1000) for number, key in enumerate(keys)}
        store.write(values.items())
        other = open_keyvalue(url)
        assert other.get_many(keys) == list(values.values())
        assert [other.get(key) for key in keys] == list(values.values())
        assert list(other.scan(b"")) == sorted(values.items())
        other.close()

    def test_the_largest_value_comes_back(self, store: KeyValue) -> None:
        value = os.urandom(16 << 20)
        assert store.put_newest([(b"large", value)]) == 1
        assert store.get(b"large") == value
        with pytest.raises(InvalidError, match="16 MiB"):
            store.write([(b"small", b""), (b"larger", value + b"x")])
        assert store.get(b"small") is None

    def test_an_unknown_store_is_empty(self, store: KeyValue) -> None:
        assert store.get(b"a") is None
        assert store.get_many([]) == []
        assert store.get_many([b"a", b"b" * 1024]) == [None, None]
        assert list(store.scan(b"")) == []
        assert store.delete_prefix(b"") == 0
        assert store.put_newest([]) == 0
        store.write([])
        store.write([(b"a", None)], expect={b"a": None})
        assert list(store.scan(b"")) == []

    @pytest.mark.parametrize("key", [b"", b"x" * 1025, "text"])
    def test_what_is_no_key_is_refused(self, store: KeyValue, key: bytes) -> None:
        for number in range(2):
            for act in (
                lambda: store.get(key), lambda: store.get_many([b"a", key]), lambda: store.write([(key, b"")]),
                lambda: store.write([], expect={key: None}), lambda: store.put_newest([(key, ranked(1))]),
            ):  # fmt: skip
                with pytest.raises((InvalidError, WrongTypeError, TypeError)):
                    act()
            assert list(store.scan(b"")) == [(b"here", b"")] * number
            store.write([(b"here", b"")])

    def test_what_is_no_value_is_refused_and_nothing_is_stored(self, store: KeyValue) -> None:
        with pytest.raises(InvalidError, match="rank"):
            store.put_newest([(b"a", ranked(1)), (b"b", b"x" * 15)])
        with pytest.raises(WrongTypeError):
            store.put_newest([(b"a", ranked(1)), (b"b", "x" * 20)])  # type: ignore[list-item]  # what must be refused
        with pytest.raises(WrongTypeError):
            store.write([(b"a", b""), (b"b", 7)])  # type: ignore[list-item]  # what must be refused
        assert list(store.scan(b"")) == []

    def test_many_values_come_in_the_order_of_their_keys(self, store: KeyValue) -> None:
        store.write([(b"b", b"2"), (b"c" * 600, b"3"), (b"a", b"1")])
        asked = [b"c" * 600, b"none", b"a", b"b", b"a"]
        assert store.get_many(asked) == [b"3", None, b"1", b"2", b"1"]
        assert store.get_many(asked[1:]) == [None, b"1", b"2", b"1"]

    @pytest.mark.parametrize("seed", range(4))
    def test_many_keys_are_found_among_missing_ones_in_any_order(self, store: KeyValue, seed: int) -> None:
        chance = random.Random(seed)
        keys = [b"%s/%04d" % (head, number) for head in (b"", b"a", b"b" * 505, b"\xff" * 505) for number in range(150)]
        stored: dict[bytes, bytes] = {}
        for start in range(0, len(keys), 50):
            share = chance.choice((0, 0.02, 0.5, 1))
            stored |= {key: b"of " + key[-4:] for key in keys[start : start + 50] if chance.random() < share}
        store.write([*stored.items(), *((b"c" * 600 + key, b"longer") for key in keys[:20])])
        shuffled = chance.sample(keys, len(keys))
        steps = [key for start in range(0, len(keys), 7) for key in (*keys[start : start + 9], keys[start // 2])]
        for asked in (keys, keys[::-1], shuffled, steps, [*keys, b"c" * 700]):
            assert store.get_many(asked) == [stored.get(key) for key in asked]
        assert store.get_many(keys * 2) == [stored.get(key) for key in keys] * 2

    def test_it_behaves_as_a_dictionary_does(self, store: KeyValue) -> None:
        chance = random.Random(11)
        model: dict[bytes, bytes] = {}
        heads = [b"", b"a", b"ab", b"a*", b"x" * 479, b"x" * 505, b"x" * 520]
        for number in range(250):
            keys = [chance.choice(heads) + b"%d" % chance.randrange(5) for _ in range(4)]
            what = chance.randrange(4)
            if what == 0:
                items = [(key, ranked(chance.randrange(number + 1), b"%d" % number)) for key in keys]
                expected = {key for key, value in items if model.get(key, b"")[:16] <= value[:16]}
                assert store.put_newest(items) == len(expected)
                for key, value in items:
                    if model.get(key, b"")[:16] <= value[:16]:
                        model[key] = value
            elif what == 1:
                changes = [(key, chance.choice([None, b"", b"%d" % number])) for key in keys]
                store.write(changes, expect={key: model.get(key) for key in keys[:2]})
                for key, change in changes:
                    model.pop(key, None)
                    if change is not None:
                        model[key] = change
            elif what == 2 and number % 10 == 0:
                prefix = chance.choice(heads[1:])
                gone = [key for key in model if key.startswith(prefix)]
                assert store.delete_prefix(prefix) == len(gone)
                for key in gone:
                    del model[key]
            else:
                assert store.get_many(keys) == [model.get(key) for key in keys]
        assert list(store.scan(b"")) == sorted(model.items())
        assert len(model) > 15

    # ------------------------------------------------------------ ranks

    def test_a_higher_rank_wins_and_at_the_same_the_later(self, store: KeyValue) -> None:
        low, high = b"\x7f" * 16, b"\x7f" * 15 + b"\x80"  # as bytes, not as signed numbers or text
        assert store.put_newest([(b"k", low + b"1"), (b"long" * 200, high + b"1")]) == 2
        assert store.put_newest([(b"k", low + b"2")]) == 1
        assert store.put_newest([(b"k", high + b"3")]) == 1
        assert store.put_newest([(b"k", low + b"4"), (b"long" * 200, low)]) == 0
        assert store.get_many([b"k", b"long" * 200]) == [high + b"3", high + b"1"]
        assert store.put_newest([(b"k", high + b"5"), (b"k", low + b"6"), (b"k", high + b"7"), (b"new", low)]) == 2
        assert store.get(b"k") == high + b"7"

    @pytest.mark.parametrize(
        "ranks", [(b"\0" * 16, b"\0" * 15 + b"\1"), (b"B" * 16, b"a" * 16), (b"\xc3" * 16, b"\xe4" * 16)]
    )
    def test_ranks_are_compared_as_bytes(self, store: KeyValue, ranks: tuple[bytes, bytes]) -> None:
        for first, last in (ranks, ranks[::-1]):
            key = first[:1] + last[-1:] + b"!"
            store.put_newest([(key, first)])
            store.put_newest([(key, last)])
            assert store.get(key) == max(ranks)

    def test_what_has_no_rank_is_below_any(self, store: KeyValue) -> None:
        store.write([(b"empty", b""), (b"short", b"\xff")])
        assert store.put_newest([(b"empty", ranked(0)), (b"short", ranked(1))]) == 1
        assert store.get_many([b"empty", b"short"]) == [ranked(0), b"\xff"]

    # ------------------------------------------------------------ scans

    def test_a_scan_is_ordered_and_keeps_to_its_prefix(self, store: KeyValue) -> None:
        heads = [b"x" * length for length in (478, 479, 480, 509, 510, 511, 512)]
        keys = {*_STRANGE, *heads, *(head + tail for head in heads for tail in (b"\0", b"a", b"b" * 40, b"\xff"))}
        store.write((key, key) for key in keys)
        for prefix in (b"", *keys, b"a\\?", b"x" * 500, b"x" * 479 + b"q"):
            expected = sorted((key, key) for key in keys if key.startswith(prefix))
            assert list(store.scan(prefix)) == expected, prefix

    def test_a_scan_gives_once_what_is_there_throughout(self, store: KeyValue) -> None:
        kept = [b"%05d" % number for number in range(0, 5_000, 2)]
        store.write((b"%05d" % number, b"") for number in range(5_000))
        found = []
        for number, (key, _) in enumerate(store.scan(b"0")):
            found.append(key)
            if number == 50:
                store.delete_prefix(b"02")
                store.write([(key, b"2") for key in kept] + [(b"%05d" % odd, None) for odd in range(1, 5_000, 2)])
                store.write((b"%05d-" % odd, b"") for odd in range(1, 5_000, 2))
        assert found == sorted(set(found))
        assert {key for key in kept if not key.startswith(b"02")} <= set(found)

    def test_what_begins_so_is_deleted_and_nothing_else(self, store: KeyValue) -> None:
        store.write((b"a%d" % number, b"x") for number in range(2_500))
        store.write([(b"a*", b""), (b"b", b""), (b"a" * 600, b"")])
        assert store.delete_prefix(b"a*") == 1
        assert store.delete_prefix(b"a") == 2_501
        assert list(store.scan(b"")) == [(b"b", b"")]

    # ------------------------------------------------------------ changes

    def test_a_change_that_expected_something_else_is_refused_as_a_whole(self, store: KeyValue) -> None:
        long = b"offset" * 100
        store.write([(b"state", b"0"), (long, b"7"), (b"empty", b"")])
        for expect in ({long: b"8"}, {long: None}, {b"none": b""}, {b"empty": None}, {long: b"7", b"state": b"1"}):
            with pytest.raises(ConflictError, match="another writer"):
                store.write([(b"state", b"new"), (b"empty", None)], expect=expect)
        assert store.get_many([b"state", long, b"empty"]) == [b"0", b"7", b""]
        store.write([(b"state", b"1"), (long, b"8")], expect={long: b"7", b"none": None, b"empty": b""})
        assert store.get_many([b"state", long]) == [b"1", b"8"]

    def test_newest_values_are_stored_only_beside_what_is_expected(self, store: KeyValue) -> None:
        long = b"owner" * 150
        store.write([(long, b"7"), (b"k", ranked(1))])
        for expect in ({long: b"8"}, {long: None}, {long: b"7", b"none": b""}):
            with pytest.raises(ConflictError, match="another writer"):
                store.put_newest([(b"k", ranked(2)), (b"new", ranked(2))], expect=expect)
            with pytest.raises(ConflictError, match="another writer"):
                store.put_newest([], expect=expect)
        assert store.get_many([b"k", b"new"]) == [ranked(1), None]
        items = [(b"%d" % number, ranked(1)) for number in range(2_500)]
        assert store.put_newest([*items, (b"k", ranked(0))], expect={long: b"7", b"none": None}) == 2_500
        assert store.get_many([b"k", b"2499"]) == [ranked(1), ranked(1)]

    def test_the_last_change_of_a_key_counts(self, store: KeyValue) -> None:
        store.write([(b"a", b"1"), (b"a", None), (b"b", None), (b"b", b"2")])
        assert list(store.scan(b"")) == [(b"b", b"2")]

    # ------------------------------------------------------------ many at once

    def test_the_highest_rank_wins_whoever_writes(self, store: KeyValue, url: str) -> None:
        seed, writers = random.randrange(2**32), 4
        crowd(writers, f"{_WRITERS}:put_ranks", url, seed)
        every = [pair for index in range(writers) for batch in random_ranks(seed, index) for pair in batch]
        for key, value in store.scan(b""):
            assert int.from_bytes(value[:16]) == max(rank for name, rank in every if name == key), f"seed {seed}"
        assert len(list(store.scan(b""))) == len({key for key, _ in every})

    def test_no_change_of_several_consumers_is_lost(self, store: KeyValue, url: str) -> None:
        crowd(4, f"{_WRITERS}:count_keys_up", url, 20)
        assert store.get(b"count") == b"80"
        assert len(list(store.scan(b"by/"))) == 80

    def test_threads_share_a_store(self, store: KeyValue) -> None:
        store.write([(b"t", ranked(0))])

        def work(index: int) -> None:
            for number in range(50):
                store.put_newest([(b"t", ranked(number)), (b"%d" % index, ranked(number))])
                assert store.get(b"t") is not None
                assert store.get_many([b"t", b"%d" % index])[1] == ranked(number)

        at_once(*(lambda index=index: work(index) for index in range(6)))
        assert store.get(b"t") == ranked(49)

    def test_a_forked_child_and_its_parent_both_go_on(self, store: KeyValue) -> None:
        store.write([(b"parent", b"1")])
        pid = os.fork()
        if not pid:
            code = 1
            try:
                assert store.get(b"parent") == b"1"
                store.write([(b"child", b"1")])
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(pid, 0)[1] == 0
        store.write([(b"parent", b"2")])
        assert list(store.scan(b"")) == [(b"child", b"1"), (b"parent", b"2")]

    def test_a_closed_store_is_of_no_use_and_others_go_on(self, store: KeyValue, url: str) -> None:
        other = open_keyvalue(url)
        other.write([(b"a", b"1")])
        assert store.get(b"a") == b"1"
        other.close()
        other.close()
        for act in (lambda: other.get(b"a"), lambda: other.write([(b"a", None)]), lambda: list(other.scan(b""))):
            with pytest.raises(StorageError, match="closed"):
                act()
        assert store.get(b"a") == b"1"

    # ------------------------------------------------------------ kills

    def test_readers_see_changes_whole_whenever_the_writer_is_killed(self, store: KeyValue, url: str) -> None:
        seed = random.randrange(2**32)
        chance = random.Random(seed)
        store.write((key, ranked(0)) for key in TWINS)
        for round_number in range(3):
            with Child(f"{_WRITERS}:write_twin_keys", url) as child:
                told = child.read()
                until = time.monotonic() + chance.random() * 0.1
                while time.monotonic() < until:
                    found = store.get_many(TWINS)
                    assert len(set(found)) == 1, f"seed {seed}"
                child.signal(signal.SIGKILL)
                while line := child.read():
                    told = line
            found = store.get_many(TWINS)
            assert len(set(found)) == 1, f"seed {seed}"
            assert found[0] is not None
            assert int.from_bytes(found[0][:16]) >= int(told), f"seed {seed}, round {round_number}"
            started = time.monotonic()
            store.write((key, ranked(0)) for key in TWINS)
            assert time.monotonic() - started < 5

    def test_readers_in_other_processes_see_no_gap(self, store: KeyValue, url: str) -> None:
        store.write((key, ranked(0)) for key in TWINS)
        with (
            Child(f"{_WRITERS}:read_twin_keys", url, 300) as first,
            Child(f"{_WRITERS}:read_twin_keys", url, 300) as last,
        ):
            for number in range(1, 301):
                assert store.put_newest((key, ranked(number)) for key in TWINS) == len(TWINS)
            assert (first.read(), last.read()) == ("seen", "seen")
