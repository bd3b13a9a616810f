"""Features over HTTP in the shape that Feast's clients speak: reads, pushes, and bringing views into the online store.

`app` answers, `catalogue` keeps the readers that were asked for, `shapes` reads and writes bodies, `writing` does what changes.
"""

from mainspring.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "FeaturesApp": ".app",
        "serve": ".serving",
    },
)
