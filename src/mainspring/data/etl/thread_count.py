"""How many threads a query may use and still give the same rows: told from the plan that DuckDB makes of it.

What DuckDB does in parallel comes together in an order that differs from run to run. That is harmless for counts, exact
sums and a sorted result, and not for sums of floats, windows over ties, or rows that a LIMIT inside picks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

_EXACT = frozenset(
    """count count_star count_if countif min max bool_and bool_or bit_and bit_or bit_xor approx_count_distinct median
    quantile quantile_disc quantile_cont mad sum_no_overflow""".split()
)
_EXACT_UNLESS_FLOAT = frozenset({"sum", "avg", "mean"})
_FLOATS = frozenset({"FLOAT", "DOUBLE"})
_IN_ANY_ORDER = {
    "LOGICAL_WINDOW": "a window function",
    "LOGICAL_ASOF_JOIN": "an ASOF join",
    "LOGICAL_POSITIONAL_JOIN": "a positional join",
}
Plan = dict[str, Any]


class Sensitive(msgspec.Struct, frozen=True):
    """Something in a query whose result depends on the order in which rows come together."""

    what: str
    only_floats: bool = False


def order_sensitive(plan_json: str) -> list[Sensitive]:
    """What in a bound, unoptimised plan needs one thread. A plan that can't be read does."""
    try:
        plan = msgspec.json.decode(plan_json)
    except msgspec.DecodeError:
        plan = {}
    if not isinstance(plan, dict) or plan.get("error") or not plan.get("plans"):
        return [Sensitive("a plan that DuckDB doesn't show")]
    found: dict[Sensitive, None] = {}
    for root in plan["plans"]:
        last = root
        while last.get("type") == "LOGICAL_PROJECTION" and len(last.get("children", ())) == 1:
            last = last["children"][0]
        for node in _nodes(root):
            found.update(dict.fromkeys(_judged(node, is_last=node is last)))
    return list(found)


def _judged(node: Plan, *, is_last: bool) -> Iterator[Sensitive]:
    kind = str(node.get("type"))
    if kind in _IN_ANY_ORDER:
        yield Sensitive(_IN_ANY_ORDER[kind])
    elif kind in ("LOGICAL_LIMIT", "LOGICAL_TOP_N"):
        below = [child.get("type") for child in node.get("children", ())]
        if not (is_last and below == ["LOGICAL_ORDER_BY"]):  # the last one picks from rows without ties
            yield Sensitive("a LIMIT inside the query")
    elif kind == "LOGICAL_DISTINCT" and "ON" in str(node.get("distinct_type")):
        yield Sensitive("DISTINCT ON")
    elif node.get("expression_class") == "BOUND_AGGREGATE":
        yield from _aggregate(node)


def _aggregate(node: Plan) -> Iterator[Sensitive]:
    name = function_name(node)
    types = [_type_of(child.get("return_type")) for child in node.get("children", ())]
    if name in _EXACT_UNLESS_FLOAT and types:
        floats = _FLOATS.intersection(types)
        if floats:
            yield Sensitive(f"{name} of {min(floats)}", only_floats=True)
    elif name not in _EXACT:
        yield Sensitive(f"{name or 'an aggregate'}()", only_floats=bool(types) and set(types) <= _FLOATS)


def function_name(node: Plan) -> str:
    """The name of the function that a node of a plan or of a syntax tree calls, in lower case; empty if it calls none."""
    path = (node.get("qname") or node.get("qualified_name") or {}).get("path") or []
    return str(path[-1] if path else node.get("function_name") or node.get("name") or "").lower()


def called_functions(tree_json: str) -> set[str]:
    """The names of all functions in a plan or syntax tree; `sample` stands for a sample of rows."""
    try:
        tree = msgspec.json.decode(tree_json)
    except msgspec.DecodeError:
        return set()
    names = set()
    for node in _nodes(tree):
        if node.get("sample") or node.get("type") == "LOGICAL_SAMPLE":
            names.add("sample")
        if node.get("class") == "FUNCTION" or node.get("expression_class") == "BOUND_FUNCTION":
            names.add(function_name(node))
    return names


def _type_of(found: Any) -> str:
    return str(found.get("id") if isinstance(found, dict) else found)


def _nodes(tree: Any) -> Iterator[Plan]:
    pending = [tree]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            yield item
            pending += item.values()
        elif isinstance(item, list):
            pending += item
