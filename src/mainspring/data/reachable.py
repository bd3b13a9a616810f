"""Which blobs versions need, and which versions need a blob, through manifests and whatever stands behind them."""

from __future__ import annotations

from collections.abc import Iterable

from mainspring.data._store import DatasetStore
from mainspring.data.tables import manifest as tables
from mainspring.data.trees import manifest as trees
from mainspring.data.version import DatasetVersion
from mainspring.errors import CorruptBlobError, NotFoundError
from mainspring.store import BlobStore
from mainspring.workspace import Workspace


def needed_blobs(
    blobs: BlobStore, versions: Iterable[DatasetVersion], reached: dict[str, frozenset[str]] | None = None
) -> set[str]:
    """Every blob that reading one of these versions may open; raises as reading a blob does.

    `reached` remembers what the manifests of trees lead to, from one call to the next.
    """
    reached = {} if reached is None else reached
    present = list(versions)
    needed = tables.needed_blobs(blobs, [each.manifest for each in present if each.kind == "table"])
    for manifest in [each.manifest for each in present if each.kind == "tree"]:
        if manifest not in reached:
            reached[manifest] = frozenset(trees.reachable_blobs(blobs, manifest))
        needed |= reached[manifest]
    return needed


def versions_needing(digest: str, workspace: Workspace) -> list[DatasetVersion]:
    """The versions that can't be read whole without a blob, by dataset and number, whichever of them wrote it."""
    store = DatasetStore(workspace.database, workspace.ledger)
    found = []
    for name in sorted({version.dataset for version in store.holders(digest)}):
        living = store.living(name)
        found += [each for each in (living.versions if living else ()) if _needs(workspace.blobs, each, digest)]
    return found


def _needs(blobs: BlobStore, version: DatasetVersion, digest: str) -> bool:
    try:
        return digest in needed_blobs(blobs, [version])
    except CorruptBlobError as error:
        return error.digest == digest  # what else it needs can't be told
    except NotFoundError as error:
        return error.name == digest
