"""Datasets as of a time or a version: what is named, and what is seen from there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import polars as pl
import pytest

from mainspring.clock import clock, from_us
from mainspring.data import Dataset, DatasetVersion, dataset, get_dataset_version, list_datasets
from mainspring.errors import InvalidError, NotAllowedError, NotFoundError, WrongTypeError
from mainspring.workspace import Workspace

DAYS = [datetime(2026, 11, day, 12, tzinfo=UTC) for day in (20, 21, 22)]


class _Day:
    """Noon of a day."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now_us(self) -> int:
        return int(self.at.timestamp()) * 1_000_000


@pytest.fixture
def versions(workspace: Workspace) -> list[DatasetVersion]:
    """One version a day, the first of which is tagged `kept` on the second, and `late` on the third."""
    made = []
    for number, at in enumerate(DAYS, 1):
        token = clock.set(_Day(at))
        try:
            made.append(dataset("t").commit(pl.DataFrame({"n": range(number)})))
            if number > 1:
                dataset("t").tag(1, {2: "kept", 3: "late"}[number])
        finally:
            clock.reset(token)
    return made


def _seen(as_of: Any) -> list[int]:
    return [version.number for version in dataset("t", as_of=as_of).versions()]


@pytest.mark.one_backend("how a version is named")
def test_a_dataset_is_as_it_was_by_whatever_names_it(versions: list[DatasetVersion]) -> None:
    first, second, _ = versions
    names: list[Any] = [
        2, "2", "v2", "t/2", "t@2", second, second.id, second.id[:31], second.content_digest, DAYS[1], date(2026, 11, 22),
        DAYS[1].astimezone(timezone(timedelta(hours=9))), "2026-11-22", "t@2026-11-22", "2026-11-21T13:00:00+01:00",
    ]  # fmt: skip
    for as_of in names:
        then = dataset("t", as_of=as_of)
        assert (then.latest().id, _seen(as_of), then.to_polars().height) == (second.id, [2, 1], 2), as_of
        assert repr(then) == "Dataset('t', version 2, 2 rows)"
        assert "t/2" in then._repr_html_()
        assert then.version(first).id == then.version("kept").id == first.id
        for later in (3, "t/3", versions[2], versions[2].id, versions[2].content_digest):
            with pytest.raises(NotFoundError, match=r"As of .* the newest is t/2\."):
                then.version(later)
        assert get_dataset_version("t", as_of=as_of).id == second.id
        assert get_dataset_version(first.id, as_of=as_of).id == first.id
    assert [_seen(each) for each in ("kept", "latest", DAYS[0], "2026-11-20")] == [[1], [3, 2, 1], [1], []]


def test_tags_are_as_they_were(versions: list[DatasetVersion]) -> None:
    first = versions[0].id
    assert dataset("t", as_of=DAYS[0]).tags() == {}
    assert dataset("t", as_of=DAYS[1]).tags() == {"kept": first}
    assert dataset("t", as_of=1).tags() == {"kept": first, "late": first}
    with pytest.raises(
        NotFoundError, match=r"No version `t/late`\. As of 2026-11-21T12:00:00\+00:00 the newest is t/2\."
    ):
        dataset("t", as_of=DAYS[1]).version("late")


def test_what_it_is_as_of_is_looked_up_once(versions: list[DatasetVersion]) -> None:
    then, newest = dataset("t", as_of="kept"), dataset("t", as_of="latest")
    assert (then.latest().number, newest.latest().number) == (1, 3)
    dataset("t").tag(2, "kept")
    dataset("t").append(pl.DataFrame({"n": [9]}))
    assert (then.latest().number, newest.latest().number, dataset("t", as_of="kept").latest().number) == (1, 3, 2)


@pytest.mark.parametrize("as_of", [1, DAYS[0], "kept"])
def test_what_is_as_of_is_only_read(as_of: Any, versions: list[DatasetVersion], tmp_path: Any) -> None:
    rows = pl.DataFrame({"n": [7]})
    (tmp_path / "a.txt").write_text("a")
    changes: list[Callable[[Dataset], object]] = [
        lambda then: then.commit(rows), lambda then: then.append(rows), lambda then: then.add(tmp_path / "a.txt"),
        lambda then: then.upsert(rows, key="n"), lambda then: then.delete([1], key="n"), lambda then: then.delete(),
        lambda then: then.delete_files("a"), lambda then: then.compact(), lambda then: then.tag(1, "new"),
        lambda then: then.untag("kept"),
    ]  # fmt: skip
    for change in changes:
        with pytest.raises(NotAllowedError, match="opened as of `"):
            change(dataset("t", as_of=as_of))
    assert (_seen(None), list(dataset("t").tags())) == ([3, 2, 1], ["kept", "late"])


@pytest.mark.one_backend("what errors say")
def test_what_names_nothing_is_refused(versions: list[DatasetVersion], workspace: Workspace) -> None:
    other = dataset("other").commit(pl.DataFrame({"n": [1]}))
    for as_of, error, said in (
        (datetime(2026, 11, 21), InvalidError, "as_of: `2026-11-21T00:00:00` is not a time with a zone"),
        (other, InvalidError, "as_of: `other/1` is not a version of `t`"),
        ("other/1", InvalidError, "as_of: `other/1` is not a version of `t`"),
        (True, WrongTypeError, "as_of: `True` is a bool, expected a version's number"),
        (1.5, WrongTypeError, "as_of: `1.5` is a float"),
    ):  # fmt: skip
        with pytest.raises(error, match=f"^{said}"):
            dataset("t", as_of=as_of)  # type: ignore[arg-type]  # what is refused
    with pytest.raises(InvalidError, match="version: `2026-11-21T00:00:00` is not a time with a zone"):
        dataset("t").version(datetime(2026, 11, 21))
    for missing in (9, "stable", "2026"):
        with pytest.raises(NotFoundError, match=rf"No version `t/{missing}`\. The newest is t/3\."):
            dataset("t", as_of=missing).versions()
        assert repr(dataset("t", as_of=missing)) == "Dataset('t', empty)"
    with pytest.raises(NotFoundError, match="There was none yet: the first one, t/1, was made at 2026-11-20T12:00:00"):
        dataset("t", as_of="2026-11-20").version(1)
    with pytest.raises(NotFoundError, match="No dataset `nope`"):
        dataset("nope", as_of=1).versions()


def test_datasets_are_listed_as_of_a_time(versions: list[DatasetVersion]) -> None:
    assert [str(each) for each in list_datasets(as_of=DAYS[1])] == ["t/2"]
    assert [str(each) for each in list_datasets(as_of="2026-11-20")] == []
    with pytest.raises(InvalidError, match="as_of: `3` is not a time"):
        list_datasets(as_of="3")
    assert from_us(versions[0].created_at) == DAYS[0]
