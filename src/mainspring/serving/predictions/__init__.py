"""Predictions: each is logged before it is answered, found again by its id, and joined to its label.

`log` writes records (`record`) under `ids`.
"""

from mainspring.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        **dict.fromkeys(("PredictionLog", "prediction_log"), ".log"),
        **dict.fromkeys(("Entry", "Logged", "Source"), ".record"),
    },
)
