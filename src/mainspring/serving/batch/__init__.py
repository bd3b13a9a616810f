"""Batch prediction: a dataset version or a query in, a dataset version out, by the predictor that serving uses.

`predict_batch` does all of it, part by part; what it says of a job is a `BatchPrediction`.
"""

from mainspring.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        **dict.fromkeys(("BatchPrediction", "predict_batch"), "mainspring.serving.batch.prediction"),
        "BatchProgress": "mainspring.serving.batch.progress",
    },
)
