"""Registered models, as MLflow's clients ask for them. Prompts are registered models with a tag that says so."""

from __future__ import annotations

import re

import msgspec

from mainspring.errors import InvalidError
from mainspring.ledger import note_moving
from mainspring.models import aliases, registered, search, stages
from mainspring.models._rules import check_stage
from mainspring.models.registry import get_model_version
from mainspring.models.version import STAGES, ModelVersion, RegisteredModel
from mainspring.server.mlflow import model_versions
from mainspring.server.mlflow.records import Records
from mainspring.server.mlflow.wire import Pair, Route, Told, mapped, ms, paged, pairs

_PROMPT = "mlflow.prompt.is_prompt"
_NO_PROMPTS = re.compile(rf"tags?\.`{re.escape(_PROMPT)}` != 'true'")


class _Create(msgspec.Struct, frozen=True):
    name: str
    tags: tuple[Pair, ...] = ()
    description: str = ""


class _Ref(msgspec.Struct, frozen=True):
    name: str


class _Update(msgspec.Struct, frozen=True):
    name: str
    description: str = ""


class _Rename(msgspec.Struct, frozen=True):
    name: str
    new_name: str


class _Tag(msgspec.Struct, frozen=True):
    name: str
    key: str
    value: str = ""


class _Alias(msgspec.Struct, frozen=True):
    name: str
    alias: str
    version: str = ""


class _Latest(msgspec.Struct, frozen=True):
    name: str
    stages: tuple[str, ...] = ()


class Search(msgspec.Struct, frozen=True):
    """A search of models, or of versions."""

    filter: str = ""
    max_results: int = 100
    order_by: tuple[str, ...] = ()
    page_token: str = ""


def without_prompts(text: str) -> str:
    """A filter that finds no prompts, unless it speaks of them, as MLflow has it."""
    hidden = f"tags.`{_PROMPT}` IS NULL"
    text = _NO_PROMPTS.sub(hidden, text)  # as its clients say it; there a tag that isn't there is unequal
    return text if _PROMPT in text else f"{text} AND {hidden}" if text.strip() else hidden


def told(records: Records, model: RegisteredModel) -> Told:
    """A model in MLflow's terms."""
    named = records.models.aliases(model.name)
    answer: Told = {
        "name": model.name, "creation_timestamp": ms(model.created_at), "last_updated_timestamp": ms(model.updated_at),
        "tags": pairs(model.tags), "aliases": [{"alias": each.alias, "version": str(each.number)} for each in named],
        "latest_versions": [model_versions.told(records, each) for each in _latest(records, model.name)],
    }  # fmt: skip
    return answer | ({"description": model.description} if model.description else {})


def _latest(records: Records, name: str, asked: tuple[str, ...] = ()) -> list[ModelVersion]:
    """The newest version in each stage; the stages in the order of their first versions, as MLflow's clients get them."""
    wanted = {check_stage(each) for each in asked} or set(STAGES)
    newest = {each.stage: each for each in reversed(records.models.versions(name)) if each.stage in wanted}
    return list(newest.values())


def _create(records: Records, asked: _Create) -> Told:
    model = registered.create_model(
        asked.name, description=asked.description, tags=mapped(asked.tags), workspace=records.workspace
    )
    return {"registered_model": told(records, model)}


def _get(records: Records, asked: _Ref) -> Told:
    model = records.models.model(asked.name)
    if records.is_asked_by_code("get_registered_model"):
        note_moving("model", model.name)  # its aliases and latest versions are told, too
    return {"registered_model": told(records, model)}


def _update(records: Records, asked: _Update) -> Told:
    model = registered.update_model(asked.name, description=asked.description, workspace=records.workspace)
    return {"registered_model": told(records, model)}


def _rename(records: Records, asked: _Rename) -> Told:
    return {
        "registered_model": told(
            records, registered.rename_model(asked.name, asked.new_name, workspace=records.workspace)
        )
    }


def _delete(records: Records, asked: _Ref) -> Told:
    registered.delete_model(asked.name, workspace=records.workspace)
    return {}


