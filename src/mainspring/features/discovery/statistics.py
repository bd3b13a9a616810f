"""What the features of a view hold, computed once for each version of the view and content of its source, and kept."""

from __future__ import annotations

from contextlib import ExitStack

import msgspec
import numpy as np
import polars as pl

from mainspring.data import DatasetVersion
from mainspring.data.profiles import ColumnProfile
from mainspring.data.tables.profile import profile_frame
from mainspring.features._store import DefinitionStore
from mainspring.features.definitions.functions import Functions
from mainspring.features.definitions.records import Definition, ViewRecord
from mainspring.features.definitions.rows import fitted, view_rows
from mainspring.features.history import microseconds
from mainspring.features.history.cutting import stored_rows
from mainspring.features.lookups import Lookup, RowsOnDisk
from mainspring.workspace import Workspace, using

_MOST_ROWS = 1 << 16  # of which quantiles and histograms are, and for which aggregates are computed
_BARS = 20


class Histogram(msgspec.Struct, frozen=True):
    """How many values of a sample lie between each two of the edges, which are equally far apart.

    The outermost hundredths of the values count into the first and the last bar, wherever they lie.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]


class ViewStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What the rows of a view hold: of aggregates, their answers at the instants of events taken at equal distances.

    `source` is the dataset version, `entities` an estimate of how many different keys there are (about 1 %), times are
    microseconds. Quantiles, frequent values and histograms are of `sampled_rows`.
    """

    source: str
    rows: int
    sampled_rows: int
    entities: int
    first_us: int | None
    last_us: int | None
    columns: tuple[ColumnProfile, ...]
    histograms: dict[str, Histogram]


def view_statistics(view: Definition, source: DatasetVersion, workspace: Workspace) -> ViewStatistics:
    """The statistics of a view over a version of its source; the first call for both computes them."""
    store = DefinitionStore(workspace.database, workspace.ledger)
    kept = store.statistics(view, source)
    if kept is None:
        with using(workspace):
            found = _computed(view, source, workspace)
        store.keep_statistics(view, source, msgspec.json.encode(found).decode())
        return found
    return msgspec.structs.replace(msgspec.json.decode(kept, type=ViewStatistics), source=str(source))


def _computed(view: Definition, source: DatasetVersion, workspace: Workspace) -> ViewStatistics:
    record = view.record
    assert isinstance(record, ViewRecord)
    with fitted(record):
        return _of_rows(record, source, view_rows(record, source.scan(), Functions(workspace)))


def _of_rows(record: ViewRecord, source: DatasetVersion, rows: pl.LazyFrame) -> ViewStatistics:
    keys, time = [key.name for key in record.keys], pl.col(record.event_time)
    figures = rows.select(
        pl.len(), first=time.min(), last=time.max(), entities=pl.struct(keys).hash().approx_n_unique()
    ).collect(engine="streaming")  # fmt: skip
    count = figures["len"].item()
    step = -(-count // _MOST_ROWS) or 1
    names = [field.name for field in record.fields]
    if record.aggregates:
        asked = rows.select(*keys, time).gather_every(step).drop_nulls().collect(engine="streaming")
        sample = _answers(record, asked, rows)
        profile = profile_frame(sample.lazy(), sample, sample.height)
    else:
        sample = rows.select(names).gather_every(step).collect(engine="streaming")
        profile = profile_frame(rows.select(names), sample, count)
    first, last = (_instant(figures[end]) for end in ("first", "last"))
    return ViewStatistics(
        source=str(source), rows=count, sampled_rows=sample.height, first_us=first, last_us=last,
        entities=min(figures["entities"].item(), count), columns=profile.columns,
        histograms={name: found for name in names if (found := histogram(sample[name]))},
    )  # fmt: skip


def _answers(record: ViewRecord, asked: pl.DataFrame, events: pl.LazyFrame) -> pl.DataFrame:
    """All aggregates at the instants of events, all of which are known by now."""
    features = tuple(field.name for field in record.fields)
    keys = {f"key {place}": key.name for place, key in enumerate(record.keys)}
    asked.columns = [*keys, "at"]
    lookup = Lookup(view=record, features=features, keys=keys, at="at", guard=False)
    with ExitStack() as stack:
        rows = stack.enter_context(stored_rows(asked, pl.Schema.names))
        found = RowsOnDisk(rows, [field.dtype for field in record.fields], None, stack).look_up(lookup, events)
        return pl.concat([pl.DataFrame(batch) for batch in found.batches()])


def histogram(values: pl.Series) -> Histogram | None:
    """The shape of a column of numbers or truth values; None of others, or without two different values.

    >>> histogram(pl.Series([1, 1, 2, 3, None])).counts[0]
    2
    """
    if not (values.dtype.is_numeric() or values.dtype == pl.Boolean):
        return None
    numbers = values.cast(pl.Float64).drop_nulls()
    numbers = numbers.filter(numbers.is_finite())
    low, high = (numbers.quantile(share, "nearest") for share in (0.01, 0.99))
    if low is not None and low == high:
        low, high = numbers.min(), numbers.max()  # type: ignore[assignment]  # both are floats, as the column was cast
    if low is None or high is None or not low < high:
        return None
    edges = np.linspace(low, high, _BARS + 1)
    places = np.clip(np.searchsorted(edges, numbers.to_numpy(), "right") - 1, 0, _BARS - 1)
    counts = np.bincount(places, minlength=_BARS)
    return Histogram(tuple(edges.tolist()), tuple(counts.tolist()))


def _instant(column: pl.Series) -> int | None:
    found = column.drop_nulls()
    return int(microseconds(found).item()) if len(found) else None
