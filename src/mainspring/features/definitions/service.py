"""Feature services: the set of features that a model uses; and features that are computed when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mainspring.errors import InvalidError, WrongTypeError
from mainspring.features.definitions.names import expect_name
from mainspring.features.definitions.view import FeatureView, Projection

if TYPE_CHECKING:
    import polars as pl

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

    Raises:
        InvalidError: two features have one name: give those of one view a prefix.

    >>> from mainspring.features import Entity
    >>> plane = FeatureView("plane", entity=Entity("tailnum"), source="planes", event_time="at", features=["seats"])
    >>> FeatureService("delays", [plane["seats"]]).names
    ('seats',)
    """

    def __init__(
        self, name: str, views: Sequence[FeatureView | Projection | OnDemandView], *, description: str = "",
        owner: str = "", tags: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.name = expect_name("service", name)
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

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its features, in order."""
        return tuple(name for each in self.views for name in names_of(each))

    def __repr__(self) -> str:
        return f"<feature service {self.name}: {', '.join(self.names)}>"


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
