"""Projects: a folder with Python modules, with or without a settings file."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from mainspring.config import PROJECT_FILES, Settings, read_table
from mainspring.errors import ExistsError, StorageError

STATE_FOLDER = ".mainspring"


class Project:
    """A folder, its settings, and where its modules are found."""

    def __init__(self, root: Path, settings: Settings) -> None:
        self.root = root
        self.settings = settings

    @property
    def name(self) -> str:
        """What the project calls itself."""
        return str(self.settings.name)

    @property
    def source_roots(self) -> list[Path]:
        """The folders from which the project's modules are imported, those that exist."""
        return [folder for name in self.settings.source if (folder := (self.root / name).resolve()).is_dir()]

    @property
    def pipelines(self) -> dict[str, str]:
        """Declared pipelines: name → `module:function`."""
        return dict(self.settings.tables.get("pipelines", {}))


def find_project(
    start: str | Path | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    profile: str = "",
    file: Path | None = None,
) -> Project:
    """The project that a folder belongs to: the nearest one upwards with a settings file or a workspace, else itself.

    Raises:
        ConfigError: the settings are wrong; file and line are named.
    """
    place = Path(start or Path.cwd()).expanduser().resolve()
    place = place if place.is_dir() else place.parent
    root = next((folder for folder in (place, *place.parents) if _is_project(folder)), place)
    return Project(root, Settings.load(root, overrides=overrides, profile=profile, file=file))


def ignore_state(root: Path) -> None:
    """Have Git pass over the folder of a project's state, if it is there; a `.gitignore` that is in it is left alone.

    A ledger that Git puts back to an older commit has lost what it recorded since.
    """
    file = root / STATE_FOLDER / ".gitignore"
    with suppress(OSError):  # no such folder, or one that can't be written to
        with file.open("x") as opened:
            opened.write("# Git would put the state back with the code.\n*\n")


class InitializedProject(msgspec.Struct, frozen=True):
    """The files of a new project: those that were `written`, and those that were there and are `left` as they were."""

    written: list[Path]
    left: list[Path]


def init_project(folder: str | Path) -> InitializedProject:
    """Make a project of one file that runs. Nothing that exists is touched.

    Raises:
        ExistsError: the folder is a project already.
        StorageError: the folder can't be written.
    """
    folder = Path(folder)
    for name in PROJECT_FILES:
        if (folder / name).exists() and read_table(folder / name) is not None:
            raise ExistsError("project", str(folder.resolve()), "Run its pipeline with `mainspring run`.")
    written, left = [], []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in _TEMPLATES.items():
            path = folder / name
            if path.exists():
                left.append(path)
                continue
            path.write_text(text.replace("NAME", folder.resolve().name))
            written.append(path)
    except OSError as error:
        raise StorageError(str(folder), f"the project can't be written ({error.strerror})") from error
    return InitializedProject(written, left)


def _is_project(folder: Path) -> bool:
    if (folder / "mainspring.toml").exists() or (folder / STATE_FOLDER).is_dir():
        return True
    pyproject = folder / "pyproject.toml"
    return pyproject.exists() and read_table(pyproject) is not None


_TEMPLATES = {
    "mainspring.toml": """\
name = "NAME"

[goal]
objective = "What this system is for, in one sentence"
metric = "accuracy"

[pipelines]
main = "pipeline:main"
""",
    ".gitignore": """\
.mainspring/
mainspring.local.toml
__pycache__/
""",
    "pipeline.py": '''\
"""A first pipeline: three steps, each recorded, cached and replayable."""

import mainspring as ms


@ms.step
def numbers(count: int) -> list[int]:
    return list(range(1, count + 1))


@ms.step
def squares(values: list[int]) -> list[int]:
    return [value * value for value in values]


@ms.step
def total(values: list[int]) -> int:
    print(f"adding {len(values)} numbers")
    return sum(values)


@ms.pipeline
def main(count: int = 10) -> int:
    return total(squares(numbers(count)))
''',
}
