"""What platforms that run containers ask of a server: SageMaker by fixed paths and a port, Vertex AI by variables.

SageMaker asks `/ping` and `/invocations` on 8080, which are ours. Vertex AI names the port and the paths in `AIP_` variables:
https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from mainspring.errors import ConfigError
from mainspring.serving.protocols.paths import INVOCATIONS

PORT, HEALTH_ROUTE, PREDICT_ROUTE = "AIP_HTTP_PORT", "AIP_HEALTH_ROUTE", "AIP_PREDICT_ROUTE"
_MOST = 65_535


class Contract(msgspec.Struct, frozen=True):
    """The port that a platform wants, if it names one, and its paths with ours that answer them."""

    port: int | None = None
    routes: Mapping[str, str] = {}


def contract_of(environment: Mapping[str, str]) -> Contract:
    """What the variables of a platform ask; predictions come in the form of `/invocations`, whatever their path is.

    Raises:
        ConfigError: a variable is no port, or no path.

    >>> contract_of({"AIP_HTTP_PORT": "8501", "AIP_PREDICT_ROUTE": "/v1/models/m:predict"})
    Contract(port=8501, routes={'/v1/models/m:predict': '/invocations'})
    """
    routes = {}
    for name, ours in ((HEALTH_ROUTE, "/health"), (PREDICT_ROUTE, INVOCATIONS)):
        path = environment.get(name, "")
        if path and not path.startswith("/"):
            raise ConfigError(f"`{path}` is no path: expected one that begins with `/`", name)
        if path:
            routes[path] = ours
    port = environment.get(PORT, "")
    if port and not (port.isdecimal() and 0 < int(port) <= _MOST):
        raise ConfigError(f"`{port}` is no port: expected a number from 1 to {_MOST}", PORT)
    return Contract(int(port) if port else None, routes)
