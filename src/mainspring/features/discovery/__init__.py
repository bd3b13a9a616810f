"""Finding features and looking at them: search, values, freshness, who uses them, and the columns they come from."""

from mainspring.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        **dict.fromkeys(("Origin", "Origins"), ".origins"),
        **dict.fromkeys(("FeaturePortrait", "Portrait", "ViewState", "describe"), ".portrait"),
        **dict.fromkeys(("Match", "search_definitions"), ".search"),
        **dict.fromkeys(("Histogram", "ViewStatistics", "view_statistics"), ".statistics"),
    },
)
