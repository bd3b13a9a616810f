"""Parameters of a pipeline: from Python and from text, checked against type hints before anything is recorded."""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import Any

import pytest

from mainspring.errors import (
    CodecError,
    GraphError,
    InvalidError,
    MainspringError,
    NotFoundError,
    SecretError,
    WrongTypeError,
)
from mainspring.pipelines.launch import resume_run
from mainspring.pipelines.replay import replay_run
from mainspring.pipelines.why import present
from mainspring.runs import RunStore
from mainspring.testing.runners import POOL
from mainspring.testing.workspaces import Lab, states

FLOW = """
from typing import Literal
import datetime
import enum

@ms.step
def echo(value):
    return value

@ms.pipeline
def main(
    n: int = 1, share: float = 0.5, name: str = "a", flag: bool = False, months: list[int] | None = None,
    mode: Literal["fast", "slow"] = "fast", day: datetime.date = datetime.date(2013, 1, 1), loose=None,
):
    return echo([n, share, name, flag, months, mode, str(day), loose])

@ms.pipeline
def needs(path: str):
    return echo(path)

class Size(enum.Enum):
    SMALL = "small"
    BIG = "large"

@ms.pipeline
def many(
    tags: list[str] = [], more: list[str] | None = None, pair: tuple[str, int] = ("", 0), words: tuple[str, ...] = (),
    unique: set[str] = set(), counts: dict[str, int] = {}, size: Size = Size.SMALL, rank: Literal["1", "2"] = "1",
):
    return {
        "tags": echo(tags), "more": echo(more), "pair": echo(list(pair)), "words": echo(list(words)),
        "unique": echo(sorted(unique)), "counts": echo(counts), "size": echo(size.value), "rank": echo(rank),
    }

@ms.pipeline
def hidden(token: ms.Secret, maybe: ms.Secret | None = None, several: list[ms.Secret] = []):
    return echo(str(token))

@ms.step
def typed(n: int) -> int:
    return n

@ms.pipeline
def passes(value=0):
    return typed(value)
"""


def runs(lab: Lab) -> int:
    return len(RunStore(lab.workspace.database).list())


def test_defaults_fill_what_is_not_given(lab: Lab) -> None:
    lab.write(FLOW)
    assert lab.run().value == [1, 0.5, "a", False, None, "fast", "2013-01-01", None]


def test_text_is_read_as_the_hints_say(lab: Lab) -> None:
    lab.write(FLOW)
    given = {
        "n": "3",
        "share": "1",
        "name": "7",
        "flag": "true",
        "months": "[1,2]",
        "mode": "slow",
        "day": "2013-02-03",
    }
    result = lab.run(params=given | {"loose": "text"}, strict=False)
    assert result.value == [3, 1.0, "7", True, [1, 2], "slow", "2013-02-03", "text"]


@pytest.mark.parametrize(
    ("name", "value", "strict", "expected"),
    [
        ("n", "3", True, "int"),
        ("n", "three", False, "int"),
        ("n", 1.5, True, "int"),
        ("n", True, True, "int"),
        ("share", "much", False, "float"),
        ("flag", "perhaps", False, "bool"),
        ("flag", 1, True, "bool"),
        ("months", "[1,'x']", False, "list[int]"),
        ("months", [1, 1.5], True, "`months`[1]: `1.5` is a float, expected int"),
        ("n", ["1", "2"], False, "int"),
        ("months", "three", False, "list[int]"),
    ],
)
@pytest.mark.one_backend("it is decided before anything is stored")
def test_a_wrong_type_is_named_before_anything_is_recorded(
    lab: Lab, name: str, value: Any, strict: bool, expected: str
) -> None:
    lab.write(FLOW)
    with pytest.raises((WrongTypeError, InvalidError), match=f"parameter `{name}`") as caught:
        lab.run(params={name: value}, strict=strict)
    assert expected in str(caught.value)
    assert ("is a str" in str(caught.value)) == (strict and isinstance(value, str))  # of an option that says nothing
    assert runs(lab) == 0


