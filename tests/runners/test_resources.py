"""A step's own time and peak memory, from inside and from the parent."""

import mmap
import os
import subprocess
import sys
import threading

import pytest

from mainspring.runners.resources import ResourceMeter, peak_bytes, rss_bytes

MIB = 1 << 20
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak can be set back on Linux only")


def burn() -> None:
    sum(i * i for i in range(300_000))


def test_processor_time_counts_all_threads() -> None:
    with ResourceMeter() as alone:
        burn()
    with ResourceMeter() as together:
        threads = [threading.Thread(target=burn) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert alone.cpu_s > 0
    assert together.cpu_s > 2 * alone.cpu_s
    assert together.wall_s > 0


@linux
def test_the_peak_is_the_steps_own() -> None:
    with ResourceMeter() as large:
        # a bytearray could be given pages that the process has had all along: what others freed and malloc has kept
        with mmap.mmap(-1, 200 * MIB) as block:
            for page in range(0, 200 * MIB, mmap.PAGESIZE):
                block[page] = 1
    with ResourceMeter() as small:
        pass
    assert large.peak_memory_bytes > small.peak_memory_bytes + 150 * MIB


def test_a_parent_reads_the_memory_of_its_child() -> None:
    code = "block = bytearray(100 << 20); block[::4096] = b'x' * len(block[::4096]); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert rss_bytes(child.pid) > 100 * MIB
        assert peak_bytes(child.pid) >= rss_bytes(child.pid)
        child.communicate(b"\n")
    assert rss_bytes(child.pid) == 0


def test_a_process_knows_its_own_size() -> None:
    assert 0 < rss_bytes(os.getpid()) <= peak_bytes(os.getpid())
