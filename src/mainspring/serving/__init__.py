"""Serving: endpoints, which are stable names for `model@alias`, and the HTTP server that answers for one.

`bind` makes an endpoint or moves it, `serve` answers requests until it is told to stop, `load_predictor` answers in Python, and
`outside_service` logs what a service that runs elsewhere answers.
"""

from mainspring.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        **dict.fromkeys(
            ("Endpoint", "Logging", "bind", "get_endpoint", "list_endpoints"), "mainspring.serving.endpoint"
        ),
        **dict.fromkeys(("OnlinePredictor", "load_predictor", "service_of"), "mainspring.serving.online"),
        **dict.fromkeys(("OutsideService", "find_outside_service", "outside_service"), "mainspring.serving.outside"),
        **dict.fromkeys(("Explanation", "explain"), "mainspring.serving.explanation"),
        **dict.fromkeys(("Proposal", "Runtime", "proposed_runtime"), "mainspring.serving.runtime"),
        "LabelRule": "mainspring.serving.label_rule",
        "ServingApp": "mainspring.serving.app",
        "serve": "mainspring.serving.server",
    },
)
