"""What a build leaves that did not come to its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import needs
import pytest

from kotatsu_node import Node, mounts

pytestmark = needs.A_NODE

TAG = "localhost/kotatsu-interrupted:test"


@pytest.fixture
def node() -> Iterator[Node]:
    node = Node.open()
    node.down()
    yield node
    if node.buildah.image_id(TAG):
        node.buildah.call("rmi", TAG)


Start = Callable[[int], subprocess.Popen[bytes]]


@pytest.fixture
def start(node: Node, tmp_path: Path) -> Iterator[Start]:
    """Starts a build whose one step takes so many seconds, and waits until it is at that step."""
    children: list[subprocess.Popen[bytes]] = []

    def start(seconds: int) -> subprocess.Popen[bytes]:
        file = tmp_path / "Dockerfile"
        file.write_text(f"ARG BASE_IMAGE\nFROM ${{BASE_IMAGE}}\nRUN sleep {seconds}\n")
        command = [Path(sys.executable).with_name("kotatsu-node"), "build", "-f", file, TAG]
        children.append(subprocess.Popen(command, start_new_session=True))
        end = time.monotonic() + 120
        while not containers(node):
            assert time.monotonic() < end, "the build does not begin"
            time.sleep(0.2)
        return children[-1]

    yield start
    for child in children:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def containers(node: Node) -> list[str]:
    return node.buildah.call("containers", "--quiet", "--noheading").split()


def mounted(node: Node) -> list[str]:
    return [point for point in mounts.of(node.buildah.root) if point.endswith("/merged")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_build_that_was_interrupted_leaves_nothing_after_down(
    node: Node, start: Start, number: int
) -> None:
    child = start(600)
    os.killpg(child.pid, number)
    child.wait(60)
    node.down()
    assert (containers(node), mounted(node)) == ([], [])


def test_a_build_that_runs_is_left_alone_by_down(node: Node, start: Start) -> None:
    child = start(5)
    node.down()
    assert containers(node)
    assert child.wait(60) == 0
    assert node.buildah.image_id(TAG)
