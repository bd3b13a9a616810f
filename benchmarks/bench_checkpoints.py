"""What keeping a checkpoint costs, and loading it, on local files.

Each is printed in milliseconds and as a ratio to two floors of the same run: `torch.save` and safetensors' own file of the
same tensors. `--small` runs it once, briefly.
"""

from __future__ import annotations

import sys
import tempfile
import timeit
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from mainspring.ledger import within_task
from mainspring.runs import checkpoints
from mainspring.workspace import Workspace, using


def best_ms(call: Callable[[], object], rounds: int) -> float:
    """The best of some rounds."""
    return min(timeit.repeat(call, number=1, repeat=rounds)) * 1e3


def main() -> None:
    """Print the table."""
    small = "--small" in sys.argv
    tensors = {f"layer{n}.weight": torch.randn(256, 256 if small else 2048) for n in range(4 if small else 48)}
    size_mb = sum(each.nbytes for each in tensors.values()) / 1e6
    rounds, steps = (1, iter(range(10))) if small else (5, iter(range(1000)))

    def changed() -> dict[str, torch.Tensor]:
        tensors["layer0.weight"][0, 0] += 1.0  # else the blob is there already
        return tensors

    with tempfile.TemporaryDirectory() as folder, Workspace.open(Path(folder)) as workspace, using(workspace):
        with within_task("0" * 32, key="bench"):
            kept = checkpoints(keep_last=2)
            save = best_ms(lambda: kept.save(changed(), step=next(steps)), rounds)
            latest = kept.latest()
            assert latest is not None
            load = best_ms(lambda: kept.load(latest), rounds)
        file, plain = Path(folder) / "floor.safetensors", Path(folder) / "floor.pt"
        floors = {
            "safetensors": (
                best_ms(lambda: save_file(changed(), file), rounds),
                best_ms(lambda: load_file(file), rounds),
            ),
            "torch": (
                best_ms(lambda: torch.save(changed(), plain), rounds),
                best_ms(lambda: torch.load(plain), rounds),
            ),
        }
    print(f"a state of {size_mb:.0f} MB: saved in {save:.1f} ms, loaded in {load:.1f} ms")
    for name, (saved, loaded) in floors.items():
        print(f"  {name}: {saved:.1f} and {loaded:.1f} ms; ratios {save / saved:.2f} and {load / loaded:.2f}")


if __name__ == "__main__":
    main()
