"""Which commands Docker is asked to run; nothing is built here."""

import json
import shlex
from pathlib import Path

import pytest
from release.conftest import BASE, Programs, silent

from kotatsu_demo.images import IMAGES
from kotatsu_node.errors import NodeError
from kotatsu_release import cli
from kotatsu_release.builders import Build, Buildx, Published, this_platform
from kotatsu_release.errors import ReleaseError

FEED = next(image for image in IMAGES if image.name == "feed")
REFERENCE = "r.example/me/kotatsu-feed:7.1.0"
DIGEST = "sha256:" + "a" * 64
BASE_DIGEST = "sha256:" + "b" * 64
LABELS = {
    "org.opencontainers.image.revision": "c0ffee",
    "org.opencontainers.image.base.name": BASE,
    "org.opencontainers.image.base.digest": BASE_DIGEST,
}
CONFIG = {"config": {"Labels": LABELS}}


def build(work: Path) -> Build:
    work.mkdir()
    # What buildx would write there.
    (work / "feed.json").write_text(json.dumps({"containerimage.digest": DIGEST}))
    return Build(FEED, Path("/tree"), REFERENCE, work)


def test_all_platforms_are_built_and_pushed_in_one_go(programs: Programs, tmp_path: Path) -> None:
    programs.add("docker")
    made = Buildx(("linux/amd64", "linux/arm64")).make(build(tmp_path / "work"), push=True)
    assert made == DIGEST
    (call,) = programs.calls
    assert call.startswith("docker buildx build --platform linux/amd64,linux/arm64 ")
    assert f"--file /tree/{FEED.dockerfile} --tag {REFERENCE} --output type=registry" in call
    assert call.endswith(" /tree")


def test_a_dry_run_builds_into_a_file(programs: Programs, tmp_path: Path) -> None:
    programs.add("docker")
    Buildx(("linux/amd64",)).make(build(tmp_path / "work"), push=False)
    assert f"--output type=oci,dest={tmp_path}/work/feed.tar" in programs.calls[0]
    assert "type=registry" not in programs.calls[0]


@pytest.mark.parametrize("images", [CONFIG, {"linux/amd64": CONFIG, "linux/arm64": CONFIG}])
def test_what_is_published_is_known_by_its_digest_its_commit_and_its_base(
    programs: Programs, images: dict
) -> None:
    programs.add("docker", inspect=json.dumps({"manifest": {"digest": DIGEST}, "image": images}))
    known = Published(DIGEST, "c0ffee", f"{BASE}@{BASE_DIGEST}")
    assert Buildx(()).published(REFERENCE) == known


def failing(programs: Programs, said: str) -> None:
    programs.script("docker", f"#!/bin/sh\necho {shlex.quote(said)} >&2\nexit 1\n")


def test_an_image_that_the_registry_does_not_have_is_nothing(programs: Programs) -> None:
    failing(programs, f"ERROR: {REFERENCE}: not found")
    assert Buildx(()).published(REFERENCE) is None


def test_a_registry_that_cannot_be_asked_is_an_error(programs: Programs) -> None:
    failing(programs, "ERROR: failed to do request: connection refused")
    with pytest.raises(NodeError) as caught:
        Buildx(()).published(REFERENCE)
    assert "connection refused" in caught.value.report()


def test_docker_without_buildx_leaves_the_images_to_buildah(programs: Programs) -> None:
    programs.script("docker", '#!/bin/sh\n[ "$1" = info ]\n')
    assert cli.builder("", silent(), plain_http=False).platforms == (this_platform(),)
    with pytest.raises(ReleaseError, match="alone"):
        cli.builder("linux/riscv64", silent(), plain_http=False)
