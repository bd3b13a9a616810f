"""Serving: endpoints, which are stable names for `model@alias`, and the HTTP server that answers for one.

`bind` makes an endpoint or moves it, `serve` answers requests until it is told to stop.
"""

from mainspring.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        **dict.fromkeys(("Endpoint", "bind", "get_endpoint", "list_endpoints"), "mainspring.serving.endpoint"),
        "ServingApp": "mainspring.serving.app",
        "serve": "mainspring.serving.server",
    },
)
