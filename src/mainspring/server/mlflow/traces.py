"""Traces, as far as a client needs them."""

from __future__ import annotations

from mainspring.server.mlflow.wire import Route

ROUTES: tuple[Route, ...] = ()
