"""How features look in a terminal: their values as bars, how fresh they are, and where they come from."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from mainspring.cli import text

if TYPE_CHECKING:
    from mainspring.data.profiles import ColumnProfile, Scalar
    from mainspring.features.discovery import FeaturePortrait, Histogram, Portrait, ViewState

_EIGHTHS = "▁▂▃▄▅▆▇█"
_LONGEST_BAR = 40
_KINDS = {"view": "view", "on_demand": "on-demand view", "service": "service"}


def portrait_text(portrait: Portrait) -> str:
    """A definition with all that is known of it."""
    from mainspring.features import facts_of

    definition, about = portrait.definition, portrait.definition.record.about
    facts = text.facts(
        [
            (_KINDS[definition.kind], text.bold(str(definition))),
            ("about", about.description),
            ("owner", about.owner),
            ("tags", ", ".join(about.tags)),
            ("made", f"{text.moment(definition.created_at)} by {definition.actor}"),
            ("retired", text.moment(definition.retired_at) if definition.retired_at else ""),
            ("versions", ", ".join(portrait.versions) if len(portrait.versions) > 1 else ""),
            *facts_of(definition),
            ("used by", "\n".join(map(str, portrait.uses))),
            *(fact for view in portrait.views for fact in _state(view, alone=len(portrait.views) == 1)),
        ]
    )
    rows = [_row(each) for each in portrait.features]
    headers = ["feature", "type", "values", "nulls", "distinct", "mean", "range", "computed from"]
    return f"{facts}\n\n{text.table(headers, rows, drop=['distinct', 'mean', 'type'])}"


def feature_text(feature: FeaturePortrait) -> str:
    """One feature with its histogram."""
    profile, quantiles = feature.profile, ""
    if profile is not None and profile.quantiles:
        shares = zip(("5 %", "25 %", "50 %", "75 %", "95 %"), profile.quantiles, strict=True)
        quantiles = "  ".join(f"{share}: {number(value)}" for share, value in shares)
    lines = text.facts(
        [
            ("feature", text.bold(feature.name)),
            ("view", feature.view),
            ("type", feature.dtype),
            ("formula", feature.shown),
            ("computed from", "\n".join(map(str, feature.origins))),
            ("nulls", f"{profile.nulls:,}" if profile else ""),
            ("NaN", f"{profile.nan:,}" if profile and profile.nan else ""),
            ("distinct", f"{profile.distinct:,}" if profile and profile.distinct is not None else ""),
            ("range", _range(profile)),
            ("mean", number(profile.mean) if profile else ""),
            ("quantiles", quantiles),
            ("frequent", ", ".join(f"{number(value)} ({count:,})" for value, count in profile.top) if profile else ""),
        ]
    )
    bars = list(_bars(feature.histogram)) if feature.histogram else []
    return "\n".join([lines, *([""] if bars else []), *bars])


def spark(counts: tuple[int, ...]) -> str:
    """Counts as a line of bars; only 0 is blank.

    >>> spark((0, 1, 4, 8))
    ' ▁▄█'
    """
    most = max(counts, default=0) or 1
    return "".join(_EIGHTHS[max(-(-count * 8 // most) - 1, 0)] if count else " " for count in counts)


def number(value: Scalar) -> str:
    """A number in a few digits, anything else as it is.

    >>> number(0.123456), number(1234567.0), number(12), number(1e-9), number(None)
    ('0.1235', '1.235e+06', '12', '1e-09', '')
    """
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)


def _bars(histogram: Histogram) -> Iterator[str]:
    """A line for each bar; what lies beyond the ends counts into them."""
    most = max(histogram.counts)
    edges = [number(edge) for edge in histogram.edges]
    labels = [f"{low} … {high}" for low, high in pairwise(edges)]
    labels[0], labels[-1] = f"… {edges[1]}", f"{edges[-2]} …"
    width = max(map(len, labels))
    for label, count in zip(labels, histogram.counts, strict=True):
        bar = "█" * (count * _LONGEST_BAR // most) or ("▏" if count else "")
        yield f"{text.dim(label.rjust(width))}  {bar} {count:,}"


def _row(feature: FeaturePortrait) -> list[str]:
    profile = feature.profile
    return [
        feature.name, feature.dtype, spark(feature.histogram.counts) if feature.histogram else "",
        f"{profile.nulls:,}" if profile else "",
        f"{profile.distinct:,}" if profile and profile.distinct is not None else "",
        number(profile.mean) if profile else "", _range(profile), "; ".join(map(str, feature.origins)),
    ]  # fmt: skip


def _range(profile: ColumnProfile | None) -> str:
    if profile is None or profile.min is None:
        return ""
    low, high = (text.fitted(number(end), 19) for end in (profile.min, profile.max))
    return low if low == high else f"{low} … {high}"


def _state(view: ViewState, *, alone: bool) -> Iterator[tuple[str, str]]:
    """What is known of a view's data, under its name if there are several."""
    lines = [view.problem]
    found = view.statistics
    if found is not None:
        entities = "1 entity" if found.entities == 1 else f"about {found.entities:,} entities"
        span = (
            f", {text.moment(found.first_us)} … {text.moment(found.last_us)}"
            if found.first_us and found.last_us
            else ""
        )
        lines.append(f"{view.source}: {text.counted(found.rows, 'row')}, {entities}{span}")
    lines.append(_online(view))
    if view.upstream:
        lines.append(f"made from {', '.join(view.upstream)}")
    yield ("data" if alone else view.view), "\n".join(filter(None, lines))


def _online(view: ViewState) -> str:
    """How fresh the online store is."""
    mark = view.watermark
    if mark is None or view.age_us is None:
        return "not in the online store"
    ago = f"({text.duration(view.age_us / 1e6)} ago)"
    if mark.offset or not mark.version:
        known = f", the newest known at {text.moment(mark.known_us)} {ago}" if mark.known_us is not None else ""
        return f"online up to event {mark.offset:,} of {mark.source}{known}"
    return f"online as of {text.moment(mark.until_us)} {ago} from {mark.version}"
