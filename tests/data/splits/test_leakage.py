"""What leaks is found, with its rows; what doesn't is not made up."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from mainspring.artifacts import content_digest
from mainspring.data import Finding, HashSplit, LeakageReport, dataset, leakage, resample, split_by_time
from mainspring.data.splits import near, target_leakage
from mainspring.errors import InvalidError, NotFoundError
from mainspring.workspace import Workspace

ROWS = 4_000


def made(seed: int = 0, rows: int = ROWS) -> pl.DataFrame:
    """Trips with features that tell something of the target, and nothing that leaks."""
    random = np.random.default_rng(seed)
    distance, hour = random.gamma(2, 500, rows), random.integers(0, 24, rows)
    late = random.random(rows) < 1 / (1 + np.exp(-(hour - 12) / 4))
    return pl.DataFrame(
        {
            "id": np.arange(rows) + seed * 10**6,
            "at": [datetime(2013, 1, 1) + timedelta(hours=int(n)) for n in np.arange(rows) + seed * 10**4],
            "distance": distance,
            "weight": random.normal(70, 9, rows),
            "hour": hour,
            "carrier": random.choice(["UA", "AA", "B6"], rows),
            "late": late,
        }
    )


def found(report: LeakageReport, kind: str) -> Finding:
    (one,) = [finding for finding in report.findings if finding.kind == kind]
    return one


def test_separate_parts_pass() -> None:
    report = leakage(made(), made(1), key="id", time="at", target="late")
    assert (report.severity, report.passed) == ("ok", True)
    assert {each.kind for each in report.findings} == {
        "shared_keys", "exact_duplicates", "near_duplicates", "time_overlap", "target_leakage",
    }  # fmt: skip
    report.raise_for_stop()


KEYS = st.lists(st.tuples(st.integers(0, 6), st.sampled_from(["a", "b"])), min_size=1, max_size=20)


@given(KEYS, KEYS)
def test_shared_keys_and_equal_rows_are_counted(train: list[tuple[int, str]], test: list[tuple[int, str]]) -> None:
    known, asked = (
        pl.DataFrame(
            {"k": [k for k, _ in rows], "x": [x for _, x in rows]}, schema={"k": pl.Int64, "x": pl.Categorical}
        )
        for rows in (train, test)
    )
    by_key, whole = leakage(known, asked, key="k"), leakage(known, asked)
    shared = {k for k, _ in train} & {k for k, _ in test}
    rows = sum(k in shared for k, _ in test)
    assert found(by_key, "shared_keys").rows == rows
    assert found(by_key, "shared_keys").severity == ("stop" if shared else "ok")
    if shared:
        assert found(by_key, "shared_keys").message.startswith(f"{len(shared)} key")
    if train and test:
        counts = Counter(test)
        assert found(whole, "exact_duplicates").rows == sum(counts[row] for row in set(train))


def test_a_split_by_hash_shares_no_key_and_one_by_rows_does() -> None:
    frame = made().with_columns(user=pl.col("id") % 100)
    parts = HashSplit("user").apply(frame)
    assert leakage(parts["train"], parts["test"], key="user").passed
    shared = found(leakage(frame[:2000], frame[2000:], key="user"), "shared_keys")
    assert (shared.severity, shared.rows, shared.share) == ("stop", 2000, 1.0)
    assert len(shared.examples) == 5


def test_copies_made_before_the_split_are_found() -> None:
    copied = resample(made(), "late", {True: ROWS, False: ROWS}).with_row_index("row")
    parts = HashSplit("row").apply(copied)
    exact = found(leakage(parts["train"], parts["test"], key=("row",), time=""), "exact_duplicates")
    assert exact.severity == "stop"
    assert exact.share > 0.5


def test_rows_that_are_equal_by_nature_are_a_warning() -> None:
    coarse = made().select("carrier", "hour")
    exact = found(leakage(coarse.head(2000), coarse.tail(2000)), "exact_duplicates")
    assert (exact.severity, exact.share) == ("warn", 1.0)
    assert "only 3.6 % of the rows of train differ" in exact.message


def test_a_few_equal_rows_are_a_warning() -> None:
    train, test = made(), made(1)
    few = pl.concat([test, train.head(5)])
    exact = found(leakage(train, few, key="id"), "exact_duplicates")
    assert (exact.severity, exact.rows) == ("warn", 5)


def test_almost_equal_rows_are_found_and_not_counted_as_equal() -> None:
    train, test = made(), made(1)
    almost = train.head(400).with_columns(
        pl.col("distance") * (1 + 1e-7),
        pl.col("carrier").str.to_lowercase() + " ",
        pl.col("late").not_(),
        id=pl.lit(-1, pl.Int64),
    )
    report = leakage(train, pl.concat([test, almost]), key="id", time="at", target="late")
    assert found(report, "exact_duplicates").severity == "ok"
    assert found(report, "near_duplicates").severity == "warn"
    assert 380 <= found(report, "near_duplicates").rows <= 400  # a few lie where rounding changes
    assert {each.kind for each in leakage(train, test, near_duplicates=False).findings} == {"exact_duplicates"}


def sentences(count: int, seed: int) -> list[str]:
    random = np.random.default_rng(seed)
    words = np.array([f"{a}{b}{c}" for a in "bdfgklm" for b in "aeiou" for c in "nrst"])
    return [" ".join(random.choice(words, 30)) for _ in range(count)]


def test_texts_with_the_same_phrases_are_found() -> None:
    train, test = sentences(300, 1), sentences(200, 2)
    changed = [f"{text} and so on" for text in train[:50]]  # 28 of 31 runs of three words are the same
    report = leakage(pl.DataFrame({"text": train}), pl.DataFrame({"text": [*test, *changed]}))
    similar = found(report, "similar_texts")
    assert similar.severity == "warn"
    assert 40 <= similar.rows <= 50
    assert all(example["test"] == f"{example['train']} and so on"[:77] + "..." or len(example["test"]) == 80
               for example in similar.examples)  # fmt: skip
    clean = leakage(pl.DataFrame({"text": train}), pl.DataFrame({"text": test}))
    assert found(clean, "similar_texts").severity == "ok"


def test_likeness_of_texts_is_about_that_of_their_phrases() -> None:
    one = sentences(1, 3)[0].split(" ")
    texts = [" ".join(one[:keep] + [f"w{n}" for n in range(30 - keep)]) for keep in (30, 29, 20, 5)]
    places = near.alike_texts(pl.Series([" ".join(one), "", None]), pl.Series([*texts, "", None, "two words"]))
    assert places.tolist() == [0, 0, -1, -1, -1, -1, -1]


def test_test_rows_before_the_newest_to_train_on_are_found() -> None:
    frame = made()
    parts = split_by_time(frame, "at", at=datetime(2013, 3, 1))
    assert found(leakage(parts["train"], parts["test"], time="at"), "time_overlap").severity == "ok"
    mixed = HashSplit("id").apply(frame)
    newest = mixed["train"]["at"].max()
    overlap = found(leakage(mixed["train"], mixed["test"], time="at"), "time_overlap")
    assert overlap.severity == "stop"
    assert overlap.rows == sum(at < newest for at in mixed["test"]["at"])


LEAKS: dict[str, pl.Expr] = {
    "copy": pl.col("late").cast(pl.Int8),
    "text": pl.when("late").then(pl.lit("delayed")).otherwise(pl.lit("on time")),
    "missing": pl.when("late").then(None).otherwise(pl.col("weight")),
    "delay": pl.when("late").then(15 + pl.col("weight")).otherwise(pl.col("weight") - 100),
}


@pytest.mark.parametrize("name", LEAKS)
def test_a_column_that_leaks_the_target_is_found(name: str) -> None:
    train, test = (made(seed).with_columns(LEAKS[name].alias("leak")) for seed in (0, 1))
    leak = found(leakage(train, test, key="id", time="at", target="late"), "target_leakage")
    assert (leak.severity, leak.columns) == ("stop", ("leak",))
    assert leak.score is not None
    assert leak.score > 0.99


@pytest.mark.parametrize("form", ["{word}-{id}", "{word}{id}", "{id} {word}", "{word}2/{id}"])
def test_a_word_in_an_identifier_may_leak_the_target(form: str) -> None:
    train, test = (
        part.with_columns(
            code=pl.Series(
                [
                    form.format(word="POS" if late else "NEG", id=f"{at + start:05}")
                    for at, late in enumerate(part["late"])
                ]
            )
        )
        for part, start in ((made(), 0), (made(1), 50_000))
    )
    leak = found(leakage(train, test, key="id", target="late"), "target_leakage")
    assert (leak.columns, leak.severity) == (("code",), "stop")


def test_an_identifier_leaks_nothing() -> None:
    train, test = (made(seed).with_columns(pl.col("id").cast(pl.String)) for seed in (0, 1))
    report = leakage(train, test, target="late")
    assert found(report, "target_leakage").severity == "ok"
    assert "`hour`" in found(report, "target_leakage").message


def test_a_number_is_leaked_by_another() -> None:
    train, test = (made(seed).with_columns(twice=pl.col("distance").log() * 2) for seed in (0, 1))
    leak = found(leakage(train, test, key="id", target="distance"), "target_leakage")
    assert (leak.severity, leak.columns) == ("stop", ("twice",))
    assert "R²" in leak.message
    clean = leakage(train, test, key="id", target="distance", ignore=["twice"])
    assert found(clean, "target_leakage").severity == "ok"


def test_one_of_several_classes_is_leaked_by_what_tells_all() -> None:
    train, test = (
        made(seed).with_columns(code=pl.col("carrier").replace_strict({"UA": 3, "AA": 1, "B6": 2})) for seed in (0, 1)
    )
    leak = found(leakage(train, test, key="id", target="carrier"), "target_leakage")
    assert (leak.severity, leak.columns, leak.score) == ("stop", ("code",), 1.0)


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=40))
def test_the_area_is_that_of_scikit_learn(rows: list[tuple[int, bool]]) -> None:
    scores, truth = np.array([[score] for score, _ in rows]), np.array([[each] for _, each in rows], float)
    if len(set(truth[:, 0])) == 2:
        assert target_leakage._area(scores, truth) == pytest.approx(roc_auc_score(truth[:, 0], scores[:, 0]))
    else:
        assert np.isnan(target_leakage._area(scores, truth))


def test_parts_of_one_class_say_that_nothing_can_be_told() -> None:
    train, test = made(), made(1).filter("late")
    assert found(leakage(train, test, key="id", target="late"), "target_leakage").severity == "warn"


def test_a_report_is_data_text_and_a_page() -> None:
    train, test = pl.DataFrame({"id": ["<1>", "2"], "x": [1, 2]}), pl.DataFrame({"id": ["<1>", "3"], "x": [1, 4]})
    report = leakage(train, test, key="id")
    assert str(report).splitlines() == [
        "train and test: they leak (2 rows to train on, 2 to test on)",
        "  STOP  1 key (id) is in both parts: 1 test row (50 %)",
        "  STOP  rows of train that are equal: 1 test row (50 %)",
        "  ok    rows that are almost equal were not looked for: 1 feature without a long text may agree by chance",
    ]
    assert "almost equal" not in str(leakage(train, test, key="id", near_duplicates=False))
    document = json.loads(report.to_json())
    assert (document["severity"], document["passed"], document["findings"][0]["rows"]) == ("stop", False, 1)
    assert msgspec.json.decode(msgspec.json.encode(report), type=LeakageReport) == report
    assert content_digest(report) == content_digest(leakage(train, test, key="id"))
    assert "&lt;1&gt;" in report.to_html()
    assert "<1>" not in report.to_html()
    with pytest.raises(InvalidError, match=r"1 key \(id\) is in both parts.*; rows of train"):
        report.raise_for_stop()


def test_versions_are_named_and_read(workspace: Workspace) -> None:
    one, two = dataset("a").commit(made()), dataset("b").commit(made(1))
    report = leakage(one, two, key="id")
    assert (report.train, report.test, report.train_rows) == ("a/1", "b/1", ROWS)


EMPTY = pl.DataFrame(schema=made(rows=1).schema)


@pytest.mark.parametrize(("train", "test"), [(EMPTY, made()), (made(), EMPTY), (EMPTY, EMPTY)])
def test_a_part_without_rows_is_not_clean(train: pl.DataFrame, test: pl.DataFrame) -> None:
    report = leakage(train, test, key="id", time="at", target="late")
    empty = "test" if train.height else "train"
    assert [str(each) for each in report.findings] == [f"STOP  nothing was compared: {empty} has no rows"]
    assert "nothing was compared (" in str(report)
    assert not report.passed
    with pytest.raises(InvalidError, match=f"train and test: `nothing was compared` is not .*: {empty} has no rows"):
        report.raise_for_stop()


@pytest.mark.parametrize(
    ("known", "asked", "severity", "said"),
    [
        ([1, 2], [None, None], "stop", "no keys were compared: test has none (id is null)"),
        ([None, None], [1, 2], "stop", "no keys were compared: train has none (id is null)"),
        ([1, 2], [3, None], "warn", "not compared by key: 1 row of test, as the key (id) is null there"),
    ],
)
def test_keys_that_are_null_are_not_compared_and_do_not_pass(
    known: list[Any], asked: list[Any], severity: str, said: str
) -> None:
    train, test = (pl.DataFrame({"id": ids}, schema={"id": pl.Int64}) for ids in (known, asked))
    report = leakage(train.with_columns(x=pl.lit(1)), test.with_columns(x=pl.lit(2)), key="id")
    finding = found(report, "not_compared")
    assert (finding.severity, finding.message, report.severity) == (severity, said, severity)
    both = [frame.with_columns(more=pl.Series([None, 1])) for frame in (train, train)]
    assert not leakage(*both, key=("id", "more")).passed


NESTED = {
    "list": pl.Series([[1], [2]]),
    "array": pl.Series([[1], [2]], dtype=pl.Array(pl.Int64, 1)),
    "struct": pl.Series([{"a": [1]}, {"a": [2]}]),
    "binary": pl.Series([b"\xff", b"b"]),
}


@pytest.mark.parametrize("kind", NESTED)
def test_what_is_neither_time_nor_target_is_refused(kind: str) -> None:
    part = pl.DataFrame({"x": NESTED[kind], "y": [1, 2]})
    assert found(leakage(part, part, key="x"), "shared_keys").rows == 2
    with pytest.raises(InvalidError, match=r"x: `.*` is not a target of numbers, truth values, text or times"):
        leakage(part, part, target="x")
    with pytest.raises(InvalidError, match=r"x: `.*` is not a column of times or numbers"):
        leakage(part, part, time="x")


@pytest.mark.parametrize("values", [["2013-10-01", "2013-9-1"], [True, False], [None, None]])
def test_a_time_is_a_time_or_a_number(values: list[Any]) -> None:
    part = pl.DataFrame({"x": values, "y": [1, 2]})
    with pytest.raises(InvalidError, match=r"x: `.*` is not a column of times or numbers"):
        leakage(part, part, time="x")


def test_nested_columns_and_parts_with_nothing_in_common_are_taken() -> None:
    nested = pl.DataFrame({"a": [[1, 2], [3]], "b": [{"x": 1}, {"x": 2}], "c": [b"1", b"2"], "y": [True, False]})
    report = leakage(nested, nested.head(1), target="y")
    assert found(report, "exact_duplicates").rows == 1
    assert str(leakage(pl.DataFrame({"a": [1]}), pl.DataFrame({"b": [1]}))).splitlines()[1:] == [
        "  ok    not compared, as only train has them: `a`",
        "  ok    not compared, as only test has them: `b`",
        "  STOP  nothing was compared: the parts have no column in common that can be",
    ]
    (alone,) = leakage(pl.DataFrame(), pl.DataFrame()).findings
    assert alone.message == "nothing was compared: train has no rows"


DAYS = pl.Series([date(2013, 1, day) for day in (1, 2, 3)])


@pytest.mark.parametrize(
    ("values", "known", "asked"),
    [
        ([0, 1, 2], pl.Int64, pl.Int32),
        ([0, 1, 2], pl.Int16, pl.UInt64),
        ([0, 1, 2], pl.Int64, pl.Float64),
        ([0, 1, 2], pl.Int64, pl.Decimal(10, 2)),
        (["a", "b", "c"], pl.String, pl.Categorical),
        (["a", "b", "c"], pl.Categorical, pl.Enum(["c", "b", "a"])),
        (DAYS.cast(pl.Datetime), pl.Datetime("ms"), pl.Datetime("ns")),
        (DAYS, pl.Date, pl.Datetime("us")),
        (
            DAYS.cast(pl.Datetime("us", "UTC")),
            pl.Datetime("us", "UTC"),
            pl.Datetime("us", "America/New_York"),
        ),
        (DAYS - DAYS[0], pl.Duration("ms"), pl.Duration("us")),
        ([[0], [1], [2]], pl.List(pl.Int64), pl.List(pl.Int8)),
        ([[0], [1], [2]], pl.Array(pl.Int64, 1), pl.Array(pl.Float32, 1)),
        ([{"a": 0}, {"a": 1}, {"a": 2}], pl.Struct({"a": pl.Int64}), pl.Struct({"a": pl.Int32})),
        ([None, None, None], pl.Null, pl.Int64),
    ],
)
def test_columns_of_types_that_compare_are_compared(values: Any, known: Any, asked: Any) -> None:
    """Columns whose type differed were left out without a word: two equal columns gave `no leak found`."""
    train, test = (pl.DataFrame({"x": pl.Series(values).cast(dtype)}) for dtype in (known, asked))
    assert train.schema != test.schema
    assert found(leakage(train, test), "exact_duplicates").rows == 3
    assert "not_compared" not in {each.kind for each in leakage(train, test).findings}
    if None not in values:
        assert found(leakage(train, test, key="x"), "shared_keys").rows == 3


@pytest.mark.parametrize(
    ("known", "asked"),
    [
        (pl.Series([1]), pl.Series(["1"])),
        (pl.Series([datetime(2013, 1, 1)]), pl.Series([1])),
        (pl.Series([datetime(2013, 1, 1)]), pl.Series([datetime(2013, 1, 1)]).dt.replace_time_zone("UTC")),
        (pl.Series([[1]]), pl.Series([["1"]])),
        (pl.Series([{"a": 1}]), pl.Series([{"b": 1}])),
        (pl.Series([b"a"]), pl.Series(["a"])),
    ],
)
def test_columns_that_do_not_compare_are_named(known: pl.Series, asked: pl.Series) -> None:
    train, test = (pl.DataFrame({"x": column, "n": number}) for column, number in ((known, 1), (asked, 2)))
    left_out = found(leakage(train, test), "not_compared")
    assert (left_out.severity, left_out.columns) == ("warn", ("x",))
    assert left_out.message == f"not compared, as their types differ: x ({known.dtype} and {asked.dtype})"
    assert leakage(train, test, ignore=["x"]).severity == "ok"
    assert [each.kind for each in leakage(train.select("x"), test.select("x")).findings] == ["not_compared"] * 2
    for arguments in ({"key": "x"}, {"time": "x"}, {"target": "x"}):
        with pytest.raises(InvalidError, match="of one type in both parts"):
            leakage(train, test, **arguments)  # type: ignore[arg-type]  # each is a name


def test_a_lazy_table_is_looked_at_as_a_whole_one_is() -> None:
    train, test = (made(seed).with_columns(text=pl.Series(sentences(ROWS, 5))) for seed in (0, 1))
    test = pl.concat([test, train.head(100)])
    named: dict[str, Any] = {"key": "id", "time": "at", "target": "late"}
    assert leakage(train.lazy(), test.lazy(), **named) == leakage(train, test, **named)


def test_unknown_columns_are_named() -> None:
    for arguments in ({"key": "idd"}, {"time": "idd"}, {"target": "idd"}, {"ignore": ["idd"]}):
        with pytest.raises(NotFoundError, match="Nearest: id"):
            leakage(pl.DataFrame({"id": [1]}), pl.DataFrame({"id": [1]}), **arguments)
