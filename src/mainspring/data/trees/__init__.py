"""File trees: their manifests and packs, the folders they are read from and written to, and what can be asked of them."""

from mainspring.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        **dict.fromkeys(("TreeStatus", "diff_trees", "tree_status"), "mainspring.data.trees.status"),
        **dict.fromkeys(
            ("Pointer", "find_pointers", "pinned_version", "pointer_file", "read_pointer", "write_pointer"),
            "mainspring.data.trees.pointer",
        ),
        "reachable_blobs": "mainspring.data.trees.manifest",
        "tree_profile": "mainspring.data.trees.profile",
    },
)
