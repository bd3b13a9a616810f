"""Moving what was tracked with MLflow: a store of its client into the workspace, and the workspace into a store of it.

`records` are the rows of MLflow's tables, `tracked` reads and writes a database of them, `schema` makes one; `words` turns
their words into ours and back, `importing` and `exporting` go through everything.
"""

from mainspring.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "Exported": ".exporting",
        "Imported": ".importing",
        "export_mlflow": ".exporting",
        "import_mlflow": ".importing",
    },
)