@pytest.mark.parametrize(
    ("name", "value", "strict", "said"),
    [
        ("mode", "medium", True, "`medium` is not one of fast, slow."),
        ("mode", "medium", False, "`medium` is not one of fast, slow."),
        ("day", "2021-13-03", False, "`2021-13-03` is not a date (YYYY-MM-DD)."),
        ("size", "huge", False, "`huge` is not one of small, large."),
    ],
)
@pytest.mark.one_backend("it is decided before anything is stored")
def test_what_may_be_given_is_listed(lab: Lab, name: str, value: str, strict: bool, said: str) -> None:
    lab.write(FLOW)
    with pytest.raises(InvalidError) as caught:
        lab.run("many" if name == "size" else "main", params={name: value}, strict=strict)
    assert str(caught.value) == f"parameter `{name}`: {said}"
    assert runs(lab) == 0


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"tags": '["q","r"]'}, {"tags": ["q", "r"]}),
        ({"tags": "q"}, {"tags": ["q"]}),
        ({"tags": "2021"}, {"tags": ["2021"]}),
        ({"tags": ["q", "3"]}, {"tags": ["q", "3"]}),
        ({"more": ["q", "3"]}, {"more": ["q", "3"]}),
        ({"more": "q"}, {"more": ["q"]}),
        ({"more": "None"}, {"more": None}),
        ({"pair": '["a", 1]'}, {"pair": ["a", 1]}),
        ({"pair": ["a", "1"]}, {"pair": ["a", 1]}),
        ({"words": "x"}, {"words": ["x"]}),
        ({"unique": ["b", "a", "b"]}, {"unique": ["a", "b"]}),
        ({"counts": '{"a": 2}'}, {"counts": {"a": 2}}),
        ({"size": "large"}, {"size": "large"}),
        ({"size": "BIG"}, {"size": "large"}),
        ({"rank": "2"}, {"rank": "2"}),
    ],
)
@pytest.mark.one_backend("it is decided before anything is stored")
def test_containers_and_choices_are_read_from_text(lab: Lab, given: dict[str, Any], expected: dict[str, Any]) -> None:
    lab.write(FLOW)
    usual: dict[str, Any] = {
        "tags": [], "more": None, "pair": ["", 0], "words": [], "unique": [], "counts": {}, "size": "small", "rank": "1",
    }  # fmt: skip
    assert lab.run("many", params=given, strict=False).value == usual | expected


@pytest.mark.parametrize("name", ["token", "maybe", "several"])
@pytest.mark.one_backend("it is decided before anything is stored")
def test_a_secret_given_as_its_value_is_not_echoed(lab: Lab, name: str) -> None:
    lab.write(FLOW)
    given = ["secret:env/TOKEN", "supersecret123"] if name == "several" else "supersecret123"
    for strict in (True, False):
        with pytest.raises(SecretError, match=f"parameter `{name}`.*secret:env/NAME") as caught:
            lab.run("hidden", params={"token": "secret:env/TOKEN"} | {name: given}, strict=strict)
        assert "supersecret" not in str(caught.value)
    assert runs(lab) == 0


@pytest.mark.one_backend("it is decided before anything is stored")
def test_an_unknown_parameter_is_named_with_the_nearest(lab: Lab) -> None:
    lab.write(FLOW)
    with pytest.raises(NotFoundError, match=r"`month`.*months"):
        lab.run(params={"month": [1]})


@pytest.mark.one_backend("it is decided before anything is stored")
def test_a_missing_parameter_says_how_to_give_it(lab: Lab) -> None:
    lab.write(FLOW)
    with pytest.raises(GraphError, match="--path"):
        lab.run("needs")


@pytest.mark.one_backend("it is decided before anything is stored")
def test_an_argument_of_a_step_is_checked_against_its_hint_and_named_with_its_step(lab: Lab) -> None:
    lab.write(FLOW)
    with pytest.raises(WrongTypeError, match=r"Step `typed`, parameter `n`.*expected int"):
        lab.run("passes", params={"value": "x"})
    assert runs(lab) == 0


def test_parameters_are_recorded_with_their_defaults(lab: Lab) -> None:
    lab.write(FLOW)
    result = lab.run(params={"n": 9})
    assert result.run.params["n"] == 9
    assert result.run.params["share"] == 0.5
    assert result.run.params["day"] == "2013-01-01"


@pytest.mark.parametrize("how", ["pipeline", "step"])
@pytest.mark.one_backend("it is decided before anything is stored")
def test_a_secrets_value_is_refused_where_a_reference_belongs(lab: Lab, how: str) -> None:
    lab.write(
        """
        @ms.step
        def login(user, password):
            return user

        @ms.pipeline
        def pipeline(password="secret:env/LAB_PASSWORD"):
            return login("ada", password)

        @ms.pipeline
        def step():
            return login("ada", "hunter2-in-the-clear")
        """
    )
    given = {"password": "hunter2-in-the-clear"} if how == "pipeline" else {}
    with pytest.raises(MainspringError, match="secret:env/NAME") as caught:
        lab.run(how, params=given)
    assert isinstance(caught.value, SecretError)
    assert "hunter2" not in str(caught.value)
    assert runs(lab) == 0


