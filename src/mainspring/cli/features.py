"""`mainspring features`."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

import click
import msgspec

from mainspring.cli import text
from mainspring.cli.app import Group, Invocation
from mainspring.errors import NotFoundError, close_names

if TYPE_CHECKING:
    from mainspring.features import Change, Definition, Match, Plan, Portrait
    from mainspring.features.discovery import FeaturePortrait

_KINDS = {"view": "view", "on_demand": "on-demand view", "service": "service"}
_SIGNS = {"new": "+", "changed": "~", "described": "~", "unchanged": " ", "missing": "?", "retired": "-"}
_NO_MODULE = (
    "Define entities and views in features.py, or say where they are: `features = […]` in the settings, or MODULE."
)
_MODULES = click.argument("modules", nargs=-1, metavar="[MODULE]...")
_RETIRE = click.option("--retire", is_flag=True, help="Retire what the modules don't define any more.")


_LAZY = {
    "materialize": ("mainspring.cli.feeding:materialize_views", "Bring what is new in datasets into the online store."),
    "feed": ("mainspring.cli.feeding:feed_views", "Bring the events of streams into the online store."),
    "verify": ("mainspring.cli.parity:verify_vectors", "Hold served vectors to the offline path, bit for bit."),
}


@click.group(cls=Group, default="list", lazy=_LAZY)
def features() -> None:
    """List features (the same as `features list`), look into them, apply their definitions, bring them online."""


@features.command("plan")
@_MODULES
@_RETIRE
@click.pass_obj
def plan_all(invocation: Invocation, modules: tuple[str, ...], retire: bool) -> None:
    """Say what applying the definitions of MODULE (those of the project's settings) would change, and for whom."""
    from mainspring.features import plan

    found = plan(*_imported(invocation, modules), retire=retire)
    invocation.show(_planned(found), lambda: _told(found, done=False))


@features.command("apply")
@_MODULES
@_RETIRE
@click.pass_obj
def apply_all(invocation: Invocation, modules: tuple[str, ...], retire: bool) -> None:
    """Make new versions of the definitions of MODULE that changed. Models keep the versions that they use."""
    from mainspring.features import apply

    found = apply(*_imported(invocation, modules), retire=retire)
    invocation.show(_planned(found), lambda: _told(found, done=True))


@features.command("list")
@click.argument("words", nargs=-1, metavar="[WORD]...")
@click.pass_obj
def list_all(invocation: Invocation, words: tuple[str, ...]) -> None:
    """List views and services; with words those in which each occurs, by name."""
    from mainspring.features import list_definitions, search_definitions

    matches = [each.definition for each in search_definitions(words, invocation.workspace)] if words else None
    found = list_definitions(workspace=invocation.workspace)
    shown = [each for each in found if matches is None or each in matches]
    invocation.show({"features": [_document(each) for each in shown]}, lambda: _listed(shown, words))


@features.command("search")
@click.argument("words", nargs=-1, required=True, metavar="TEXT...")
@click.pass_obj
def search_all(invocation: Invocation, words: tuple[str, ...]) -> None:
    """Find views and services by any words of theirs: names, features, tags, entities, owners, sources, columns, keys,
    descriptions. The likeliest come first.
    """
    from mainspring.features import search_definitions

    found = search_definitions(words, invocation.workspace)
    document = [_document(each.definition) | {"score": each.score, "where": each.where} for each in found]
    invocation.show({"features": document}, lambda: _matched(found, words))


@features.command("show")
@click.argument("reference", metavar="NAME[/N][:FEATURE]")
@click.option("--no-values", is_flag=True, help="Leave out what the features hold, which may have to be computed.")
@click.pass_obj
def show_one(invocation: Invocation, reference: str, no_values: bool) -> None:
    """Show a view or service: its definition, what its features hold, how fresh they are online, the columns of the raw
    data that each comes from, and the models that use it; or one feature, with its histogram.
    """
    from mainspring.cli.portraits import feature_text, portrait_text
    from mainspring.features import describe

    name, _, feature = reference.partition(":")
    found = describe(name, invocation.workspace, values=not no_values)
    if feature:
        one = _one_of(found, feature)
        invocation.show({"feature": msgspec.to_builtins(one)}, lambda: feature_text(one))
        return
    told = {each: msgspec.to_builtins(getattr(found, each)) for each in ("uses", "versions", "features", "views")}
    document = _document(found.definition) | told
    invocation.show({"features": document}, lambda: portrait_text(found))


def _one_of(portrait: Portrait, feature: str) -> FeaturePortrait:
    found = {each.name: each for each in portrait.features}
    if feature not in found:
        raise NotFoundError("feature", f"{portrait.definition}:{feature}", close_names(feature, found))
    return found[feature]


@features.command("serve")
@click.option("--host", metavar="ADDRESS", help="Address to bind to; off this machine it needs serve_token.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=6566, show_default=True, metavar="P",
    help="Port to bind to; 0 takes a free one.",
)  # fmt: skip
@click.option(
    "--max-entities", type=click.IntRange(1), default=10_000, show_default=True, metavar="N",
    help="How many entities a request may name.",
)  # fmt: skip
@click.pass_obj
def serve_features(invocation: Invocation, host: str | None, port: int, max_entities: int) -> None:
    """Serve features over HTTP until Ctrl-C, in Feast's shape: POST /get-online-features, /push, /materialize.

    With --json the first line of stdout is {"url": …}, printed when the server is ready.
    """
    from mainspring.features.server import serve

    def ready(url: str) -> None:
        said = f"Features are at {url}  (what there is: GET {url}/)"
        click.echo(msgspec.json.encode({"url": url}) if invocation.json else said)

    serve(invocation.workspace, host=host, port=port, on_ready=ready, max_entities=max_entities)


def _imported(invocation: Invocation, names: tuple[str, ...]) -> list[ModuleType]:
    from mainspring.cli.target import module_of, prepare

    invocation.start_in(invocation.project)
    prepare(invocation.project)
    if names:
        return [module_of(invocation.project, name) for name in names]
    return [module_of(invocation.project, name, _NO_MODULE) for name in invocation.project.settings.features]


def _document(definition: Definition) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(definition)
    return document | {"reference": str(definition), "kind": definition.kind}


def _planned(plan: Plan) -> dict[str, Any]:
    return {
        "changes": [
            {
                "kind": change.kind, "name": change.name, "action": change.action,
                "before": str(change.before) if change.before else None,
                "after": str(change.after) if change.after else None,
                "differences": change.differences, "uses": msgspec.to_builtins(change.uses),
            }
            for change in plan.changes
        ]
    }  # fmt: skip


def _told(plan: Plan, *, done: bool) -> str:
    if not plan.changes:
        return "The modules define no features, and none were applied before."
    lines = [line for change in plan.changes if change.action != "unchanged" for line in _lines(change)]
    same = sum(change.action == "unchanged" for change in plan.changes)
    lines += [f"{same} unchanged"] if same else []
    if not done and not plan.is_empty:
        lines.append(text.dim("nothing is applied yet: mainspring features apply"))
    return "\n".join(lines)


def _lines(change: Change) -> list[str]:
    version = str(change.after or change.before)
    said = {
        "new": "", "changed": "", "described": ": other words for people", "retired": ": retired",
        "missing": " is not among them; --retire takes it out of use",
    }[change.action]  # fmt: skip
    lines = [f"{_SIGNS[change.action]} {_KINDS[change.kind]} {text.bold(version)}{said}"]
    lines += [f"    {line}" for line in change.differences]
    keep = change.before and change.after
    return lines + [f"    {use} {f'stays on {change.before}' if keep else 'keeps it'}" for use in change.uses]


def _listed(found: list[Definition], words: tuple[str, ...]) -> str:
    if not found:
        if words:
            return f"No feature definition has {' and '.join(words)}."
        return "No features. Define views in a module and run `mainspring features apply MODULE`."
    rows = [
        [
            str(each), _KINDS[each.kind], ", ".join(field.name for field in each.record.fields),
            each.record.about.owner, text.moment(each.created_at),
        ]
        for each in found
    ]  # fmt: skip
    return text.table(["version", "kind", "features", "owner", "made"], rows, drop=["owner", "made"])


def _matched(found: list[Match], words: tuple[str, ...]) -> str:
    if not found:
        return f"No feature definition has {' and '.join(words)}."
    rows = [
        [
            str(each.definition),
            _KINDS[each.definition.kind],
            each.definition.record.about.owner,
            ", ".join(each.where[:4]),
        ]
        for each in found
    ]
    return text.table(["version", "kind", "owner", "found in"], rows, drop=["owner"])
