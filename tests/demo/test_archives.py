"""What Docker saves, loaded by a containerd of our own with the flags that kind gives to ctr."""

import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import needs
import pytest
from demo.archives import Blobs, classic_store, containerd_store, docker_24, layer

from kotatsu_node.build import prepare
from kotatsu_node.errors import NodeError
from kotatsu_node.layout import Layout

pytestmark = pytest.mark.slow

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), "amd64")
OTHER = "arm64" if ARCHITECTURE == "amd64" else "amd64"
CONTENT = layer("etc/word", "おはよう".encode().hex())
# What `kind load image-archive` runs on each node (kind's pkg/cluster/nodeutils), with the
# snapshotter of the node's configuration, by default this one.
IMPORT = ("images", "import", "--all-platforms", "--digests", "--snapshotter=overlayfs", "-")

CONFIGURATION = """\
version = 3
root = "{folder}/root"
state = "{folder}/state"
imports = []
oom_score = 0
disabled_plugins = [
  "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri",
  "io.containerd.image-verifier.v1.bindir", "io.containerd.internal.v1.opt",
  "io.containerd.nri.v1.nri", "io.containerd.podsandbox.controller.v1.podsandbox",
]

[grpc]
  address = "{folder}/c.sock"

[ttrpc]
  address = "{folder}/t.sock"
"""

Ctr = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def ctr(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ctr]:
    """Runs ctr on a containerd that only this module has."""
    if os.geteuid() != 0:
        needs.missing("containerd", "it runs as root")
    try:
        programs = prepare.locate(Layout.from_environment())
    except NodeError as error:
        needs.missing("containerd", error.what)
    if programs.missing():
        needs.missing("containerd", "`make programs` builds it")
    # The path of a unix socket holds 107 bytes.
    folder = tmp_path_factory.mktemp("c")
    (folder / "config.toml").write_text(CONFIGURATION.format(folder=folder))
    log = (folder / "log").open("w")
    containerd = subprocess.Popen(
        [programs.kube / "containerd", "--config", folder / "config.toml"], stdout=log, stderr=log
    )

    def run(*arguments: str, stdin: Path | None = None) -> "subprocess.CompletedProcess[str]":
        command = [programs.kube / "ctr", "--address", folder / "c.sock", "--namespace=k8s.io"]
        with stdin.open() if stdin else open(os.devnull) as given:  # noqa: PTH123
            return subprocess.run(
                [*command, *arguments], stdin=given, capture_output=True, text=True, check=False
            )

    try:
        end = time.monotonic() + 60
        while run("version").returncode != 0:
            assert containerd.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < end, (folder / "log").read_text()
            time.sleep(0.1)
        yield run
    finally:
        containerd.terminate()
        containerd.wait(timeout=30)
        log.close()


def assert_loaded(ctr: Ctr, tag: str) -> None:
    """Its name is there with all of its content, unpacked: a pod can start from it."""
    checked = ctr("images", "check", "--snapshotter=overlayfs", f"name=={tag}").stdout
    (row,) = [line for line in checked.splitlines() if line.startswith(f"{tag} ")]
    assert "complete (2/2)" in row, checked
    assert row.split()[-1] == "true", checked


@pytest.mark.parametrize("write", [docker_24, classic_store])
def test_what_dockers_own_store_saves_is_loaded(ctr: Ctr, tmp_path: Path, write: Callable) -> None:
    tag = f"localhost/{write.__name__.replace('_', '-')}:dev"
    done = ctr(*IMPORT, stdin=write(tmp_path / "image.tar", tag, ARCHITECTURE, CONTENT))
    assert done.returncode == 0, done.stderr
    assert_loaded(ctr, tag)


def test_what_containerds_store_saves_of_a_build_without_attestations_is_loaded(
    ctr: Ctr, tmp_path: Path
) -> None:
    blobs, tag = Blobs(), "localhost/plain:dev"
    image = blobs.image(ARCHITECTURE, CONTENT)
    done = ctr(*IMPORT, stdin=containerd_store(tmp_path / "image.tar", tag, blobs, image))
    assert done.returncode == 0, done.stderr
    assert_loaded(ctr, tag)


def test_an_index_of_which_one_platform_is_there_is_what_kind_cannot_load(
    ctr: Ctr, tmp_path: Path
) -> None:
    blobs, tag = Blobs(), "localhost/index:dev"
    mine, other = blobs.image(ARCHITECTURE, CONTENT), blobs.image(OTHER, CONTENT)
    index = blobs.index(mine, other)
    blobs.forget(other)
    done = ctr(*IMPORT, stdin=containerd_store(tmp_path / "image.tar", tag, blobs, index))
    assert done.returncode != 0
    assert "content digest" in done.stderr
    assert "not found" in done.stderr


def test_an_index_whose_attestation_is_not_there_is_what_kind_cannot_load(
    ctr: Ctr, tmp_path: Path
) -> None:
    blobs, tag = Blobs(), "localhost/attested:dev"
    image = blobs.image(ARCHITECTURE, CONTENT)
    attestation = blobs.attestation(image)
    index = blobs.index(image, attestation)
    blobs.forget(attestation)
    done = ctr(*IMPORT, stdin=containerd_store(tmp_path / "image.tar", tag, blobs, index))
    assert done.returncode != 0
    assert "not found" in done.stderr