@pytest.mark.parametrize("how", ["given", "default", "literal", "item"])
@pytest.mark.one_backend("it is decided before anything is stored")
def test_what_has_the_shape_of_a_secret_is_refused_by_any_name(lab: Lab, how: str) -> None:
    lab.write(
        """
        URL = "postgresql://me:hunter22@db/x"

        @ms.step
        def reads(url):
            return 1

        @ms.pipeline
        def given(url="postgresql://me@db/x"):
            return reads(url)

        @ms.pipeline
        def default(url=URL):
            return reads(1)

        @ms.pipeline
        def literal():
            return reads({"db": URL})

        @ms.pipeline
        def item():
            return reads.map(["a", URL])
        """
    )
    params = {"url": "postgresql://me:hunter22@db/x"} if how == "given" else {}
    with pytest.raises(SecretError, match=r"`url` holds what has the shape|`db` holds what has the shape") as caught:
        lab.run(how, params=params)
    assert "hunter22" not in str(caught.value)
    assert runs(lab) == 0


def test_the_note_of_a_run_is_kept_without_secrets(lab: Lab) -> None:
    lab.write("@ms.step\ndef one():\n    return 1\n\n@ms.pipeline\ndef main():\n    return one()\n")
    result = lab.run(note="tried password=hunter33")
    assert result.run.note == "tried password=[redacted]"
    assert RunStore(lab.workspace.database).get(result.run.id).note == result.run.note


REVEALS = """
@ms.step(outputs=("a", "b"))
def reveals(token: ms.Secret):
    return 1, {"header": f"Bearer {token.reveal()}"}

@ms.pipeline
def main(token: ms.Secret):
    return reveals(token)[1]

@ms.pipeline
def returns(token: ms.Secret):
    return [reveals(token)[0], token.reveal()]
"""


