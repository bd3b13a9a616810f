"""What the machine does while a run is open, as its metrics, under the names that MLflow gives them."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mainspring.errors import MissingExtraError, StorageError

if TYPE_CHECKING:
    from mainspring.runs.tracking import RunLog

EVERY_S = 10.0
_MB = 1e6
_GPU_QUERY = ("utilization.gpu", "memory.used", "memory.total", "power.draw")
_GPU_NAMES = ("utilization_percentage", "memory_usage_megabytes", "memory_total_megabytes", "power_usage_watts")
_PATIENCE_S = 5.0


class SystemMetrics:
    """A thread that logs a sample at once, then every few seconds, until `stop`. Step n is the n-th sample."""

    def __init__(self, log: RunLog, *, every_s: float = EVERY_S) -> None:
        self._log = log
        self._every_s = every_s
        self._sample = sampler(str(log.workspace.project.root))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="system metrics", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Log the last sample and end."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        step = 0
        while True:
            is_last = self._ended.wait(self._every_s if step else 0)
            with suppress(StorageError):  # is raised where the script logs; samples go on
                self._log.log_metrics({f"system/{name}": value for name, value in self._sample().items()}, step=step)
            step += 1
            if is_last:
                return


def sampler(folder: str) -> Callable[[], dict[str, float]]:
    """A function that gives the present values by name: CPU, memory, the disk of a folder, network since now, GPUs.

    Raises:
        MissingExtraError: psutil is not installed.
    """
    try:
        import psutil
    except ImportError as error:
        raise MissingExtraError("psutil", "system", "Logging system metrics") from error
    began = psutil.net_io_counters()
    psutil.cpu_percent()  # the next call is since this one
    gpu = shutil.which("nvidia-smi")

    def sample() -> dict[str, float]:
        memory, disk, network = psutil.virtual_memory(), psutil.disk_usage(folder), psutil.net_io_counters()
        values: dict[str, float] = {
            "cpu_utilization_percentage": psutil.cpu_percent(),
            "system_memory_usage_megabytes": memory.used / _MB,
            "system_memory_usage_percentage": memory.percent,
            "disk_usage_megabytes": disk.used / _MB,
            "disk_usage_percentage": disk.percent,
            "disk_available_megabytes": disk.free / _MB,
        }
        if network is not None and began is not None:
            values["network_receive_megabytes"] = (network.bytes_recv - began.bytes_recv) / _MB
            values["network_transmit_megabytes"] = (network.bytes_sent - began.bytes_sent) / _MB
        return values | (_gpus(gpu) if gpu else {})

    return sample


def _gpus(program: str) -> dict[str, float]:
    """What nvidia-smi says of each GPU; nothing while it doesn't answer."""
    command = [program, f"--query-gpu={','.join(_GPU_QUERY)}", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    values: dict[str, Any] = {}
    for number, line in enumerate(told.strip().splitlines()):
        for name, text in zip(_GPU_NAMES, line.split(","), strict=False):
            if text.strip().replace(".", "", 1).isdigit():  # a card may not know its power
                values[f"gpu_{number}_{name}"] = float(text)
    return values
