"""From a commit to a release, in order: images, charts, plugin, evidence, signatures.

Each step may be repeated: what the registry has of this commit stays as it is. What it has of this
version from another commit is never replaced.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from kotatsu_demo.images import IMAGES, Image
from kotatsu_node.progress import Progress
from kotatsu_release import evidence, plugin, tree, wheels
from kotatsu_release.builders import Build, Builder, Published
from kotatsu_release.charts import Chart, Helm, Named, with_images, with_place
from kotatsu_release.errors import ReleaseError
from kotatsu_release.plan import Plan, check_changelog
from kotatsu_release.signing import Cosign


@dataclass(frozen=True)
class Tools:
    """The programs that a release is made with."""

    builder: Builder
    helm: Helm
    cyclonedx: Path
    """`cyclonedx-py`, of the environment of `make sbom`."""
    cosign: Cosign | None
    """None where it is not installed: then nothing is signed."""
    identity: str
    """URI of what runs the release, for the provenance."""


@dataclass(frozen=True)
class Released:
    """What came of it. Names in the registry have digests only if something was pushed."""

    images: Mapping[str, Named]
    charts: Sequence[Chart]
    files: Sequence[Path]


class Release:
    """One release of the checkout at `root`; its files are written to `where`."""

    def __init__(
        self, root: Path, where: Path, plan: Plan, tools: Tools, progress: Progress
    ) -> None:
        self._root, self._where, self._plan = root, where, plan
        self._tools, self._progress = tools, progress

    def make(self, clock: Callable[[], datetime]) -> Released:
        """All of it. Raises ReleaseError before anything is pushed if it cannot be released."""
        began = clock()
        commit = tree.clean_commit(self._root)
        work = self._where / "work"
        with self._progress.step(f"unpack commit {commit[:12]} as version {self._plan.version}"):
            source = tree.stage(
                self._root, commit, self._plan.version, work / "source", self._plan.source
            )
        check_changelog(self._plan.version, _text(source / "CHANGELOG.md"))
        named, bases = self._images(source, commit, work)
        charts = self._charts(source, named)
        with self._progress.step("pack the plugin"):
            files = self._plugin(source, tree.commit_seconds(self._root, commit))
        with self._progress.step("write bills of materials"):
            files += self._materials(source)
        files += [chart.file for chart in charts]
        finished = clock()
        origin = evidence.Origin(
            commit, bases, self._tools.identity, self._tools.builder.platforms, began, finished
        )
        files += [self._provenance(source, origin, named, charts, files)]
        files += [evidence.checksums(self._where, files)]
        files += self._sign(named, charts)
        return Released(named, charts, files)

    def _images(
        self, source: Path, commit: str, work: Path
    ) -> tuple[dict[str, Named], Sequence[str]]:
        """Every image by its name, and what they are built from, by digest.

        All of the registry is looked at before the first is pushed.
        """
        builder, version = self._tools.builder, self._plan.version
        there = {}
        if not self._plan.is_dry_run:
            with self._progress.step(f"look what {self._plan.registry} has of {version}"):
                for image in IMAGES:
                    if found := self._published(image, commit):
                        there[image.name] = found
        bases = {found.base for found in there.values()}
        if len(there) < len(IMAGES):
            bases.add(self._pin(source))
        named = {}
        for image in IMAGES:
            repository = self._plan.repository(image)
            if found := there.get(image.name):
                digest = found.digest
                self._progress.say(f"{repository}:{version} is published already, from this commit")
            else:
                build = Build(image, source, f"{repository}:{version}", work / "images")
                verb = "build" if self._plan.is_dry_run else "build and push"
                platforms = ", ".join(builder.platforms)
                with self._progress.step(f"{verb} {repository}:{version} ({platforms})"):
                    digest = builder.make(build, push=not self._plan.is_dry_run)
            named[image.name] = Named(repository, digest)
        return named, sorted(bases - {""})

    def _pin(self, source: Path) -> str:
        """Write into the tree which image its own are built from, so that all have the same."""
        name = tree.base_image(source)
        with self._progress.step(f"look up the digest of {name}"):
            base = self._tools.builder.base(name)
        tree.pin(source, base)
        return base

    def _published(self, image: Image, commit: str) -> Published | None:
        """An image that is published already. Raises ReleaseError if it is another commit's."""
        reference = f"{self._plan.repository(image)}:{self._plan.version}"
        found = self._tools.builder.published(reference)
        if found is not None and found.revision != commit:
            origin = f"commit {found.revision[:12]}" if found.revision else "something else"
            raise ReleaseError(
                f"{reference} is published already, made from {origin}; this is {commit[:12]}",
                hint="a version that is published never changes: release the next one, or check out"
                " that commit to go on with its release",
            )
        return found

    def _charts(self, source: Path, named: Mapping[str, Named]) -> list[Chart]:
        charts = []
        for name in tree.CHARTS:
            folder = source / "charts" / name
            values = folder / "values.yaml"
            values.write_text(with_images(values.read_text(), name, named))
            readme = folder / "README.md"
            readme.write_text(with_place(readme.read_text(), name, self._plan))
            chart = self._tools.helm.package(folder, self._where)
            if not self._plan.is_dry_run:
                with self._progress.step(f"push chart {self._plan.charts}/{name}"):
                    chart = self._tools.helm.push(chart)
            charts.append(chart)
        return charts

    def _plugin(self, source: Path, seconds: int) -> list[Path]:
        plan = self._plan
        packed = plugin.write(source, self._where, plan.version, plan.downloads, plan.source)
        return [*packed, *wheels.build(source, self._where, seconds)]

    def _materials(self, source: Path) -> list[Path]:
        return [
            evidence.bill_of_materials(self._tools.cyclonedx, folder, name, self._where / "sbom")
            for name, folder in locked(source).items()
        ]

    def _provenance(
        self,
        source: Path,
        origin: evidence.Origin,
        named: Mapping[str, Named],
        charts: Sequence[Chart],
        files: Sequence[Path],
    ) -> Path:
        pushed = {image.repository: image.digest for image in named.values()}
        pushed |= {f"{self._plan.charts}/{c.name}": c.digest for c in charts if c.digest}
        locks = [folder / "requirements.lock" for folder in locked(source).values()]
        content = evidence.statement(self._plan, origin, pushed, files, locks)
        return evidence.write_statement(self._where, content)

    def _sign(self, named: Mapping[str, Named], charts: Sequence[Chart]) -> list[Path]:
        if self._tools.cosign is None or self._plan.is_dry_run:
            self._progress.say(
                "nothing is signed: "
                + ("this is a dry run" if self._plan.is_dry_run else "cosign is not installed")
            )
            return []
        bare = self._plan.charts.removeprefix("oci://")
        references = [f"{image.repository}@{image.digest}" for image in named.values()]
        references += [f"{bare}/{chart.name}@{chart.digest}" for chart in charts]
        with self._progress.step("sign with cosign"):
            self._tools.cosign.sign_pushed(references)
            names = (evidence.CHECKSUMS, evidence.PROVENANCE)
            return [self._tools.cosign.sign_file(self._where / name) for name in names]


def locked(source: Path) -> dict[str, Path]:
    """Folders of a tree with a requirements.lock, by the name of what is made from it."""
    folders = {image.name: source / image.folder for image in IMAGES if image.folder}
    return {**folders, "workspace": source}


def summary(released: Released, plan: Plan) -> str:
    """What to tell people: where it is, and how it is installed."""
    images = {name: f"{image.repository}@{image.digest}" for name, image in released.images.items()}
    lines = [json.dumps(images, indent=2)]
    if plan.is_dry_run:
        return "\n".join([*lines, "A dry run: nothing was pushed."])
    how = " --plain-http" if plan.plain_http else ""
    lines += ["Install it:"]
    lines += [
        f"  helm install {chart.name} {plan.charts}/{chart.name} --version {plan.version}{how}"
        for chart in released.charts
    ]
    if plan.source:
        lines += [f"The charts link to {plan.source} at the tag v{plan.version}: push it."]
    return "\n".join(lines)


def _text(file: Path) -> str:
    return file.read_text() if file.is_file() else ""
