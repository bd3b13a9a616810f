"""The addresses of a server of predictions: which route a path is, of which endpoint and version."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

INFER = "/v2/models/{model}/infer"
MODEL = "/v2/models/{model}"
MODEL_READY = "/v2/models/{model}/ready"
PREDICT, INVOCATIONS, FEEDBACK = "/predict", "/invocations", "/feedback"
_MODEL = re.compile(r"/v2/models/(?P<name>[^/]+)(?:/versions/(?P<version>[^/]+))?(?P<act>/infer|/ready)?/?")
_NAMED = re.compile(rf"(?P<route>{PREDICT}|{INVOCATIONS}|{FEEDBACK})/(?P<name>[^/]+)")


class Place(NamedTuple):
    """A route, with the endpoint and the version that the path names; empty where it names none."""

    route: str
    name: str = ""
    version: str = ""


@lru_cache(1_024)
def place_of(path: str) -> Place:
    """What a path leads to; a path of no route of ours is a route of its own.

    >>> place_of("/v2/models/delays/versions/3/infer")
    Place(route='/v2/models/{model}/infer', name='delays', version='3')
    >>> place_of("/predict/delays"), place_of("/v2/")
    (Place(route='/predict', name='delays', version=''), Place(route='/v2', name='', version=''))
    """
    if found := _MODEL.fullmatch(path):
        return Place(MODEL + (found["act"] or ""), unquote(found["name"]), unquote(found["version"] or ""))
    if found := _NAMED.fullmatch(path):
        return Place(found["route"], unquote(found["name"]))
    return Place(path.rstrip("/") or "/" if path.startswith("/v2") else path)
