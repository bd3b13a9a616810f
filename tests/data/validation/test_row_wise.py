"""What is judged to look at one row at a time gives the same for a table, for each of its rows, and in another process."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import warnings
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from inspect import signature
from itertools import chain, product
from random import Random
from typing import Any

import polars as pl
import pytest

from mainspring.data.validation.evaluation import evaluated, in_any_parts, parsed
from mainspring.data.validation.expressions import formula, is_row_wise, serialised, shows_codes
from mainspring.data.validation.stable import of_tree, spelled_out, tree_of
from mainspring.errors import InvalidError

c = pl.col
FRAME = pl.DataFrame(
    {
        "a": [1, 2, 3, 2, None], "b": [3, 1, 9, 2, 2], "f": [0.5, -1.0, 2.25, None, 4.0],
        "s": ["abc", "bcd", "zc", None, "b"], "p": ["b", "c", "zc", "x", "b"],
        "z": ["2026-01-02", "03/04/2026", "2026-01-02T03:04:05", "10:30", "10:30:00.5"],
        "l": [[1, 2], [3], [], None, [2, 2, 1]], "m": [["b", "a"], ["c"], ["x", None], [], ["a", "c"]],
        "t": [datetime(2026, 1, 2, 3, 4, 5), datetime(2025, 12, 31), None, datetime(2024, 2, 29), datetime(1969, 7, 20)],
        "d": [date(2026, 1, 2), None, date(2024, 2, 29), date(2000, 1, 1), date(1969, 7, 20)],
        "w": ["b", "a", "c", None, "b"], "v": ["c", "c", "a", "a", "b"], "i": [0, -1, None, 1, 0],
        "q": [[0.1, 0.2, 1e16, -1e16, 0.3], [], [0.1], [None, -0.0, 0.7], None],
    }
).with_columns(
    c("w", "v").cast(pl.Categorical), r=pl.concat_arr(c("b"), c("b") * 2), u=pl.struct("a", "s"),
    k=c("m").cast(pl.List(pl.Categorical)), e=c("s").cast(pl.Enum(["abc", "bcd", "zc", "b"])), g=c("t") - datetime(2020, 1, 1),
    x=c("s").cast(pl.Binary),
)  # fmt: skip
SUBJECTS = {"": "aslwk", "bin": "x", "str": "sz", "list": "lmk", "arr": "r", "dt": "tdg", "struct": "u", "cat": "w"}
GIVEN: tuple[Any, ...] = (
    1, "b", "%Y-%m-%d", "1d", True, [1, 2], {1: 5}, pl.Series([9, 1, 2, 2, 7]), pl.Series(["b", "c", "zc", "q", "b"]),
    pl.Series([[1], [2], [3], [4], [5]]), c("a"), c("b"), c("p"), c("l"), c("m"), c("v"), pl.Categorical, pl.String, pl.Date,
    pl.Datetime("us"), pl.UInt32, ["x", "y"], c("i"),
)  # fmt: skip
OF_ANY_ORDER = ('{"Unique":false}', '"ValueCounts"', '"maintain_order":false')
PAIRS = tuple(product((1, [1, 2], c("b"), c("p"), "b"), (2, [7, 8], c("a"), c("v"), "x")))
NAMED: tuple[dict[str, Any], ...] = (
    {}, {"strict": False}, {"seed": 1}, {"null_on_oob": True}, {"strategy": "forward"}, {"default": None},
)  # fmt: skip
BY_HAND = (
    c("a") + pl.lit(pl.Series([1, 2, 3, 4, 5])), c("a") + pl.lit(pl.Series([4])),
    pl.when(c("a").is_in(c("b"))).then(1).otherwise(0), pl.len(),
    pl.when(c("b").is_in([1, 2])).then("a").otherwise(pl.lit(pl.Series([5, 6, 7, 8, 9]))), pl.max_horizontal("a", "b"),
    pl.max_horizontal("w", "v"), pl.min_horizontal("w", "v"), pl.mean_horizontal("a", "f"), pl.sum_horizontal("a", "f"),
    pl.coalesce("a", "b"), pl.concat_str("s", "p"), pl.concat_list("a", "b"), pl.struct("a", "w").struct.json_encode(),
    pl.len() + c("a"), c("s").cast(pl.Categorical).to_physical(), c("s").cast(pl.Categorical) == c("v"), c("w") < c("v"),
    c("k").list.eval(pl.element().to_physical()), pl.struct("w").to_physical(), c("e").to_physical(),
    c("s").cast(pl.Categorical).hash(1),
    c("k").hash(1), pl.max_horizontal(c("s").cast(pl.Categorical), c("p").cast(pl.Categorical)), c("a").is_in(c("l")),
    c("a").is_in(c("b").cast(pl.String)), c("l").list.contains(c("a")),
    c("a").is_in(pl.lit(pl.Series([[1], [2], [3], [2], [5]]))),
    *(c("z").str.strptime(kind, strict=False) for kind in (pl.Date, pl.Time, pl.Datetime("us"), pl.Datetime("us", "UTC"))),
    *(c("z").str.strptime(pl.Date, form, strict=False) for form in ("%Y-%m-%d", "%d/%m/%Y")),
    c("a").replace(c("b"), c("a")), c("a").replace({1: 2, 3: 4}), c("a").replace_strict({1: 2}, default=c("b")),
    *map(pl.sql_expr, ("f / 3.3", "a / 3", "f % 0.7", "a // 3", "f - 3.3", "POW(f, 2)", "ROUND(f, 1)", "f > 2.5")),
    c("a").replace_strict(c("b"), c("b"), default=None), c("a").replace(pl.Series([1, 2]), pl.Series([8, 9])),
)  # fmt: skip


def called(of: Any, name: str) -> Iterator[pl.Expr]:
    """What a method makes of one or two arguments that it takes."""
    method = getattr(of, name)
    if not callable(method):
        return
    known = signature(method).parameters
    options = [each for each in NAMED if each.keys() <= known.keys()]
    for values, named in (*product([(), *((each,) for each in GIVEN)], options), *((pair, {}) for pair in PAIRS)):
        try:
            made = method(*values, **named)
        except Exception:  # noqa: BLE001  # most arguments don't fit, and each method says so in its own way
            continue
        if isinstance(made, pl.Expr):
            yield made


def recordable() -> dict[str, pl.Expr]:
    """What Polars' own methods make of columns, as records keep it, by its text."""
    found: dict[str, pl.Expr] = {}
    for space, names in SUBJECTS.items():
        for subject in map(c, names):
            of = getattr(subject, space) if space else subject
            for name in {"__add__", "__lt__", "__eq__", *(each for each in dir(of) if each[0] != "_")} - {"inspect"}:
                for made in called(of, name) if hasattr(of, name) else ():
                    keep(found, made)
    for name in {"__add__", "__lt__", *(each for each in dir(pl.element()) if each[0] != "_")} - {"inspect"}:
        for made in called(pl.element(), name):
            for lists in (c("m").list, c("q").list, c("r").arr):
                keep(found, lists.eval(made))
    for made in BY_HAND:
        keep(found, made)
    return found


