"""Several sources of one dataset: what they have read is what it holds, whatever globs and modes come after each other."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest

from mainspring.data import check, dataset, remove_version
from mainspring.data.ingestion import Batch, Limits, Reading, Retry, forget_cursor, ingest, list_cursors
from mainspring.errors import ConflictError, InvalidError, NotFoundError, UnavailableError
from mainspring.workspace import Workspace


class Numbers:
    """One row that is always there."""

    def __init__(self, identity: str, *numbers: int) -> None:
        self.identity, self.numbers = identity, numbers

    def batches(self, state: dict[str, Any] | None, reading: Reading) -> Iterator[Batch]:
        fresh = self.numbers[state["end"] if state else 0 :]
        if fresh:
            yield Batch(frame=pl.DataFrame({"x": fresh}), state={"end": len(self.numbers)})


@pytest.fixture
def years(raw: Path) -> Path:
    """Two folders with a file of one row each."""
    for year in (2024, 2025):
        put(raw, f"y{year}/a.csv", year)
    return raw


def put(folder: Path, name: str, number: int) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"x\n{number}\n")
    os.utime(path, ns=(1, 1))


def held(name: str = "t") -> list[int]:
    return sorted(dataset(name).to_polars()["x"].to_list())


def test_a_replacing_ingest_forgets_how_far_others_were_read(workspace: Workspace, years: Path) -> None:
    ingest(years / "y2024/*.csv", to="t")
    ingest(Numbers("mine", 7), to="t")
    ingest(years / "y2024/*.csv", to="other")
    done = ingest(years / "y2025/*.csv", to="t", mode="replace")
    assert [cursor.source for cursor in list_cursors("t")] == ["files raw/y2025"]
    assert len(list_cursors("other")) == 1
    assert "how far others were read is forgotten: `files raw/y2024`, `mine`" in done.warnings[0]
    again = [ingest(years / "y2024/*.csv", to="t"), ingest(Numbers("mine", 7), to="t")]
    assert ([each.rows for each in again], held()) == ([1, 1], [7, 2024, 2025])


@pytest.mark.parametrize(("ending", "now", "kind"), [("csv", "x\n", "i64"), ("csv", "", "i64"), ("jsonl", "", "i64")])
def test_a_file_without_rows_replaces_all_rows_and_what_others_read(
    workspace: Workspace, raw: Path, ending: str, now: str, kind: str
) -> None:
    (raw / f"a.{ending}").write_text("x\n1\n" if ending == "csv" else '{"x": 1}\n')
    ingest(raw, to="t")
    ingest(Numbers("mine", 7), to="t")
    (raw / f"a.{ending}").write_text(now)
    counted = [check.row_count(at_least=1)]
    with pytest.raises(InvalidError, match="0 rows"):
        ingest(raw, to="t", mode="replace", checks=counted)
    assert held() == [1, 7]
    done = ingest(raw, to="t", mode="replace", checks=[check.not_null("x")])
    assert done.version is not None
    assert (str(done.version), done.version.rows, done.version.schema) == ("t/3", 0, (("x", kind),))
    assert (done.report is not None, [each.source for each in list_cursors("t")]) == (True, ["files raw"])
    assert ingest(raw, to="t").rows == 0
    assert ingest(Numbers("mine", 7), to="t").rows == 1


def test_a_replacing_ingest_of_nothing_where_nothing_was_makes_no_version(workspace: Workspace, raw: Path) -> None:
    (raw / "a.jsonl").write_text("")
    assert ingest(raw, to="t", mode="replace").version is None
    (raw / "a.jsonl").write_text('{"x": 1}\n')
    assert ingest(raw, to="t", mode="upsert", key="x").rows == 1


def test_a_replacing_ingest_that_fails_forgets_nothing(workspace: Workspace, years: Path) -> None:
    ingest(Numbers("mine", 7), to="t")
    with pytest.raises(NotFoundError):
        ingest(years / "*.parquet", to="t", mode="replace")
    assert ingest(Numbers("mine", 7), to="t").rows == 0


def test_a_replacing_ingest_stops_one_that_goes_on_behind_rows_that_are_gone(workspace: Workspace) -> None:
    ingest(Numbers("mine", 1), to="t")

    class Slow(Numbers):
        """Somebody replaces all rows while it is read."""

        def batches(self, state: dict[str, Any] | None, reading: Reading) -> Iterator[Batch]:
            yield from super().batches(state, reading)
            ingest(Numbers("theirs", 9), to="t", mode="replace")

    with pytest.raises(ConflictError, match="`t` was removed or replaced while"):
        ingest(Slow("mine", 1, 2), to="t")
    assert (ingest(Numbers("mine", 1, 2), to="t").rows, held()) == (2, [1, 2, 9])


def test_a_file_is_read_once_by_whatever_glob(workspace: Workspace, years: Path) -> None:
    globs = ["y2024/*.csv", "y*/*.csv", "**/*.csv", "y2025", "y2024/a.csv", "y2025/a.*"]
    for order in (globs, globs[::-1], random.Random(3).sample(globs, len(globs))):
        name = f"t{len(list_cursors())}"
        done = [ingest(years / each, to=name) for each in order]
        assert (held(name), [each.warnings for each in done]) == ([2024, 2025], [()] * len(globs)), order


def linked(link: Path, target: str) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target)


def test_a_link_is_what_it_leads_to_by_whatever_glob(workspace: Workspace, years: Path) -> None:
    linked(years / "latest", "y2025")
    linked(years / "this.csv", "y2025/a.csv")
    linked(years / "out" / "old", "../../elsewhere")
    put(years.parent, "elsewhere/b.csv", 1999)
    globs = [
        "y2025/*.csv",
        "*/*.csv",
        "latest/*.csv",
        "latest/a.csv",
        "this.csv",
        "*.csv",
        "out/old/*",
        "../elsewhere/*.csv",
    ]
    globs += ["out/*/*.csv", "**/*.csv", "latest"]
    for order in (globs, globs[::-1], *(random.Random(seed).sample(globs, len(globs)) for seed in range(3))):
        name = f"t{len(list_cursors())}"
        done = [ingest(years / each, to=name) for each in order]
        assert (held(name), [each.warnings for each in done]) == ([1999, 2024, 2025], [()] * len(globs)), order


def test_two_stars_go_into_linked_folders_each_once(workspace: Workspace, years: Path) -> None:
    put(years.parent, "store/jan/b.csv", 1999)
    put(years.parent, "store/.hidden/b.csv", 1998)
    for link, target in (
        ("out", "../store"), ("again", "../store"), ("y2024/up", "../../raw"), ("y2024/next", "../y2025"),
        ("y2025/next", "../y2024"), ("gone", "nowhere"), ("y2025/self", "."),
    ):  # fmt: skip
        linked(years / link, target)
    for number, (glob, numbers) in enumerate(
        {
            "**/*.csv": [1999, 2024, 2025], "**/jan/*.csv": [1999], "out/**/*.csv": [1999], "**/next/**/a.csv": [2024, 2025],
            "y2024/**/*.csv": [1999, 2024, 2025], "**/**/b.csv": [1999], "**/up/y2025/a.csv": [2025],
        }.items()
    ):  # fmt: skip
        done = ingest(years / glob, to=f"t{number}")
        assert (held(f"t{number}"), done.warnings) == (numbers, ()), glob
    assert [ingest(years / glob, to="t0").rows for glob in ("*/*.csv", "out/jan/*.csv", "../store/**/*.csv")] == [
        0,
        0,
        0,
    ]


@pytest.mark.parametrize(
    "glob", ["**/*.csv", "**/**/*.csv", "*/**/*.csv", "**/l*/**/*.csv", "*/**/**/6.csv", "**/s/**/*.csv", "**/l*/*"]
)
def test_a_file_is_read_once_and_remembered_by_each_of_its_names(workspace: Workspace, raw: Path, glob: str) -> None:
    put(raw, "h/.cache/6.csv", 6)
    put(raw, "h/.cache/deep/7.txt", 7)
    for link, target in (
        ("p/l1", "../h/.cache"), ("p/s/l2", "../../h/.cache"), ("p/s/again", "l2"), ("p/s/kept.csv", "../../h/.cache/6.csv"),
        ("p/l3/other.csv", "../../h/.cache/deep/7.txt"), ("p/s/l4/one.csv", "../../../h/.cache/deep/7.txt"),
    ):  # fmt: skip
        linked(raw / link, target)
    for _ in range(2):
        done = ingest(raw / glob, to="t")
        assert (held(), done.warnings) == (sorted(set(held())), ())
    assert 6 in held()
    files = list_cursors("t")[0].state["files"].values()
    assert len({part["digest"] for parts in files for part in parts.values()}) == len(held())


def test_two_stars_within_a_name_are_refused(workspace: Workspace, raw: Path) -> None:
    put(raw, "some/a.csv", 1)
    for glob in ("s**/*.csv", "**e/*.csv", "some/**.csv"):
        with pytest.raises(InvalidError, match=r"glob: `.*` is not `\*\*` alone between two slashes"):
            ingest(raw / glob, to="t")


def test_a_link_that_moves_on_is_another_file_and_one_into_a_store_the_same(workspace: Workspace, raw: Path) -> None:
    for number in (1, 2):
        put(raw, f"months/{number}.csv", number)
        put(raw, f".cache/{number}0", number * 10)
    for name, targets in (("latest.csv", ("months/1.csv", "months/2.csv")), ("kept.csv", (".cache/10", ".cache/20"))):
        for target in targets:
            (raw / name).unlink(missing_ok=True)
            linked(raw / name, target)
            if target == ".cache/20":
                with pytest.raises(InvalidError, match=r"kept\.csv: `changed since it was read"):
                    ingest(raw / name, to="t")
            else:
                assert ingest(raw / name, to="t").rows == 1
    assert (ingest(raw / "months/*.csv", to="t").rows, held()) == (0, [1, 2, 10])


def test_a_file_is_known_by_its_bytes_where_its_times_say_nothing(workspace: Workspace, years: Path) -> None:
    ingest(years / "y2024/*.csv", to="t")
    put(years, "y2024/a.csv", 2024)
    done = ingest(years / "**/*.csv", to="t")
    assert (done.rows, done.warnings, held()) == (1, (), [2024, 2025])
    known = {cursor.source: sorted(cursor.state["files"]) for cursor in list_cursors("t")}
    assert known == {"files raw": ["y2024/a.csv", "y2025/a.csv"]}


def test_an_upsert_takes_what_is_in_a_file_now_and_not_what_another_glob_found_there_once(
    workspace: Workspace, years: Path
) -> None:
    counts = []
    for glob, number in (("y2024/*.csv", 1), ("**/*.csv", 2), ("y2024/*.csv", 1)):
        put(years, "y2024/a.csv", number)
        counts.append(ingest(years / glob, to="t", mode="upsert", key="x").rows)
    assert counts == [1, 2, 1]  # of the two the second file was new


@pytest.mark.parametrize("value", [[1], datetime(2020, 1, 2, 10), 5, "x"])
@pytest.mark.parametrize("first", ["parquet", "ndjson"])
@pytest.mark.parametrize("other", ["csv", "ndjson", "parquet"])
def test_to_declare_text_is_advised_only_where_it_helps(
    workspace: Workspace, raw: Path, value: Any, first: str, other: str
) -> None:
    frame = pl.DataFrame({"v": [value]})
    (frame.write_parquet if first == "parquet" else frame.write_ndjson)(raw / f"a.{first}")
    text, later = ("x", '"x"') if value == 5 else ("true", "true")
    (raw / f"b.{other}").write_text(f"v\n{text}\n" if other == "csv" else f'{{"v":{later}}}\n')
    if other == "parquet":
        pl.DataFrame({"v": [json.loads(later)]}).write_parquet(raw / "b.parquet")
    with pytest.raises(InvalidError, match=r"Cast it|types={'v': 'str'}") as told:
        ingest(raw, to="t")
    if "'str'" in str(told.value):
        ingest(raw, to="t", types={"v": "str"})
    else:
        with pytest.raises(InvalidError, match="its type, `str`"):
            ingest(raw, to="t", types={"v": "str"})


def test_copies_are_told_of_across_sources(workspace: Workspace, years: Path) -> None:
    ingest(years / "y2024/*.csv", to="t")
    shutil.copy(years / "y2024/a.csv", years / "y2025/b.csv")
    done = ingest(years / "y2025/*.csv", to="t")
    assert [each.partition("b.csv ")[2] for each in done.warnings] == [
        "holds the same bytes as `raw/y2024/a.csv`, which was read, too: its rows are there twice."
    ]
    with TemporaryDirectory() as elsewhere:
        put(Path(elsewhere), "a.csv", 7)
        ingest(f"{elsewhere}/*.csv", to="t")
        shutil.copy(f"{elsewhere}/a.csv", years / "y2025/c.csv")
        (warning,) = ingest(years / "y2025/*.csv", to="t").warnings
        assert f"same bytes as `{Path(elsewhere).resolve()}/a.csv`" in warning


def test_what_is_forgotten_is_forgotten_in_every_cursor_that_knows_it(workspace: Workspace, years: Path) -> None:
    ingest(years / "y2024/*.csv", to="t")
    ingest(years / "**/*.csv", to="t")
    forget_cursor("t", years / "**/*.csv")
    assert ingest(years / "**/*.csv", to="t").rows == 2
    forget_cursor("t", years / "y2025/*.csv")
    assert ingest(years / "y2025/*.csv", to="t").rows == 1
    assert ingest(years / "**/*.csv", to="t").rows == 0
    with pytest.raises(NotFoundError):
        forget_cursor("t", years / "y2026/*.csv")


def test_two_globs_that_take_a_file_at_one_time_take_it_once(workspace: Workspace, years: Path) -> None:
    def meanwhile(_: object) -> None:
        if not dataset("t").versions():
            ingest(years / "y2024/*.csv", to="t")

    with pytest.raises(ConflictError, match="got rows of the same files by files raw/y2024"):
        ingest(years / "**/*.csv", to="t", progress=meanwhile)
    ingest(years / "**/*.csv", to="t")
    assert held() == [2024, 2025]


def test_what_was_staged_is_let_go_if_another_glob_took_it_meanwhile(workspace: Workspace, years: Path) -> None:
    def broken(progress: Any) -> None:
        if progress.rows:
            raise UnavailableError("it", "is gone")

    with pytest.raises(UnavailableError):
        ingest(years / "**/*.csv", to="t", progress=broken, limits=Limits(rows=1), retry=Retry(attempts=1))
    ingest(years / "y2024/*.csv", to="t")
    ingest(years / "**/*.csv", to="t")
    assert held() == [2024, 2025]


def test_rows_that_were_replaced_by_hand_are_told_until_new_ones_come(workspace: Workspace) -> None:
    ingest(Numbers("mine", 1, 2), to="t")
    dataset("t").append(pl.DataFrame({"x": [3]}))
    assert ingest(Numbers("mine", 1, 2), to="t").warnings == ()
    dataset("t").commit(dataset("t").version(1).to_polars())
    told = "t/3 replaced by hand what was read of mine before, which is not read again"
    assert [told in each for each in ingest(Numbers("mine", 1, 2), to="t").warnings] == [True]
    remove_version("t/2")
    assert [told in each for each in ingest(Numbers("mine", 1, 2, 3), to="t").warnings] == [True]
    assert ingest(Numbers("mine", 1, 2, 3), to="t").warnings == ()
    dataset("t").commit(pl.DataFrame({"x": [0]}))
    assert ingest(Numbers("mine", 1, 2, 3), to="t", mode="replace").warnings == ()
    assert ingest(Numbers("mine", 1, 2, 3), to="t").warnings == ()


@pytest.mark.parametrize("first", ["b", "a"])
def test_a_file_that_several_links_to_a_store_reach_is_read_once(workspace: Workspace, raw: Path, first: str) -> None:
    store = raw.parent / ".store"
    store.mkdir()
    (store / "1").write_text("n\n1\n")
    other = {"a": "b", "b": "a"}[first]
    (raw / f"{first}.csv").symlink_to(store / "1")
    assert ingest(raw, to="t").rows == 1
    (raw / f"{other}.csv").symlink_to(store / "1")
    assert (ingest(raw, to="t").rows, ingest(raw / f"{other}.csv", to="t").rows) == (0, 0)
    (raw / f"{first}.csv").unlink()
    assert ingest(raw, to="t").rows == 0
    (store / "2").write_text("n\n2\n")
    (raw / f"{first}.csv").symlink_to(store / "2")
    with pytest.raises(InvalidError, match=rf"{first}\.csv: `changed since it was read"):
        ingest(raw, to="t")
