"""Seeds and thread counts: what makes a step's random numbers and its sums the same in every process.

A task's seed derives from its run's seed and its own place, so that tasks differ from each other and a replay of one
task alone gives what it gave inside the run.
"""

from __future__ import annotations

import random
from types import ModuleType

from blake3 import blake3

from mainspring.pipelines.observation.imports import on_import

_SEED_BYTES = 4  # numpy's legacy generator takes no more than 32 bits

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "POLARS_MAX_THREADS",
    "RAYON_NUM_THREADS",
    "LOKY_MAX_CPU_COUNT",
)

# Module to wait for, and the function in it that seeds the library's global generator.
_SEEDED_LIBRARIES = (
    ("numpy.random", "seed"),
    ("polars", "set_random_seed"),
    ("torch", "manual_seed"),
    ("tensorflow", "random.set_seed"),
    ("cupy.random", "seed"),
)

# Threads of libgomp that wait for one another by spinning starve each other when a core is busy with something else:
# histogram boosting on two cores took 2.9 s alone and 81 s beside two busy processes; so it takes 3.0 s and 7.6 s.
_SPIN_COUNT = "1000"

# With it cuBLAS repeats its sums (https://docs.nvidia.com/cuda/cublas, "Results reproducibility").
_CUBLAS_WORKSPACE = ":4096:8"


def task_seed(run_seed: int, task_key: str) -> int:
    """The seed of a task, from 0 up to 2**32 - 1.

    It depends on nothing but the two arguments, so it is the same on every machine.

    >>> task_seed(7, "train") == task_seed(7, "train"), task_seed(7, "train") == task_seed(8, "train")
    (True, False)
    """
    digest = blake3(f"mainspring task seed\n{run_seed}\n{task_key}".encode()).digest(_SEED_BYTES)
    return int.from_bytes(digest, "big")


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python and of every library in use, also of those imported later.

    A library imported later is seeded once it is loaded, with the seed given last. Nothing is restored afterwards.
    Generators that a step makes for itself (`numpy.random.default_rng()`) are out of reach; `entropy_calls` names them.
    """
    seed %= 1 << (8 * _SEED_BYTES)
    random.seed(seed)
    for module, function in _SEEDED_LIBRARIES:
        on_import(module, "seed", _Seeder(function, seed))
    on_import("polars", "engine", _repeatable_engine)
    on_import("torch", "determinism", _deterministic)


def threads_environment(threads: int) -> dict[str, str]:
    """The environment variables that hold numeric libraries to a number of threads, and their threads from spinning.

    They must be set before the libraries are loaded: most read them once.

    >>> threads_environment(2)["OMP_NUM_THREADS"]
    '2'
    """
    fixed = {"GOMP_SPINCOUNT": _SPIN_COUNT, "CUBLAS_WORKSPACE_CONFIG": _CUBLAS_WORKSPACE}
    return dict.fromkeys(_THREAD_VARIABLES, str(threads)) | fixed


def _repeatable_engine(module: ModuleType) -> None:
    """Have Polars collect by its in-memory engine: the streaming one, its default, sums floats in another order each time."""
    module.Config.set_engine_affinity("in-memory")


def _deterministic(module: ModuleType) -> None:
    """Have PyTorch take algorithms that repeat, and warn where it has none; cuDNN doesn't choose by the clock."""
    core, backends = getattr(module, "_C", None), getattr(module, "backends", None)
    if core is not None:
        # Not `torch.use_deterministic_algorithms`, which imports the compiler for the sake of one flag: 2 to 5 s.
        core._set_deterministic_algorithms(True, warn_only=True)
    if backends is not None:
        backends.cudnn.benchmark, backends.cudnn.deterministic = False, True


class _Seeder:
    """Seeds one library's global generator with one seed."""

    def __init__(self, function: str, seed: int) -> None:
        self._path, self._seed = function.split("."), seed

    def __call__(self, module: ModuleType) -> None:
        target: object = module
        for name in self._path:
            target = getattr(target, name, None)
        if callable(target):
            target(self._seed)
