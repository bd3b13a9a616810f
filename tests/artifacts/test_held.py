"""What an estimator of the project may hold: each value comes back as it was, or is refused with its place when it is saved."""

from __future__ import annotations

import importlib
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from mainspring.artifacts import content_digest, load, save
from mainspring.artifacts.project import importing_from
from mainspring.errors import CodecError
from mainspring.testing.codecs import FolderBlobs, check_codec_laws, digest_in_fresh_process

SHAPES = '''
import collections, dataclasses, enum, typing
import msgspec, numpy as np
from sklearn.base import BaseEstimator

class Colour(enum.Enum):
    RED = 1
    BLUE = ("b", 2.5)
class Level(enum.IntEnum):
    HIGH = 2
class Word(enum.StrEnum):
    A = "a"
class Bits(enum.Flag):
    X = 1
    Y = 2
class IntBits(enum.IntFlag):
    X = 1
    Y = 2
class Corner(tuple, enum.Enum):
    LEFT = (0, 1)
@dataclasses.dataclass
class Data:
    a: object = 1
@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    a: int = 1
@dataclasses.dataclass(slots=True)
class Slots:
    a: int = 1
class Record(msgspec.Struct):
    a: int = 1
class Pair(typing.NamedTuple):
    a: int
    b: str
class Longer(Pair):
    pass
Old = collections.namedtuple("Old", "p q")
class Seconds(float):
    pass
class Count(int):
    pass
class Name(str):
    def __str__(self):
        return "shown"
class Row(tuple):
    pass
class Items(list):
    pass
class Options(dict):
    pass
class Config(dict):
    def __init__(self, *given, **named):
        super().__init__(*given, **named)
        self.__dict__ = self
class Vocabulary(dict):
    def __init__(self, items=()):
        super().__init__(items)
        self.seen = 1
class Rows(np.ndarray):
    pass
class Called:
    def __init__(self, needed):
        self.needed = needed
    def __eq__(self, other):
        return vars(self) == vars(other)
    def __repr__(self):
        return f"{type(self).__name__}({self.needed})"
class Made(Called):
    def __new__(cls, needed):
        return object.__new__(cls)
class Reduced(Made):
    def __reduce__(self):
        return (Reduced, (self.needed,))
class Stated(Called):
    def __setstate__(self, state):
        raise ValueError("not again")
class Holds(BaseEstimator):
    def __init__(self, held=None):
        self.held = held
'''  # fmt: skip


@pytest.fixture
def shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    (tmp_path / "held_shapes.py").write_text(SHAPES)
    monkeypatch.syspath_prepend(str(tmp_path))
    with importing_from([tmp_path]):
        yield importlib.import_module("held_shapes")
    del sys.modules["held_shapes"]


def tagged(value: Any) -> Any:
    value.tag = "mine"
    return value


