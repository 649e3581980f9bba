"""Charts that name the images of their release by digest."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from kotatsu_demo.images import IMAGES, TAG, Image, local_name
from kotatsu_node import shell
from kotatsu_node.errors import NodeError
from kotatsu_release.errors import ReleaseError
from kotatsu_release.plan import Plan
from kotatsu_release.registry import ask

_DIGEST = re.compile(r"^Digest: (sha256:[0-9a-f]{64})$", re.MULTILINE)
_ABSENT = ("not found", "manifest unknown", "name unknown")
_SECONDS = 300.0


@dataclass(frozen=True)
class Named:
    """An image of a release, as a chart names it."""

    repository: str
    digest: str


@dataclass(frozen=True)
class Chart:
    """A packaged chart; the digest is the registry's, empty if it was not pushed."""

    name: str
    file: Path
    digest: str = ""


def with_images(values: str, chart: str, named: Mapping[str, Named]) -> str:
    """A chart's values.yaml in which each image (by its name) is the one of a release.

    Comments stay. The tag is the chart's appVersion; the digest decides. Raises ReleaseError if an
    image does not stand in the values as it does in a checkout.
    """
    lines = values.splitlines()
    for image in IMAGES:
        if image.chart == chart:
            _name(lines, image, named[image.name])
    text = "\n".join(lines) + "\n"
    found = yaml.safe_load(text)
    for image in (image for image in IMAGES if image.chart == chart):
        place = (found[image.key] if image.key else found)["image"]
        wanted = named[image.name]
        if (place["repository"], place["tag"], place["digest"]) != (
            *(wanted.repository, ""),
            wanted.digest,
        ):
            raise _unlike(image)
    return text


def with_place(readme: str, chart: str, plan: Plan) -> str:
    """A chart's README whose commands take the chart from the registry, and not from a checkout."""
    return readme.replace(f" charts/{chart} ", f" {plan.charts}/{chart} --version {plan.version} ")


def _name(lines: list[str], image: Image, named: Named) -> None:
    """Write one image into the lines: its repository, and tag and digest below it."""
    at = [n for n, line in enumerate(lines) if line.strip() == f"repository: {local_name(image)}"]
    if len(at) != 1:
        raise _unlike(image)
    indent = lines[at[0]][: -len(lines[at[0]].lstrip())]
    lines[at[0]] = f"{indent}repository: {named.repository}"
    for key, before, after in (("tag", TAG, '""'), ("digest", '""', named.digest)):
        for n in range(at[0] + 1, len(lines)):
            if lines[n] == f"{indent}{key}: {before}":
                lines[n] = f"{indent}{key}: {after}"
                break
            if lines[n].strip() and not lines[n].startswith(indent):
                raise _unlike(image)


def _unlike(image: Image) -> ReleaseError:
    return ReleaseError(
        f"charts/{image.chart}/values.yaml does not name the image {image.name} as a checkout does",
        hint=f'it must have `repository: {local_name(image)}`, `tag: {TAG}` and `digest: ""`',
    )


class Helm:
    """Packages, pushes and pulls charts."""

    def __init__(self, program: str, plan: Plan) -> None:
        self._program, self._plan = program, plan
        self._how = ("--plain-http",) if plan.plain_http else ()

    def package(self, chart: Path, where: Path) -> Chart:
        """Package a chart whose tree has its version."""
        self._call("package", str(chart), "--destination", str(where))
        return Chart(chart.name, where / f"{chart.name}-{self._plan.version}.tgz")

    def push(self, chart: Chart) -> Chart:
        """Push a chart, unless the registry has it; ReleaseError if it has another one."""
        there = self._pull(chart)
        if there is not None:
            if contents(there.file) != contents(chart.file):
                raise ReleaseError(
                    f"{self._plan.charts}/{chart.name} has a version {self._plan.version} already,"
                    " with other content",
                    hint="a version that is published never changes: release the next one",
                )
            chart.file.write_bytes(there.file.read_bytes())
            return Chart(chart.name, chart.file, there.digest)
        said = self._call("push", str(chart.file), self._plan.charts, *self._how)
        return Chart(chart.name, chart.file, _digest(said))

    def _pull(self, chart: Chart) -> Chart | None:
        where = chart.file.parent / "published"
        where.mkdir(exist_ok=True)
        pull = ("pull", f"{self._plan.charts}/{chart.name}", "--version", self._plan.version)
        trouble = NodeError(
            "the registry cannot be asked which charts it has",
            hint="check REGISTRY, and log in with `helm registry login HOST`",
        )
        command = [self._program, *pull, "--destination", where, *self._how]
        done = ask(command, _ABSENT, trouble, seconds=_SECONDS)
        if done is None:
            return None
        return Chart(chart.name, where / chart.file.name, _digest(done.stdout + done.stderr))

    def _call(self, *arguments: str) -> str:
        done = shell.call([self._program, *arguments], timeout=_SECONDS)
        return done.stdout + done.stderr


def contents(package: Path) -> dict[str, bytes]:
    """The files of a packaged chart, by name; their times differ from one packaging to the next."""
    with tarfile.open(package) as tar:
        files = [member for member in tar.getmembers() if member.isfile()]
        return {file.name: tar.extractfile(file).read() for file in files}  # type: ignore[union-attr]


def _digest(said: str) -> str:
    found = _DIGEST.search(said)
    if found is None:
        raise NodeError("helm did not say the digest of the chart", log=said)
    return found[1]
