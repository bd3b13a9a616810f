"""From a setting to a log: the one place that knows which there are."""

from __future__ import annotations

from mainspring.errors import ConfigError
from mainspring.secrets import is_reference, resolve
from mainspring.store import open_database
from mainspring.streams.embedded import EmbeddedLog
from mainspring.streams.log import EventLog
from mainspring.workspace import Workspace


def open_log(workspace: Workspace) -> EventLog:
    """The event log of a workspace, opened once and closed with it.

    Raises:
        ConfigError: the setting `streams` names no log there is.
        MissingExtraError: the log's extra is not installed.
    """
    setting = str(workspace.project.settings.streams)
    url = resolve(setting) if is_reference(setting) else setting
    return workspace.keep("streams", lambda: log_at(url or workspace.beside("streams")))


def log_at(url: str) -> EventLog:
    """Open `redis://host:port/0?prefix=name`, `sqlite:///path` or `postgresql://host/database?schema=name`.

    Raises:
        ConfigError: the URL names no log there is.
        MissingExtraError: the log's extra is not installed.
    """
    scheme = url.partition(":")[0]
    if scheme in ("redis", "rediss"):
        from mainspring.streams.redis import RedisLog

        return RedisLog(url)
    if scheme in ("sqlite", "postgresql", "postgres"):
        return EmbeddedLog(open_database(url))
    raise ConfigError(
        f"the URL of an event log begins with redis://, rediss://, sqlite:/// or postgresql://, not `{scheme}:`"
    )
