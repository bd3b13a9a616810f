"""Predictions: each is logged before it is answered, and found again by its id.

`log` writes records (`record`) under `ids`; `compacting` turns closed segments into Parquet; `finding` reads both.
"""

from mainspring.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "compact_predictions": ".compacting",
        **dict.fromkeys(("Entry", "Logged", "Source"), ".record"),
        **dict.fromkeys(("PredictionLog", "prediction_log"), ".log"),
        **dict.fromkeys(("find_prediction", "get_prediction", "scan_predictions"), ".finding"),
    },
)
