"""What is to be released, and where to: checked before anything is done."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kotatsu_demo.images import Image
from kotatsu_release.errors import ReleaseError

PLATFORMS = ("linux/amd64", "linux/arm64")
_NUMBER = r"(0|[1-9][0-9]*)"
# Semantic versioning without build metadata: a registry's tag cannot have the + before it.
_VERSION = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?")
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REGISTRY = re.compile(rf"[a-z0-9][a-z0-9.-]*(:[0-9]+)?(/{_PART})+")
_SOURCE = re.compile(r"https?://[^/\s]+(/[^/\s]+)+(?<!\.git)")
_PLACEHOLDER = re.compile(r"https?://([^/]+\.)?example\.(com|net|org)(:\d+)?/.*")
_LOOPBACK = re.compile(r"(localhost|127(\.[0-9]+){3})(:[0-9]+)?(/.*)?")


@dataclass(frozen=True)
class Plan:
    """A release: its version, its registry, and how they are reached."""

    version: str
    registry: str
    """Host and path, without a scheme: images and charts are below it."""
    plain_http: bool = False
    is_dry_run: bool = False
    """Make everything, push nothing."""
    downloads: str = ""
    """Address of the folder that the release's files are downloaded from; empty: not known."""
    source: str = ""
    """Address of the repository, which all addresses are made from; empty: not known."""

    def repository(self, image: Image) -> str:
        """The name of an image without its tag."""
        return repository(self.registry, image)

    @property
    def charts(self) -> str:
        """Where charts are pushed to; a chart's own name follows."""
        return f"oci://{self.registry}/charts"


def repository(registry: str, image: Image) -> str:
    """The name of an image below a host and path, without its tag."""
    return f"{registry}/kotatsu-{image.name}"


def check_version(version: str) -> None:
    """Raise ReleaseError unless this is a semantic version that a registry takes as a tag."""
    if not _VERSION.fullmatch(version):
        raise ReleaseError(
            f"{version!r} is no version that can be released",
            hint="give one like 1.4.0 or 1.4.0-rc.1 (semantic versioning, without v and without +):"
            " make release VERSION=1.4.0 REGISTRY=…",
        )


def check_registry(registry: str, variable: str = "REGISTRY") -> None:
    """Raise ReleaseError unless this is a host and a path, as in an image's name."""
    if not _REGISTRY.fullmatch(registry):
        raise ReleaseError(
            f"{registry!r} names no place in a registry",
            hint=f"give host and path in lower case, without https://, such as"
            f" {variable}=registry.example/me",
        )


def check_source(source: str) -> None:
    """Raise ReleaseError unless this is empty or the address of a repository, without a slash."""
    if source and (not _SOURCE.fullmatch(source) or _PLACEHOLDER.fullmatch(source)):
        raise ReleaseError(
            f"{source!r} is no address of a repository",
            hint="give the one that a browser shows, such as SOURCE=https://github.com/me/kotatsu,"
            " or leave SOURCE out: the charts name no address then",
        )


def speaks_plain_http(registry: str) -> bool:
    """Whether a registry is on this machine, where clients expect no TLS."""
    return _LOOPBACK.fullmatch(registry) is not None


def check_changelog(version: str, text: str) -> None:
    """Raise ReleaseError unless CHANGELOG.md has a section for the version (`## [1.4.0] …`)."""
    if not re.search(rf"^## \[{re.escape(version)}\]", text, re.MULTILINE):
        raise ReleaseError(
            f"CHANGELOG.md has no section for {version}",
            hint=f"rename its section Unreleased to `## [{version}] - YYYY-MM-DD`, and commit",
        )
