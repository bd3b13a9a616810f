"""An OCI image of an endpoint, built without a container engine, the same to the digest wherever and whenever it is built."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from mainspring.deploy.base import Base, check_base, default_base, library_of, read_base
from mainspring.deploy.bytecode import bytecode_of
from mainspring.deploy.contents import (
    GROUP,
    LIBRARY,
    PORT_NUMBER,
    SHARED,
    SHARED_PATH,
    STATE,
    USER,
    Authentication,
    Times,
    check_authentication,
    endpoint_tree,
    labels,
    shared_tree,
    times_of,
    variables,
)
from mainspring.deploy.distributions import own_tree
from mainspring.deploy.layers import Descriptor, Folder, Layer, write_layer
from mainspring.deploy.layout import CONFIG, MANIFEST, finish_layout, pack_layout, put_document
from mainspring.deploy.needs import Needs, is_own_platform, needs_of, own_platform
from mainspring.deploy.shared import SharedLibrary
from mainspring.deploy.tree import Tree, below
from mainspring.deploy.wheels import trees_of
from mainspring.errors import ExistsError, InvalidError
from mainspring.serving.sealed import Sealed, seal
from mainspring.workspace import Workspace, current_workspace

Tell = Callable[[str], None]
_PLATFORMS = ("linux/amd64", "linux/arm64")


class BuiltImage(msgspec.Struct, frozen=True):
    """An image that was written: `digest` is its manifest's, sizes are of its compressed layers without the base's.

    `reference` is its name in the layout, `distributions` what was put in, with versions; `shared_libraries` those of this
    machine's system that are in it, with the distributions that need them.
    """

    endpoint: str
    version: str
    path: str
    reference: str
    digest: str
    platform: str
    base: str
    base_digest: str
    size_bytes: int
    base_size_bytes: int
    layers: dict[str, int]
    distributions: dict[str, str]
    shared_libraries: dict[str, tuple[str, ...]] = {}


def build_image(
    name: str, output: Path | str, *, base: str = "", tag: str = "", platform: str = "",
    authentication: Authentication = "token", wheels: Path | str | None = None, workspace: Workspace | None = None,
    on_progress: Tell | None = None,
) -> BuiltImage:  # fmt: skip
    """Build an image of what an endpoint serves now: an OCI layout, in one tar if `output` ends with `.tar`.

    In it are the base's layers, the distributions that serving imports in the versions of the model version's lock, shared
    libraries that these are linked to and the base doesn't have, Mainspring, and the sealed endpoint. It answers on port 8080
    as a user without rights, with a token that the container gets as SERVE_TOKEN, or, with the authentication `platform`,
    whoever reaches it. `base` is an OCI layout on this machine or an image in a registry, by default that of the setting
    `image_base`, or `python:MINOR-slim`; `wheels` a folder of wheels that come before those that are installed here. The
    same endpoint, base, wheels and shared libraries give the same digest. What is written is there whole or not at all.

    Raises:
        NotFoundError: no such endpoint, its version has no recorded environment, or the registry has no such base.
        NotAllowedError: a service outside answers for it, its model is a pickle, or it was registered with another Python.
        InvalidError: the base is no image with this Python, there is no such platform, or the base has no library that is
            needed on another platform than this machine's.
        RebuildError: there is no wheel of a distribution.
        UnavailableError: the registry of the base can't be reached.
        ExistsError: the output is a folder that is there.
        MainspringError: the endpoint doesn't answer its example.
        StorageError: the image can't be written, or the base is damaged.
    """
    workspace, target = workspace or current_workspace(), Path(output).absolute()
    tell, platform = on_progress or _tell_nobody, platform or own_platform()
    check_authentication(authentication)
    if platform not in _PLATFORMS:
        raise InvalidError("platform", platform, f"one of {', '.join(_PLATFORMS)}")
    if target.is_dir():
        raise ExistsError("folder", str(target), "Name a folder that is not there, or a file that ends with .tar.")
    sealed = seal(name, workspace)
    times = times_of(sealed)
    given = "base" if base else "image_base"
    base = base or workspace.project.settings.image_base
    if base:
        with _naming(given):
            check_base(base, platform, workspace.cache)
    tell(f"serving {name} once, to see what it needs")
    needs = needs_of(sealed, workspace)
    with _layout(target) as root:
        blobs = root / "blobs" / "sha256"
        blobs.mkdir(parents=True)
        tell("reading the base")
        base = base or default_base(needs.python)
        with _naming(given):
            below_it = read_base(base, platform, needs.python, workspace.cache, blobs)
        needs = replace(needs, shared=_brought(needs, below_it, base, platform, given))
        folder, library = library_of(below_it, blobs, needs.library)
        compiled = below(folder, bytecode_of(library, library, folder))
        layers = _layers(
            sealed, needs, compiled, platform, times, blobs, Path(wheels) if wheels else None, workspace, tell
        )
        said = labels(sealed, authentication, times, workspace) | _based_on(below_it)
        config = _config(below_it, layers, _variables(below_it, needs, authentication), said, platform, times)
        reference = tag or f"{name.lower()}:{sealed.version.number}"
        manifest = _manifest(below_it, layers, config, said, platform, reference, blobs)
        finish_layout(root, [manifest])
        tell(f"writing {target.name}")
    return BuiltImage(
        name, str(sealed.version), str(target), reference, manifest.digest, platform, below_it.name or base, below_it.digest,
        sum(each.descriptor.size for each in layers), sum(each.size for each in below_it.layers),
        {each.about: each.descriptor.size for each in layers}, needs.distributions,
        {each.name: each.needed_by for each in needs.shared},
    )  # fmt: skip


@contextmanager
def _naming(given: str) -> Iterator[None]:
    """What is wrong with the base is told of the option or setting that it was given by."""
    try:
        yield
    except InvalidError as error:
        raise error.at(given) from error


@contextmanager
def _layout(target: Path) -> Iterator[Path]:
    """A folder for a layout, which stands in the target's place at the end of the block, or is packed there."""
    from mainspring.data.interchange.exported import in_place_of

    with in_place_of(target, overwrite=target.is_file(), suffix="") as unfinished:
        if target.suffix != ".tar":
            unfinished.mkdir()
            yield unfinished
            return
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as scratch:
            yield Path(scratch)
            pack_layout(Path(scratch), unfinished)


