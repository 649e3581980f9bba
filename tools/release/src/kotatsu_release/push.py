"""`make push`: the images of this checkout in a registry of yours, and values that name them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from kotatsu_demo.images import IMAGES, TAG, Image
from kotatsu_node.progress import Progress
from kotatsu_release.builders import Build, Builder
from kotatsu_release.charts import Named
from kotatsu_release.plan import repository
from kotatsu_release.tree import CHARTS


def push(
    root: Path, prefix: str, builder: Builder, work: Path, progress: Progress
) -> dict[str, Named]:
    """Build and push every image; by their names. Raises NodeError."""
    named = {}
    for image in IMAGES:
        name = repository(prefix, image)
        reference = f"{name}:{TAG}"
        with progress.step(f"build and push {reference} ({', '.join(builder.platforms)})"):
            digest = builder.make(Build(image, root, reference, work), push=True)
        named[image.name] = Named(name, digest)
    return named


def values(chart: str, named: dict[str, Named]) -> dict[str, Any]:
    """The values with which a chart takes these images."""
    found: dict[str, Any] = {}
    for image in _of(chart):
        one = named[image.name]
        place = found.setdefault(image.key, {}) if image.key else found
        place["image"] = {"repository": one.repository, "tag": TAG, "digest": one.digest}
    return found


def write_values(named: dict[str, Named], where: Path) -> list[str]:
    """Write one values file a chart; the commands that install with them."""
    where.mkdir(parents=True, exist_ok=True)
    commands = []
    for chart in CHARTS:
        file = where / f"{chart}-images.yaml"
        file.write_text(yaml.safe_dump(values(chart, named), sort_keys=False))
        commands.append(f"helm install {chart} charts/{chart} --values {file}")
    return commands


def _of(chart: str) -> Sequence[Image]:
    return [image for image in IMAGES if image.chart == chart]