def _search(records: Records, asked: Search) -> Told:
    page = search.search_models(
        without_prompts(asked.filter), order_by=asked.order_by, limit=asked.max_results,
        cursor=asked.page_token or None, workspace=records.workspace,
    )  # fmt: skip
    return paged("registered_models", [told(records, each) for each in page], page.cursor)


def _get_latest(records: Records, asked: _Latest) -> Told:
    for stage in asked.stages or ["latest"]:
        note_moving("model", f"{asked.name}/{stage}")
    return {
        "model_versions": [model_versions.told(records, each) for each in _latest(records, asked.name, asked.stages)]
    }


def _set_tag(records: Records, asked: _Tag) -> Told:
    registered.set_model_tags(asked.name, {asked.key: asked.value}, workspace=records.workspace)
    return {}


def _delete_tag(records: Records, asked: _Tag) -> Told:
    registered.delete_model_tag(asked.name, asked.key, workspace=records.workspace)
    return {}


def _set_alias(records: Records, asked: _Alias) -> Told:
    version = model_versions.find(records, asked.name, asked.version)
    aliases.set_alias(version, asked.alias, note="set by an MLflow client", workspace=records.workspace)
    return {}


def _delete_alias(records: Records, asked: _Alias) -> Told:
    aliases.delete_alias(asked.name, asked.alias, note="deleted by an MLflow client", workspace=records.workspace)
    return {}


def _by_alias(records: Records, asked: _Alias) -> Told:
    if asked.alias.lower() == "latest":  # which is no alias, but a word of MLflow's
        version = get_model_version(f"{asked.name}/latest", records.workspace)
    elif records.models.alias(records.models.model(asked.name).name, asked.alias) is None:
        known = [each.alias for each in records.models.aliases(asked.name)]
        raise InvalidError(
            "registered model alias", asked.alias, f"one of {asked.name}: {', '.join(known) or 'it has none'}"
        )
    else:
        version = get_model_version(f"{asked.name}@{asked.alias}", records.workspace)
    return {"model_version": model_versions.told(records, version)}


def _set_stage(records: Records, asked: model_versions.Stage) -> Told:
    version = stages.set_stage(
        model_versions.find(records, asked.name, asked.version), asked.stage,
        archive_existing=asked.archive_existing_versions, note="set by an MLflow client", workspace=records.workspace,
    )  # fmt: skip
    return {"model_version": model_versions.told(records, version)}


def _search_versions(records: Records, asked: Search) -> Told:
    page = search.search_model_versions(
        without_prompts(asked.filter), order_by=asked.order_by, limit=min(asked.max_results, 50_000),
        cursor=asked.page_token or None, workspace=records.workspace,
    )  # fmt: skip
    return paged("model_versions", [model_versions.told(records, each) for each in page], page.cursor)


ROUTES = (
    Route("POST", "/mlflow/registered-models/create", _Create, _create),
    Route("GET", "/mlflow/registered-models/get", _Ref, _get),
    Route("GET", "/mlflow/registered-models/search", Search, _search),
    Route("PATCH", "/mlflow/registered-models/update", _Update, _update),
    Route("POST", "/mlflow/registered-models/rename", _Rename, _rename),
    Route("DELETE", "/mlflow/registered-models/delete", _Ref, _delete),
    Route("POST", "/mlflow/registered-models/get-latest-versions", _Latest, _get_latest),
    Route("GET", "/mlflow/registered-models/get-latest-versions", _Latest, _get_latest),
    Route("POST", "/mlflow/registered-models/set-tag", _Tag, _set_tag),
    Route("DELETE", "/mlflow/registered-models/delete-tag", _Tag, _delete_tag),
    Route("POST", "/mlflow/registered-models/alias", _Alias, _set_alias),
    Route("GET", "/mlflow/registered-models/alias", _Alias, _by_alias),
    Route("DELETE", "/mlflow/registered-models/alias", _Alias, _delete_alias),
    Route("GET", "/mlflow/model-versions/search", Search, _search_versions),
    Route("POST", "/mlflow/model-versions/transition-stage", model_versions.Stage, _set_stage),
)
