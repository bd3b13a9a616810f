"""A table of routes, and which of them a request asks for.

Each is under `/api/VERSION` and `/ajax-api/VERSION`, and those of 2.0 also behind `/preview`, as old clients have it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from mainspring.errors import NotServedError
from mainspring.server.mlflow.wire import Route

_PREFIX = re.compile(r"/(?:ajax-)?api/(?P<version>\d\.\d)(?:/preview)?(?P<path>/.+)", re.DOTALL)
_FIELD = re.compile(r"\{(\w+)(\.\.\.)?\}")


class Table:
    """Routes by method, version and path."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._plain = {(each.version, each.method, each.path): each for each in routes if "{" not in each.path}
        self._patterns = [(each, _pattern(each.path)) for each in routes if "{" in each.path]

    def match(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """The route of a request, and the fields that its path has.

        Raises:
            NotServedError: there is none.
        """
        prefix = _PREFIX.fullmatch(path)
        if prefix is not None:
            version, rest = prefix["version"], prefix["path"]
            if route := self._plain.get((version, method, rest)):
                return route, {}
            for route, pattern in self._patterns:
                if (route.version, route.method) == (version, method) and (found := pattern.fullmatch(rest)):
                    return route, found.groupdict()
        raise NotServedError(f"{method} {path[:200]} is not served here. docs/mlflow.md lists what is.")


def _pattern(path: str) -> re.Pattern[str]:
    parts = _FIELD.split(path)
    text = "".join(
        re.escape(part) if place % 3 == 0 else f"(?P<{part}>{'.+' if parts[place + 1] else '[^/]+'})"
        for place, part in enumerate(parts)
        if place % 3 < 2
    )
    return re.compile(text, re.DOTALL)
