"""Settings: one table of what can be set, and where each value came from.

Precedence: command line, environment (`MAINSPRING_…`), `mainspring.local.toml`, the profile's and then the project's
table in `pyproject.toml` or `mainspring.toml`, default. Reading configuration runs no code.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from mainspring.errors import ConfigError, NotAllowedError, NotFoundError, close_names

LOCAL_FILE = "mainspring.local.toml"
PROJECT_FILES = ("mainspring.toml", "pyproject.toml")
_TABLES = ("approval", "goal", "pipelines", "profiles")
_PROFILE_TABLES = ("approval", "goal")
_LOOPBACK = ("localhost", "::1")
_LOOPBACK_IPV4 = re.compile(r"127(\.[0-9]{1,3}){3}")  # an address: a name like 127.example.org may lead anywhere


class Setting(msgspec.Struct, frozen=True):
    """One thing that can be set: its name, type, default (`{root}` is the project's folder) and meaning."""

    name: str
    kind: type
    default: str | int | float | bool | tuple[str, ...]
    about: str


class Origin(msgspec.Struct, frozen=True):
    """A setting's value and where it was set."""

    value: Any
    origin: str


SETTINGS = {
    setting.name: setting
    for setting in (
        Setting("name", str, "{folder}", "the project's name"),
        Setting("database", str, "sqlite://{root}/.mainspring/mainspring.db", "URL of the workspace's database"),
        Setting("blobs", str, "file://{root}/.mainspring/blobs", "URL of the workspace's blob store"),
        Setting("online", str, "lmdb://{root}/.mainspring/online", "URL of the online store: lmdb:// or redis://"),
        Setting("online_outage", str, "fail", "features while the online store is away: fail, defaults or last_known"),
        Setting(
            "late_events_days", float, 1.0, "how late an event may come and still count in online aggregates, in days"
        ),
        Setting("streams", str, "", "URL of the event log; empty is the embedded one, beside the database"),
        Setting("cache", str, "{root}/.mainspring/cache", "folder of this machine's caches; safe to delete"),
        Setting("source", list, (".", "src"), "folders of the project's modules, relative to its root"),
        Setting("features", list, ("features",), "modules of the project that define features"),
        Setting("runner", str, "auto", "where steps run: auto, inline, pool or detached"),
        Setting("jobs", int, 1, "how many steps run at once"),
        Setting("threads", int, 0, "threads of numerical libraries in each step; 0 means one for each core"),
        Setting("seed", int, 0, "the seed of runs that name none"),
        Setting("lease_s", float, 15.0, "how long a silent worker keeps its work, in seconds"),
        Setting(
            "mirror", str, "", "where runs are mirrored when they end: wandb, W&B's offline format; empty is nowhere"
        ),
        Setting("mirror_folder", str, "{root}/.mainspring/mirror", "folder of the mirrors"),
        Setting("gc_grace_h", float, 24.0, "how long unreferenced blobs are kept, in hours"),
        Setting(
            "vectors_share", float, 0.01, "share of served feature vectors that are logged, to be verified: 0 to 1"
        ),
        Setting("vectors_keep_days", float, 14.0, "how long logged vectors are kept, in days"),
        Setting("serve_host", str, "127.0.0.1", "address that servers bind to"),
        Setting("serve_port", int, 8080, "port of `mainspring serve`"),
        Setting(
            "serve_compact_s",
            float,
            60.0,
            "how often a server looks for closed logs to compact, in seconds; 0 for never",
        ),
        Setting(
            "serve_drain_s", float, 30.0, "how long a server that stops waits for requests that were begun, in seconds"
        ),
        Setting("serve_token", str, "", "secret reference to the token that requests must bear; needed off loopback"),
        Setting(
            "serve_authentication", str, "token", "who admits requests: token, or platform, one in front of the server"
        ),
        Setting("serve_endpoint", str, "", "endpoint, or path of one, that `mainspring serve` answers for unless told"),
        Setting("image_base", str, "", "image that images are built on unless told, best by its digest"),
    )
}


class Settings:
    """The settings in force, each with its origin.

    >>> settings = Settings.load(Path("/nowhere"), {}, overrides={"jobs": "4"})
    >>> settings.jobs, settings.origins["jobs"].origin, settings.origins["seed"].origin
    (4, 'command line', 'default')
    """

    def __init__(self, origins: dict[str, Origin], tables: dict[str, dict[str, Any]]) -> None:
        self.origins = origins
        self.tables = tables

    def __getattr__(self, name: str) -> Any:
        try:
            return self.origins[name].value
        except KeyError:
            raise AttributeError(name) from None

    @classmethod
    def load(
        cls,
        root: Path,
        environment: Mapping[str, str] | None = None,
        *,
        overrides: Mapping[str, Any] | None = None,
        profile: str = "",
        file: Path | None = None,
    ) -> Settings:
        """Read the settings of the project in `root`.

        Raises:
            ConfigError: a setting is unknown or has the wrong type; its file and line are named.
            NotFoundError: no such profile.
        """
        environment = os.environ if environment is None else environment
        layers: list[tuple[str, dict[str, Any], Path | None]] = []
        tables: dict[str, dict[str, Any]] = {}
        for path in [file] if file else [root / name for name in PROJECT_FILES]:
            if (table := read_table(path)) is not None:
                tables = {name: table.pop(name) for name in _TABLES if name in table}
                layers.append((path.name, table, path))
                break
        profile = profile or environment.get("MAINSPRING_PROFILE", "")
        if profile:
            profiles = tables.get("profiles", {})
            if profile not in profiles:
                raise NotFoundError("profile", profile, close_names(profile, profiles))
            table = dict(profiles[profile])
            tables |= {name: table.pop(name) for name in _PROFILE_TABLES if name in table}
            layers.append((f"profile {profile}", table, layers[0][2] if layers else None))
        local = root / LOCAL_FILE
        if (table := read_table(local)) is not None:
            layers.append((LOCAL_FILE, table, local))
        layers.append(("environment", _from_environment(environment), None))
        layers.append(
            ("command line", {key: value for key, value in (overrides or {}).items() if value is not None}, None)
        )
        return cls(_merged(root, layers), tables)


def read_table(path: Path) -> dict[str, Any] | None:
    """The settings in a TOML file, `[tool.mainspring]` of a `pyproject.toml`, the whole of any other; None if none.

    Raises:
        ConfigError: the file is not TOML; its line is named.
    """
    try:
        text = path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if path.name == "pyproject.toml" and "tool.mainspring" not in text:
        return None
    import tomllib  # only projects with a file pay for it

    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"this is not TOML: {error}", str(path)) from error
    return table.get("tool", {}).get("mainspring") if path.name == "pyproject.toml" else table


