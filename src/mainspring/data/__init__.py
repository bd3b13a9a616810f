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
        **dict.fromkeys(("Checkout", "TreeFile", "TreeProfile"), "mainspring.data.files"),
        **dict.fromkeys(("diff_trees", "tree_status"), "mainspring.data.trees.status"),
        "as_polars": "mainspring.data.tables.frames",
        **dict.fromkeys(
            ("expire_versions", "Removal", "remove_dataset", "remove_version"), "mainspring.data.retention"
        ),
        **dict.fromkeys(("TableDiff", "TreeDiff"), "mainspring.data.differences"),
        "TableProfile": "mainspring.data.profiles",
        **dict.fromkeys(("query", "scan_query", "sql"), "mainspring.data.etl.sql"),
        "copy_version": "mainspring.data.interchange.copies",
        "export_delta": "mainspring.data.interchange.delta_export",
        **dict.fromkeys(("export_dvc", "import_dvc"), "mainspring.data.interchange.dvc"),
        "Exported": "mainspring.data.interchange.exported",
        **dict.fromkeys(("export_parquet", "import_parquet"), "mainspring.data.interchange.parquet"),
        **dict.fromkeys(("import_delta", "pin_delta"), "mainspring.data.interchange.pinned"),
        "check": "mainspring.data.validation.checks",
        "Check": "mainspring.data.validation.checks",
        **dict.fromkeys(("CheckResult", "Report"), "mainspring.data.validation.report"),
        "find_report": "mainspring.data.validation.recorded",
        "propose_schema": "mainspring.data.validation.proposal",
        "Schema": "mainspring.data.validation.schema",
        "validate": "mainspring.data.validation.validation",
        **dict.fromkeys(
            ("ClassBalance", "ClassShare", "class_balance", "class_weights", "resample", "sample_weights"),
            "mainspring.data.splits.balance",
        ),
        **dict.fromkeys(("Finding", "LeakageReport"), "mainspring.data.splits.findings"),
        **dict.fromkeys(
            ("Fold", "GroupKFold", "KFold", "StratifiedKFold", "TimeSeriesFolds"), "mainspring.data.splits.folds"
        ),
        **dict.fromkeys(("GroupSplit", "StratifiedSplit"), "mainspring.data.splits.groups"),
        "HashSplit": "mainspring.data.splits.hashed",
        "leakage": "mainspring.data.splits.leakage",
        **dict.fromkeys(("read_rule", "split_dataset", "split_of", "write_rule"), "mainspring.data.splits.recorded"),
        **dict.fromkeys(("RowRule", "SplitRule"), "mainspring.data.splits.rule"),
        **dict.fromkeys(("TimeSplit", "split_by_time"), "mainspring.data.splits.time"),
    },
)
