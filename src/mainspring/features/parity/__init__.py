"""Parity: a sample of served vectors is logged, and recomputed offline as of what the online store reflected.

`VectorLog` keeps the sample.
"""

from mainspring.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "VectorLog": ".log",
    },
)
