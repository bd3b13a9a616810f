"""Load tests of servers: requests at instants that are fixed beforehand, and what latency, limits and CPU say of capacity.

`load_test` asks, its `LoadReport` is kept with the model version; `Step` and `ramp` are the schedule.
"""

from mainspring.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        **dict.fromkeys(("Step", "ramp"), "mainspring.serving.loadtest.schedule"),
        **dict.fromkeys(("Limit", "limit_of"), "mainspring.serving.loadtest.limits"),
        "Measured": "mainspring.serving.loadtest.measured",
        "LoadReport": "mainspring.serving.loadtest.report",
        **dict.fromkeys(("keep_load_test", "list_load_tests"), "mainspring.serving.loadtest._store"),
        "load_test": "mainspring.serving.loadtest.asking",
        **dict.fromkeys(("Target", "served", "server_at"), "mainspring.serving.loadtest.target"),
        **dict.fromkeys(("Records", "posts", "records_of"), "mainspring.serving.loadtest.requests"),
    },
)
