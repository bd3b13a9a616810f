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
from mainspring.data.splits.time import TimeSplit as TimeSplit
from mainspring.data.splits.time import split_by_time as split_by_time
from mainspring.data.tables.frames import as_polars as as_polars
from mainspring.data.validation.checks import Check as Check
from mainspring.data.validation.checks import check as check
from mainspring.data.validation.report import CheckResult as CheckResult
from mainspring.data.validation.report import Report as Report
from mainspring.data.validation.validation import validate as validate
from mainspring.data.version import DatasetVersion as DatasetVersion
from mainspring.data.version import Source as Source
