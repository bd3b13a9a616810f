"""What a view's function of Python makes of rows of the source that it is given one by one, as when they are pushed or fed.

Where it subtracts, the last bits of what it starts from are not the last ones of what it gives; so its values of a row alone
are looked at, too.
"""

from __future__ import annotations

import polars as pl

from mainspring.features.history.instants import microseconds
from mainspring.features.history.keys import comparable_keys, key_names
from mainspring.features.online.rows import EVENT
from mainspring.features.parity.answers import Asked
from mainspring.features.parity.past import Past

_MOST = 1000  # calls of the function
_ROW = "__row"


def made_alone(asked: Asked, event_us: pl.Series, past: Past) -> Past | None:
    """The rows of these entities and event times, each made of its row of the source alone; None if there are none.

    The rows of the source are known by the view's key and time. Where several have the same, or the function makes the key or
    the time itself, nobody can say which row it was.
    """
    record, source = past.record, past.source
    keys = {asked.part.keys.get(key.name, key.name): key.name for key in asked.record.keys}
    if not {*keys.values(), record.event_time} <= {*source.collect_schema()}:
        return None
    frame = source.collect(engine="in-memory")
    left, right = comparable_keys(asked.rows, frame, keys)
    times = microseconds(frame.get_column(record.event_time), f"{record.name}.{record.event_time}")
    names = [*key_names(len(keys)), EVENT]
    wanted = pl.DataFrame([*left, event_us.alias(EVENT)]).unique()
    found = pl.DataFrame([*right, times.alias(EVENT)]).with_row_index(_ROW).join(wanted, on=names, how="semi")
    rows = found.filter(pl.len().over(names) == 1).get_column(_ROW).sort().head(_MOST).to_list()
    made = [Past(record, frame[row : row + 1].lazy(), past.functions).frame for row in rows]
    return past.of(pl.concat(made)) if made else None
