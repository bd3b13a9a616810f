from mainspring.runners.detached import DetachedRunner as DetachedRunner
from mainspring.runners.inline import InlineRunner as InlineRunner
from mainspring.runners.order import Exit as Exit
from mainspring.runners.order import Runner as Runner
from mainspring.runners.order import WorkOrder as WorkOrder
from mainspring.runners.pool import PoolRunner as PoolRunner
from mainspring.runners.process import ChildProcess as ChildProcess
