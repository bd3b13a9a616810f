"""Where a work order is executed: in this process, in a warm process of its own, or by one that knows only two URLs.

A runner sees opaque orders; what they mean is the business of whoever gave them.
"""

from mainspring.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "ChildProcess": "mainspring.runners.process",
        "DetachedRunner": "mainspring.runners.detached",
        "Exit": "mainspring.runners.order",
        "InlineRunner": "mainspring.runners.inline",
        "PoolRunner": "mainspring.runners.pool",
        "Runner": "mainspring.runners.order",
        "WorkOrder": "mainspring.runners.order",
    },
)