def keep(found: dict[str, pl.Expr], made: pl.Expr) -> None:
    try:
        text = serialised(made.meta.undo_aliases())
        if text not in found:
            found[text] = formula(text).alias("x")
    except (InvalidError, pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return


def given(frame: pl.DataFrame, expression: pl.Expr) -> list[Any] | None:
    """What an expression gives, as text that tells values apart; None if it fails."""
    try:
        return [repr(each) for each in frame.with_columns(expression)["x"].to_list()]
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, ValueError, TypeError, OverflowError):
        return None


def shown(frame: pl.DataFrame, text: str) -> list[str] | None:
    """The same of what is recorded, evaluated as features are."""
    try:
        return [repr(each) for each in evaluated(frame, {"x": text})["x"].to_list()]
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, ValueError, TypeError, OverflowError):
        return None


@pytest.fixture(scope="module")
def known() -> dict[str, pl.Expr]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what goes with the next release is recordable still
        return recordable()


@pytest.mark.filterwarnings("ignore")
def test_what_a_table_gives_its_parts_give(known: dict[str, pl.Expr]) -> None:
    judged = {text: each for text, each in known.items() if is_row_wise(each)}
    different: dict[str, Any] = {}
    count = 0
    for text in judged:
        whole = shown(FRAME, text)
        if whole is None and shown(FRAME.clear(), text) is None:
            continue  # no definition is made of it
        alone = [shown(FRAME[place : place + 1], text) for place in range(FRAME.height)]
        if whole is None:
            if None not in alone:
                different[text] = whole, alone
            continue
        count += 1
        if alone != [[each] for each in whole] or shown(FRAME.reverse(), text) != whole[::-1]:
            different[text] = whole, alone
    assert different == {}
    assert count > 1_000


