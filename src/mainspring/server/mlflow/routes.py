"""Every endpoint of MLflow's that is served here, and which of them a request asks for.

Each is under `/api/VERSION` and `/ajax-api/VERSION`, and those of 2.0 also behind `/preview`, as old clients have it.
"""

from __future__ import annotations

import re

from mainspring.errors import NotServedError
from mainspring.server.mlflow import (
    artifacts,
    experiments,
    logged_models,
    metrics,
    model_versions,
    registered_models,
    runs,
)
from mainspring.server.mlflow.wire import Route

ROUTES: tuple[Route, ...] = tuple(
    route
    for noun in (
        experiments, runs, metrics, artifacts, logged_models, registered_models, model_versions,
    )
    for route in noun.ROUTES
)  # fmt: skip
_PREFIX = re.compile(r"/(?:ajax-)?api/(?P<version>\d\.\d)(?:/preview)?(?P<path>/mlflow.*)", re.DOTALL)
_FIELD = re.compile(r"\{(\w+)(\.\.\.)?\}")
_PLAIN = {(route.version, route.method, route.path): route for route in ROUTES if "{" not in route.path}


def _pattern(path: str) -> re.Pattern[str]:
    parts = _FIELD.split(path)
    text = "".join(
        re.escape(part) if place % 3 == 0 else f"(?P<{part}>{'.+' if parts[place + 1] else '[^/]+'})"
        for place, part in enumerate(parts)
        if place % 3 < 2
    )
    return re.compile(text, re.DOTALL)


_PATTERNS = [(route, _pattern(route.path)) for route in ROUTES if "{" in route.path]


def match(method: str, path: str) -> tuple[Route, dict[str, str]]:
    """The route of a request, and the fields that its path has.

    Raises:
        NotServedError: there is none.

    >>> match("GET", "/api/2.0/mlflow/logged-models/m-1")[1]
    {'model_id': 'm-1'}
    """
    prefix = _PREFIX.fullmatch(path)
    if prefix is not None:
        version, rest = prefix["version"], prefix["path"]
        if route := _PLAIN.get((version, method, rest)):
            return route, {}
        for route, pattern in _PATTERNS:
            if (route.version, route.method) == (version, method) and (found := pattern.fullmatch(rest)):
                return route, found.groupdict()
    raise NotServedError(f"{method} {path[:200]} is not served here. docs/mlflow.md lists what is.")
