"""A tree's version in the making: what was taken in, put in place of the newest version's files or beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mainspring.artifacts import BlobAccess
from mainspring.data.damage import UNREADABLE
from mainspring.data.globs import glob_expression
from mainspring.data.trees.archiver import borrowed_blobs
from mainspring.data.trees.entries import Entries, Entry, checked_path, not_in_tree, structure_problem, tree_digest
from mainspring.data.trees.manifest import Listing, count_parts, read_listing, write_listing
from mainspring.data.version import DatasetVersion, Kind, Source
from mainspring.errors import InvalidError

Change = Callable[[Entries | None], dict[str, Entry]]


class TreeDraft:
    """A change of a tree on its way to become a version.

    `change` gives the files of the whole version from those of the one it is put behind, or from None. `built_on` is the
    listing whose blobs the files may use, `stored` the blobs that were written for them.
    """

    kind: Kind = "tree"

    def __init__(
        self,
        name: str,
        blobs: BlobAccess,
        change: Change,
        *,
        built_on: Listing | None = None,
        stored: Iterable[str] = (),
    ) -> None:
        self.name, self.blobs = name, blobs
        self.entries: dict[str, Entry] = {}
        self.written: list[str] = []
        self.base: str | None = None
        self._change, self._built_on, self._stored = change, built_on, list(stored)
        self._digest = ""

    @property
    def content_digest(self) -> str:
        """The content digest of the whole version."""
        return self._digest

    def put_behind(self, head: DatasetVersion | None) -> None:
        """Apply the change to a version's files, or to none."""
        listing = read_listing(self.blobs, head.manifest) if head else None
        self.entries = self._change(listing.entries if listing else None)
        if (problem := structure_problem(self.entries)) is not None:
            raise InvalidError(self.name, problem, "a tree that can be written out")
        self._digest = tree_digest(self.entries)

    def version(
        self, head: DatasetVersion | None, sources: tuple[Source, ...], note: str, extracted_us: int
    ) -> DatasetVersion:
        """Write the manifest, and give the record; the store sets id, number, time, actor and maker."""
        base = self._base(head)
        manifest, written = write_listing(self.blobs, base, self.entries)
        self.base = base.blob if base else None
        self.written = [*self._stored, *written]
        if self._built_on is not None and (base is None or base.blob != self._built_on.blob):
            self.written += borrowed_blobs(self.blobs, self.entries, base.entries if base else {})
        return DatasetVersion(
            id="", dataset=self.name, kind="tree", number=0, content_digest=self.content_digest, rows=0,
            files=len(self.entries), size_bytes=sum(entry.size_bytes for entry in self.entries.values()),
            parts=count_parts(self.entries), manifest=manifest, schema=(),
            created_at=0, extracted_at=extracted_us, source=sources, parent=head.id if head else None, actor="", note=note,
        )  # fmt: skip

    def _base(self, head: DatasetVersion | None) -> Listing | None:
        """What the manifest may be a delta on: not one that is damaged."""
        try:
            return read_listing(self.blobs, head.manifest) if head else None
        except UNREADABLE:
            return None


def replacing(entries: dict[str, Entry]) -> Change:
    """The tree is exactly these files."""
    return lambda _: entries


def updating(entries: dict[str, Entry]) -> Change:
    """These files are added to the tree, or put in the place of those of the same path."""
    return lambda old: {**(old or {}), **entries}


def deleting(patterns: Iterable[str], name: str) -> Change:
    """The tree without the files that these paths or patterns name; a path of a folder names all below it."""
    wanted = [checked_path(str(pattern)) for pattern in ([patterns] if isinstance(patterns, str) else patterns)]

    def change(old: Entries | None) -> dict[str, Entry]:
        entries = dict(old or {})
        for pattern in wanted:
            found = matching(entries, pattern) or (matching(old or {}, pattern) if old else [])
            if not found:
                raise not_in_tree(pattern, entries, f"`{name}`")
            for path in found:
                entries.pop(path, None)
        return entries

    return change


def matching(paths: Iterable[str], pattern: str) -> list[str]:
    """The paths that a pattern names: a path itself, all below a folder, or a glob.

    `*` and `?` stop at `/`, `**/` is any number of folders, `[ab]` one of some characters.

    >>> matching(["a.png", "x/a.png", "x/y/b.png"], "**/*.png")
    ['a.png', 'x/a.png', 'x/y/b.png']
    >>> matching(["a.png", "x/a.png", "x/y/b.png"], "x"), matching(["a.png", "x/a.png"], "*.png")
    (['x/a.png', 'x/y/b.png'], ['a.png'])
    """
    pattern = pattern.rstrip("/")
    exact = [path for path in paths if path == pattern or path.startswith(f"{pattern}/")]
    if exact or not any(sign in pattern for sign in "*?["):
        return exact
    fits = glob_expression(pattern).fullmatch
    return [path for path in paths if fits(path)]
