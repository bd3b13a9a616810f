"""What is known of a version, from the version itself and its lineage, as sections of names and texts; how two differ in it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from mainspring.models.registry import get_model_version
from mainspring.models.version import ModelVersion
from mainspring.runs import Run, RunStore, read_environment
from mainspring.runs.html import html_table
from mainspring.workspace import Workspace, current_workspace

Facts = dict[str, dict[str, str]]


class Difference(msgspec.Struct, frozen=True):
    """One fact that differs: its section and name, what it is of the old and of the new version (None: it has none)."""

    section: str
    name: str
    old: str | None
    new: str | None


class VersionDiff(msgspec.Struct, frozen=True):
    """How two versions differ, in the order of sections: what they are, take, were measured at, and were made of."""

    old: str
    new: str
    differences: tuple[Difference, ...]

    def __bool__(self) -> bool:
        return bool(self.differences)

    def _repr_html_(self) -> str:
        rows = [[each.section, each.name, each.old, each.new] for each in self.differences]
        return html_table([["", "", self.old, self.new], *rows])


def diff_versions(
    old: str | ModelVersion, new: str | ModelVersion, *, workspace: Workspace | None = None
) -> VersionDiff:
    """What differs between two versions: signature, metrics, the runs' parameters, code, data and environment.

    Raises:
        NotFoundError: one of them isn't there.
    """
    workspace = workspace or current_workspace()
    first, second = get_model_version(old, workspace), get_model_version(new, workspace)
    a, b = facts_of(first, workspace), facts_of(second, workspace)
    found = [
        Difference(section, name, a[section].get(name), b[section].get(name))
        for section in a
        if section != "needs"  # measured, so never quite the same
        for name in {**a[section], **b[section]}
        if a[section].get(name) != b[section].get(name)
    ]
    return VersionDiff(str(first), str(second), tuple(found))


def facts_of(version: ModelVersion, workspace: Workspace) -> Facts:
    """Everything that is known of a version, by section; each section is there, if empty."""
    run = (
        RunStore(workspace.database, workspace.ledger).get_many([version.run]).get(version.run) if version.run else None
    )
    inputs, gives = (version.signature.inputs, version.signature.output) if version.signature else ((), None)
    return {
        "model": _texts(
            {
                "content": version.content_digest, "codec": version.encoded.codec if version.encoded else "",
                "size_bytes": version.encoded.size_bytes if version.encoded else "", "licence": version.licence,
                "source": version.source, "features": version.features, "not loaded because": version.refusal,
            }
        ),
        "takes": {each.name: f"{each.dtype}{' or null' if each.nullable else ''}" for each in inputs},
        "gives": {} if gives is None else _texts({"kind": gives.kind, "classes": ", ".join(map(str, gives.classes))}),
        "needs": _texts(msgspec.to_builtins(version.needs)) if version.needs else {},
        "metrics": _texts(version.metrics),
        "parameters": _texts(run.params) if run else {},
        "code": _code(run) if run else {},
        "data": _data(version, workspace),
        "environment": _environment(version, workspace),
    }  # fmt: skip


def _texts(values: Mapping[str, object]) -> dict[str, str]:
    shown = {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in values.items()}
    return {name: str(value) for name, value in shown.items() if value not in (None, "")}


def _code(run: Run) -> dict[str, str]:
    return _texts(
        {"run": run.id, "target": run.target, "code": run.code_digest, "commit": run.git_commit, "seed": run.seed}
    )


def _data(version: ModelVersion, workspace: Workspace) -> dict[str, str]:
    """The versions of datasets that it came from, however far, with their content; not the versions before those."""
    walked = workspace.ledger.walk(version.id, follow=lambda edge: edge.role != "follows")
    nodes = workspace.ledger.nodes({edge.dst for edge in walked}).values()
    found = {node.label: (node.content_digest or "")[:12] for node in nodes if node.kind == "dataset_version"}
    return dict(sorted(found.items()))


def _environment(version: ModelVersion, workspace: Workspace) -> dict[str, str]:
    if version.environment is None:
        return {}
    lock = read_environment(workspace.blobs, version.environment, str(version))
    return {"python": f"{lock.implementation} {lock.python}", "platform": lock.platform, **lock.distributions}
