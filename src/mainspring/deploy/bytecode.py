"""Bytecode of what an image imports, so that it starts at once: the same bytes whatever process compiles it.

Files are stamped by nothing (PEP 552, unchecked), as an image's files never change. Version 2 of marshal refers to no object
twice; later ones do so by what else happens to hold it in the process, which differs from call to call.
"""

from __future__ import annotations

import importlib.util
import marshal
import sys
import warnings
from collections.abc import Collection
from pathlib import PurePosixPath

from mainspring.deploy.tree import File, Tree

_VERSION = 2
_UNCHECKED = 0b01


def bytecode_of(tree: Tree, modules: Collection[str], folder: str) -> dict[str, File]:
    """The bytecode of some of these files, which lie in `folder` in the image; what isn't Python is left out."""
    found = {}
    for path in sorted(set(modules) & tree.keys()):
        data = tree[path].read()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of others' code, told to whoever runs it
                code = compile(data, f"/{folder}/{path}", "exec", dont_inherit=True, optimize=0)
        except (SyntaxError, ValueError):  # of another Python, behind a condition
            continue
        place = PurePosixPath(path)
        name = f"{place.stem}.{sys.implementation.cache_tag}.pyc"
        head = importlib.util.MAGIC_NUMBER + _UNCHECKED.to_bytes(4, "little") + importlib.util.source_hash(data)
        found[str(place.parent / "__pycache__" / name)] = File(head + marshal.dumps(code, _VERSION))
    return found
