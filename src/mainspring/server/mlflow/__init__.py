"""MLflow's client API over the records of a workspace: a file for each noun, with its routes beside what answers them.

`wire` reads and writes MLflow's JSON, `records` are the stores, `routes` is the whole table.
"""

from mainspring.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "ROUTES": ".routes",
        "Records": ".records",
        "Route": ".wire",
    },
)
