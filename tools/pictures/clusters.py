"""The cluster of the pictures: the one that the demo uses, with the operator's image."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kotatsu_demo import choice, facts
from kotatsu_demo.cli import NAMESPACE
from kotatsu_demo.clusters import cluster_of
from kotatsu_demo.images import IMAGES
from kotatsu_node import Node
from kotatsu_node.progress import Progress
from shown import ROOT

OPERATOR = next(image for image in IMAGES if image.name == "operator")
STAND_INS = ("docker.io/nginxinc/nginx-unprivileged:stable", "docker.io/library/busybox:1.37")
"""What the commands name, which the throwaway node cannot pull."""


@contextmanager
def running() -> Iterator[None]:
    """A cluster for the block, with kubectl, helm and the plugin in PATH; left as it was found."""
    progress = Progress()
    found = facts.look()
    chosen = choice.for_demo(found)
    cluster = cluster_of(chosen, NAMESPACE, found.image_prefix, progress)
    was_up = cluster.is_up()
    cluster.start([OPERATOR])
    cluster.provide(OPERATOR)
    if chosen.where is choice.Where.NODE:
        node = Node.open(progress=progress)
        for image in STAND_INS:
            node.build(image, ROOT / "tools/pictures/stand-in.Dockerfile")
    before = dict(os.environ)
    os.environ.update(cluster.environment())
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    try:
        yield
    finally:
        if was_up:
            web = ("--filename", ROOT / "examples/web.yaml")
            for command in (
                ("kubectl", "delete", *web, "--ignore-not-found"),
                ("helm", "uninstall", "kotatsu", "--namespace", "kotatsu"),
                ("kubectl", "delete", "namespace", "kotatsu", "--ignore-not-found"),
            ):
                subprocess.run(command, check=False)
        else:
            cluster.remove()
        os.environ.clear()
        os.environ.update(before)


def version() -> str:
    """The version of Kubernetes that runs."""
    said = subprocess.run(
        ["kubectl", "get", "nodes", "--output=jsonpath={.items[0].status.nodeInfo.kubeletVersion}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return said.stdout