@pytest.mark.parametrize("runner", ["inline", POOL])
def test_a_step_that_returns_a_secrets_value_fails_and_stores_nothing(
    lab: Lab, runner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.write(REVEALS)
    monkeypatch.setenv("LAB_RETURNED", "returned-in-the-clear")
    result = lab.run(params={"token": "secret:env/LAB_RETURNED"}, strict=False, runner=runner)
    (task,) = result.tasks
    assert task.error is not None
    assert "Step `reveals`, output `b`: it holds the value of `secret:env/LAB_RETURNED`" in task.error
    assert task.outputs == {}
    assert "returned-in-the-clear" not in result.log_of(task)


@pytest.mark.one_backend("it is decided before anything is stored")
def test_a_pipeline_that_returns_a_secrets_value_is_refused(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.write(REVEALS)
    monkeypatch.setenv("LAB_RETURNED", "returned-in-the-clear")
    with pytest.raises(SecretError, match=r"output `result`.*secret:env/LAB_RETURNED"):
        lab.run("returns", params={"token": "secret:env/LAB_RETURNED"}, strict=False)
    assert runs(lab) == 0


RICH = """
import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple, NewType, TypedDict

Count = NewType("Count", int)

@dataclass(frozen=True)
class Window:
    start: datetime.date
    days: Annotated[int, "at least one"] = 7

class Point(NamedTuple):
    x: int
    y: int = 0

class Limits(TypedDict, total=False):
    low: float
    source: Path

@dataclass
class Conf:
    window: Window
    points: list[Point]
    label: bytes = b""

@ms.step
def told(conf: Conf, limits: Limits, count: Count, table: Path, marker: str):
    if marker and not Path(marker).exists():
        raise RuntimeError("not yet")
    return [type(conf.window).__name__, conf.window.start.year, conf.window.days, [p.x + p.y for p in conf.points],
            conf.label.decode(), limits["low"], limits["source"].read_text(), count + 1, table.read_text(), table.name]

@ms.step
def sized(window: Window):
    return window.days

@ms.pipeline
def main(
    conf: Conf, table: Path, limits: Limits, count: Count = 1, more: dict[str, Window] | None = None, marker: str = "",
):
    sizes = [sized(window) for window in (more or {}).values()]
    return {"told": told(conf, limits, count, table, marker), "sizes": sizes}
"""
RICH_TEXT = {
    "conf": '{"window": {"start": "2024-02-29"}, "points": [[1, 2], {"x": 3}], "label": "aGk="}',
    "table": "d.csv",
    "limits": '{"low": "1", "source": "d.csv"}',
    "count": "4",
    "more": '{"a": {"start": "2024-01-01", "days": 2}}',
}
RICH_VALUE = ["Window", 2024, 7, [3, 3], "hi", 1.0, "rows", 5, "rows", "d.csv"]


@pytest.fixture
def rich(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    lab.write(RICH)
    monkeypatch.chdir(lab.root)
    (lab.root / "d.csv").write_text("rows")
    return lab


@pytest.mark.parametrize("runner", ["inline", POOL])
@pytest.mark.one_backend("the codecs of arguments have tests on both")
def test_records_and_paths_reach_steps_here_and_in_fresh_processes_and_are_the_same_from_text_and_from_python(
    rich: Lab, runner: str
) -> None:
    result = rich.run(params=RICH_TEXT, strict=False, runner=runner)
    assert (result.output("told"), result.output("sizes")) == (RICH_VALUE, [2])
    assert result.run.params == {
        "conf": {"window": {"start": "2024-02-29", "days": 7}, "points": [[1, 2], [3, 0]], "label": "aGk="},
        "table": "d.csv", "limits": {"low": 1.0, "source": "d.csv"}, "count": 4, "marker": "",
        "more": {"a": {"start": "2024-01-01", "days": 2}},
    }  # fmt: skip
    flow = rich.load()
    window = flow.Window(datetime.date(2024, 2, 29))
    same = {
        "conf": flow.Conf(window, [flow.Point(1, 2), flow.Point(3)], b"hi"), "table": Path("d.csv"), "count": 4,
        "limits": {"low": 1.0, "source": Path("d.csv")}, "more": {"a": flow.Window(datetime.date(2024, 1, 1), 2)},
    }  # fmt: skip
    assert set(states(flow.main.run(options={"workspace": rich.workspace}, **same)).values()) == {"reused"}
    other = rich.run(params=RICH_TEXT | {"conf": '{"window": {"start": "2024-03-01"}, "points": []}'}, strict=False)
    assert states(other) == {"sized": "reused", "told": "succeeded"}


@pytest.mark.one_backend("what is recorded of parameters is the same on both")
def test_read_parameters_are_made_again_for_resume_replay_and_why(rich: Lab) -> None:
    marker = rich.root.parent / "marker"
    failed = rich.run(params=RICH_TEXT | {"marker": str(marker)}, strict=False)
    assert states(failed) == {"sized": "succeeded", "told": "failed"}
    marker.touch()
    rich.forget()
    done = resume_run(failed.id, workspace=rich.workspace)
    assert done.output("told") == RICH_VALUE
    assert replay_run(done.id, workspace=rich.workspace).verdict == "VERIFIED"
    (rich.root / "d.csv").write_text("other rows")
    found = present(rich.workspace, done.run, rich.load().main)
    assert {prospect.task: prospect.lines for prospect in found.tasks if prospect.runs} == {
        "told": ["argument limits changed", "argument table changed"]
    }


@pytest.mark.one_backend("it is decided before anything is stored")
def test_a_path_to_nothing_is_told_before_a_step_starts(rich: Lab) -> None:
    with pytest.raises(CodecError, match=r"Step `told`, parameter `table`: .*e\.csv"):
        rich.run(params=RICH_TEXT | {"table": "e.csv"}, strict=False)
    assert runs(rich) == 0


NAMES = """
from pathlib import Path

@ms.step
def echo(name):
    return name

@ms.pipeline
def main(name: str, path: Path, n: int = 0):
    return echo(name), echo(path.name == name)
"""


def test_names_that_are_no_utf_8_are_taken_and_recorded_escaped(lab: Lab) -> None:
    lab.write(NAMES)
    name = os.fsdecode(b"d\xff.csv")
    result = lab.run(params={"name": name, "path": name}, strict=False)
    assert result.value == (name, True)
    assert result.run.params == {"name": "d\\udcff.csv", "path": "d\\udcff.csv", "n": 0}
    assert {each.runs for each in present(lab.workspace, result.run, lab.load().main).tasks} == {False}
    with pytest.raises(InvalidError, match="is not an int"):
        lab.run(params={"name": name, "path": name, "n": name}, strict=False)


@pytest.mark.one_backend("it is decided before anything is stored")
def test_a_secret_in_a_record_is_refused(lab: Lab) -> None:
    lab.write(
        """
        from dataclasses import dataclass
        from typing import NamedTuple

        class Login(NamedTuple):
            user: str
            password: str = ""

        @dataclass
        class Conf:
            logins: list[Login]

        @ms.step
        def users(conf):
            return len(conf.logins)

        @ms.pipeline
        def main(conf: Conf):
            return users(conf)
        """
    )
    with pytest.raises(SecretError, match="`password` is a secret by its name") as caught:
        lab.run(params={"conf": {"logins": [{"user": "me", "password": "hunter2"}]}}, strict=False)
    assert "hunter2" not in str(caught.value)
    assert runs(lab) == 0
    result = lab.run(params={"conf": '{"logins": [["me", "secret:env/PW"]]}'}, strict=False)
    assert result.run.params == {"conf": {"logins": [["me", "secret:env/PW"]]}}
