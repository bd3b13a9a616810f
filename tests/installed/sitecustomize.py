"""Hides the modules that HIDDEN_MODULES names, as if what brings them were not installed."""

import os
import sys
from importlib.machinery import PathFinder

HIDDEN = set(os.environ.get("HIDDEN_MODULES", "").split())


class Finder(PathFinder):
    """Finds what stands on the path, but for what is hidden."""

    @classmethod
    def find_spec(cls, fullname, path=None, target=None):  # type: ignore[no-untyped-def]  # it runs before all else
        """The specification of a module that is not hidden."""
        return None if fullname in HIDDEN else super().find_spec(fullname, path, target)


sys.meta_path = [Finder if each is PathFinder else each for each in sys.meta_path]
