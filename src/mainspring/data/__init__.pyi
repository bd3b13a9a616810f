from mainspring.data.dataset import (
    Dataset as Dataset,
)
from mainspring.data.dataset import (
    dataset as dataset,
)
from mainspring.data.dataset import (
    get_dataset_version as get_dataset_version,
)
from mainspring.data.dataset import (
    list_datasets as list_datasets,
)
from mainspring.data.differences import TableDiff as TableDiff
from mainspring.data.differences import TreeDiff as TreeDiff
from mainspring.data.etl.sql import query as query
from mainspring.data.etl.sql import scan_query as scan_query
from mainspring.data.etl.sql import sql as sql
from mainspring.data.files import Checkout as Checkout
from mainspring.data.files import TreeFile as TreeFile
from mainspring.data.files import TreeProfile as TreeProfile
from mainspring.data.interchange.copies import copy_version as copy_version
from mainspring.data.interchange.delta_export import export_delta as export_delta
from mainspring.data.interchange.dvc import export_dvc as export_dvc
from mainspring.data.interchange.dvc import import_dvc as import_dvc
from mainspring.data.interchange.exported import Exported as Exported
from mainspring.data.interchange.parquet import export_parquet as export_parquet
from mainspring.data.interchange.parquet import import_parquet as import_parquet
from mainspring.data.interchange.pinned import import_delta as import_delta
from mainspring.data.interchange.pinned import pin_delta as pin_delta
from mainspring.data.profiles import TableProfile as TableProfile
from mainspring.data.retention import Removal as Removal
from mainspring.data.retention import expire_versions as expire_versions
from mainspring.data.retention import remove_dataset as remove_dataset
from mainspring.data.retention import remove_version as remove_version
from mainspring.data.splits.balance import ClassBalance as ClassBalance
from mainspring.data.splits.balance import ClassShare as ClassShare
from mainspring.data.splits.balance import class_balance as class_balance
from mainspring.data.splits.balance import class_weights as class_weights
from mainspring.data.splits.balance import resample as resample
from mainspring.data.splits.balance import sample_weights as sample_weights
from mainspring.data.splits.findings import Finding as Finding
from mainspring.data.splits.findings import LeakageReport as LeakageReport
from mainspring.data.splits.folds import Fold as Fold
from mainspring.data.splits.folds import GroupKFold as GroupKFold
from mainspring.data.splits.folds import KFold as KFold
from mainspring.data.splits.folds import StratifiedKFold as StratifiedKFold
from mainspring.data.splits.folds import TimeSeriesFolds as TimeSeriesFolds
from mainspring.data.splits.groups import GroupSplit as GroupSplit
from mainspring.data.splits.groups import StratifiedSplit as StratifiedSplit
from mainspring.data.splits.hashed import HashSplit as HashSplit
from mainspring.data.splits.leakage import leakage as leakage
from mainspring.data.splits.recorded import read_rule as read_rule
from mainspring.data.splits.recorded import split_dataset as split_dataset
from mainspring.data.splits.recorded import split_of as split_of
from mainspring.data.splits.recorded import write_rule as write_rule
from mainspring.data.splits.rule import RowRule as RowRule
from mainspring.data.splits.rule import SplitRule as SplitRule
from mainspring.data.splits.time import TimeSplit as TimeSplit
from mainspring.data.splits.time import split_by_time as split_by_time
from mainspring.data.tables.frames import as_polars as as_polars
from mainspring.data.trees.status import diff_trees as diff_trees
from mainspring.data.trees.status import tree_status as tree_status
from mainspring.data.validation.checks import Check as Check
from mainspring.data.validation.checks import check as check
from mainspring.data.validation.proposal import propose_schema as propose_schema
from mainspring.data.validation.recorded import find_report as find_report
from mainspring.data.validation.report import CheckResult as CheckResult
from mainspring.data.validation.report import Report as Report
from mainspring.data.validation.schema import Schema as Schema
from mainspring.data.validation.validation import validate as validate
from mainspring.data.version import DatasetVersion as DatasetVersion
from mainspring.data.version import Source as Source
