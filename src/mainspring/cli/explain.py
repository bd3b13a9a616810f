"""`mainspring explain`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from mainspring.cli import text
from mainspring.cli.app import Command, Invocation
from mainspring.cli.records import iso, node_record
from mainspring.cli.tree import Tree

if TYPE_CHECKING:
    from mainspring.serving.explanation import Attribution, Binding, Explanation, ModelRun, ReadFeature

_FOLLOWS = "follows"
_BAR = 30
_CLOCKS = timedelta(seconds=1)  # so far apart may be what two clocks of one machine say


@click.command(cls=Command)
@click.argument("prediction", metavar="PREDICTION")
@click.option("--features", is_flag=True, help="Also how much each input moved the answer (the extra `shap`).")
@click.option("--depth", type=click.IntRange(min=1), default=100, metavar="N", help="At most so many steps away.")
@click.option(
    "--all", "everything", is_flag=True, help="Each of many that are alike, and the versions before those used."
)
@click.pass_obj
def explain(invocation: Invocation, prediction: str, features: bool, depth: int, everything: bool) -> None:
    """Explain PREDICTION, by its id: what answered and who released it, what was read, and what all of that came from."""
    from mainspring.serving import explain as explained

    found = explained(prediction, attribution=features, workspace=invocation.workspace)
    invocation.show(document(found), lambda: "\n".join(_told(found, depth, everything=everything)))


def document(found: Explanation) -> dict[str, Any]:
    """An explanation for JSON; watermarks are bytes of the log's own, which `views` tell."""
    import msgspec

    told: dict[str, Any] = msgspec.to_builtins(found, enc_hook=str, builtin_types=(bytes,))
    told["prediction"].pop("features_watermarks", None)
    nodes = [node_record(node) | {"removed_at": iso(found.removed.get(node.id))} for node in found.nodes]
    return {name: value for name, value in told.items() if name != "removed"} | {"nodes": nodes}


def _told(found: Explanation, depth: int, *, everything: bool) -> Iterator[str]:
    yield text.facts(_facts(found))
    if found.features:
        yield from ("", text.bold(f"Features of {found.features_service} as of {_instant(found.features_at)}"))
        heads = ["feature", "value", "status", "of the row at", "view", "from"]
        yield text.table(heads, [_feature(each, found) for each in found.features])
    if found.attribution is not None:
        yield from ("", *_bars(found.attribution))
    if found.edges:
        edges = [edge for edge in found.edges if everything or edge.role != _FOLLOWS]
        nodes = {node.id: node for node in found.nodes}
        tree = Tree(edges, nodes, everything=everything, removed=found.removed)
        yield from ("", *tree.lines(found.id, depth), *tree.sources())
    if found.gaps:
        yield from ("", text.bold("Not known, or gone"), *(f"  {gap}" for gap in found.gaps))


def _bars(found: Attribution) -> Iterator[str]:
    """What each input added, the largest first, as bars."""
    of = f" of {found.output}" if found.output else ""
    yield text.bold(
        f"What moved the answer{of} from {found.base:.6g}, that of {found.background}, to {found.answer:.6g}"
    )
    longest = max((abs(value) for value in found.values.values()), default=0.0) or 1.0
    width = max(map(len, found.values), default=0)
    for name, value in sorted(found.values.items(), key=lambda each: -abs(each[1])):
        bar = "█" * round(abs(value) / longest * _BAR) or "▏"
        yield f"  {name.ljust(width)}  {value:+12.6g}  {click.style(bar, fg='red' if value < 0 else 'green')}"
    yield text.dim(f"  Shapley values ({found.method}) by shap, of the native model")


def _facts(found: Explanation) -> Iterator[tuple[str, str]]:
    row = found.prediction
    yield "prediction", found.id
    took = "" if row["latency_us"] is None else f", in {row['latency_us'] / 1e3:,.1f} ms"
    yield "answered", f"{_instant(found.at)}{took}{_replayed(found)}"
    yield "answer", _value(found.output)
    for label in found.labels:
        yield (
            "label" if label["counts"] else "label before",
            f"{_value(label['label'])}, known {_instant(label['known_at'])}",
        )
    yield "asked", _value(found.inputs)
    yield "request", " ".join(filter(None, [row["request_id"], row["route_key"] and f"(route key {row['route_key']})"]))
    yield "endpoint", _endpoint(found.binding, row)
    yield "model", f"{found.model}, content {found.model_digest[: text.ID_LENGTH]}" if found.model else ""
    if found.run is not None:
        yield "made by", _run(found.run)
        yield "code", _code(found.run)
    yield "trained on", ", ".join(each.version for each in found.datasets if each.trained)


def _replayed(found: Explanation) -> str:
    """As of when a replayed request was answered; the features of any other are read while it is."""
    latency = timedelta(microseconds=found.prediction["latency_us"] or 0)
    is_replayed = found.features_at is not None and abs(found.at - found.features_at) > latency + _CLOCKS
    return f", as of {_instant(found.features_at)}" if is_replayed else ""


def _endpoint(binding: Binding | None, row: dict[str, Any]) -> str:
    said = f"{row['endpoint']}, generation {row['generation']}, {row['role']}, {row['runtime']}"
    if binding is None:
        return said
    who = binding.actor if binding.verified else f"{binding.actor} (local, unverified)"
    moved = f"{binding.target or 'declared'}, by {who} {_instant(binding.moved_at)}"
    return f"{said}\n{moved}{f': {binding.note}' if binding.note else ''}"


def _run(run: ModelRun) -> str:
    task = f"task {run.task_name} of " if run.task else ""
    return f"{task}run {run.name} {text.short(run.id)}, by {run.actor} {_instant(run.started_at)}"


def _code(run: ModelRun) -> str:
    told = [f"content {run.code_digest[: text.ID_LENGTH]}"] if run.code_digest else []
    if run.git_commit:
        told.append(f"git commit {run.git_commit[: text.ID_LENGTH]}{'' if run.git_clean else ' and changes to it'}")
    return ", ".join(told)


def _feature(each: ReadFeature, found: Explanation) -> list[str]:
    origins = {view.view: view for view in found.views}
    known = [origins[view].dataset_version or origins[view].source for view in each.views if view in origins]
    event_at = _instant(each.event_at) if each.event_at else ""
    return [each.name, _value(each.value), each.status, event_at, ", ".join(each.views), ", ".join(known)]


def _instant(at: Any) -> str:
    from mainspring.clock import to_us

    return text.moment(to_us(at)) if at is not None else ""


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_value(own)}" for name, own in value.items())
    if isinstance(value, float):
        return f"{value:.6g}"
    return "null" if value is None else str(value)
