"""The past of features: what was known of an entity at an instant, taken from rows that carry an event time.

The semantics stand in `join`, once for memory and for disk; `partitioned` joins what is larger than memory part by part.
"""

from mainspring.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        **dict.fromkeys(("AsOf", "Joined", "Values", "join_as_of"), ".join"),
        **dict.fromkeys(("PartitionedJoin", "join_partitioned"), ".partitioned"),
        **dict.fromkeys(("AgeSummary", "GuardReport", "JoinReport"), ".report"),
        "Status": ".status",
        "microseconds": ".instants",
    },
)
