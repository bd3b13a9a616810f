"""Feature views: a named group of features of one entity, with one definition for training and serving."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from mainspring.errors import InvalidError, NotFoundError, WrongTypeError, close_names
from mainspring.features.aggregation.aggregate import Aggregate
from mainspring.features.aggregation.duration import duration_text, parse_duration
from mainspring.features.definitions.entity import Entity, Key
from mainspring.features.definitions.names import expect_name
from mainspring.features.definitions.stream import Stream
from mainspring.streams.columns import EVENT_ID, EVENT_TIME, OWN, RECEIVED_AT

if TYPE_CHECKING:
    import polars as pl

Rows = Callable[["pl.LazyFrame"], "pl.LazyFrame"]


class FeatureView:
    """Features of an entity, computed from the rows of a dataset or the events of a stream.

    `features` are columns by name, Polars expressions (with a name: `.alias("x")`, or a mapping of names to
    expressions), or aggregates over time windows (`agg.mean("delay", ["1h", "7d"])`), not both. Before that `transform`
    may make other rows of those of the source: SQL over the source by its name, or a function of a module that takes a
    Polars lazy frame and gives one.

    `event_time` is the column that says since when a row is true, `created_time` when it became known: rows that were
    created after the instant that is asked for are not seen. A value older than `ttl` (`"2h"`, a timedelta) is not given.
    `event_id` orders events of one time, and lets a repeated one count once. For streams these columns are known.

    Raises:
        InvalidError: a name, duration or feature can't be one.

    >>> import polars as pl
    >>> from mainspring.features import Entity, agg
    >>> weather = FeatureView("weather_at", entity=Entity("origin"), source="weather", event_time="at", ttl="2h",
    ...                       features=["wind", (pl.col("temp") < 32).alias("is_freezing")])
    >>> weather.names
    ('wind', 'is_freezing')
    >>> delays = FeatureView("carrier_delay", entity=Entity("carrier"), source="arrivals", event_time="at",
    ...                      features=[agg.mean("delay", ["1h", "7d"])])
    >>> delays.names
    ('delay_mean_1h', 'delay_mean_7d')
    """

    def __init__(
        self, name: str, *, entity: Entity | Sequence[Entity], source: str | Stream,
        features: Sequence[Any] | Mapping[str, Any], event_time: str = "", created_time: str = "", event_id: str = "",
        transform: str | Rows | None = None, ttl: str | timedelta | None = None, description: str = "",
        owner: str = "", tags: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.name = expect_name("view", name)
        self.entities = (entity,) if isinstance(entity, Entity) else tuple(entity)
        self.source, self.transform = source, transform
        is_stream = isinstance(source, Stream)
        self.event_time = event_time or (EVENT_TIME if is_stream else "")
        self.created_time = created_time or (RECEIVED_AT if is_stream else "")
        self.event_id = event_id or (EVENT_ID if is_stream else "")
        self.ttl_us = None if ttl is None else parse_duration(ttl, f"{name}.ttl")
        self.features, self.aggregates = _told(features)
        self.description, self.owner, self.tags = description, owner, tuple(tags)
        self._check()

    @property
    def keys(self) -> tuple[Key, ...]:
        """The keys of all its entities."""
        return tuple(key for entity in self.entities for key in entity.keys)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its features, in order."""
        if self.aggregates:
            return tuple(each.name for one in self.aggregates for each in one.features())
        return tuple(self.features)

    def __getitem__(self, names: str | Sequence[str]) -> Projection:
        """Some of its features, for a service."""
        return Projection(self)[names]

    def keyed(self, **columns: str) -> Projection:
        """Its features by other columns of a request: `weather.keyed(origin="dest")` is the weather at the destination.

        Give the features a prefix with it, if the service has those by the usual columns, too: `.prefixed("dest_")`.
        """
        return Projection(self).keyed(**columns)

    def __repr__(self) -> str:
        return f"<feature view {self.name} of {', '.join(entity.name for entity in self.entities)}: {', '.join(self.names)}>"

    def _check(self) -> None:
        if not isinstance(self.source, Stream) and (not isinstance(self.source, str) or not self.source):  # type: ignore[redundant-expr]  # from Python without types anything comes
            raise WrongTypeError(f"{self.name}.source", self.source, "the name of a dataset, or a Stream")
        if not self.event_time:
            raise InvalidError(
                f"{self.name}.event_time", "", "the column that says since when a row is true",
                "A view of a dataset needs one: without times no training set can be right.",
            )  # fmt: skip
        if self.aggregates and self.ttl_us is not None:
            raise InvalidError(
                f"{self.name}.ttl", duration_text(self.ttl_us), "a time to live that a view of aggregates has",
                "Windows say how old the events of an aggregate may be.",
            )  # fmt: skip
        keys = [key.name for key in self.keys]
        if not keys or len(set(keys)) < len(keys):
            raise InvalidError(f"{self.name}.entity", keys, "entities with different keys")
        own = {*keys, self.event_time, self.created_time, *(OWN if isinstance(self.source, Stream) else ())}
        names = self.names
        if taken := [name for name in names if name in own or names.count(name) > 1]:
            raise InvalidError(f"{self.name}.features", taken[0], "names that no key, time or other feature has")
        for name in names:
            expect_name("feature", name)


class Projection(msgspec.Struct, frozen=True):
    """Some features of a view as a service takes them. `keys` are the view's keys by other columns of the request."""

    view: Any
    features: tuple[str, ...] = ()
    keys: dict[str, str] = {}  # a Struct copies its defaults
    prefix: str = ""

    def __getitem__(self, names: str | Sequence[str]) -> Projection:
        """Only these features, in this order."""
        wanted = (names,) if isinstance(names, str) else tuple(names)
        for name in wanted:
            if name not in self.view.names:
                raise NotFoundError("feature", f"{self.view.name}:{name}", close_names(name, self.view.names))
        return msgspec.structs.replace(self, features=wanted)

    def keyed(self, **columns: str) -> Projection:
        """By other columns of the request."""
        known = [key.name for key in self.view.keys]
        for key in columns:
            if key not in known:
                raise NotFoundError("key", f"{self.view.name}:{key}", close_names(key, known))
        return msgspec.structs.replace(self, keys={**self.keys, **columns})

    def prefixed(self, prefix: str) -> Projection:
        """With their names behind a prefix."""
        return msgspec.structs.replace(self, prefix=expect_name("prefix", prefix))


def _told(given: Sequence[Any] | Mapping[str, Any]) -> tuple[dict[str, Any], tuple[Aggregate, ...]]:
    """Features by name, each a column's name or an expression; or aggregates."""
    if isinstance(given, str) or not given:
        raise InvalidError("features", given, "a list of columns, expressions or aggregates, or a mapping of names")
    if isinstance(given, Mapping):
        return dict(given), ()
    aggregates = tuple(each for each in given if isinstance(each, Aggregate))
    if aggregates:
        if len(aggregates) < len(given):
            raise InvalidError(
                "features", "aggregates and others", "one or the other", "Make two views: a service takes both."
            )
        return {}, aggregates
    found: dict[str, Any] = {}
    for each in given:
        name = each if isinstance(each, str) else _name_of(each)
        if name in found:
            raise InvalidError("features", name, "different names", 'Name an expression with .alias("…").')
        found[name] = each
    return found, ()


def _name_of(expression: Any) -> str:
    if not hasattr(expression, "meta"):
        raise WrongTypeError("features", expression, "a column's name, a Polars expression or an aggregate")
    return str(expression.meta.output_name())
