"""Finding codecs: nothing heavy is imported, one's own come first, and what is unknown is named."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest

from mainspring.artifacts import (
    BlobAccess,
    Comparison,
    Encoded,
    Preview,
    Tolerance,
    codec_for,
    codec_named,
    load,
    meaning_digest,
    register,
    save,
)
from mainspring.artifacts.registry import Registry
from mainspring.errors import CodecError, ExistsError
from mainspring.testing.codecs import FolderBlobs, check_codec_laws


class FractionCodec:
    name, recipe, immutable, types = "fraction", 1, True, ("fractions.Fraction",)

    def digest(self, value: Fraction) -> str:
        return meaning_digest("fraction", self.recipe, str(value))

    def encode(self, value: Fraction, blobs: BlobAccess) -> Encoded:
        return Encoded(self.name, blobs.put(str(value).encode()), len(str(value)))

    def decode(self, encoded: Encoded, blobs: BlobAccess) -> Fraction:
        try:
            return Fraction(blobs.read(encoded.blob).decode())
        except ValueError as error:
            raise CodecError(f"not a fraction: {error}") from error

    def preview(self, value: Fraction) -> Preview:
        return Preview("text", str(value), {})

    def compare(self, old: Fraction, new: Fraction, tolerance: Tolerance) -> Comparison:
        return Comparison("equal" if old == new else "values", f"{old} → {new}")


def test_a_codec_of_ones_own_keeps_the_laws() -> None:
    check_codec_laws(FractionCodec(), [Fraction(1, 2), Fraction(2, 3)])


def test_a_registered_codec_is_found_also_inside_containers_and_for_subclasses() -> None:
    class Half(Fraction):
        pass

    registry = Registry()
    registry.register(FractionCodec())
    assert registry.for_value(Half(1, 2)).name == "fraction"
    assert registry.for_value({"a": [Fraction(1, 2)]}).name == "bundle"
    assert registry.named("fraction").name == "fraction"
    with pytest.raises(CodecError):
        Registry().for_value(Fraction(1, 2))


def test_registering_twice_is_fine_and_taking_a_name_is_not() -> None:
    registry = Registry()
    registry.register(FractionCodec())
    registry.register(FractionCodec())
    taken: Any = type("Other", (FractionCodec,), {})()
    with pytest.raises(ExistsError):
        registry.register(taken)
    taken.name = "json"
    with pytest.raises(ExistsError):
        register(taken)


def test_a_distributions_codec_is_found_only_when_nothing_else_is(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    entry = SimpleNamespace(name="fraction", load=lambda: FractionCodec)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [*map(asked.append, [group]), entry][1:])
    registry = Registry()
    assert registry.for_value({"a": 1}).name == "json"
    assert not asked
    assert registry.for_value([Fraction(1, 2)]).name == "bundle"
    assert Registry().named("fraction").name == "fraction"
    assert asked == ["mainspring.codecs"] * 2


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(CodecError, match=r"No codec `polars.fram`. Nearest: polars.frame"):
        codec_named("polars.fram")


def test_ordered_is_for_tables_only(blobs: FolderBlobs) -> None:
    with pytest.raises(CodecError, match="ordered=False"):
        save({"a": 1}, blobs, ordered=False)


def test_plain_values_import_nothing_heavy() -> None:
    script = (
        "import sys, mainspring.artifacts as a\n"
        "from mainspring.testing.codecs import FolderBlobs\n"
        "b = FolderBlobs()\n"
        "assert a.load(a.save({'a': [1, 'x']}, b)[1], b) == {'a': [1, 'x']}\n"
        "print({'numpy', 'polars', 'pandas', 'pyarrow', 'sklearn', 'skops'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_every_built_in_codec_can_be_named() -> None:
    from mainspring.artifacts import registry

    for name in registry._HOMES:
        codec = codec_named(name)
        assert codec.name == name
        assert all(registry._ADAPTERS.get(type_) == name for type_ in codec.types)
    for type_, name in registry._ADAPTERS.items():
        assert type_ in codec_named(name).types


def test_a_blob_of_another_codec_is_refused(blobs: FolderBlobs) -> None:
    encoded = save(b"nothing of theirs", blobs)[1]
    for name in ("json", "bundle", "polars.frame", "pandas.frame", "arrow.table", "numpy.array", "sklearn", "path"):
        with pytest.raises(CodecError):
            load(Encoded(name, encoded.blob, encoded.size_bytes), blobs)


def test_a_generator_is_no_result_and_the_text_says_what_to_do() -> None:
    def numbers() -> Iterator[int]:
        yield 3

    with pytest.raises(CodecError, match=r"numbers` is a generator\. A step returns, it doesn't yield"):
        codec_for(numbers())
    with pytest.raises(CodecError, match=r"At \$\[1\].*is a generator"):
        codec_for([1, (n for n in [1])])
