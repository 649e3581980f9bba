"""The images of this checkout: where each is made, and which chart value names it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[4]
"""The checkout: Dockerfiles and charts are its, so this package works from it alone."""

TAG = "dev"
SHARED = "images/Dockerfile"
"""The Dockerfile of all images that are pure Python."""
ANNOTATION = "kotatsu.dev/image"
"""Pod annotation with the image's id: a rebuilt image of the same name gets new pods."""


@dataclass(frozen=True)
class Image:
    """An image, its Dockerfile (built from the root) and the place of its name in the values."""

    name: str
    dockerfile: str
    chart: str = "pet"
    key: str = ""
    """Key in the chart's values that holds `image`; empty: the top."""
    pods: tuple[str, ...] = ()
    """Keys in the chart's values that hold the `podAnnotations` of its pods."""
    is_needed: bool = False
    """Whether there is no show without it."""
    folder: str = ""
    """Folder of its Python project, with lock and sources; empty: it has none."""
    imports: str = ""
    """Modules that the shared Dockerfile imports in the finished image."""
    description: str = ""

    @property
    def build_arguments(self) -> tuple[str, ...]:
        """KEY=VALUE for each argument of the shared Dockerfile; others need none."""
        if self.dockerfile != SHARED:
            return ()
        return (
            f"FOLDER={self.folder}",
            f"IMPORTS={self.imports}",
            f"NAME=kotatsu-{self.name}",
            f"DESCRIPTION={self.description}",
        )

    @property
    def build_flags(self) -> tuple[str, ...]:
        """The same as flags of `docker build`."""
        return tuple(word for pair in self.build_arguments for word in ("--build-arg", pair))


@dataclass(frozen=True)
class Built:
    """An image that the cluster can use."""

    image: Image
    repository: str
    id: str = ""
    """Names the content; empty when only a registry knows it."""

    @property
    def reference(self) -> str:
        """The name that a pod gives."""
        return f"{self.repository}:{TAG}"


IMAGES = (
    Image(
        "operator",
        SHARED,
        "kotatsu",
        pods=("operator", "activator"),
        is_needed=True,
        folder="operator",
        imports="kotatsu_operator.controller.app, kotatsu_operator.activator.app",
        description="Warm pools for Kubernetes: operator and activator",
    ),
    Image(
        "voice",
        "services/voice/Dockerfile",
        key="voice",
        pods=("voice",),
        is_needed=True,
        folder="services/voice",
    ),
    Image(
        "auth",
        SHARED,
        key="auth",
        pods=("auth",),
        folder="services/auth",
        imports="kotatsu_auth.app",
        description="GitHub identity for Kotatsu's pet",
    ),
    Image(
        "feed",
        SHARED,
        key="feed",
        pods=("feed",),
        folder="services/feed",
        imports="kotatsu_feed.app",
        description="A pet bird fed with GitHub contributions to Dart repositories",
    ),
    Image("gateway", "charts/pet/gateway/Dockerfile", key="gateway", pods=("gateway",)),
    Image(
        "github-stub",
        SHARED,
        key="githubStub",
        pods=("githubStub",),
        folder="tools/github-stub",
        imports="kotatsu_github_stub.app",
        description="Not GitHub: for tests and demos only",
    ),
)


def present(root: Path = ROOT) -> tuple[list[Image], list[Image]]:
    """The images that can be built from this checkout, and those whose Dockerfile is missing."""
    there = [image for image in IMAGES if (root / image.dockerfile).is_file()]
    return there, [image for image in IMAGES if image not in there]


def local_name(image: Image) -> str:
    """The repository of an image that no registry has."""
    return f"localhost/kotatsu-{image.name}"


def image_values(
    chart: str, defaults: Mapping[str, Any], built: Sequence[Built], pull_policy: str
) -> dict[str, Any]:
    """The values that make a chart use these images, and do without the others.

    `defaults` are the chart's own values: an image that the chart has no place for is left out.
    """
    values: dict[str, Any] = {}
    by_name = {one.image.name: one for one in built}
    for image in IMAGES:
        known = defaults.get(image.key, {}) if image.key else defaults
        if image.chart != chart or "image" not in known:
            continue
        place = values.setdefault(image.key, {}) if image.key else values
        one = by_name.get(image.name)
        if one is None:
            place["enabled"] = False
            continue
        place["image"] = {"repository": one.repository, "tag": TAG, "pullPolicy": pull_policy}
        for pods in image.pods if one.id else ():
            if "podAnnotations" in defaults.get(pods, {}):
                values.setdefault(pods, {})["podAnnotations"] = {ANNOTATION: one.id}
    return values
