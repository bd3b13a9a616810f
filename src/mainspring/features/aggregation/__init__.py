"""Aggregates over time windows: one aggregator, the same bits in the backfill and online.

`agg.mean("delay", ["1h", "7d"])` declares features, `aggregation` holds them to the columns' types. `EntityState` takes
events in any order and answers at any instant; `aggregate_as_of` gives the same answers for many rows at once.

>>> from mainspring.features.aggregation import agg
>>> [feature.name for feature in agg.mean("delay", ["1h", "7d"]).features()]
['delay_mean_1h', 'delay_mean_7d']
"""

from mainspring.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        **dict.fromkeys(("Aggregate", "WindowedAggregate", "agg"), "mainspring.features.aggregation.aggregate"),
        **dict.fromkeys(("Aggregation", "aggregation"), "mainspring.features.aggregation.aggregation"),
        "aggregate_as_of": "mainspring.features.aggregation.backfill",
        **dict.fromkeys(("duration_text", "parse_duration"), "mainspring.features.aggregation.duration"),
        **dict.fromkeys(("EntityState", "tiles_of_event", "tiles_of_read"), "mainspring.features.aggregation.state"),
        "TileId": "mainspring.features.aggregation.tiles",
        **dict.fromkeys(("ValueType", "value_type"), "mainspring.features.aggregation.values"),
    },
)
