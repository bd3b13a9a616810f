"""The workspace's own folders and addresses, which a step may touch without their being inputs."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from mainspring.secrets import is_reference, resolve
from mainspring.store.address import Address
from mainspring.workspace import Workspace

_PORTS = {"postgresql": 5432, "postgres": 5432, "redis": 6379, "rediss": 6379}


def own_paths(workspace: Workspace) -> list[Path]:
    """The folders in which a workspace keeps its state, if it does so in folders."""
    blobs = getattr(
        workspace.blobs, "cache_folder", workspace.blobs.place
    )  # of a remote store, where `path` puts its files
    online = [workspace.online_folder] if workspace.online_folder else []
    return [Path(blobs), Path(workspace.database.place).parent, workspace.cache, *online]


def own_addresses(workspace: Workspace) -> list[str]:
    """The servers with which a workspace keeps its state, as `host:port`."""
    addresses = []
    for setting in ("database", "blobs", "online"):
        url = workspace.project.settings.origins[setting].value
        address = Address(resolve(url) if is_reference(url) else url)
        if port := _PORTS.get(address.scheme):
            addresses.append(f"{address.host or 'localhost'}:{address.port or port}")
        if "endpoint" in address.options:
            endpoint = urlsplit(address.options["endpoint"])
            addresses.append(f"{endpoint.hostname}:{endpoint.port or 443}")
    return addresses