def numbers() -> Iterator[pl.Expr]:
    """Arithmetic between columns, lists, arrays and constants that have no short form in base two."""
    columns = [c(name) for name in ("a", "b", "p", "i", "k", "s", "m", "l", "r", "o")]
    constants: tuple[Any, ...] = (3, 7, 5.67, 1 / 3, Decimal("0.3"))
    for one, other in product(columns, (*columns, *constants)):
        yield from (one / other, one * other, one % other, one**other)
    for one in columns:
        yield from (pl.lit(1 / 3) / one, 7**one, (one - 12.34) / 5.67, one.exp(), one.log())
    for lists in (
        c("l").list,
        c("o").list,
        (c("l") * c("l")).list,
        (c("l") - c("a")).list,
        c("r").arr,
        (c("r") / 3).arr,
    ):
        yield from (getattr(lists, name)() for name in ("sum", "mean", "std", "min", "median"))
        item = pl.element()
        yield from (lists.agg(each) for each in (item.sum(), item.std(), (item / 3).sum(), item.max() / 7))
        yield from (
            lists.eval(each) for each in (item / 3, item**0.3, item / item.sum(), (item - item.mean()) / item.std())
        )
    yield from map(pl.sql_expr, ("a / 3.3", "a / 7", "i / 7", "a % 0.7", "m / 7", "POW(a, 0.3)", "s / 3.3", "a // 0.7"))
    yield from (
        pl.concat_list("a", "b").list.sum(),
        pl.mean_horizontal("a", "b", "p"),
        pl.struct(c("a") / 3, c("l") / 3),
    )
    yield from (
        c("l").list.eval(pl.element().filter(pl.element() > 2)).list.eval(pl.element() / 3),
        c("l") / c("l").list.sum(),
    )


