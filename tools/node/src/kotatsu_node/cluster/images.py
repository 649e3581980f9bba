"""Load images into the node: from our buildah storage, or from an archive file."""

from __future__ import annotations

import hashlib
import json
import tarfile
import tempfile
from pathlib import Path

from kotatsu_node.build.buildah import Buildah
from kotatsu_node.components import containerd
from kotatsu_node.errors import NodeError
from kotatsu_node.layout import Layout


def load(layout: Layout, buildah: Buildah, image: str) -> bool:
    """Put an image (a tag or an archive's path) into the node; false if it was there already."""
    is_archive = Path(image).is_file()
    fingerprint = archive_fingerprint(Path(image)) if is_archive else _fingerprint(buildah, image)
    if _is_loaded(layout, fingerprint):
        return False
    before = containerd.images(layout)
    if is_archive:
        containerd.ctr(layout, "images", "import", "--digests=false", Path(image).absolute())
        names = [n for n, d in containerd.images(layout).items() if before.get(n) != d]
    else:
        names = _import_from_buildah(layout, buildah, image)
    after = containerd.images(layout)
    _remember(layout, fingerprint, {name: after[name] for name in names if name in after})
    # The kubelet, which would collect them, is told not to collect anything.
    if replaced := replaced_images(after):
        containerd.ctr(layout, "images", "rm", *replaced, check=False)
    return True


def replaced_images(present: dict[str, str]) -> list[str]:
    """Of names and their digests, the bare ids whose image has no tag any more.

    Containers that were made from such an image run on without it.
    """
    tagged = {digest for name, digest in present.items() if not _is_id(name)}
    return [name for name, digest in present.items() if _is_id(name) and digest not in tagged]


def _is_id(name: str) -> bool:
    return name.startswith("sha256:")


def names_in_node(tag: str) -> list[str]:
    """The full names that a tag needs in the node.

    buildah reads a name without a registry as `localhost/…`, Kubernetes as `docker.io/…`;
    the image gets both, so a pod may name it as it was named when built.
    """
    repository, separator, version = tag.rpartition(":")
    if not separator or "/" in version:
        repository, version = tag, "latest"
    first, _, rest = repository.partition("/")
    if rest and ("." in first or ":" in first or first == "localhost"):
        return [f"{repository}:{version}"]
    official = repository if rest else f"library/{repository}"
    return [f"localhost/{repository}:{version}", f"docker.io/{official}:{version}"]


def archive_fingerprint(archive: Path) -> str:
    """A digest that names the content of an OCI or Docker archive; NodeError for other files."""
    try:
        with tarfile.open(archive) as tar:
            for index in ("index.json", "manifest.json"):
                try:
                    member = tar.extractfile(index)
                except KeyError:
                    continue
                if member is not None:
                    return f"archive:{hashlib.sha256(member.read()).hexdigest()}"
    except (tarfile.TarError, OSError) as error:
        raise NodeError(f"{archive} is no readable archive: {error}") from None
    raise NodeError(
        f"{archive} is no image archive (it has neither index.json nor manifest.json)",
        hint="make one with `docker save` or `buildah push IMAGE oci-archive:FILE`",
    )


def _fingerprint(buildah: Buildah, image: str) -> str:
    found = buildah.image_id(image)
    if not found:
        raise NodeError(
            f"there is no image {image}: neither a file of that name nor built here",
            hint=f"build it first: kotatsu-node build {image} --file Dockerfile",
        )
    return f"{names_in_node(image)[0]}@{found}"


def _import_from_buildah(layout: Layout, buildah: Buildah, image: str) -> list[str]:
    names = names_in_node(image)
    with tempfile.TemporaryDirectory(prefix=".load-", dir=buildah.root) as directory:
        archive = Path(directory) / "image.tar"
        # Of the archive formats this is the one with uncompressed layers: it saves half the time.
        target = f"docker-archive:{archive}:{names[0]}"
        buildah.call("push", "--quiet", *buildah.policy_flag(), image, target)
        containerd.ctr(layout, "images", "import", "--digests=false", archive)
    for other in names[1:]:
        containerd.ctr(layout, "images", "tag", "--force", names[0], other)
    return names


def _is_loaded(layout: Layout, fingerprint: str) -> bool:
    wanted = _read(layout).get(fingerprint)
    if not wanted:
        return False
    present = containerd.images(layout)
    return all(present.get(name) == digest for name, digest in wanted.items())


def _remember(layout: Layout, fingerprint: str, names: dict[str, str]) -> None:
    known = _read(layout)
    # A name that now means this image no longer means another.
    kept = {k: v for k, v in known.items() if not set(v) & set(names)}
    layout.loaded.write_text(json.dumps({**kept, fingerprint: names}, indent=2))


def _read(layout: Layout) -> dict[str, dict[str, str]]:
    try:
        known = json.loads(layout.loaded.read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