def is_loopback(host: str) -> bool:
    """Whether a host names this machine to itself alone.

    >>> is_loopback("localhost"), is_loopback("127.0.0.1.example.org")
    (True, False)
    """
    return host in _LOOPBACK or _LOOPBACK_IPV4.fullmatch(host) is not None


def check_listen(host: str, *, authenticated: bool) -> None:
    """The loopback rule: off this machine, a server listens only with authentication.

    Raises:
        NotAllowedError: `host` is not a loopback address and nothing authenticates requests.

    >>> check_listen("127.0.0.1", authenticated=False)
    """
    if authenticated or is_loopback(host):
        return
    raise NotAllowedError(
        f"Listening on `{host}` opens the server to other machines, which needs authentication."
        ' Set serve_token = "secret:env/NAME" (or MAINSPRING_SERVE_TOKEN), or bind to 127.0.0.1.'
    )


def _from_environment(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: environment[key] for name in SETTINGS if (key := f"MAINSPRING_{name.upper()}") in environment}


def _merged(root: Path, layers: list[tuple[str, dict[str, Any], Path | None]]) -> dict[str, Origin]:
    root = root.absolute()
    merged = {}
    for name, setting in SETTINGS.items():
        default = setting.default
        if isinstance(default, str):
            default = default.replace("{root}", str(root)).replace("{folder}", root.name)
        merged[name] = Origin(list(default) if isinstance(default, tuple) else default, "default")
    for origin, table, path in layers:
        for name, value in table.items():
            where = f"{path}:{_line(path, name)}" if path else origin
            if name not in SETTINGS:
                near = close_names(name, SETTINGS)
                raise ConfigError(f"no setting `{name}`.{f' Nearest: {near[0]}.' if near else ''}", where)
            merged[name] = Origin(_converted(SETTINGS[name], value, where), where if path else origin)
    return merged


def _converted(setting: Setting, value: Any, where: str) -> Any:
    if isinstance(value, str) and setting.kind is not str:
        with suppress(ValueError):
            value = [part for part in value.split(os.pathsep) if part] if setting.kind is list else setting.kind(value)
    if setting.kind is float and type(value) is int:
        value = float(value)
    if type(value) is not setting.kind:
        expected = {str: "text", int: "a whole number", float: "a number", list: "a list"}[setting.kind]
        raise ConfigError(f"`{setting.name} = {value!r}`: expected {expected} ({setting.about})", where)
    return value


def _line(path: Path, name: str) -> int:
    """The line that sets a name, for messages."""
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if line.split("=")[0].strip() == name:
            return number
    return 1
