"""The plugin as one file, and what krew is given."""

import hashlib
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import needs
import pytest
import yaml
from chart.kit import ROOT

from kotatsu_node.build import clients
from kotatsu_node.layout import Layout
from kotatsu_release import plugin
from kotatsu_release.tree import unpack

DOWNLOADS = "https://downloads.example/v7.1.0"
POOL = """\
apiVersion: kotatsu.dev/v1beta1
kind: WarmPool
metadata: {name: voice}
spec: {targetRef: {name: voice}, timeZone: Asia/Tokyo}
"""


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("plugin")
    plugin.write(ROOT, where, "7.1.0", DOWNLOADS)
    return where


@pytest.fixture
def unpacked(packed: Path, tmp_path: Path) -> Path:
    """What krew puts into its store."""
    with tarfile.open(packed / plugin.ARCHIVE) as archive:
        unpack(archive, tmp_path / "store")
    return tmp_path / "store"


def manifest(packed: Path) -> dict:
    return yaml.safe_load((packed / plugin.MANIFEST).read_text())


def run(program: Path, *words: str, path: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a program with this PATH and nothing else in the environment."""
    return subprocess.run(
        [program, *words], cwd=cwd, env={"PATH": path}, capture_output=True, text=True, check=False
    )


def fake(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def bare(tmp_path: Path) -> str:
    """A PATH whose Python has no packages of any environment: -I and -S."""
    fake(tmp_path / "bin", "python3", f'exec {sys.executable} -IS "$@"')
    return f"{tmp_path}/bin:/bin"


def test_the_manifest_has_the_shape_krew_asks_for(packed: Path) -> None:
    found = manifest(packed)
    assert found["apiVersion"] == "krew.googlecontainertools.github.com/v1alpha2"
    assert (found["kind"], found["metadata"]) == ("Plugin", {"name": "demo-mode"})
    assert found["spec"]["version"] == "v7.1.0"
    assert len(found["spec"]["shortDescription"]) <= 50


def test_the_manifest_names_this_archive_and_a_program_in_it(packed: Path) -> None:
    (platform,) = manifest(packed)["spec"]["platforms"]
    data = (packed / plugin.ARCHIVE).read_bytes()
    assert platform["uri"] == f"{DOWNLOADS}/{plugin.ARCHIVE}"
    assert platform["sha256"] == hashlib.sha256(data).hexdigest()
    (systems,) = platform["selector"]["matchExpressions"]
    assert (systems["key"], systems["values"]) == ("os", ["linux", "darwin"])
    with tarfile.open(packed / plugin.ARCHIVE) as archive:
        modes = {member.name: member.mode for member in archive.getmembers()}
    assert modes[platform["bin"]] == modes[plugin.COMPLETE] == 0o755
    assert "LICENSE" in modes


@pytest.mark.slow
def test_a_folder_may_be_named_as_make_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plugin.write(ROOT, Path("made"), "7.1.0", "")
    (platform,) = manifest(tmp_path / "made")["spec"]["platforms"]
    assert platform["uri"] == (tmp_path / "made" / plugin.ARCHIVE).as_uri()


@pytest.mark.slow
def test_it_runs_with_a_bare_python_from_an_empty_folder(
    unpacked: Path, tmp_path: Path, bare: str
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "pool.yaml").write_text(POOL)
    pool = str(tmp_path / "pool.yaml")
    done = run(unpacked / plugin.NAME, "plan", "-f", pool, path=bare, cwd=empty)
    assert (done.returncode, done.stderr) == (0, "")
    assert "in Asia/Tokyo" in done.stdout
    assert "No transitions in this time." in done.stdout


@pytest.mark.slow
def test_it_reads_a_calendar_with_a_bare_python(unpacked: Path, tmp_path: Path, bare: str) -> None:
    (tmp_path / "team.ics").write_text("<html>")
    words = ("window", "import", "team.ics")
    done = run(unpacked / plugin.NAME, *words, path=bare, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: team.ics is not an iCalendar file but a web page")


def test_a_newer_python_is_found_behind_an_old_one(unpacked: Path, tmp_path: Path) -> None:
    fake(tmp_path / "bin", "python3", "exit 1")  # what the question for its version ends with
    fake(tmp_path / "bin", "python3.12", f'exec {sys.executable} -IS "$@"')
    done = run(unpacked / plugin.NAME, "--help", path=f"{tmp_path}/bin:/bin", cwd=tmp_path)
    assert done.stdout.startswith("usage: kubectl demo-mode"), done.stderr


def test_uv_brings_a_python_where_there_is_none(unpacked: Path, tmp_path: Path) -> None:
    fake(tmp_path / "bin", "uv", 'echo "$@"')
    done = run(unpacked / plugin.NAME, "status", path=f"{tmp_path}/bin", cwd=tmp_path)
    program = unpacked / plugin.NAME
    assert done.stdout == f"run --quiet --no-project --python >=3.11 {program} status\n"


def test_without_any_it_says_what_it_needs(unpacked: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    done = run(unpacked / plugin.NAME, "status", path=f"{tmp_path}/bin", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: kubectl demo-mode needs Python 3.11 or newer, or uv")


def test_kubectl_itself_finds_the_plugin_and_completes_its_words(
    unpacked: Path, tmp_path: Path, bare: str
) -> None:
    kubectl = clients.find("kubectl", Layout.from_environment())
    if kubectl is None:
        needs.missing("kubectl", "install it")
    path = f"{unpacked}:{bare}:{kubectl.parent}"
    done = run(kubectl, "demo-mode", "--help", path=path, cwd=tmp_path)
    assert done.stdout.startswith("usage: kubectl demo-mode"), done.stderr
    done = run(kubectl, "__complete", "demo-mode", "completion", "z", path=path, cwd=tmp_path)
    assert done.stdout.split() == ["zsh", ":4"], done.stderr


def test_it_brings_only_what_it_needs_and_the_licenses_of_others(packed: Path) -> None:
    with zipfile.ZipFile(packed / plugin.NAME) as archive:
        names = archive.namelist()
    assert not [n for n in names if "activator" in n or n.endswith(".so")]
    # Any other Python than the one that packed it reads the source.
    assert {n.removesuffix("c") for n in names if n.endswith(".pyc")} <= {*names}
    owners = {n.split("/")[1] for n in names if n.startswith("licenses/")}
    assert owners == {"cronsim", "icalendar", "python-dateutil", "tzdata", "PyYAML"}


@pytest.mark.slow
def test_the_same_sources_make_the_same_archive(packed: Path, tmp_path: Path) -> None:
    plugin.write(ROOT, tmp_path, "7.1.0", DOWNLOADS)
    for name in (plugin.ARCHIVE, plugin.MANIFEST):
        assert (packed / name).read_bytes() == (tmp_path / name).read_bytes()
