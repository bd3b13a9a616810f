"""Models in processes of their own, whose environment needn't be that of the process that serves them.

`environment` says which endpoints need one and by which interpreter, `process` keeps it up, `worker` is its program, `wire`
what the two say to each other: columns there, answers back, never a pickle.
"""

from mainspring.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "IsolatedPredictor": "mainspring.serving.isolation.predictor",
        "isolated_predictor": "mainspring.serving.isolation.predictor",
        **dict.fromkeys(("Isolation", "isolation_of", "other_releases"), "mainspring.serving.isolation.environment"),
    },
)
