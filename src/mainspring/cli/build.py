"""`mainspring build`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mainspring.cli import text
from mainspring.cli.app import Command, Invocation
from mainspring.cli.progress_line import progress_line

if TYPE_CHECKING:
    from mainspring.deploy import BuiltImage


@click.command(cls=Command)
@click.argument("endpoint")
@click.option("-o", "--output", metavar="PATH", help="Of the image: a folder, or FILE.tar; ENDPOINT.tar if not said.")
@click.option("--dockerfile", metavar="DIR", help="Write a Dockerfile and its context there instead.")
@click.option(
    "--base",
    default="",
    metavar="IMAGE|PATH",
    help="What to build on; the setting image_base, or docker.io/library/python:MINOR-slim if not said.",
)
@click.option("--tag", default="", metavar="NAME:TAG", help="The image's name; ENDPOINT:NUMBER if not said.")
@click.option(
    "--platform", default="", metavar="OS/ARCH", help="linux/amd64 or linux/arm64; this machine's if not said."
)
@click.option(
    "--authentication", type=click.Choice(["token", "platform"]), default="token", show_default=True,
    help="Who admits requests: a token in SERVE_TOKEN, or a platform in front.",
)  # fmt: skip
@click.option("--wheels", metavar="DIR", help="Take wheels from this folder before those that are installed here.")
@click.pass_obj
def build(
    invocation: Invocation, endpoint: str, output: str | None, dockerfile: str | None, base: str, tag: str, platform: str,
    authentication: Any, wheels: str | None,
) -> None:  # fmt: skip
    """Build a container image of what ENDPOINT serves now, without a container engine.

    It is an OCI layout, which `podman load -i FILE.tar` and `skopeo copy oci-archive:FILE.tar …` take. The same endpoint, base
    and wheels give the same digest. The image runs `mainspring serve` on port 8080, with a token that it gets as SERVE_TOKEN.
    """
    if dockerfile is not None:
        if output or tag or platform or wheels:
            raise click.UsageError("--dockerfile takes --base and --authentication; the rest is the builder's.")
        _write_context(invocation, endpoint, dockerfile, base, authentication)
        return
    from mainspring.deploy import build_image

    target = Path(output or f"{endpoint}.tar")
    with progress_line(invocation, str) as tell:
        built = build_image(
            endpoint, target, base=base, tag=tag, platform=platform, authentication=authentication, wheels=wheels,
            workspace=invocation.workspace, on_progress=tell,
        )  # fmt: skip
    invocation.show(built, lambda: _told(built, authentication))


def _write_context(invocation: Invocation, endpoint: str, folder: str, base: str, authentication: Any) -> None:
    from mainspring.deploy import write_dockerfile

    with progress_line(invocation, str) as tell:
        written = write_dockerfile(
            endpoint, folder, base=base, authentication=authentication, workspace=invocation.workspace, on_progress=tell
        )
    said = f"{endpoint} ({written.version}) can be built on {written.base}"
    shared = _shared(written.shared_libraries)
    invocation.show(written, f"{shared}{said}: podman build -t {endpoint} {shlex.quote(written.path)}")


def _told(built: BuiltImage, authentication: str) -> str:
    layers = ", ".join(f"{about} {text.size(size)}" for about, size in built.layers.items())
    give = "-e SERVE_TOKEN " if authentication == "token" else ""
    return (
        f"{built.reference} ({built.version}) for {built.platform}: {built.digest}\n"
        f"{text.size(built.size_bytes)} ({layers}) on {text.size(built.base_size_bytes)} of {built.base}\n"
        f"{_shared(built.shared_libraries)}"
        f"podman load -i {shlex.quote(built.path)} && podman run -p 8080:8080 {give}{built.reference}"
    )


def _shared(libraries: dict[str, tuple[str, ...]]) -> str:
    """A line of the shared libraries of this machine that go along; nothing if none do."""
    told = "; ".join(f"{name} of {', '.join(owners)}" for name, owners in libraries.items())
    return f"shared libraries: {told}\n" if told else ""
