"""The archive and the manifest for krew."""

import hashlib
import runpy
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml
from plugin.apiserver import ROOT

BUILD = ROOT / "operator/plugin/krew/build.py"
URI = "https://example.com/kubectl-demo_mode.tar.gz"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("krew")
    runpy.run_path(str(BUILD))["build"](where, URI)
    return where


def test_the_manifest_has_the_shape_krew_asks_for(built: Path):
    found = yaml.safe_load((built / "demo-mode.yaml").read_text())
    assert found["apiVersion"] == "krew.googlecontainertools.github.com/v1alpha2"
    assert (found["kind"], found["metadata"]) == ("Plugin", {"name": "demo-mode"})
    spec = found["spec"]
    assert spec["version"].startswith("v0.")
    assert len(spec["shortDescription"]) <= 50
    (platform,) = spec["platforms"]
    data = (built / "kubectl-demo_mode.tar.gz").read_bytes()
    assert (platform["uri"], platform["sha256"]) == (URI, hashlib.sha256(data).hexdigest())
    assert platform["bin"] == "kubectl-demo_mode"


def test_what_krew_unpacks_runs_with_nothing_but_python(built: Path, tmp_path: Path):
    with tarfile.open(built / "kubectl-demo_mode.tar.gz") as archive:
        names = archive.getnames()
        archive.extractall(tmp_path, filter="data")
    assert not any("activator" in name or name.endswith((".so", ".pyc")) for name in names)
    program = tmp_path / "kubectl-demo_mode"
    (tmp_path / "pool.yaml").write_text(
        "{apiVersion: kotatsu.dev/v1alpha1, kind: WarmPool, metadata: {name: voice}, "
        "spec: {targetRef: {name: voice}}}"
    )
    # -S: without this environment's packages.
    command = [sys.executable, "-S", str(program), "plan", "-f", str(tmp_path / "pool.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "No transitions in this time." in done.stdout


def test_the_same_sources_make_the_same_archive(built: Path, tmp_path: Path):
    runpy.run_path(str(BUILD))["build"](tmp_path, URI)
    name = "kubectl-demo_mode.tar.gz"
    assert (built / name).read_bytes() == (tmp_path / name).read_bytes()
