"""The environment that a model version was registered in, held against the one here."""

from __future__ import annotations

from collections.abc import Collection

from mainspring.models.registry import get_model_version
from mainspring.models.version import ModelVersion
from mainspring.runs import EnvironmentCheck, compare_environments, read_environment
from mainspring.workspace import Workspace, current_workspace


def check_environment(
    reference: str | ModelVersion, *, needed: Collection[str] | None = None, workspace: Workspace | None = None
) -> EnvironmentCheck:
    """What differs here from a version's environment lock: Python, platform, distributions.

    `needed` are the distributions that matter; all that were recorded unless given.

    Raises:
        NotFoundError: no such version, or it has no lock, as one that was registered from files.
    """
    workspace = workspace or current_workspace()
    version = get_model_version(reference, workspace)
    lock = read_environment(workspace.blobs, version.environment, f"Model version {version}")
    return compare_environments(str(version), lock, needed=needed)