def drawn(rows: int) -> pl.DataFrame:
    """Numbers of any size, wide lists and arrays among which are nulls, empty ones and a list of one item."""
    draw = Random(rows)

    def floats(count: int) -> list[float]:
        return [draw.gauss(0, 1) * 10.0 ** draw.randint(-4, 6) for _ in range(count)]

    wide = pl.Array(pl.Float64, 130)
    wholes = [draw.randint(-(10**6), 10**6) for _ in range(rows)]
    return pl.DataFrame(
        {
            "a": floats(rows), "b": floats(rows), "p": [draw.choice((0.5, 2.0, 3.0, -1.0, 1 / 3, 1.7)) for _ in range(rows)],
            "i": wholes, "k": [draw.randint(-3, 4) for _ in range(rows)],
            "s": pl.Series(floats(rows), dtype=pl.Float32), "m": pl.Series(wholes).cast(pl.Decimal(20, 2)),
            "l": [None, [], [None, 1.1], floats(1), *(floats(draw.choice((1, 3, 129, 300))) for _ in range(rows - 4))],
            "o": [[each] if place == 5 else [] for place, each in enumerate(floats(rows))],
            "r": pl.Series([None, [None] * 130, *(floats(130) for _ in range(rows - 2))], dtype=wide),
        }
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore")
def test_numbers_have_the_same_bits_alone_in_parts_and_in_columns_of_chunks() -> None:
    frame, different, count = drawn(16), dict[str, Any](), 0
    alone = [frame[place : place + 1] for place in range(frame.height)]
    for made in filter(is_row_wise, numbers()):
        text = serialised(made)
        if (whole := shown(frame, text)) is None:
            continue
        count += 1
        found = {"alone": [shown(each, text) for each in alone], "in chunks": [shown(pl.concat(alone), text)]}
        found["parts"] = [shown(frame[begin : begin + 3], text) for begin in range(0, frame.height, 3)]
        for parts, each in found.items():
            if [*chain.from_iterable(part or ["failed"] for part in each)] != whole:
                different[f"{made} {parts}"] = whole, each
    assert different == {}
    assert count > 300


def test_the_only_item_of_many_lists_is_reckoned_with_as_among_others() -> None:
    draw = Random(5)
    for made in (c("l") / 7, c("l") / 3.3, c("l").list.eval(pl.element() / 7), c("l").list.sum(), c("l").list.mean(),
                 c("w") / 7, c("w").list.eval(pl.element() / 7)):  # fmt: skip
        text = serialised(made)
        for _ in range(20):
            item, whole = draw.gauss(0, 99), draw.randint(0, 10**6)
            alone = pl.DataFrame({"l": [*[[]] * 50, [item], *[[]] * 49], "w": [*[[]] * 50, [whole], *[[]] * 49]},
                                 schema={"l": pl.List(pl.Float64), "w": pl.List(pl.Int64)})  # fmt: skip
            among = pl.concat([alone, pl.DataFrame({"l": [[0.1, 0.3]], "w": [[5, 7]]})])
            assert shown(alone, text) == (shown(among, text) or [])[:100], str(made)


def test_a_column_that_is_one_value_repeated_is_reckoned_with_as_any() -> None:
    text = serialised(c("a") / 3)
    whole = pl.DataFrame({"n": [1, 2], "a": [0.7, 0.7]})
    assert shown(whole.select("n").with_columns(a=pl.lit(0.7)), text) == shown(whole, text)


def test_features_of_many_rows_and_constants_stand_in_the_order_asked_for() -> None:
    texts = {"n": serialised(pl.lit(5)), "t": serialised(c("a") / 4), "r": serialised(c("a").sum()), "a": ""}
    for height in (1, 3):
        found = evaluated(pl.DataFrame({"a": [8.0] * height}), texts)
        assert found.rows() == [(5, 2.0, 8.0 * height, 8.0)] * height


@pytest.mark.filterwarnings("ignore")
def test_what_another_process_gives_otherwise_shows_codes(known: dict[str, pl.Expr]) -> None:
    of_categories = {
        text: each for text, each in known.items()
        if {"w", "v", "k"} & {*each.meta.root_names()} or "Categorical" in text
        if not any(order in text for order in OF_ANY_ORDER)
    }  # fmt: skip
    one, other = (elsewhere(order, [*of_categories]) for order in ("abczx", "xzcba"))
    different = {text for text in of_categories if one[text] != other[text]}
    assert {text for text in different if not shows_codes(formula(text), FRAME.schema)} == set()
    assert len(different) > 3
    assert any(one[text] is not None for text in of_categories)


def elsewhere(categories: str, texts: list[str]) -> dict[str, Any]:
    """What expressions give in a process in which these categories were made first, in this order."""
    script = f"""if True:
        import json, runpy, sys, warnings
        import polars as pl
        warnings.simplefilter("ignore")
        first = pl.Series({[*categories]!r}, dtype=pl.Categorical)
        test = runpy.run_path({__file__!r})
        given, frame, formula = test["given"], test["FRAME"], test["formula"]
        print(json.dumps({{text: given(frame, formula(text).alias("x")) for text in json.load(sys.stdin)}}))
    """
    ran = subprocess.run(
        [sys.executable, "-c", script], input=json.dumps(texts), capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def test_a_set_is_literal_and_a_format_is_given() -> None:
    each = [c("a").is_in([1, 2]), c("a").is_in(pl.Series([1, 2])), c("a").replace({1: 2}), c("s").str.to_date("%Y"),
            c("a").replace_strict({1: 2}, default=c("b")), c("a") + pl.lit(pl.Series([1])),
            c("l").list.contains(c("a")), c("s").cast(pl.Enum(["b"])).to_physical(), c("a").hash()]  # fmt: skip
    assert [str(one) for one in each if not is_row_wise(one)] == []
    others = [c("a").is_in(c("b")), c("a").is_in(c("b").implode()), c("a").replace(c("b"), c("f")), c("s").str.to_date(),
              c("a").replace_strict(c("b"), c("f"), default=None), c("a") + pl.lit(pl.Series([1, 2])),
              c("s").str.to_datetime(), c("s").str.to_time(), c("s").str.strptime(pl.Date), pl.sql_expr("date(s)"),
              c("s").cast(pl.Categorical).to_physical(), c("a").is_in(pl.Series([[1], [2]]))]  # fmt: skip
    assert [str(one) for one in others if is_row_wise(one)] == []


@pytest.mark.parametrize(
    "text", ["a / 3.3", "a > 2.5", "MOD(a, 3)", "a IN (1.5, 2)", "POW(a, 2) - 1.5", "ROUND(f, 1) = 0.5"]
)
def test_arithmetic_in_sql_is_of_single_rows(text: str) -> None:
    assert is_row_wise(formula(text))


def test_arguments_may_be_columns_and_what_is_evaluated_in_lists_looks_at_one_list() -> None:
    item = pl.element()
    each = [c("l").list.get(c("a")), c("l").list.slice(c("a"), c("b")), c("l").list.gather(c("l")),
            c("s").str.slice(c("a"), c("b")), c("r").arr.get(c("a"), null_on_oob=True), c("r").arr.get(1),
            c("l").list.shift(c("a")), c("x").bin.slice(c("a")),
            c("l").list.eval(item + 1), c("l").list.eval(item.rank()), c("l").list.agg(item.sum()), c("l").list.reverse(),
            c("l").list.filter(item > 2), c("r").arr.eval(item.cum_sum()), c("l").list.unique(maintain_order=True),
            c("u").struct.with_fields(pl.field("a") + 1), pl.struct(c("a").alias("b")), c("a").repeat_by(c("b")),
            pl.int_ranges(0, c("a")), c("w").cat.len_chars(), c("a").bitwise_count_ones(), c("f").is_close(c("a"))]  # fmt: skip
    assert [str(one) for one in each if not is_row_wise(one)] == []
    others = [c("r").arr.get(c("a")), c("l").list.unique(), c("l").list.eval(item.rank("random")), c("a").rank(), item + 1,
              c("l").list.eval(item + c("a")), c("l").list.filter(item > c("a")), c("a").cum_sum(), c("a").sum(),
              c("l").list.eval(item + pl.lit(pl.Series([1, 2]))), c("m").list.eval(item.str.to_date()),
              c("l").sum().list.eval(item),
              c("l").list.eval(item.is_in(c("a"))), c("l").list.sample(1), c("r").arr.explode(), c("a").reverse(),
              c("a").cumulative_eval(item.sum()), pl.int_range(pl.len()), c("a").bitwise_xor(), c("w").cat.physical(),
              c("u").struct.with_fields(pl.field("a").sum()), pl.struct(c("a").sum().alias("b"))]  # fmt: skip
    assert [str(one) for one in others if is_row_wise(one)] == []


def test_codes_of_categories_are_told_from_others() -> None:
    shown = [c("w").to_physical(), c("k").hash(), c("s").cast(pl.Categorical).to_physical() + 1, pl.max_horizontal("w", "v"),
             c("k").list.eval(pl.element().to_physical()), c("k").list.max(), c("w").to_physical().sum().over("a"),
             c("w").cat.physical(), c("k").list.eval(pl.element().cat.physical())]  # fmt: skip
    assert [str(one) for one in shown if not shows_codes(one, FRAME.schema)] == []
    hidden = [c("e").to_physical(), c("s").hash(), c("w").cast(pl.String).hash(), c("w") == "b", c("t").to_physical(),
              c("w").is_in(["a"]), c("l").list.max(), pl.max_horizontal("a", "b"), pl.len()]  # fmt: skip
    assert [str(one) for one in hidden if shows_codes(one, FRAME.schema)] == []


def test_the_number_of_rows_is_not_a_column_of_that_name() -> None:
    for expression in (pl.len(), pl.len() + 1):
        kept = formula(serialised(expression))
        assert (
            pl.DataFrame({"Len": [7, 8, 9]}).select(kept).item()
            == pl.DataFrame({"Len": [7, 8, 9]}).select(expression).item()
        )
    assert FRAME.rename({"a": "Len"}).select(formula('"Len" + 1')).to_series().to_list() == [2, 3, 4, 3, None]


def structs() -> Iterator[pl.Expr]:
    """Fields whose names are those of other columns, and what is made of them; and lists of which some items are left."""
    for one, other in product(
        (c("a") / 3, c("a") / c("b"), (c("b") - 1.5) / 0.7), (c("b") / 7, c("i") / 7, c("a").abs() ** 0.3)
    ):
        for made in (pl.struct(a=one, b=other), pl.struct(b=one, a=other), pl.struct(one.alias("r"), other.alias("a"))):
            yield from (made, made.struct.field("a"), made.struct.json_encode(), made.struct.rename_fields(["p", "q"]))
            yield from (made.struct.with_fields(z=pl.field("a") / 3), pl.concat_list(made), pl.struct(x=made, a=one))
        yield c("s").struct.with_fields(z=pl.field("b") / 3, b=pl.field("a") * one)
    item = pl.element()
    for kept in (
        c("l").list.filter(item / 3 > 1),
        c("l").list.filter((item > 0) & item.is_not_null()),
        c("l").list.filter(item < 0),
    ):
        yield from (
            kept,
            kept.list.sum(),
            kept.list.mean() / 3,
            kept.list.len() / 7,
            kept / 3,
            kept.list.eval(item / 0.7),
        )


def is_near(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= math.ulp(other)
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(map(is_near, one.values(), other.values()))
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_near, one, other))
    return bool(one == other)


def test_fields_and_items_are_those_that_polars_gives() -> None:
    draw = Random(6)

    def number() -> float | None:
        return draw.choice((draw.gauss(0, 9), draw.gauss(0, 9), None))

    frame = pl.DataFrame({
        "a": [number() for _ in range(9)], "b": [draw.gauss(0, 9) for _ in range(9)], "i": range(1, 10),
        "s": [{"a": draw.gauss(0, 9), "b": draw.gauss(0, 9)} for _ in range(9)],
        "l": [[number() for _ in range(draw.randrange(5))] for _ in range(8)] + [None],
    }, schema_overrides={"l": pl.List(pl.Float64)})  # fmt: skip
    for made in structs():
        text, plain = serialised(made), frame.select(x=made)
        assert is_row_wise(made), str(made)
        found = evaluated(frame, {"x": text})
        assert (found.schema, is_near(found["x"].to_list(), plain["x"].to_list())) == (plain.schema, True), str(made)
        assert frame.lazy().select(x=in_any_parts(text)).collect()["x"].to_list() == found["x"].to_list(), str(made)
        alone = [evaluated(frame[at : at + 1], {"x": text})["x"].to_list() for at in range(9)]
        assert repr([value for (value,) in alone]) == repr(found["x"].to_list()), str(made)


def test_a_column_without_a_name_is_one_beside_the_items_of_lists() -> None:
    frame = pl.DataFrame({"": [0.7, 5.5], "l": [[1.0, -1.0], [2.0]]})
    kept = c("l").list.filter(pl.element() > 0).list.len()
    for made, columns in ((c("") / 3 + kept, ("", "l")), (kept, ("l",))):
        assert parsed(serialised(made)).columns == columns
        assert evaluated(frame, {"x": serialised(made)})["x"].to_list() == frame.select(made).to_series().to_list()


@pytest.mark.parametrize("dtype", [pl.Float16, pl.Float32, pl.Float64])
def test_sums_of_lists_of_any_floats_hang_on_no_other_list(dtype: type[pl.DataType]) -> None:
    draw = Random(2)
    rows = [[draw.gauss(0, 1) for _ in range(8)] for _ in range(60)]
    whole = pl.DataFrame({"l": [*rows, [1.0, None], None, []]}, schema={"l": pl.List(dtype)})
    lists = c("l")
    for made in (
        lists.list.sum(),
        lists.list.mean(),
        lists.list.eval(pl.element() ** 2).list.sum(),
        (lists / 3).list.sum(),
    ):
        text = serialised(made)
        found = evaluated(whole, {"x": text})["x"]
        assert found.dtype == dtype
        assert found[61] is None
        assert repr(found.to_list()[:60]) == repr(evaluated(whole[:60], {"x": text})["x"].to_list())
        assert repr(found.to_list()) == repr(
            [evaluated(whole[at : at + 1], {"x": text})["x"].item() for at in range(63)]
        )


def test_columns_that_are_named_together_are_arguments_one_by_one() -> None:
    frame = pl.DataFrame({"a": [1.5, 2.5], "b": [3.5, None], "p": [True, False], "q": [True, True]})
    both, flags = c("a", "b"), c("p", "q")
    for made in (
        pl.sum_horizontal(both / 3), pl.mean_horizontal(both.abs() * 2, "a"), pl.max_horizontal(both), pl.coalesce(c("b", "a")),
        pl.struct(both / 3), pl.concat_list(both / 3), pl.concat_list(both / 7).list.sum() / 3, pl.all_horizontal(flags),
        pl.any_horizontal(flags.not_()), pl.sum_horizontal(pl.max_horizontal(both), both),
    ):  # fmt: skip
        told = of_tree(spelled_out(tree_of(made)))
        assert (is_row_wise(told), frame.select(x=told).equals(frame.select(x=made))) == (True, True), str(made)
    for left in (pl.sum_horizontal(both + c("b", "a")), pl.sum_horizontal(pl.exclude("p", "q")), both / 3):
        assert tree_of(left) == spelled_out(tree_of(left))
