"""Feature services: the set of features that a model uses; and features that are computed when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mainspring.errors import InvalidError, NotFoundError, WrongTypeError, close_names
from mainspring.features.definitions.names import expect_name
from mainspring.features.definitions.view import FeatureView, Projection

if TYPE_CHECKING:
    import polars as pl

OUTAGES = ("fail", "defaults", "last_known")
Compute = Callable[["pl.DataFrame"], "pl.DataFrame"]


class OnDemandView:
    """Features computed from the request, and from others, at the moment they are asked for; offline for each row.

    `request` are the columns that the request must hold, with their types; `inputs` views or parts of them, whose features
    are there, too. `features` are Polars expressions by name, or with `transform` the names and types of what that
    function of a module gives for a frame of these columns, row by row.

    Raises:
        InvalidError: a name can't be one, or there is nothing to compute from.

    >>> import polars as pl
    >>> calendar = OnDemandView("calendar", request={"leaves_at": "datetime[UTC]"},
    ...                         features={"hour": pl.col("leaves_at").dt.hour()})
    >>> calendar.names
    ('hour',)
    """

    def __init__(
        self, name: str, *, request: Mapping[str, str] | None = None,
        inputs: Sequence[FeatureView | Projection] = (), features: Mapping[str, Any], transform: Compute | None = None,
        description: str = "", owner: str = "", tags: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.name, self.request = expect_name("view", name), dict(request or {})
        self.inputs = tuple(_projected(each) for each in inputs)
        if not isinstance(features, Mapping):  # from Python without types anything comes
            raise WrongTypeError(
                f"{name}.features", features, "features by name: expressions, or types with `transform`"
            )
        self.features, self.transform = dict(features), transform
        self.description, self.owner, self.tags = description, owner, tuple(tags)
        if not self.request and not self.inputs:
            raise InvalidError(name, "no inputs", "columns of the request, or features of other views")
        if not features:
            raise InvalidError(f"{name}.features", "{}", "features by name")
        for each in features:
            expect_name("feature", each)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its features, in order."""
        return tuple(self.features)

    def __repr__(self) -> str:
        return f"<on-demand view {self.name}: {', '.join(self.names)}>"


class FeatureService:
    """The features that a model uses, from several views, under names of their own.

    `outage` says what is answered while the online store is away: `fail`, `defaults` (the values of `defaults`, by feature,
    null for others), or `last_known` (what this process read last, `defaults` where it read nothing); always with a
    status that says so. If it isn't given, the setting `online_outage` counts.

    Raises:
        InvalidError: two features have one name: give those of one view a prefix. Or `outage` is none of these.
        NotFoundError: there is a default for what is no feature; the nearest are named.

    >>> from mainspring.features import Entity
    >>> plane = FeatureView("plane", entity=Entity("tailnum"), source="planes", event_time="at", features=["seats"])
    >>> FeatureService("delays", [plane["seats"]]).names
    ('seats',)
    """

    def __init__(
        self, name: str, views: Sequence[FeatureView | Projection | OnDemandView], *, outage: str = "",
        defaults: Mapping[str, Any] | None = None, description: str = "", owner: str = "", tags: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.name = expect_name("service", name)
        self.outage, self.defaults = outage and expect_outage(f"{name}.outage", outage), dict(defaults or {})
        self.views: tuple[Projection | OnDemandView, ...] = tuple(
            each if isinstance(each, OnDemandView) else _projected(each) for each in views
        )
        self.description, self.owner, self.tags = description, owner, tuple(tags)
        if not self.views:
            raise InvalidError(f"{name}.views", "[]", "at least one view")
        names = self.names
        if twice := [each for each in names if names.count(each) > 1]:
            raise InvalidError(
                f"{name}.views",
                twice[0],
                "a name for each feature",
                'Give those of one view a prefix: .prefixed("dest_").',
            )
        for each in self.defaults:
            if each not in names:
                raise NotFoundError("feature", each, close_names(each, names), owner=name)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its features, in order."""
        return tuple(name for each in self.views for name in names_of(each))

    def __repr__(self) -> str:
        return f"<feature service {self.name}: {', '.join(self.names)}>"


def expect_outage(where: str, given: str) -> str:
    """What is answered while the online store is away, if it is one of the words for that.

    Raises:
        InvalidError: it isn't.
    """
    if given not in OUTAGES:
        raise InvalidError(where, given, f"one of {', '.join(OUTAGES)}")
    return given


def names_of(part: Projection | OnDemandView) -> tuple[str, ...]:
    """The names that features have in a service."""
    if isinstance(part, OnDemandView):
        return part.names
    return tuple(part.prefix + name for name in part.features or part.view.names)


def _projected(given: Any) -> Projection:
    if isinstance(given, FeatureView):
        return Projection(given)
    if isinstance(given, Projection):
        return given
    raise WrongTypeError("views", given, "a FeatureView, a part of one, or an OnDemandView")
