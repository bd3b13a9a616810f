"""What observing costs: entering and leaving an observer, an event nobody watches, and a read that is known already.

Each is printed in microseconds and as a ratio to a floor measured in the same run. `--small` runs it once, briefly.
"""

from __future__ import annotations

import os
import sys
import timeit
from collections.abc import Callable
from pathlib import Path

from mainspring.pipelines.observation.observer import Observer


def best_us(call: Callable[[], object], count: int) -> float:
    """The best of five rounds, in microseconds a call."""
    return min(timeit.repeat(call, number=count, repeat=5)) / count * 1e6


def observer() -> Observer:
    """An observer as the engine makes it."""
    here = Path.cwd()
    return Observer(
        project_root=here,
        declared_files=[here / "conf.yaml"],
        declared_env=["REGION"],
        allowed_paths=[here / ".mainspring", here / "scratch"],
    )


def enter() -> None:
    """One step's worth of observing."""
    with observer():
        pass


def read() -> None:
    """Open and close a file that is no input."""
    os.close(os.open("/dev/null", os.O_RDONLY))


def main() -> None:
    """Print the costs."""
    count = 50 if "--small" in sys.argv else 20_000
    floors = {
        "event": best_us(lambda: sys.audit("nobody.watches"), count),
        "open": best_us(read, count),
        "env": best_us(lambda: os.environ.get("HOME"), count),
    }
    enter()
    print(f"enter and leave             {best_us(enter, count):8.2f} us")
    costs = {
        "event nobody watches, idle": ("event", best_us(lambda: sys.audit("nobody.watches"), count)),
        "open, idle": ("open", best_us(read, count)),
        "environ.get, idle": ("env", best_us(lambda: os.environ.get("HOME"), count)),
    }
    with observer():
        costs |= {
            "event nobody watches, inside": ("event", best_us(lambda: sys.audit("nobody.watches"), count)),
            "open of no input, inside": ("open", best_us(read, count)),
            "environ.get seen before, inside": ("env", best_us(lambda: os.environ.get("HOME"), count)),
        }
    for name, (floor, cost) in costs.items():
        print(f"{name:<32}{cost:8.2f} us  +{cost - floors[floor]:.2f} us over the floor, x{cost / floors[floor]:.2f}")


if __name__ == "__main__":
    main()
