"""The environment that a run's steps need, as their fingerprints tell it, held against the one here."""

from __future__ import annotations

from collections.abc import Iterator

from mainspring.pipelines._store import TaskStore
from mainspring.pipelines.code.reads import UNSET, value_digest, variables_in
from mainspring.runs import (
    EnvironmentCheck,
    EnvironmentDifference,
    Run,
    RunStore,
    compare_environments,
    read_environment,
)
from mainspring.workspace import Workspace, current_workspace

_DISTRIBUTION = "distribution "


def check_environment(run: str | Run, *, workspace: Workspace | None = None) -> EnvironmentCheck:
    """What differs here from the environment that a run recorded: Python, platform, distributions, environment variables.

    Distributions matter if the code of its steps imports them, directly or not; of a script's run all that were installed
    do. Variables are those that its steps declare or read while they are imported; their values are not told.

    Raises:
        NotFoundError: no such run, or it recorded no environment.
    """
    workspace = workspace or current_workspace()
    found = run if isinstance(run, Run) else RunStore(workspace.database, workspace.ledger).get(run)
    recorded = read_environment(workspace.blobs, found.environment, f"Run {found.id[:12]}")
    parts = _parts(found, workspace)
    differences = _variables(parts)
    return compare_environments(f"run {found.id[:12]}", recorded, needed=_needed(parts), variables=differences)


def needed_distributions(run: Run, workspace: Workspace) -> set[str] | None:
    """The distributions that the code of a run's steps imports, directly or not; None if its record doesn't tell."""
    return _needed(_parts(run, workspace))


def _parts(run: Run, workspace: Workspace) -> list[dict[str, str]]:
    """The fingerprints of a run's steps."""
    store = TaskStore(workspace.database, workspace.ledger, workspace.leases)
    digests = {task.fingerprint for task in store.of_run(run.id) if task.fingerprint}
    return [parts for digest in sorted(digests) if (parts := store.fingerprint_parts(digest))]


def _needed(fingerprints: list[dict[str, str]]) -> set[str] | None:
    if not fingerprints:
        return None
    return {
        name.removeprefix(_DISTRIBUTION) for parts in fingerprints for name in parts if name.startswith(_DISTRIBUTION)
    }


def _variables(fingerprints: list[dict[str, str]]) -> Iterator[EnvironmentDifference]:
    """Declared variables, and those that imports read, whose value is another one here."""
    recorded = {
        name: digest for parts in fingerprints for part, digest in parts.items() for name in variables_in([part])
    }
    for name, was in sorted(recorded.items()):
        now = value_digest(name)
        if was != now:
            yield EnvironmentDifference("variable", name, _told(was), _told(now, other=was != UNSET), True)


def _told(digest: str, *, other: bool = False) -> str | None:
    return None if digest == UNSET else "another value" if other else "a value"
