"""The images of this checkout: where each is made, and which chart value names it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[4]
"""The checkout: Dockerfiles and charts are its, so this package works from it alone."""

TAG = "dev"
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
        "operator", "operator/Dockerfile", "kotatsu", pods=("operator", "activator"), is_needed=True
    ),
    Image("voice", "services/voice/Dockerfile", key="voice", pods=("voice",), is_needed=True),
    Image("auth", "services/auth/Dockerfile", key="auth", pods=("auth",)),
    Image("feed", "services/feed/Dockerfile", key="feed", pods=("feed",)),
    Image("gateway", "charts/pet/gateway/Dockerfile", key="gateway", pods=("gateway",)),
    Image("github-stub", "tools/github-stub/Dockerfile", key="githubStub", pods=("githubStub",)),
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
