"""Datasets: named tables whose versions are immutable; checks on them; splits.

`dataset("flights").commit(frame)` makes a version, `validate` holds a table to its checks, `split_by_time` cuts it.
A version has the content digest of its rows, wherever the borders of its Parquet parts lie.
"""

from mainspring.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        **dict.fromkeys(("Dataset", "dataset", "get_dataset_version", "list_datasets"), "mainspring.data.dataset"),
        **dict.fromkeys(("DatasetVersion", "Source"), "mainspring.data.version"),
        "as_polars": "mainspring.data.tables.frames",
        "check": "mainspring.data.validation.checks",
        "Check": "mainspring.data.validation.checks",
        **dict.fromkeys(("CheckResult", "Report"), "mainspring.data.validation.report"),
        "validate": "mainspring.data.validation.validation",
        **dict.fromkeys(("TimeSplit", "split_by_time"), "mainspring.data.splits.time"),
    },
)
