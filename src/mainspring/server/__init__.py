"""The workspace over HTTP: MLflow's client API, so that unmodified `mlflow` code works against it.

`app` admits requests and moves bodies, `token` knows who calls, `mlflow` answers in its clients' terms, `approvals` lets people
decide on versions, `inside` starts a server within a step.
"""

from mainspring.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "ServerApp": ".app",
        **dict.fromkeys(("Token", "TokenStore"), ".token"),
        "serve": ".serving",
    },
)
