"""Parity: a sample of served vectors is logged, and recomputed offline as of what the online store reflected.

`VectorLog` keeps the sample, `verify` judges it: `past` is what the store knew at each read, `answers` what the offline path
gives over that, `judging` and `demanding` the verdicts, `causes` why something differs, `report` what was found.
"""

from mainspring.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "VectorLog": ".log",
        **dict.fromkeys(("Cause", "FeatureParity", "Mismatch", "ParityReport", "ViewParity"), ".report"),
        "verify": ".verifying",
        **dict.fromkeys(("Verification", "find_verification", "parity_lines"), ".recorded"),
    },
)
