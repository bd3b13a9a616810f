"""What every HTTP server of Mainspring shares: who is admitted, how bodies are read, what is counted, how it stops.

A server is a subclass of `WebApp`, run by `serve_app`.
"""

from mainspring.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        **dict.fromkeys(("Answer", "Request", "WebApp"), "mainspring.web.app"),
        "Metrics": "mainspring.web.metrics",
        "RequestError": "mainspring.web.request_error",
        "read_json": "mainspring.web.body",
        "serve_app": "mainspring.web.server",
    },
)
