"""Values as hints say: what text, data and Python's own values become, and how what doesn't fit is told."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from decimal import Decimal
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Optional,
    Protocol,
    Required,
    TypedDict,
    TypeVar,
    Union,
)  # fmt: skip

import msgspec
import numpy as np
import polars as pl
import pytest

from mainspring.errors import InvalidError, MainspringError, NotFoundError, SecretError, WrongTypeError
from mainspring.pipelines.hints import hints_of
from mainspring.pipelines.reading import checked_value
from mainspring.secrets import Secret

T = TypeVar("T")
Number = TypeVar("Number", int, float)
UserId = NewType("UserId", int)
Owner = NewType("Owner", UserId)


class Size(enum.Enum):
    SMALL = "small"
    BIG = 3


@dataclass(frozen=True)
class Inner:
    when: dt.date
    where: Path = Path("here")


@dataclass
class Conf:
    a: int
    inner: Inner | None = None
    sizes: list[Size] = field(default_factory=list)
    made: int = field(default=0, init=False)
    seed: InitVar[int] = 0

    def __post_init__(self, seed: int) -> None:
        if self.a < 0:
            raise ValueError("a is negative")
        self.made = seed


@dataclass
class Tree:
    name: str
    children: list[Tree] = field(default_factory=list)


@dataclass
class Box(Generic[T]):
    content: T
    more: list[T] = field(default_factory=list)


@dataclass
class Dated(Box[dt.date]):
    pass


class Point(NamedTuple):
    x: int
    y: float = 0.5


class Options(TypedDict, total=False):
    n: Required[int]
    path: Path


class More(Options):
    when: NotRequired[dt.date]
    of: str


class Old(msgspec.Struct, frozen=True, tag="old"):
    since: dt.date


class New(msgspec.Struct, frozen=True, tag="new", rename="camel"):
    file_path: Path | int = 1


class Login(msgspec.Struct, frozen=True):
    user: str
    token: Secret | None = None


class Speaks(Protocol):
    def speak(self) -> str: ...


class Own:
    pass


DAY = dt.date(2024, 2, 29)
READ: list[tuple[Any, Any, Any]] = [
    (Path, "e.csv", Path("e.csv")),
    (PurePosixPath, "a/b", PurePosixPath("a/b")),
    (PathLike[str], "a/b", Path("a/b")),
    (Path | None, "None", None),
    (Optional[Path], "a", Path("a")),  # noqa: UP045  # the old spelling is another object
    (Path | int, "5", 5),
    (Path | int, "a", Path("a")),
    (list[Path], '["a", "b"]', [Path("a"), Path("b")]),
    (list[Path], "a", [Path("a")]),
    (list[Path], ["a", "b"], [Path("a"), Path("b")]),
    (Sequence[int], "[1, 2]", [1, 2]),
    (Sequence[int], ["1", "2"], [1, 2]),
    (Iterable[dt.date], "2024-02-29", [DAY]),
    (frozenset[Size], '["small", "BIG"]', frozenset(Size)),
    (tuple[Path, ...], "a", (Path("a"),)),
    (tuple[Path, int], '["a", 1]', (Path("a"), 1)),
    (Annotated[int, "any"], "5", 5),
    (Annotated[list[Annotated[Path, "x"]], 1], "a", [Path("a")]),
    (Annotated[int, msgspec.Meta(ge=3)], "5", 5),
    (list[Annotated[int, {"not": "hashable"}]], "[5]", [5]),
    (UserId, "5", 5),
    (dict[Owner, UserId], '{"1": "2"}', {1: 2}),
    (Number, "1.5", 1.5),
    (T, "abc", "abc"),
    (object, "3", "3"),
    (Any, "3", "3"),
    (None, "None", None),
    (bytes, "aGVsbG8=", b"hello"),
    (complex, "1+2j", 1 + 2j),
    (Decimal, "1.50", Decimal("1.50")),
    (dt.timedelta, "PT90S", dt.timedelta(seconds=90)),
    (uuid.UUID, "12345678123456781234567812345678", uuid.UUID(int=0x12345678123456781234567812345678)),
    (Size, "3", Size.BIG),
    (Size, 3, Size.BIG),
    (Size | None, "BIG", Size.BIG),
    (Literal["a", 1, True, None], "1", 1),
    (Literal["a", 1, True, None], "True", True),
    (Literal[Size.BIG, "x"], "3", Size.BIG),
    (int | Literal["auto"], "auto", "auto"),
    (int | Literal["auto"], "7", 7),
    (int | list[int], "5", 5),
    (list[dt.date] | dt.date, "2024-02-29", DAY),
    (list[dt.date] | dt.date, '["2024-02-29"]', [DAY]),
    (float | str, "5", "5"),
    (Conf, '{"a": 5}', Conf(5)),
    (Conf, '{"a": "5", "seed": 2}', Conf(5, seed=2)),
    (Conf, {"a": 5, "inner": {"when": "2024-02-29", "where": "w"}}, Conf(5, Inner(DAY, Path("w")))),
    (Conf | None, '{"a": 1, "sizes": ["small", 3]}', Conf(1, None, [Size.SMALL, Size.BIG])),
    (dict[str, Conf], '{"k": {"a": 1}}', {"k": Conf(1)}),
    (Mapping[str, list[Conf]], '{"k": [{"a": 1}]}', {"k": [Conf(1)]}),
    (Conf | Path, '{"a": 1}', Conf(1)),
    (Conf | Path, "c.toml", Path("c.toml")),
    (Inner | Conf, '{"a": 1}', Conf(1)),
    (Tree, '{"name": "a", "children": [{"name": "b"}]}', Tree("a", [Tree("b")])),
    (Box[int], '{"content": "5", "more": [1]}', Box(5, [1])),
    (Dated, '{"content": "2024-02-29"}', Dated(DAY)),
    (Point, '{"x": 1}', Point(1)),
    (Point, "[1, 2]", Point(1, 2.0)),
    (list[Point], "[[1, 2], [3]]", [Point(1, 2.0), Point(3)]),
    (Options, '{"n": 1, "path": "p"}', {"n": 1, "path": Path("p")}),
    (More, '{"n": 1, "of": "x", "when": "2024-02-29"}', {"n": 1, "of": "x", "when": DAY}),
    (Old | New, '{"type": "new", "filePath": "p"}', New(Path("p"))),
    (Old, '{"since": "2024-02-29"}', Old(DAY)),
    (Secret, "secret:env/TOKEN", Secret("secret:env/TOKEN")),
    (dict[str, Secret], '{"a": "secret:env/TOKEN"}', {"a": Secret("secret:env/TOKEN")}),
    (Login, '{"user": "me", "token": "secret:env/TOKEN"}', Login("me", Secret("secret:env/TOKEN"))),
    ("list[Conf]", '[{"a": 1}]', [Conf(1)]),
    (list["Conf"], '[{"a": 1}]', [Conf(1)]),
    (Union["Conf", None], '{"a": 1}', Conf(1)),  # as written before Python 3.10
]
REFUSED: list[tuple[Any, Any, str]] = [
    (UserId, "abc", "`abc` is not an int."),
    (Annotated[int, "any"], "abc", "`abc` is not an int."),
    (Annotated[int, msgspec.Meta(ge=3)], "2", "`2` is not an int >= 3."),
    (bytes, "hello", "`hello` is not bytes in base64."),
    (dt.datetime, "20240229", "`20240229` is not a time (YYYY-MM-DDTHH:MM:SS, with a zone such as Z if it has one)."),
    (Sequence[int], '["q"]', "[0]: `q` is not an int."),
    (Sequence[int], "q", "`q` is not an int, nor a collections.abc.Sequence[int] in JSON."),
    (list[dt.date], "2024-02-30", "`2024-02-30` is not a date (YYYY-MM-DD), nor a list[datetime.date] in JSON."),
    (dict[str, dt.date], '{"k":"2024-02-30"}', "['k']: `2024-02-30` is not a date (YYYY-MM-DD)."),
    (dict[int, str], '{"k": "v"}', "['k'], its key: `k` is not an int."),
    (dict[str, int], "k", "`k` is not a dict[str, int], as a JSON object."),
    (tuple[int, int], "[1]", "`[1]` is not a tuple[int, int]."),
    (Literal["a", 1], "b", "`b` is not one of a, 1."),
    (Size | Literal["none"], "x", "`x` is not one of small, 3, none."),
    (Size | int, "x", "`x` is not one of small, 3, int."),
    (int | Path | None, "[1]", "`[1]` is not one of int | pathlib.Path | None."),
    (Path, 5, "`5` is an int, expected Path."),
    (complex, "one", "`one` is not a complex."),
    (Conf, "abc", "`abc` is not a Conf, as a JSON object."),
    (Conf, '{"a": "x"}', ".a: `x` is not an int."),
    (Conf, "{}", "`{}` is not a Conf. Its field `a` is missing."),
    (Conf, '{"a": 1, "siezs": []}', " has no field `siezs`. Nearest: sizes. Conf takes `a`, `inner`, `sizes`, `seed`."),
    (Conf, '{"a": -1}', '`{"a": -1}` is not a Conf. ValueError: a is negative'),
    (Conf, {"a": 1, "inner": {"when": "2024-02-30"}}, ".inner.when: `2024-02-30` is not a date (YYYY-MM-DD)."),
    (dict[str, Conf], '{"k": {"a": []}}', "['k'].a: `[]` is a list, expected int."),
    (Tree, '{"name": "a", "children": [{"name": 1}]}', ".children[0].name: `1` is an int, expected str."),
    (Dated, '{"content": "x"}', ".content: `x` is not a date (YYYY-MM-DD)."),
    (Point, '{"y": 1}', '`{"y": 1}` is not a Point. Its field `x` is missing.'),
    (Point, "[1,2,3]", "`[1,2,3]` is not a Point. It takes at most 2 items, `x`, `y`; 3 were given."),
    (Options, '{"path": "p"}', '`{"path": "p"}` is not an Options. Its field `n` is missing.'),
    (Old | New, '{"type": "young"}', '`{"type": "young"}` is not one of '),
    (Secret, "hunter2", "a secret is given as a reference"),
    (dict[str, Secret], "hunter2", "a secret is given as a reference"),
    (Secret | int, "hunter2", "a secret is given as a reference"),
    (Login, '{"user": "me", "token": "hunter2"}', ".token: a secret is given as a reference"),
    (Own, "x", "`x` is a str, expected Own. It can't be read from text or a file; give it from Python."),
    (Own | None, "x", "`x` is a str, expected Own. It can't be read from text or a file; give it from Python."),
    (list[Own], '["x"]', "[0]: `x` is a str, expected Own. It can't be read from text or a file; give it from Python."),
    (pl.DataFrame, "x", "`x` is a str, expected DataFrame. It can't be read from text or a file; give it from Python."),
    (Speaks, "x", "`x` is a str, expected Speaks. It can't be read"),
    (Callable[[int], int], "x", "`x` is a str, expected collections.abc.Callable[[int], int]. It can't be read"),
    (type[Own], "x", f"`x` is a str, expected type[{__name__}.Own]. It can't be read"),
    ("Unknown", "x", "`x` is a str, expected Unknown. `Unknown` is not known where the pipeline is defined"),
    ("list[Unknown]", "[1]", "`[1]` is a str, expected list[Unknown]. `list[Unknown]` is not known where"),
]


def hint_of(hint: Any) -> Any:
    """The hint as that of a parameter, names in it looked up."""

    def main(x: Any) -> None: ...

    main.__annotations__["x"] = hint
    return hints_of(main)["x"]


@pytest.mark.parametrize(("hint", "given", "expected"), READ)
def test_text_and_data_become_what_the_hint_says(hint: Any, given: Any, expected: Any) -> None:
    value = checked_value("parameter `x`", given, hint_of(hint), strict=False)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(("hint", "given", "expected"), READ)
def test_what_was_read_fits_and_is_read_as_itself(hint: Any, given: Any, expected: Any) -> None:
    for strict in (True, False):
        again = checked_value("parameter `x`", expected, hint_of(hint), strict=strict)
        assert again == expected, given
        assert type(again) is type(expected)


@pytest.mark.parametrize(("hint", "given", "said"), REFUSED)
def test_what_cannot_be_read_is_refused_with_its_place(hint: Any, given: Any, said: str) -> None:
    with pytest.raises(MainspringError) as caught:
        checked_value("parameter `x`", given, hint_of(hint), strict=False)
    assert isinstance(caught.value, InvalidError | WrongTypeError | NotFoundError | SecretError)
    text = str(caught.value)
    assert text.startswith("parameter `x`" + (said if said[0] in "[. " else f": {said}"))
    assert "hunter2" not in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (Conf, Conf(1)), (list[Conf], [Conf(1)]), (Conf | dict[str, Any], {"a": 1}), (Own, Own()), (list[Own], [Own()]),
        (pl.DataFrame, pl.DataFrame()), (pl.DataFrame | None, pl.DataFrame()), (Sequence[int], range(3)),
        (Sequence[int], (1, 2)), (Iterable[str], {"a"}), (float, np.float64(0.5)), (np.ndarray, np.zeros(2)),
        (Path | str, Path("a")), (bytes, b"a"), (Options, {"n": 1}), (Point, Point(1)), (Callable[[], int], print),
        ("Unknown", "text"), ("list[Unknown]", [1]), (pl.LazyFrame, pl.DataFrame()), (dict[str, Own], {"a": Own()}),
        (Speaks, Own()), (type[Own], Own), (Old | New, New(3)), (Box[int], Box(1)),
    ],
)  # fmt: skip
def test_a_value_from_python_that_fits_stays_the_very_same(hint: Any, value: Any) -> None:
    assert checked_value("parameter `x`", value, hint_of(hint), strict=True) is value


@pytest.mark.parametrize(
    ("hint", "value", "expected"),
    [
        (Path, "e.csv", Path("e.csv")), (list[Path], ["a"], [Path("a")]), (Conf, {"a": 1}, Conf(1)),
        (Size, "small", Size.SMALL), (dt.date, "2024-02-29", DAY), (bytes, "aGVsbG8=", b"hello"),
    ],
)  # fmt: skip
def test_forms_of_text_and_mappings_are_read_from_python_too(hint: Any, value: Any, expected: Any) -> None:
    assert checked_value("parameter `x`", value, hint, strict=True) == expected


@pytest.mark.parametrize(
    ("hint", "value", "said"),
    [
        (int, "3", ": `3` is a str, expected int."),
        (UserId, "3", ": `3` is a str, expected int."),
        (list[int], [1, "3"], "[1]: `3` is a str, expected int."),
        (list[int], {1, 2}, ": `{1, 2}` is a set, expected list[int]."),
        (Sequence[str], "abc", ": `abc` is a str, expected collections.abc.Sequence[str]."),
        (Conf, {"a": "3"}, ".a: `3` is a str, expected int."),
        (Conf, [1], ": `[1]` is a list, expected Conf."),
        (bytes, "hello", ": `hello` is not bytes in base64."),
        (Own, 3, ": `3` is an int, expected Own."),
        (pl.DataFrame, [1], ": `[1]` is a list, expected DataFrame."),
        (dict[str, Path], {"a": 1}, "['a']: `1` is an int, expected Path."),
    ],
)
def test_python_values_are_held_to_their_types(hint: Any, value: Any, said: str) -> None:
    with pytest.raises((WrongTypeError, InvalidError)) as caught:
        checked_value("parameter `x`", value, hint_of(hint), strict=True)
    assert str(caught.value) == f"parameter `x`{said}"
