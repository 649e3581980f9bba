"""What Docker saves, loaded by a containerd of our own with the flags that kind gives to ctr."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import needs
import pytest
from demo.archives import (
    docker_24,
    docker_25,
    docker_29,
    docker_29_attested,
    docker_29_of_two_platforms,
)

from kotatsu_node.build import prepare
from kotatsu_node.errors import NodeError
from kotatsu_node.layout import Layout

pytestmark = pytest.mark.slow

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


def imported(ctr: Ctr, file: Path, tag: str, write: Callable[[str], bytes]) -> str:
    """Import an archive; what ctr says where it fails."""
    file.write_bytes(write(tag))
    done = ctr(*IMPORT, stdin=file)
    return done.stderr if done.returncode else ""


@pytest.mark.parametrize("write", [docker_24, docker_25, docker_29])
def test_an_image_that_docker_saves_is_loaded_and_a_pod_can_start_from_it(
    ctr: Ctr, tmp_path: Path, write: Callable[[str], bytes]
) -> None:
    tag = f"localhost/{write.__name__.replace('_', '-')}:dev"
    assert imported(ctr, tmp_path / "image.tar", tag, write) == ""
    checked = ctr("images", "check", "--snapshotter=overlayfs", f"name=={tag}").stdout
    (row,) = [line for line in checked.splitlines() if line.startswith(f"{tag} ")]
    assert "complete (2/2)" in row, checked
    assert row.split()[-1] == "true", checked  # it is unpacked


@pytest.mark.parametrize("write", [docker_29_of_two_platforms, docker_29_attested])
def test_an_index_that_names_what_is_not_there_is_what_kind_cannot_load(
    ctr: Ctr, tmp_path: Path, write: Callable[[str], bytes]
) -> None:
    said = imported(ctr, tmp_path / "image.tar", "localhost/index:dev", write)
    assert "content digest" in said
    assert "not found" in said
