"""Versions of datasets: immutable, named by their content, none lost."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring import clock
from mainspring.artifacts import table_digest
from mainspring.clock import from_us
from mainspring.data import dataset, get_dataset_version, list_datasets
from mainspring.data._store import gc_roots
from mainspring.errors import CodecError, CorruptBlobError, InvalidError, NotAllowedError, NotFoundError, WrongTypeError
from mainspring.ledger import Replay, within_task
from mainspring.testing.threads import at_once
from mainspring.workspace import Workspace, collect, using

ODD_TABLES = {
    "no rows": pl.DataFrame(schema={"a": pl.Int64, "b": pl.String}),
    "no columns": pl.DataFrame(height=7),
    "nothing": pl.DataFrame(),
    "nested": pl.DataFrame({"a": [{"x": [1, None], "y": "é"}, None], "b": [[[1]], [[], [2, 3]]]}),
    "types": pl.DataFrame(
        {
            "d": [datetime(2013, 1, 1, tzinfo=UTC), None],
            "cat": pl.Series(["a", "b"], dtype=pl.Categorical),
            "dec": pl.Series(["1.50", None]).cast(pl.Decimal(10, 2)),
            "none": [None, None],
            "nan": [float("nan"), -0.0],
            "bin": [b"\0", b""],
        }
    ),
    "wide": pl.DataFrame({f"c{n}": [n] for n in range(2_000)}),
    "names": pl.DataFrame({"": [1], "a b/*.parquet": [2], "naïve": [3]}),
}


def frame_of(*numbers: int) -> pl.DataFrame:
    return pl.DataFrame({"n": list(numbers)}, schema={"n": pl.Int64})


def test_a_version_gives_back_its_rows(workspace: Workspace) -> None:
    frame = pl.DataFrame({"carrier": ["UA", None], "delay": [1.5, None]})
    version = dataset("flights").commit(frame, note="first, password=hunter22")
    assert version.to_polars().equals(frame)
    assert version.scan().collect().equals(frame)
    assert (version.number, version.rows, version.note, version.parent) == (1, 2, "first, password=[redacted]", None)
    assert version.schema == (("carrier", "str"), ("delay", "f64"))
    assert version.content_digest == table_digest(frame).digest


@pytest.mark.one_backend("types are the codec's; tables come back from the other in the tests around")
@pytest.mark.parametrize("name", ODD_TABLES)
def test_odd_tables_come_back_as_they_were(name: str, workspace: Workspace) -> None:
    frame = ODD_TABLES[name]
    version = dataset("odd").commit(frame)
    back = version.to_polars()
    assert (back.schema, back.height) == (frame.schema, frame.height)
    assert table_digest(back).digest == version.content_digest == table_digest(frame).digest


def test_other_libraries_give_the_same_content(workspace: Workspace) -> None:
    frame = pl.DataFrame({"a": [1, 2], "b": ["x", None]})
    first = dataset("t").commit(frame)
    assert dataset("t").commit(frame.to_arrow()) == first
    assert dataset("t").commit(frame.lazy()).number == 1
    assert first.to_pandas()["a"].tolist() == [1, 2]
    assert first.to_arrow().num_rows == 2
    assert dataset("t").commit(frame.select("a").to_pandas()).number == 2


@pytest.mark.parametrize("form", ["to_pandas", "to_arrow"])
@pytest.mark.one_backend("what an error says")
def test_a_column_of_a_type_that_other_libraries_lack_is_named(workspace: Workspace, form: str) -> None:
    wide = pl.Series([1 << 70], dtype=pl.Int128)
    for kind, column in (("Int128", wide), ("List(Int128)", wide.implode())):
        version = dataset("t").commit(pl.DataFrame({"a": [1], "wide": column}))
        with pytest.raises(InvalidError, match=re.escape(f"column `wide`: `{kind}` is not of a type")):
            getattr(version, form)()
        assert version.to_polars()["wide"].to_list() == column.to_list()


def test_a_commit_that_changes_nothing_gives_the_newest_version(workspace: Workspace) -> None:
    first = dataset("t").commit(frame_of(1, 2))
    assert dataset("t").commit(frame_of(1, 2)).id == first.id
    assert dataset("t").append(frame_of()).id == first.id
    assert len(dataset("t").versions()) == 1


def test_an_old_content_committed_again_is_a_new_version_that_equals_the_old(workspace: Workspace) -> None:
    flights = dataset("t")
    first, _, third = flights.commit(frame_of(1)), flights.commit(frame_of(2)), flights.commit(frame_of(1))
    assert (third.number, third == first, hash(third) == hash(first), third.id != first.id) == (3, True, True, True)


def test_versions_are_found_by_number_id_digest_and_time(workspace: Workspace) -> None:
    flights = dataset("t")
    first, second = flights.commit(frame_of(1)), flights.append(frame_of(2))
    for ref in (
        1,
        "1",
        "v1",
        first.id,
        first.content_digest,
        first.content_digest[:12],
        clock.from_us(first.created_at),
    ):
        assert flights.version(ref).id == first.id
    assert flights.latest().id == flights.version("latest").id == second.id
    assert get_dataset_version("t/1").id == get_dataset_version(first.id[:24]).id == first.id
    assert get_dataset_version("t").id == second.id
    assert [version.id for version in flights.versions()] == [second.id, first.id]
    assert [version.id for version in list_datasets()] == [second.id]


def test_what_is_not_there_is_named_with_the_nearest(workspace: Workspace) -> None:
    dataset("flights").commit(frame_of(1))
    with pytest.raises(NotFoundError, match=r"No dataset `flihgts`\. Nearest: flights"):
        dataset("flihgts").latest()
    with pytest.raises(NotFoundError, match=r"No version `flights/9`\. The newest is flights/1"):
        dataset("flights").version(9)
    with pytest.raises(NotFoundError):
        dataset("flights").version(datetime.now(UTC) - timedelta(days=3650))
    with pytest.raises(NotFoundError, match="Nearest: flights"):
        get_dataset_version("flihgts")
    with pytest.raises(InvalidError, match=r"`\.\./x` is not a name"):
        dataset("../x")


def test_an_append_must_fit_and_says_which_column_does_not(workspace: Workspace) -> None:
    flights = dataset("t")
    flights.commit(pl.DataFrame({"a": [1], "b": ["x"]}))
    with pytest.raises(InvalidError, match=r"t\.c: `c` is not a column of `t`"):
        flights.append(pl.DataFrame({"a": [1], "b": ["x"], "c": [1]}))
    with pytest.raises(InvalidError, match="a table with the column `b`"):
        flights.append(pl.DataFrame({"a": [1]}))
    with pytest.raises(InvalidError, match=r"t\.a: `f64` is not the column's type, `i64`"):
        flights.append(pl.DataFrame({"a": [1.5], "b": ["x"]}))
    assert flights.latest().rows == 1


def test_values_behind_a_column_without_any_are_refused_with_what_to_do() -> None:
    old, new = pl.DataFrame({"id": [1], "x": [None]}), pl.DataFrame({"id": [2], "x": ["a"]})
    dataset("t").commit(old)
    with pytest.raises(
        InvalidError, match=r"t\.x: `str` is not the column's type, `null`\. .*`commit\(\)` the whole table"
    ):
        dataset("t").append(new)
    whole = pl.concat([old.cast({"x": pl.String}), new])
    assert dataset("t").commit(whole).to_polars().rows() == [(1, None), (2, "a")]


def test_an_append_takes_columns_in_any_order_and_a_column_of_nulls(workspace: Workspace) -> None:
    flights = dataset("t")
    flights.commit(pl.DataFrame({"a": [1], "b": ["x"]}))
    version = flights.append(pl.DataFrame({"b": [None], "a": [2]}))
    assert version.to_polars().equals(pl.DataFrame({"a": [1, 2], "b": ["x", None]}))


def test_what_is_no_table_is_refused(workspace: Workspace) -> None:
    with pytest.raises(WrongTypeError, match="a Polars, pandas or Arrow table"):
        dataset("t").commit([1, 2])
    with pytest.raises(CodecError, match="`o`"):
        dataset("t").commit(pl.DataFrame({"o": pl.Series([object()], dtype=pl.Object)}))
    assert list_datasets() == []


@settings(max_examples=12)
@given(cuts=st.lists(st.integers(0, 300), max_size=60))
def test_appends_give_the_content_of_the_whole(cuts: list[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    """However rows arrive, in one handle or many, over segment, snapshot and leaf borders."""
    with Workspace.open(tmp_path_factory.mktemp("w")) as workspace, using(workspace):
        whole = pl.DataFrame({"n": range(sum(cuts) * 3), "s": [str(n % 7) for n in range(sum(cuts) * 3)]})
        handle, at = dataset("t"), 0
        handle.commit(whole.clear())
        for number, cut in enumerate(cuts):
            handle = handle if number % 5 else dataset("t")
            handle.append(whole.slice(at, cut * 3))
            at += cut * 3
        version = dataset("t").latest()
        assert version.content_digest == table_digest(whole).digest
        assert version.to_polars().equals(whole)


@pytest.mark.usefixtures("unfolded")
@pytest.mark.one_backend("the manifest is bytes alone, whatever keeps them")
def test_many_appends_share_segments_and_stay_readable(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mainspring.data.tables.manifest.SEGMENT_PARTS", 8)
    monkeypatch.setattr("mainspring.data.tables.manifest.BLOCK_DIGESTS", 0)
    monkeypatch.setattr("mainspring.data.tables.layout.COMPACT_ABOVE", 100)
    flights = dataset("t")
    versions = [flights.append(frame_of(n)) for n in range(70)]
    for number in (0, 7, 8, 15, 16, 17, 40, 69):
        assert versions[number].to_polars()["n"].to_list() == list(range(number + 1))
        assert versions[number].parts == number + 1


def test_a_leaf_border_within_an_append(workspace: Workspace) -> None:
    whole = pl.DataFrame({"n": range(150_000)})
    dataset("t").commit(whole[:65_000])
    dataset("t").append(whole[65_000:66_000])
    version = dataset("t").append(whole[66_000:])
    assert version.content_digest == table_digest(whole).digest


@pytest.mark.parametrize("handles", ["one", "many"])
def test_concurrent_appends_are_all_kept(handles: str, workspace: Workspace) -> None:
    shared = dataset("t")

    def append(worker: int) -> None:
        with using(workspace):
            for n in range(6):
                (shared if handles == "one" else dataset("t")).append(frame_of(worker * 100 + n))

    at_once(*(partial(append, worker) for worker in range(6)))
    version = dataset("t").latest()
    expected = sorted(worker * 100 + n for worker in range(6) for n in range(6))
    assert sorted(version.to_polars()["n"].to_list()) == expected
    assert version.content_digest == table_digest(version.to_polars()).digest
    assert [each.number for each in dataset("t").versions()] == list(range(36, 0, -1))


@pytest.mark.one_backend("starts processes on the files of the folder")
def test_appends_of_two_processes_are_all_kept(workspace: Workspace, tmp_path: Path) -> None:
    program = (
        "import sys, polars as pl; from mainspring.data import dataset\n"
        "for n in range(8): dataset('t').append(pl.DataFrame({'n': [int(sys.argv[1]) + n]}))"
    )
    where = {
        "MAINSPRING_DATABASE": workspace.project.settings.database,
        "MAINSPRING_BLOBS": workspace.project.settings.blobs,
    }
    running = [
        subprocess.Popen([sys.executable, "-c", program, start], cwd=tmp_path, env=where)
        for start in ("0", "100", "200")
    ]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert dataset("t").latest().rows == 24


def test_a_version_knows_what_it_came_from(workspace: Workspace, tmp_path: Path) -> None:
    raw = tmp_path / "raw.csv"
    raw.write_text("n\n1\n")
    with within_task("task-1"):
        first = dataset("raw").commit(frame_of(1), source=[raw, "https://me:hunter22@example.org/x"])
    second = dataset("clean").commit(frame_of(1), source=first)
    third = dataset("clean").append(frame_of(2))
    edges = {(edge.src, edge.role, edge.dst) for edge in workspace.ledger.walk(third.id)}
    file, address = first.source
    assert {
        (third.id, "follows", second.id),
        (second.id, "read_from", first.id),
        (first.id, "made_by", "task-1"),
        (first.id, "read_from", file.node),
        (first.id, "read_from", address.node),
    } == edges
    node = workspace.ledger.get_node(file.node)
    assert (node.kind, node.content_digest, node.label) == ("source_file", file.digest, raw.as_uri())
    assert address.uri == "https://me:[redacted]@example.org/x"
    assert workspace.ledger.get_node(first.id).label == "raw/1"
    assert [event.kind for event in workspace.ledger.events()] == ["dataset.committed"] * 3
    raw.write_text("n\n2\n")
    assert dataset("raw").commit(frame_of(2), source=raw).source[0].node != file.node
    with pytest.raises(NotFoundError, match=r"gone\.csv"):
        dataset("raw").commit(frame_of(3), source=tmp_path / "gone.csv")


def test_a_task_that_looks_a_version_up_is_linked_to_it(workspace: Workspace) -> None:
    version = dataset("t").commit(frame_of(1))
    with within_task("task-2"):
        dataset("t").latest()
    assert [(edge.role, edge.dst) for edge in workspace.ledger.walk("task-2")] == [("reads", version.id)]


def test_a_replay_commits_nothing(workspace: Workspace) -> None:
    first = dataset("t").commit(frame_of(1))
    second = dataset("t").append(frame_of(2))
    dataset("t").commit(frame_of(9))
    with within_task("again", replay=Replay("then")):
        assert dataset("t").commit(frame_of(1)).id == first.id
        assert dataset("t").append(frame_of(2)).id == second.id
        with pytest.raises(NotAllowedError, match="no version of `t` was recorded with this content"):
            dataset("t").commit(frame_of(8))
    assert len(dataset("t").versions()) == 3


def test_collection_keeps_every_version(workspace: Workspace) -> None:
    flights = dataset("t")
    versions = [flights.append(frame_of(n)) for n in range(20)]
    loose = workspace.blobs.put(b"nobody names this")
    for _ in range(2):
        collect(workspace, grace_s=-1, roots=[gc_roots])
    assert not workspace.blobs.exists(loose)
    assert [version.to_polars().height for version in versions] == list(range(1, 21))


@pytest.mark.one_backend("damages a file")
def test_a_corrupt_part_is_found_at_read(workspace: Workspace) -> None:
    version = dataset("t").commit(frame_of(1, 2, 3))
    for blob in gc_roots(workspace.database):
        path = workspace.blobs.path(blob)
        if path.read_bytes().startswith(b"PAR1"):
            path.chmod(0o644)
            path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(CorruptBlobError):
        version.to_polars()


def test_representations_are_readable(workspace: Workspace) -> None:
    empty = dataset("t")
    assert "empty" in repr(empty)
    version = empty.commit(pl.DataFrame({"<b>": [1]}))
    assert "&lt;b&gt;" in version._repr_html_()
    assert repr(dataset("t")) == "Dataset('t', version 1, 1 row)"
    assert str(version) == "t/1"


def test_tags_point_at_versions_and_move(workspace: Workspace) -> None:
    numbers = dataset("numbers", workspace)
    first, second = numbers.commit(pl.DataFrame({"n": [1]})), numbers.commit(pl.DataFrame({"n": [2]}))
    numbers.tag(1, "training")
    assert numbers.version("training").id == first.id
    assert get_dataset_version("numbers/training", workspace).id == first.id
    numbers.tag("latest", "training")
    assert numbers.tags() == {"training": second.id}
    numbers.untag("training")
    with pytest.raises(NotFoundError, match="training"):
        numbers.version("training")
    with pytest.raises(NotFoundError, match="tag `numbers/training`"):
        numbers.untag("training")
    for name in ("latest", "12", "v3", "abcdef12", "2026-11-21", ""):
        with pytest.raises(InvalidError, match="tag"):
            numbers.tag(1, name)


@pytest.mark.one_backend("what an error says")
def test_a_time_before_the_first_version_is_told_when_that_was_made(workspace: Workspace) -> None:
    first = dataset("t").commit(frame_of(1))
    dataset("t").commit(frame_of(2))
    early = datetime(2001, 2, 3, tzinfo=UTC)
    made = from_us(first.created_at).isoformat(timespec="seconds")
    for look in (
        lambda: dataset("t").version("2001-02-03"), lambda: dataset("t").version(early),
        lambda: dataset("t", as_of=early).latest(), lambda: get_dataset_version("t/2001-02-03"),
    ):  # fmt: skip
        with pytest.raises(NotFoundError) as found:
            look()
        assert str(found.value) == (
            f"No version `t/2001-02-03T00:00:00+00:00`. There was none yet: the first one, t/1, was made at {made}."
        )


def test_a_time_opens_a_dataset_as_it_was(workspace: Workspace) -> None:
    numbers = dataset("numbers", workspace)
    first = numbers.commit(pl.DataFrame({"n": [1]}))
    between = clock.from_us(first.created_at)
    while clock.now_us() <= first.created_at:
        pass
    numbers.tag(numbers.commit(pl.DataFrame({"n": [2]})).number, "second")
    then = dataset("numbers", workspace, as_of=between)
    assert [each.id for each in then.versions()] == [first.id]
    assert (then.tags(), list(numbers.tags())) == ({}, ["second"])
    assert then.latest().id == first.id
    assert then.to_polars()["n"].to_list() == [1]
    assert numbers.version(between.isoformat()).id == first.id
    with pytest.raises(NotAllowedError, match="as of"):
        then.append(pl.DataFrame({"n": [3]}))
    with pytest.raises(NotFoundError):
        numbers.version("2001-01-01")


def test_an_unchanged_commit_links_its_new_source(workspace: Workspace, tmp_path: Path) -> None:
    numbers = dataset("numbers", workspace)
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "b.txt").write_text("b")
    first = numbers.commit(pl.DataFrame({"n": [1]}), source=tmp_path / "a.txt")
    assert numbers.commit(pl.DataFrame({"n": [1]}), source=tmp_path / "b.txt").id == first.id
    edges = workspace.ledger.walk(first.id, "up")
    labels = {node.label.rpartition("/")[2] for node in workspace.ledger.nodes([edge.dst for edge in edges]).values()}
    assert {"a.txt", "b.txt"} <= labels


@pytest.mark.one_backend("a table is looked at before anything is stored")
@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "columns: `a`"),
        (pa.table([[1], [2]], names=["a", "a"]), "columns: `a`"),
        (pd.DataFrame({"a": [1, "x"]}), "Could not convert 'x'"),
    ],
)
def test_tables_of_others_that_make_no_table_here_are_named(workspace: Workspace, frame: Any, said: str) -> None:
    with pytest.raises(InvalidError, match=said):
        dataset("others").commit(frame)
