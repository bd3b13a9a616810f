"""A Dockerfile with its context, for those who build images themselves: what `image` builds, in the words of a builder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec

from mainspring.deploy.base import default_base, is_path
from mainspring.deploy.contents import (
    GROUP,
    HOME,
    LIBRARY,
    PORT_NUMBER,
    SEALED,
    SHARED,
    SHARED_PATH,
    SOURCE,
    STATE,
    USER,
    Authentication,
    check_authentication,
    health_check,
    labels,
    lock_lines,
    shared_tree,
    times_of,
    variables,
)
from mainspring.deploy.distributions import own_tree, wheel_of
from mainspring.deploy.needs import Needs, needs_of
from mainspring.deploy.registry import Reference
from mainspring.errors import ExistsError, InvalidError
from mainspring.runs.environment import snapshot
from mainspring.serving.sealed import seal, sealed_files
from mainspring.workspace import Workspace, current_workspace

_NAMES_SECRET = "MAINSPRING_SERVE_TOKEN"
_SHARING = (
    f"COPY shared /{SHARED}",
    f'ENV {SHARED_PATH}="${{{SHARED_PATH}:+${SHARED_PATH}:}}/{SHARED}"', "",
)  # fmt: skip
_IGNORED = "**\n!endpoint/**\n!shared/**\n!source/**\n!wheels/**\n!requirements.txt\n"


class WrittenContext(msgspec.Struct, frozen=True):
    """Where a Dockerfile and its context were written, what it builds on, and the files of it.

    `shared_libraries` are those of this machine's system that are among the files, with the distributions that need them.
    """

    endpoint: str
    version: str
    path: str
    base: str
    files: tuple[str, ...]
    shared_libraries: dict[str, tuple[str, ...]] = {}


def write_dockerfile(
    name: str, folder: Path | str, *, base: str = "", authentication: Authentication = "token",
    workspace: Workspace | None = None, on_progress: Callable[[str], None] | None = None,
) -> WrittenContext:  # fmt: skip
    """Write a folder from which `podman build` or `docker build` makes an image of what an endpoint serves now.

    The distributions are pinned and installed from wheels alone, Mainspring from one that lies in the context. The folder is
    there whole or not at all. `base` is an image in a registry, by default that of the setting `image_base`, or
    `python:MINOR-slim`; named by its digest, it makes the build depend on no moving tag. `on_progress` is told of each step.

    Raises:
        NotFoundError: no such endpoint, or its version has no recorded environment.
        NotAllowedError: a service outside answers for it, its model is a pickle, or it was registered with another Python.
        InvalidError: the base is no reference to an image in a registry.
        ExistsError: the folder is there.
        MainspringError: the endpoint doesn't answer its example.
        StorageError: the folder can't be written.
    """
    from mainspring.data.interchange.exported import in_place_of

    workspace, target = workspace or current_workspace(), Path(folder).absolute()
    check_authentication(authentication)
    if target.exists():
        raise ExistsError("file or folder", str(target), "Name a folder that is not there.")
    given = "base" if base else "image_base"
    base = base or workspace.project.settings.image_base
    if base and is_path(base):
        raise InvalidError(given, base, "an image in a registry, which a Dockerfile can name")
    sealed = seal(name, workspace)
    tell = on_progress or (lambda _: None)
    tell(f"serving {name} once, to see what it needs")
    needs = needs_of(sealed, workspace)
    reference = Reference.parse(base or default_base(needs.python), given)
    tell(f"writing {target.name}")
    wheel = f"wheels/mainspring-{snapshot().distributions['mainspring']}-py3-none-any.whl"
    files: dict[str, bytes | Path] = {f"endpoint/{path}": content for path, content in sealed_files(sealed, workspace)}
    files |= {f"source/{path}": file.content for path, file in needs.sources.items()}
    files |= {f"shared/{path}": file.content for path, file in shared_tree(needs.shared).items()}
    files |= {
        wheel: wheel_of(own_tree()),
        "requirements.txt": lock_lines(needs).encode(),
        ".dockerignore": _IGNORED.encode(),
    }
    declared = variables(needs, authentication)
    said = labels(sealed, authentication, times_of(sealed), workspace)
    files["Dockerfile"] = _dockerfile(str(reference), wheel, declared, said, needs).encode()
    with in_place_of(target, overwrite=False, suffix="") as unfinished:
        for path, content in files.items():
            (unfinished / path).parent.mkdir(parents=True, exist_ok=True)
            (unfinished / path).write_bytes(content if isinstance(content, bytes) else content.read_bytes())
    return WrittenContext(
        name, str(sealed.version), str(target), str(reference), tuple(sorted(files)),
        {each.name: each.needed_by for each in needs.shared},
    )  # fmt: skip


def _dockerfile(base: str, wheel: str, declared: dict[str, str], said: dict[str, str], needs: Needs) -> str:
    """The lines: what changes least comes first, so that a new version of the model rebuilds the last ones only."""
    program = wheel.rpartition("/")[2]
    install = [
        f"RUN pip install --no-cache-dir --no-deps --only-binary :all: --target /{LIBRARY} -r /{HOME}/requirements.txt \\",
        f" && pip install --no-cache-dir --no-deps --target /{LIBRARY} /{HOME}/{program} \\",
        f" && install -d -o {USER} -g {GROUP} -m 0770 /{STATE}",
    ]
    lines = [
        f"FROM {base}", "",
        f"COPY requirements.txt {wheel} /{HOME}/", *install, "",
        *(_SHARING if needs.shared else []),
        *([f"COPY source /{SOURCE}"] if needs.sources else []),
        f"COPY endpoint /{SEALED}", "",
        *(["# hadolint ignore=DL3064  # a reference to a secret, never one"] if _NAMES_SECRET in declared else []),
        _pairs("ENV", declared), _pairs("LABEL", said), "",
        f"USER {USER}:{GROUP}", f"WORKDIR /{STATE}", f'VOLUME ["/{STATE}"]', f"EXPOSE {PORT_NUMBER}",
        f"HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD {json.dumps(health_check('python3'))}",
        'ENTRYPOINT ["python3", "-P", "-m", "mainspring"]', 'CMD ["serve"]',
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _pairs(word: str, values: dict[str, str]) -> str:
    """An instruction with a pair on each line; `$` would name a variable."""
    told = (f"{name}={json.dumps(value).replace('$', chr(92) + '$')}" for name, value in sorted(values.items()))
    return f"{word} " + " \\\n    ".join(told)
