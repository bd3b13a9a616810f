"""Runs an endpoint's application until it is told to stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mainspring.serving.batching import TIMEOUT_S
from mainspring.serving.compaction import compacting
from mainspring.web.app import MOST_ENTITIES
from mainspring.web.server import address_of, is_behind, listen, serve_app, token_of
from mainspring.workspace import Workspace


def serve(
    workspace: Workspace,
    *endpoints: str,
    host: str | None = None,
    port: int | None = None,
    on_ready: Callable[[str], None] | None = None,
    max_body_bytes: int = 16 << 20,
    replay: bool = False,
    max_entities: int = MOST_ENTITIES,
    timeout_s: float = TIMEOUT_S,
    workers: int | None = None,
    patience_s: float = 5.0,
    routes: Mapping[str, str] | None = None,
) -> None:
    """Answer for endpoints until SIGTERM or SIGINT; requests that were begun are answered first.

    A second one of these signals breaks them off. It kills the workers; without workers it ends this process at once.

    Paths that name no endpoint, such as `/predict`, are those of the first.

    Host, port and token are those of the settings unless given; port 0 takes a free one. `on_ready` gets the address once
    the model is warm and the socket listens. In a `replay` requests say in `Feature-Time` as of when features are read. A
    request whose features are read has `max_entities` rows at most, and one that the model doesn't answer within `timeout_s` is
    given up.

    With `workers` as many processes answer, each with models of its own; they are replaced when they die, and one after another
    on SIGHUP. To be called in the main thread then. One whose event loop is held up for `patience_s` longer than a request
    may take is killed. Without, this process answers, and a quick model that hangs holds it up for good. `routes` are paths
    that a platform asks, each with ours that answers it.

    Meanwhile the closed segments of this machine's logs are compacted, unless the setting `serve_compact_s` is 0.

    Raises:
        NotFoundError: no such endpoint.
        NotAllowedError: the host is not a loopback address, and neither is a token set nor does a platform authenticate.
        ConfigError: the address can't be bound, or a setting is wrong.
        WorkerError: workers don't start; what the last one said.
        ModelError: a model failed at its warm-up, and there are no workers.
    """
    settings = workspace.project.settings
    options: dict[str, Any] = {
        "replay": replay, "max_body_bytes": max_body_bytes, "max_entities": max_entities, "timeout_s": timeout_s,
        "routes": dict(routes or {}), "is_behind": is_behind(settings),
    }  # fmt: skip
    if workers is None:
        from mainspring.serving.app import ServingApp

        def make(token: str) -> ServingApp:
            return ServingApp(workspace, *endpoints, token=token, **options)

        with compacting(workspace, settings.serve_compact_s):
            serve_app(settings, make, host=host, port=port, on_ready=on_ready, behind=is_behind(settings))
        return
    from mainspring.serving.supervisor import Supervisor

    token_of(settings, host, behind=is_behind(settings))
    with listen(settings, host=host, port=port) as listener:
        address = address_of(settings, listener, host=host)
        silence_s = timeout_s + patience_s
        supervisor = Supervisor(
            workspace, endpoints, listener, workers, host=host, options=options, silence_s=silence_s
        )
        with compacting(workspace, settings.serve_compact_s):
            supervisor.run(lambda: on_ready(address) if on_ready else None)
