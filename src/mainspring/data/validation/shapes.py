"""What texts look like: runs of letters, digits and signs with their lengths, learned in any order and any pieces."""

from __future__ import annotations

import re
from itertools import groupby

import polars as pl

_MOST_SHAPES = 3
_LONGEST = 1_000  # of letters: a regex takes megabytes beyond that
_AT_ONCE = 50_000  # distinct texts that are read one by one


class Shapes:
    """The shapes of the texts taken so far; there are none once they are too many."""

    def __init__(self) -> None:
        self._lengths: dict[tuple[str, ...], list[tuple[int, int]]] = {}
        self.are_too_many = False

    def take(self, texts: pl.Series) -> None:
        """Widen the shapes until all these texts have one of them."""
        while not self.are_too_many and len(texts):
            if self._lengths:
                texts = texts.filter(~texts.str.contains(self._alternatives()))
            before = dict(self._lengths)
            for text in texts.gather_every(max(1, len(texts) // _AT_ONCE)).to_list():
                self._learn(text)
            if len(texts) and self._lengths == before:  # whatever the regex makes of them, it is no shape of theirs
                self.are_too_many = True

    def pattern(self) -> str | None:
        """A pattern that all texts match; None if they have too little in common."""
        # Letters alone say little of free text: a shape is worth a check if there is a digit, a sign or one length in it.
        said = ("[0-9]" in shape or any(low == high for low, high in runs) for shape, runs in self._lengths.items())
        return self._alternatives() if self._lengths and not self.are_too_many and any(said) else None

    def _learn(self, text: str) -> None:
        if len(text) > _LONGEST:
            self.are_too_many = True
            return
        runs = [(kind, len(list(run))) for kind, run in groupby(text, _class)]
        shape = tuple(kind for kind, _ in runs)
        before = self._lengths.get(shape, [(length, length) for _, length in runs])
        self._lengths[shape] = [(min(low, n), max(high, n)) for (low, high), (_, n) in zip(before, runs, strict=True)]
        self.are_too_many = self.are_too_many or len(self._lengths) > _MOST_SHAPES

    def _alternatives(self) -> str:
        parts = ["".join(map(_run, shape, lengths)) for shape, lengths in sorted(self._lengths.items())]
        return f"^{parts[0]}$" if len(parts) == 1 else f"^(?:{'|'.join(parts)})$"


def _class(letter: str) -> str:
    if "0" <= letter <= "9":
        return "[0-9]"
    if "A" <= letter <= "Z":
        return "[A-Z]"
    if "a" <= letter <= "z":
        return "[a-z]"
    return re.escape(letter) if letter.isascii() else letter


def _run(kind: str, lengths: tuple[int, int]) -> str:
    low, high = lengths
    return kind if low == high == 1 else f"{kind}{{{low}}}" if low == high else f"{kind}{{{low},{high}}}"
