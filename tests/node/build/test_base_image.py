"""The trimmed base of the images: whatever is left in it finds its libraries and works.

In two layouts: Debian's own, and that of Docker's images of Python, whose interpreter is in
/usr/local and belongs to no package.
"""

from __future__ import annotations

from collections.abc import Iterator

import needs
import pytest

from kotatsu_demo.images import ROOT
from kotatsu_node import Node
from kotatsu_node.layout import BASE_IMAGE

pytestmark = needs.A_NODE

TO_USR_LOCAL = r"""
mv /usr/lib/python3.* /usr/local/lib/ && mv /usr/bin/python3* /usr/local/bin/
ln -sf python3 /usr/local/bin/python
cd /var/lib/dpkg
rm info/*python3*
sed -i '/^Package: \(lib\)\?python3/,/^$/d' status
"""
IN_A_HOOK = "ls / > /dev/null && sleep 0 && kill -0 $$ && cat /etc/os-release | head -1"


class Container:
    """A container made from the base image."""

    def __init__(self, node: Node) -> None:
        self._buildah = node.buildah
        self._name = self._buildah.call(
            "from", "--pull-never", *self._buildah.policy_flag(), BASE_IMAGE
        )

    def add(self, *files: str) -> None:
        """Copy files of this checkout to /check."""
        paths = [ROOT / file for file in files]
        self._buildah.call("copy", "--quiet", self._name, *paths, "/check/")

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command in it; what it printed."""
        return self._buildah.call("run", self._name, "--", *command, check=check)

    def remove(self) -> None:
        """Delete it."""
        self._buildah.call("rm", self._name)


@pytest.fixture(scope="module", params=["", TO_USR_LOCAL], ids=["debian", "docker"])
def trimmed(request: pytest.FixtureRequest) -> Iterator[Container]:
    node = Node.open()
    node.prepare_base()
    with node.buildah.building():
        container = Container(node)
        try:
            container.run("sh", "-e", "-c", request.param)
            container.add("images/elf.py", "images/trim.py", "tests/images/inside.py")
            container.run("python3", "/check/trim.py")
            yield container
        finally:
            container.remove()


def test_every_file_finds_its_libraries_and_every_module_is_imported(trimmed: Container) -> None:
    assert trimmed.run("python3", "/check/inside.py") == ""


def test_what_a_hook_before_a_pods_end_needs_works(trimmed: Container) -> None:
    assert "Debian" in trimmed.run("/bin/sh", "-c", IN_A_HOOK)


def test_a_file_whose_library_has_gone_is_found(trimmed: Container) -> None:
    trimmed.run("sh", "-c", "cd /usr/lib/*-linux-gnu && mv libzstd.so.1 hidden")
    said = trimmed.run("python3", "/check/inside.py", check=False)
    trimmed.run("sh", "-c", "cd /usr/lib/*-linux-gnu && mv hidden libzstd.so.1")
    assert "/libcrypto.so.3: error while loading shared libraries: libzstd.so.1" in said
    assert "_ssl: ImportError" in said
