"""helm and kubectl: found in PATH, in a Python package, or among what was built, in this order."""

import io
import os
import tarfile
import zipfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest

from kotatsu_node.build import clients
from kotatsu_node.errors import NodeError
from kotatsu_node.layout import Layout, sources


@dataclass(frozen=True)
class Packaged:
    """The file in a Python package that holds the programs."""

    file: Path

    @property
    def name(self) -> str:
        return self.file.name

    def locate(self) -> Path:
        return self.file


@dataclass(frozen=True)
class Package:
    """What importlib.metadata tells of the package."""

    files: list[Packaged]
    version: str = "2.0.0"


@pytest.fixture
def layout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Layout:
    """A machine with nothing in PATH, without the package, and with nothing built."""
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    absent(monkeypatch)
    return Layout(state=tmp_path / "state", cache=tmp_path / "cache")


def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    def distribution(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(clients.metadata, "distribution", distribution)


def install(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    package = Package([Packaged(file.with_name("README.md")), Packaged(file)])
    monkeypatch.setattr(clients.metadata, "distribution", lambda name: package)


def packed(folder: Path) -> Path:
    """The programs as the package has them: a zip file in a tar archive."""
    layer = io.BytesIO()
    with zipfile.ZipFile(layer, "w") as programs:
        for name in ("helm", "kubectl"):
            programs.writestr(f"{name}/{name}", f"#!/bin/sh\necho {name}\n")
    file = folder / "layer@2.0.0.jsii.tgz"
    with tarfile.open(file, "w:gz") as tar:
        member = tarfile.TarInfo("package/lib/layer.zip")
        member.size = len(layer.getvalue())
        tar.addfile(member, io.BytesIO(layer.getvalue()))
    return file


def program(path: Path, *, age: float = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    path.chmod(0o755)
    os.utime(path, (1e9 - age, 1e9 - age))
    return path


def test_without_any_there_is_none(layout: Layout) -> None:
    assert clients.find("helm", layout) is None


def test_the_one_in_path_is_first(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(monkeypatch, packed(tmp_path))
    mine = program(tmp_path / "path" / "helm")
    assert clients.find("helm", layout) == mine


def test_a_link_of_the_node_is_followed_to_the_program(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = program(layout.binaries / "kubernetes-v1.37.2-abc" / "kubectl")
    layout.bin.mkdir(parents=True)
    (layout.bin / "kubectl").symlink_to(built)
    monkeypatch.setenv("PATH", str(layout.bin))
    assert clients.find("kubectl", layout) == built


def test_the_packages_are_second_and_can_be_run(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program(layout.binaries / "kubernetes-v1.37.2-abc" / "helm")
    install(monkeypatch, packed(tmp_path))
    for name in ("helm", "kubectl"):
        found = clients.find(name, layout)
        assert found is not None
        assert found.read_text().endswith(f"echo {name}\n")
        assert os.access(found, os.X_OK)


def test_the_package_is_unpacked_once(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    archive = packed(tmp_path)
    install(monkeypatch, archive)
    first = clients.find("helm", layout)
    archive.unlink()
    assert clients.find("helm", layout) == first


@pytest.mark.parametrize("content", [b"", b"\x1f\x8bno archive"])
def test_a_damaged_package_says_what_to_do_and_leaves_nothing(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes
) -> None:
    archive = tmp_path / "layer@2.0.0.jsii.tgz"
    archive.write_bytes(content)
    install(monkeypatch, archive)
    with pytest.raises(NodeError, match=f"cannot be unpacked from {archive}") as caught:
        clients.find("helm", layout)
    assert "make venv" in caught.value.hint
    assert list(layout.binaries.iterdir()) == []


def test_the_last_one_built_is_third(layout: Layout) -> None:
    program(layout.binaries / "kubernetes-v1.34.4-abc" / "helm", age=60)
    newest = program(layout.binaries / "kubernetes-v1.37.2-def" / "helm")
    assert clients.find("helm", layout) == newest


def test_the_package_is_one_that_every_developer_has() -> None:
    lock = (sources().parents[1] / "requirements.lock").read_text()
    assert f"\n{clients._PACKAGE}==" in lock