COMES_BACK = """
Colour.RED; Colour.BLUE; [Colour.RED]; {"a": (Colour.BLUE, Data(Colour.RED))}; np.array([Colour.RED], object); Colour;
Level.HIGH; Word.A; Bits.X; Bits.X | Bits.Y; IntBits.X | IntBits.Y; Corner.LEFT; Data(); Data([Data(2)]); Frozen(2);
Record(2); Pair(1, "b"); Longer(1, "b"); Old(1, 2); Seconds(2.5); Count(3); Name("n"); Row((1, "a")); Items([1]);
Options(a=1); Options({Colour.RED: 1}); Config(scale=2.0); Config({1: Config(a=1)}); Vocabulary({"a": 1});
Vocabulary({None: 1}); {1: 2, "a": 3}; {False: 1, True: 2}; {None: 1}; {Level.HIGH: Colour.RED};
{(1, "b"): 3}; {Pair(1, "b"): 3}; {np.bool_(False): 1}; {np.int64(1): 1, np.float32(2): 2};
Called(3); Reduced(3); slice(1, 2); 10**400; b"a"; {1, 2}; None
"""
REFUSED = {
    "[Made(3)]": r"`held_shapes.Made` at `\.held\[0\]`.*__new__",
    "Stated(3)": r"`held_shapes.Stated` at `\.held`.*ValueError: not again",
    "{'a': Slots()}": r"at `\.held\.a`: .*__slots__",
    "np.arange(3).view(Rows)": r"`held_shapes.Rows` at `\.held`.*numpy.asarray",
    "defaultdict(int, {1: 2})": r"`collections.defaultdict` at `\.held`.*keywords must be strings",
    "tagged(Vocabulary())": r"^At `\.held`: .*`Vocabulary` with attributes of its own \(`seen`, `tag`\)",
    "tagged(Items([1]))": r"^At `\.held`: .*`Items` with attributes of its own \(`tag`\)",
    "tagged(Seconds(1.0))": r"^At `\.held`: .*`Seconds` with attributes of its own \(`tag`\)",
    "tagged(Options({None: 1}))": r"^At `\.held`: .*`Options` with attributes of its own \(`tag`\)",
}


@pytest.mark.parametrize("text", [each.strip() for each in COMES_BACK.replace("\n", " ").split(";")])
def test_what_an_estimator_of_the_project_holds_comes_back_as_it_was(
    text: str, shapes: ModuleType, blobs: FolderBlobs
) -> None:
    held = eval(text, {**vars(shapes)})
    again = load(save(shapes.Holds(held), blobs)[1], blobs).held
    assert type(again) is type(held)
    assert repr(again) == repr(held)
    assert isinstance(held, np.ndarray) or again == held


@pytest.mark.parametrize("text", REFUSED)
def test_what_would_not_come_back_is_refused_with_its_place(text: str, shapes: ModuleType, blobs: FolderBlobs) -> None:
    held = eval(text, {**vars(shapes), "defaultdict": defaultdict, "tagged": tagged})
    with pytest.raises(CodecError, match=REFUSED[text]):
        save(shapes.Holds(held), blobs)


def test_constants_of_the_project_keep_the_laws(shapes: ModuleType, blobs: FolderBlobs) -> None:
    held = (
        shapes.Colour.RED,
        shapes.Colour.BLUE,
        shapes.Bits.X,
        shapes.Seconds(1),
        shapes.Count(1),
        shapes.Row((1,)),
        1,
    )
    check_codec_laws(None, [shapes.Holds(each) for each in held], blobs)


def test_another_process_finds_a_constant_by_its_class_and_gives_the_same_digest(
    shapes: ModuleType, blobs: FolderBlobs, tmp_path: Path
) -> None:
    digest, encoded, _ = save(shapes.Holds([shapes.Colour.BLUE, shapes.Count(2)]), blobs)
    assert encoded.brings == ("held_shapes:Colour", "held_shapes:Count", "held_shapes:Holds")
    setup = f"""
import sys; sys.path.insert(0, {str(tmp_path)!r})
from pathlib import Path
from mainspring.artifacts.project import import_folders
import_folders.set((Path({str(tmp_path)!r}),))
from held_shapes import Colour, Count, Holds
"""
    assert digest_in_fresh_process("Holds([Colour.BLUE, Count(2)])", hash_seed=1, setup=setup) == digest


def test_weights_of_classes_that_are_true_and_false_come_back(blobs: FolderBlobs) -> None:
    model = LogisticRegression(class_weight={np.False_: 1, np.True_: 2})
    again = load(save(model, blobs)[1], blobs)
    assert again.class_weight == {False: 1, True: 2}
    assert content_digest(again) == content_digest(model)


def test_skops_alone_is_as_it_was(shapes: ModuleType) -> None:
    import skops.io

    data = skops.io.dumps(tagged(shapes.Items([1])))
    assert skops.io.loads(data, trusted=skops.io.get_untrusted_types(data=data)) == [1]
