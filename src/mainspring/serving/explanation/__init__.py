"""Why a prediction was what it was: from its id to the bytes it came from, in one view, as data.

`explaining` puts it together: `reads` says what was read of features, `origin` walks the ledger from the model on.
"""

from mainspring.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "explain": ".explaining",
        **dict.fromkeys(
            ("Attribution", "Binding", "Explanation", "ModelRun", "ReadFeature", "ReadView", "UsedDataset"), ".record"
        ),
    },
)
