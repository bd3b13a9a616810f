"""The workspace's own folders and addresses, which a step may touch without their being inputs."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from mainspring.workspace import Workspace


def own_paths(workspace: Workspace) -> list[Path]:
    """The folders in which a workspace keeps its state, if it does so in folders."""
    blobs = getattr(
        workspace.blobs, "cache_folder", workspace.blobs.place
    )  # of a remote store, where `path` puts its files
    return [Path(blobs), Path(workspace.database.place).parent, workspace.cache]


def own_addresses(workspace: Workspace) -> list[str]:
    """The servers with which a workspace keeps its state, as `host:port`."""
    addresses = []
    for url in (workspace.project.settings.database, workspace.project.settings.blobs):
        split = urlsplit(url)
        if split.scheme.startswith("postgres") and split.hostname:
            addresses.append(f"{split.hostname}:{split.port or 5432}")
        if "endpoint=" in split.query:
            endpoint = urlsplit(split.query.partition("endpoint=")[2].partition("&")[0])
            addresses.append(f"{endpoint.hostname}:{endpoint.port or 443}")
    return addresses
