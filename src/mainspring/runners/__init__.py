"""Where a work order is executed: in this process, in a warm process of its own, or by one that knows only two URLs.

A runner sees opaque orders; what they mean is the business of whoever gave them.
"""

from mainspring.runners.detached import DetachedRunner
from mainspring.runners.inline import InlineRunner
from mainspring.runners.order import Exit, Runner, WorkOrder
from mainspring.runners.pool import PoolRunner
from mainspring.runners.process import ChildProcess

__all__ = ["ChildProcess", "DetachedRunner", "Exit", "InlineRunner", "PoolRunner", "Runner", "WorkOrder"]
