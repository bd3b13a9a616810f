"""The readers that were asked for, kept, and made anew when definitions get new versions."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import NamedTuple

from mainspring.errors import InvalidError, NotFoundError
from mainspring.features._store import DefinitionStore
from mainspring.features.chosen import choose_features, full_names_of
from mainspring.features.definitions.records import Definition, Field, ServiceRecord
from mainspring.features.online.reader import FeatureReader
from mainspring.features.server.shapes import OnlineRequest
from mainspring.workspace import Workspace

_AT_MOST = 256


class Wanted(NamedTuple):
    """What a request asks for, which is what readers are kept by."""

    service: str
    features: tuple[str, ...]
    full_names: bool

    @classmethod
    def of(cls, request: OnlineRequest) -> Wanted:
        """The features that a request asks for."""
        return cls(request.feature_service or "", request.features, request.full_feature_names)


class Entry(NamedTuple):
    """A reader, with the names of its features as they were asked for; `is_kept` if it is of a service that was applied."""

    reader: FeatureReader
    fields: tuple[Field, ...]
    names: Sequence[str]
    is_kept: bool  # so that what was read can be verified


class Catalogue:
    """The readers of a server; for any number of threads."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._store = DefinitionStore(workspace.database, workspace.ledger)
        self._kept: dict[Wanted, Entry] = {}
        self._lock = threading.Lock()
        self._state = self._store.state()

    def find(self, wanted: Wanted) -> Entry | None:
        """The reader for what is asked for, if there is one already."""
        return self._kept.get(wanted)

    def make(self, wanted: Wanted) -> Entry:
        """A reader for what is asked for, which is kept.

        Raises:
            NotFoundError: there is no such service, view or feature; the nearest are named.
            InvalidError: it names both or neither, or two features have one name.
            StorageError: the definitions can't be read.
        """
        reader = FeatureReader(self._definition(wanted), self._workspace)
        record = reader.service.record
        assert isinstance(record, ServiceRecord)
        is_renamed = wanted.full_names and wanted.service  # chosen features are named as asked for
        entry = Entry(
            reader, record.fields, full_names_of(record) if is_renamed else reader.names, bool(wanted.service)
        )
        with self._lock:
            self._kept.pop(wanted, None)
            self._kept[wanted] = entry
            while len(self._kept) > _AT_MOST:
                del self._kept[next(iter(self._kept))]
        return entry

    def follow(self) -> None:
        """Make the readers anew whose definitions have new versions; what is not there any more, or retired, is forgotten.

        Raises:
            StorageError: the definitions can't be read; the readers stay.
        """
        state = self._store.state()
        if state == self._state:
            return
        for wanted, entry in list(self._kept.items()):
            try:
                if self._definition(wanted).id != entry.reader.service.id:
                    self.make(wanted)
            except (NotFoundError, InvalidError):
                self._kept.pop(wanted, None)
        self._state = state

    def services(self) -> list[Definition]:
        """The newest versions of the services that are in use."""
        heads = self._store.heads().values()
        return [each for each in heads if each.kind == "service" and each.retired_at is None]

    def _definition(self, wanted: Wanted) -> Definition:
        if bool(wanted.service) == bool(wanted.features):
            given = "feature_service and features" if wanted.service else "no features"
            raise InvalidError("request", given, "either `feature_service` or `features`, at least one")
        if wanted.service:
            return self._store.get("service", wanted.service)
        return choose_features(wanted.features, full_names=wanted.full_names, workspace=self._workspace)
