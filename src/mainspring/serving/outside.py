"""Services that Mainspring doesn't run: their predictions and labels are logged as those of endpoints are, and found alike."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from mainspring import clock
from mainspring.errors import InvalidError, NotAllowedError, WrongTypeError, counted
from mainspring.ledger import is_replay, new_id
from mainspring.models.signature import Columns
from mainspring.serving.endpoint import (
    Endpoint,
    EndpointStore,
    Logging,
    check_endpoint_name,
    named_endpoint,
    options_of,
)
from mainspring.serving.feedback.intake import LabelIntake, Taken
from mainspring.serving.label_rule import LabelRule, Match, Pick, changed_rule, expect_in_log
from mainspring.serving.predictions.ids import ids_from
from mainspring.serving.predictions.keys import plain_floats, plain_key
from mainspring.serving.predictions.log import prediction_log
from mainspring.serving.predictions.record import DECLARED_ROLES, STABLE, Entry, Source
from mainspring.workspace import Workspace, current_workspace

_LONGEST_VERSION = 200
_FORM = "a number, text, true, false, or probabilities by class"


class OutsideService:
    """Logs what one version of a service answers, for any number of threads. `endpoint` is what it is declared as."""

    def __init__(self, endpoint: Endpoint, workspace: Workspace, version: str = "") -> None:
        self.endpoint = endpoint if not version else msgspec.structs.replace(endpoint, version=version)
        self._source = Source(self.endpoint)
        self._log = prediction_log(workspace)
        self._intake = LabelIntake(self.endpoint, workspace)

    def log(
        self, inputs: Any, outputs: Any, *, route_key: str = "", request_id: str = "", latency_s: float | None = None,
        role: str = STABLE,
    ) -> list[str]:  # fmt: skip
        """Log the predictions of one request: `inputs` are records or a table, `outputs` one for each; gives their ids.

        An output is a number, a text, true or false, or a dict of probabilities by class. When it returns, they outlive this
        process. What is redacted is left out; if a share is logged, the others have ids, too. How long an answer took is
        `latency_s`, and null in the log if it isn't given. The `role` is `stable`, `candidate` of a version that is tried on
        some requests, or `shadow` of one whose answers nobody is given.

        Raises:
            InvalidError: there is not one output for each input, or one is no output; or an input lacks a column of the key by
                which labels join; or there is no such role for a service to have.
            StorageError: the log can't be written; with `log="best-effort"` that is passed over, and counted.
        """
        if role not in DECLARED_ROLES:
            raise InvalidError("role", role, f"a role of a service: {', '.join(DECLARED_ROLES)}")
        columns, rows = _columns(inputs, self.endpoint.labels.key)
        answers = _outputs(outputs, rows)
        if not rows:
            return []
        began = None if latency_s is None else time.perf_counter() - latency_s
        entry = Entry(request_id or new_id(), route_key, began, columns, rows, role)
        if self.endpoint.log == "off":
            return []
        if self._source.is_required:
            self._log.append(self._source, [(entry, answers)])
        else:
            self._log.write(self._source, [(entry, answers)])
        return ids_from(entry.first, rows)

    def label(self, *labels: Mapping[str, Any], source: str = "python") -> Taken:
        """Log labels of its predictions, as `log_labels` does, and raise what it raises."""
        return self.take_labels(labels, source).expect_all()

    def take_labels(self, labels: Sequence[Any], source: str) -> Taken:
        """Log the labels that are right, and say what is wrong with the others."""
        return self._intake(enumerate(labels), source)


def outside_service(
    name: str, version: str, *, log: Logging | None = None, log_share: float | None = None,
    redact: Sequence[str] | None = None, label_key: Sequence[str] | None = None, label_window: str | None = None,
    label_match: Match | None = None, label_pick: Pick | None = None, label_type: str | None = None,
    workspace: Workspace | None = None,
) -> OutsideService:  # fmt: skip
    """Declare a service that runs elsewhere as an endpoint, or its next version, and log its predictions.

    `version` is the service's own word. The options are those of `bind`, and stay as they are if they are left out. The same
    again changes nothing. Old and new versions may log at the same time.

    Raises:
        InvalidError: it can't be called so, or an option is none.
        NotAllowedError: an endpoint of this name serves a model; or this is a replay, and there is no such endpoint.

    >>> fraud = outside_service("fraud", "2024-03", label_key=["card"], label_window="30d")
    >>> (prediction,) = fraud.log([{"card": "c1", "amount": 12.5}], [0.03])
    >>> fraud.label({"prediction": prediction, "label": 0.0}).accepted
    1
    """
    workspace = workspace or current_workspace()
    check_endpoint_name(name)
    if not 0 < len(version) <= _LONGEST_VERSION or "/" in version or not version.isprintable():
        raise InvalidError("version", version, f"a text of 1 to {_LONGEST_VERSION} characters without `/`")
    before = EndpointStore(workspace.database).find(name)
    expect_outside(before)
    labels = changed_rule(
        before.labels if before else LabelRule(), key=label_key, window=label_window, match=label_match, pick=label_pick,
        type=label_type,
    )  # fmt: skip
    options = options_of(
        before, overrides=None, runtime=None, log=log, log_share=log_share, redact=redact, labels=labels
    )
    expect_in_log(labels, None, options["redact"])
    if is_replay():
        if before is None:
            raise NotAllowedError(f"A replay declares nothing, and there is no endpoint `{name}`: it differs.")
        return OutsideService(before, workspace)
    return OutsideService(_declared(workspace, name, version, options), workspace)


def find_outside_service(name: str, version: str = "", workspace: Workspace | None = None) -> OutsideService:
    """A service that was declared, by default the version that was declared last.

    Raises:
        NotFoundError: no such endpoint.
        NotAllowedError: it serves a model.
    """
    workspace = workspace or current_workspace()
    declared = f"`mainspring endpoints outside {name} --version VERSION` declares a service that runs elsewhere."
    endpoint = named_endpoint(name, workspace, declared=declared)
    expect_outside(endpoint)
    return OutsideService(endpoint, workspace, version)


def expect_outside(endpoint: Endpoint | None) -> None:
    """Go on only where there is no such endpoint, or an outside service's.

    Raises:
        NotAllowedError: it serves a model.
    """
    if endpoint is not None and not endpoint.is_outside:
        raise NotAllowedError(
            f"`{endpoint.name}` serves {endpoint.target}, whose predictions its server logs. Choose another name."
        )


def _declared(workspace: Workspace, name: str, version: str, options: dict[str, Any]) -> Endpoint:
    store = EndpointStore(workspace.database)
    with workspace.database.transaction() as tx:
        before = store.find(name)
        expect_outside(before)
        is_same = before is not None and before.version == version
        if before is not None and is_same and all(getattr(before, each) == value for each, value in options.items()):
            return before
        now = clock.now_us()
        endpoint = Endpoint(
            name, before.id if before else new_id(), "", "", version, 0, before.generation + 1 if before else 1,
            created_at=before.created_at if before else now, moved_at=now, **options,
        )  # fmt: skip
        workspace.ledger.node(tx, "endpoint", endpoint.id, name)
        store.put(tx, endpoint)
        told = {"version": version, "generation": endpoint.generation, **msgspec.to_builtins(options)}
        workspace.ledger.append(tx, "endpoint.moved" if before else "endpoint.bound", endpoint.id, told)
    return endpoint


def _columns(inputs: Any, key: Sequence[str]) -> tuple[Columns, int]:
    """Records, or a table, as columns; what a record lacks is null, and it lacks no column of the key."""
    if not isinstance(inputs, list | tuple):
        from mainspring.data import as_polars

        frame = as_polars(inputs, drop_index=True)
        _expect_key(key, frame.columns, "inputs")
        plain = frame.with_columns(plain_floats(frame[name]) for name in key)
        return _with_plain_keys({name: plain[name].to_list() for name in plain.columns}, key), plain.height
    names: dict[str, None] = {}
    for place, record in enumerate(inputs):
        if not isinstance(record, Mapping) or not all(isinstance(name, str) for name in record):
            raise WrongTypeError(f"inputs[{place}]", record, "a record of columns by name")
        _expect_key(key, record, f"inputs[{place}]")
        names |= dict.fromkeys(record)
    return _with_plain_keys({name: [record.get(name) for record in inputs] for name in names}, key), len(inputs)


def _with_plain_keys(columns: dict[str, list[Any]], key: Sequence[str]) -> Columns:
    return columns | {name: list(map(plain_key, columns[name])) for name in key if name in columns}


def _expect_key(key: Sequence[str], names: Collection[str], path: str) -> None:
    for name in key:
        if name not in names:
            said = "Labels join by it (`label_key`); a value that isn't known is null."
            raise InvalidError(path, ", ".join(names), f"all columns, as `{name}` is missing", said)


def _outputs(outputs: Any, rows: int) -> list[Any]:
    given = outputs.tolist() if hasattr(outputs, "tolist") else outputs
    found = given.to_list() if hasattr(given, "to_list") else given
    if not isinstance(found, list | tuple) or len(found) != rows:
        many = len(found) if isinstance(found, list | tuple) else type(found).__name__
        raise InvalidError("outputs", many, f"one output for each of {counted(rows, 'input')}")
    names = found[0].keys() if found and isinstance(found[0], dict) else None
    for place, output in enumerate(found):
        is_right = _is_plain(output) if names is None else _has_chances(output, names)
        if not is_right:
            raise InvalidError(f"outputs[{place}]", output, f"{_FORM}, and of one kind in a request")
    return list(found)


def _has_chances(output: Any, names: Any) -> bool:
    return isinstance(output, dict) and output.keys() == names and all(map(_is_plain, output.values()))


def _is_plain(output: Any) -> bool:
    if isinstance(output, float):
        return math.isfinite(output)
    return isinstance(output, bool | str) or (isinstance(output, int) and -(1 << 63) <= output < 1 << 63)
