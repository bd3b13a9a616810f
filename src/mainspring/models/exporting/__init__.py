"""A version as a folder that answers without Mainspring: its model in its library's own format, pins, and a short program.

`export_model` writes one: `portable` says in which format a model goes along, `pins` which distributions it needs, `mlflow`
what MLflow reads besides; `predict` is the program, copied as it is, which imports nothing of Mainspring.
"""

from mainspring.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__, dict.fromkeys(("ExportForm", "ModelExport", "export_model"), ".folder")
)
