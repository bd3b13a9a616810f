"""The forms in which predictions are asked and answered: records, the Open Inference Protocol, MLflow's scoring.

Each reads a request as a `Call`, whose columns were checked against the signature, and writes the `Outcome` as an answer.
"""

from mainspring.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        **dict.fromkeys(("Call", "Outcome"), "mainspring.serving.protocols.call"),
        "Inference": "mainspring.serving.protocols.inference",
        "Invocations": "mainspring.serving.protocols.invocations",
    },
)
