"""What an image holds and how it starts, whichever way it is built: folders, variables, labels, the command."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Literal, get_args

import msgspec

from mainspring.deploy.needs import Needs
from mainspring.deploy.shared import SharedLibrary
from mainspring.deploy.tree import File, Tree, below
from mainspring.errors import ConfigError, InvalidError
from mainspring.runs import RunStore
from mainspring.runs.environment import snapshot
from mainspring.serving.contract import PORT
from mainspring.serving.sealed import Sealed, sealed_files
from mainspring.workspace import Workspace

Authentication = Literal["token", "platform"]
HOME = "opt/mainspring"
LIBRARY, SEALED, SOURCE, SHARED = f"{HOME}/lib", f"{HOME}/endpoint", f"{HOME}/source", f"{HOME}/shared"
SHARED_PATH = "LD_LIBRARY_PATH"
STATE = "var/lib/mainspring"
USER, GROUP = 65532, 0  # nobody's; of the group that platforms which choose the user give it
PORT_NUMBER, SETTING = 8080, "MAINSPRING_SERVE_PORT"
TOKEN = "secret:env/SERVE_TOKEN"
_EPOCH = "SOURCE_DATE_EPOCH"


class Times(msgspec.Struct, frozen=True):
    """When an image counts as made, and the time of each file in it, in seconds since 1970."""

    created_s: int
    mtime_s: int

    @property
    def created(self) -> str:
        """As images state it."""
        return datetime.fromtimestamp(self.created_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def times_of(sealed: Sealed, environment: Mapping[str, str] | None = None) -> Times:
    """SOURCE_DATE_EPOCH if it is set (https://reproducible-builds.org/specs/source-date-epoch); else when the version was made.

    Without it files are of 1970, so that versions share the layers of what they need.

    Raises:
        ConfigError: it is set to what is no number of seconds.
    """
    given = (os.environ if environment is None else environment).get(_EPOCH, "")
    if not given:
        return Times(sealed.version.created_at // 1_000_000, 0)
    if not given.isdecimal() or len(given) > 11:
        raise ConfigError(f"`{given}` is no number of seconds since 1970", _EPOCH)
    return Times(int(given), int(given))


def check_authentication(given: str) -> None:
    """Go on only with a way to admit requests; raises `InvalidError`."""
    if given not in get_args(Authentication):
        raise InvalidError("authentication", given, "`token` or `platform`")


def endpoint_tree(sealed: Sealed, needs: Needs, workspace: Workspace) -> Tree:
    """The sealed endpoint, the modules of the project that it needs, and the lock."""
    sealed_tree = {path: File(content) for path, content in sealed_files(sealed, workspace)}
    lock = File(lock_lines(needs).encode())
    return {**below(SEALED, sealed_tree), **below(SOURCE, needs.sources), f"{HOME}/requirements.txt": lock}


def shared_tree(libraries: Iterable[SharedLibrary]) -> dict[str, File]:
    """Shared libraries by their names."""
    return {each.name: each.file for each in libraries}


def lock_lines(needs: Needs) -> str:
    """The pinned distributions, as a file of requirements has them."""
    return "".join(f"{name}=={version}\n" for name, version in sorted(needs.distributions.items()))


def variables(needs: Needs, authentication: Authentication) -> dict[str, str]:
    """The environment in which an endpoint is served off loopback: a token is needed, or a platform admits requests."""
    declared = {
        "HOME": f"/{STATE}", "PYTHONPATH": f"/{LIBRARY}", "PYTHONNOUSERSITE": "1", "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1", "MAINSPRING_SERVE_ENDPOINT": f"/{SEALED}",
        "MAINSPRING_SERVE_HOST": "0.0.0.0", SETTING: str(PORT_NUMBER),
    }  # fmt: skip
    if needs.sources:
        declared["MAINSPRING_SOURCE"] = f"/{SOURCE}"
    if authentication == "platform":
        return declared | {"MAINSPRING_SERVE_AUTHENTICATION": "platform"}
    return declared | {"MAINSPRING_SERVE_TOKEN": TOKEN}


def labels(sealed: Sealed, authentication: Authentication, times: Times, workspace: Workspace) -> dict[str, str]:
    """What an image says of itself, in the words of the OCI (annotations.md) and in ours."""
    version = sealed.version
    run = RunStore(workspace.database).get_many([version.run]).get(version.run) if version.run else None
    said = {
        "org.opencontainers.image.title": sealed.endpoint.name,
        "org.opencontainers.image.version": str(version),
        "org.opencontainers.image.created": times.created,
        "org.opencontainers.image.revision": (run.git_commit if run else None) or "",
        "org.opencontainers.image.licenses": version.licence,
        "dev.mainspring.endpoint": sealed.endpoint.id,
        "dev.mainspring.model-version": version.id,
        "dev.mainspring.content-digest": version.content_digest,
        "dev.mainspring.runtime": sealed.endpoint.runtime,
        "dev.mainspring.environment": version.environment or "",
        "dev.mainspring.run": version.run or "",
        "dev.mainspring.version": snapshot().distributions.get("mainspring", ""),
        "dev.mainspring.authentication": authentication,
    }
    return {name: value for name, value in said.items() if value}


def health_check(python: str, command: str = "/proc/1/cmdline") -> list[str]:
    """A command that succeeds once the server is ready, on the port that it listens on: as the server itself, it takes that of
    the container's `command`, of a platform, or of the setting. It asks the server itself, whatever proxy is set.
    """
    program = (
        "import os, re, urllib.request; told = os.environ.get; "
        f"given = re.findall('--port[^0-9]([0-9]+)', open('{command}').read()) if os.access('{command}', os.R_OK) else []; "
        f"port = (given or [told('{PORT}') or told('{SETTING}') or '{PORT_NUMBER}'])[-1]; "
        "direct = urllib.request.build_opener(urllib.request.ProxyHandler({})); "
        "direct.open('http://127.0.0.1:' + port + '/ready', timeout=2)"
    )
    return [python, "-I", "-S", "-c", program]