def _layers(
    sealed: Sealed, needs: Needs, compiled: Tree, platform: str, times: Times, blobs: Path, wheels: Path | None,
    workspace: Workspace, tell: Tell,
) -> list[Layer]:  # fmt: skip
    """What changes least is the lowest: the bytecode of Python's own library, distributions, Mainspring, the endpoint."""
    trees = trees_of(
        needs.distributions, platform=platform, python=needs.python, cache=workspace.cache, wheels=wheels, tell=tell
    )
    installed: dict[str, Any] = {}
    for name, tree in trees.items():
        both = sorted(path for path in installed.keys() & tree.keys() if installed[path].read() != tree[path].read())
        if both:
            raise InvalidError("distribution", name, "one whose files no other has", f"`{both[0]}` is in two of them.")
        installed |= tree
    parts: list[tuple[str, Tree, dict[str, Folder]]] = [
        *([("bytecode", compiled, {})] if compiled else []),
        ("distributions", {**_importable(installed, needs), **below(SHARED, shared_tree(needs.shared))}, {}),
        ("mainspring", _importable(own_tree(), needs), {}),
        ("endpoint", endpoint_tree(sealed, needs, workspace), {STATE: Folder(USER, GROUP, 0o770)}),
    ]
    written = []
    for about, tree, folders in parts:
        tell(f"packing {about}")
        written.append(write_layer(tree, blobs, about, mtime_s=times.mtime_s, folders=folders))
    return written


def _brought(needs: Needs, base: Base, name: str, platform: str, given: str) -> tuple[SharedLibrary, ...]:
    """The shared libraries that the base doesn't have; raises `InvalidError` if this machine has none for the platform."""
    missing = tuple(each for each in needs.shared if each.name not in base.libraries)
    if missing and not is_own_platform(platform):
        said = f"an image with {', '.join(map(str, missing))}"
        raise InvalidError(given, name, said, f"This machine has none for {platform}; install it in a base.")
    return missing


def _importable(tree: Tree, needs: Needs) -> Tree:
    return below(LIBRARY, {**tree, **bytecode_of(tree, needs.imported, LIBRARY)})


def _based_on(base: Base) -> dict[str, str]:
    named = {"org.opencontainers.image.base.name": base.name} if base.name else {}
    return named | {"org.opencontainers.image.base.digest": base.digest}


def _variables(base: Base, needs: Needs, authentication: Authentication) -> dict[str, str]:
    """The base's and the endpoint's. Where the base looks for shared libraries comes first."""
    found = base.variables | variables(needs, authentication)
    if needs.shared:
        found[SHARED_PATH] = ":".join(filter(None, (base.variables.get(SHARED_PATH), f"/{SHARED}")))
    return found


def _config(
    base: Base, layers: list[Layer], environment: dict[str, str], said: dict[str, str], platform: str, times: Times
) -> dict[str, Any]:  # fmt: skip
    """The configuration (config.md): how a container starts, and the layers as they are unpacked."""
    system, _, machine = platform.partition("/")
    kept = {name: value for name, value in base.config.items() if name in ("variant", "os.version", "os.features")}
    before = base.config.get("config") or {}
    return {
        **kept, "created": times.created, "os": system, "architecture": machine,
        "config": {
            "User": f"{USER}:{GROUP}", "WorkingDir": f"/{STATE}", "Volumes": {f"/{STATE}": {}},
            "Env": [f"{name}={value}" for name, value in sorted(environment.items())],
            "Entrypoint": [base.python, "-P", "-m", "mainspring"], "Cmd": ["serve"], "StopSignal": "SIGTERM",
            "ExposedPorts": {f"{PORT_NUMBER}/tcp": {}}, "Labels": {**(before.get("Labels") or {}), **said},
        },
        "rootfs": {"type": "layers", "diff_ids": [*base.config["rootfs"]["diff_ids"], *(each.diff_id for each in layers)]},
        **_history(base, layers, times),
    }  # fmt: skip


def _history(base: Base, layers: list[Layer], times: Times) -> dict[str, Any]:
    """One entry for each layer, unless the base tells nothing of its own."""
    before = base.config.get("history") or []
    if base.layers and not before:
        return {}
    own = ({"created": times.created, "created_by": f"mainspring build: {each.about}"} for each in layers)
    return {"history": [*before, *own]}


def _manifest(
    base: Base, layers: list[Layer], config: dict[str, Any], said: dict[str, str], platform: str, reference: str, blobs: Path
) -> Descriptor:  # fmt: skip
    """The manifest (manifest.md), as an index names it."""
    document = {
        "schemaVersion": 2, "mediaType": MANIFEST, "config": put_document(config, CONFIG, blobs),
        "layers": [*base.layers, *(each.descriptor for each in layers)], "annotations": said,
    }  # fmt: skip
    system, _, machine = platform.partition("/")
    return replace(
        put_document(document, MANIFEST, blobs), platform={"os": system, "architecture": machine},
        annotations={"org.opencontainers.image.ref.name": reference},
    )  # fmt: skip


def _tell_nobody(_: str) -> None:
    pass
