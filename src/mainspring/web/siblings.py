"""What several workers of one server counted, told together by whichever is asked.

Each writes its figures into a file of a folder that they share; a line bears the number of the worker that it is of.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_SUFFIX = ".prom"


class Siblings:
    """One of the workers, by its number, among those of a folder; without one it knows of no other."""

    def __init__(self, folder: Path | None, number: int) -> None:
        self._folder, self._number = folder, number

    def publish(self, counted: str) -> None:
        """Write this worker's figures, whole or not at all."""
        if self._folder is None:
            return
        path = figures_of(self._folder, self._number)
        partial = path.with_suffix(".partial")
        partial.write_text(counted)
        os.replace(partial, path)

    def text(self, counted: str) -> str:
        """This worker's figures, as they are, and those of the others, as they were a second ago at most."""
        texts = {}
        for path in self._folder.glob(f"*{_SUFFIX}") if self._folder is not None else ():
            try:
                texts[int(path.stem)] = path.read_text()
            except FileNotFoundError:  # it ended meanwhile
                continue
        texts[self._number] = counted
        return joined({str(number): texts[number] for number in sorted(texts)})


def figures_of(folder: Path, number: int) -> Path:
    """The file in which a worker's figures stand."""
    return folder / f"{number}{_SUFFIX}"


def joined(texts: Mapping[str, str]) -> str:
    r"""The figures of several workers in the text form of Prometheus: each line is labelled, each family stands together.

    >>> print(joined({"0": "# TYPE up gauge\nup 1\n", "1": '# TYPE up gauge\nup{of="a"} 2\n'}), end="")
    # TYPE up gauge
    up{worker="0"} 1
    up{worker="1",of="a"} 2
    """
    heads: dict[str, list[str]] = {}
    lines: dict[str, list[str]] = {}
    for worker, text in texts.items():
        family = ""
        for line in text.splitlines():
            if line.startswith("# "):
                family = line.split(" ", 3)[2]
                if line not in heads.setdefault(family, []):
                    heads[family].append(line)
            else:
                lines.setdefault(family, []).append(_of_worker(line, worker))
    return "".join(f"{line}\n" for family in heads for line in (*heads[family], *lines.get(family, ())))


def _of_worker(line: str, worker: str) -> str:
    """A line with the label of a worker in front of its own."""
    name, space, value = line.partition(" ")
    if "{" not in name:
        return f'{name}{{worker="{worker}"}}{space}{value}'
    name, _, labels = line.partition("{")
    return f'{name}{{worker="{worker}",{labels}'
