"""A whole release into a real registry on loopback, with small images, and what it offers."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import needs
import packages
import pytest
import yaml
from release.conftest import VERSION, commit, git, silent

from kotatsu_demo.images import IMAGES
from kotatsu_node import Node
from kotatsu_node.build import debian
from kotatsu_node.layout import BASE_IMAGE
from kotatsu_release.builders import Buildah
from kotatsu_release.charts import Helm
from kotatsu_release.errors import ReleaseError
from kotatsu_release.evidence import CHECKSUMS, PROVENANCE
from kotatsu_release.plan import Plan
from kotatsu_release.release import Release, Released, Tools, summary
from kotatsu_release.signing import Cosign
from kotatsu_release.tree import unpack

# The first run on a machine makes the base image, which takes minutes while other tests run.
pytestmark = [pytest.mark.nightly, pytest.mark.timeout(1200)]

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
CYCLONEDX = """\
#!/bin/sh
# Stands in for cyclonedx-py: the file is the argument after -o.
while [ "$1" != -o ]; do shift; done
echo '{"bomFormat": "CycloneDX"}' > "$2"
"""
COSIGN = """\
#!/bin/sh
echo "$@" >> "$(dirname "$0")/cosign.log"
while [ "$#" -gt 1 ]; do if [ "$1" = --bundle ]; then echo {} > "$2"; fi; shift; done
"""
ACCEPT = "application/vnd.oci.image.manifest.v1+json"

Make = Callable[..., Released]


def script(file: Path, text: str) -> Path:
    file.write_text(text)
    file.chmod(0o755)
    return file


@pytest.fixture(scope="session")
def node() -> Node:
    try:
        if lacking := debian.missing():
            packages.install(*lacking)
    except packages.CannotInstallError as error:
        needs.missing("buildah", str(error))
    if os.geteuid() != 0:
        needs.missing("root", "images are built with its rights")
    return Node.open(progress=silent())


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stand-ins for programs that are not needed to see what a release is."""
    folder = tmp_path_factory.mktemp("tools")
    script(folder / "cyclonedx-py", CYCLONEDX)
    script(folder / "cosign", COSIGN)
    return folder


@pytest.fixture(scope="session")
def make(node: Node, registry: str, helm: str, tools: Path) -> Iterator[Make]:
    """Release a checkout; what came of it. Its files are in `out` beside the checkout."""
    cyclonedx = tools / "cyclonedx-py"

    def release(root: Path, path: str, *, dry_run: bool = False) -> Released:
        plan = Plan(VERSION, f"{registry}/{path}", plain_http=True, is_dry_run=dry_run)
        cosign = Cosign(str(tools / "cosign"), "k.key")
        used = Tools(
            Buildah(node, plain_http=True), Helm(helm, plan), cyclonedx, cosign, "urn:test"
        )
        where = root.parent / "out"
        where.mkdir(exist_ok=True)
        return Release(root, where, plan, used, silent()).make(lambda: NOON)

    yield release
    names = node.buildah.call("images", "--format", "{{.Name}}:{{.Tag}}").split()
    made = [name for name in names if name.startswith(f"{registry}/")]
    if made:
        node.buildah.call("rmi", *made, check=False)


@pytest.fixture(scope="session")
def released(make: Make, root: Path) -> Released:
    """Made once, as the registry is: a worker may run other files between these tests."""
    return make(root, "first")


def pull(repository: str, kind: str, digest: str) -> bytes:
    """What a registry has under a digest; it is what it says."""
    host, _, name = repository.partition("/")
    address = f"http://{host}/v2/{name}/{kind}/{digest}"
    answer = httpx.get(address, headers={"Accept": ACCEPT}, trust_env=False)
    assert answer.status_code == 200, address
    assert f"sha256:{hashlib.sha256(answer.content).hexdigest()}" == digest
    return answer.content


def tags(registry: str, name: str) -> list[str]:
    answer = httpx.get(f"http://{registry}/v2/{name}/tags/list", trust_env=False)
    return answer.json()["tags"] if answer.status_code == 200 else []


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)
def test_each_image_is_pulled_by_its_digest_and_is_what_the_commit_has(
    released: Released, root: Path, image: Any
) -> None:
    named = released.images[image.name]
    manifest = json.loads(pull(named.repository, "manifests", named.digest))
    config = json.loads(pull(named.repository, "blobs", manifest["config"]["digest"]))
    labels = config["config"]["Labels"]
    assert labels["org.opencontainers.image.revision"] == git(root, "rev-parse", "HEAD")
    assert labels["org.opencontainers.image.version"] == VERSION
    (layer,) = manifest["layers"]
    with tarfile.open(fileobj=io.BytesIO(pull(named.repository, "blobs", layer["digest"]))) as tar:
        file = tar.extractfile("name")
        assert file is not None
        assert file.read().decode() == image.name


@pytest.mark.parametrize("chart", ["kotatsu", "pet"])
def test_each_chart_is_pulled_by_helm_and_its_pods_run_the_images_of_the_release(
    released: Released, helm: str, registry: str, tmp_path: Path, chart: str
) -> None:
    def run(*arguments: str) -> str:
        return subprocess.run(
            [helm, *arguments], capture_output=True, text=True, check=True, cwd=tmp_path
        ).stdout

    address = f"oci://{registry}/first/charts/{chart}"
    run("pull", address, "--version", VERSION, "--plain-http")
    package = f"{chart}-{VERSION}.tgz"
    about = yaml.safe_load(run("show", "chart", package))
    assert (about["version"], about["appVersion"]) == (VERSION, VERSION)
    rendered = run("template", "x", package, "--kube-version", "1.34.0")
    used = {
        container["image"]
        for found in yaml.safe_load_all(rendered)
        if found and found["kind"] == "Deployment"
        for container in found["spec"]["template"]["spec"]["containers"]
    }
    # The stand-in for GitHub is off by default.
    mine = [i for i in IMAGES if i.chart == chart and i.name != "github-stub"]
    named = [released.images[image.name] for image in mine]
    assert used == {f"{one.repository}:{VERSION}@{one.digest}" for one in named}


def test_the_checksums_are_those_of_all_files(released: Released, root: Path) -> None:
    where = root.parent / "out"
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", CHECKSUMS], cwd=where, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    checked = {line.partition(":")[0] for line in done.stdout.splitlines()}
    names = {file.name for file in released.files if ".sigstore." not in file.name}
    assert {Path(name).name for name in checked} == names - {CHECKSUMS}
    assert {f"kotatsu-{VERSION}.tgz", f"pet-{VERSION}.tgz", "kubectl-demo_mode.tar.gz"} <= checked
    assert f"kotatsu_demo_mode-{VERSION}-py3-none-any.whl" in checked
    assert "sbom/operator.cdx.json" in checked


def test_the_provenance_names_the_commit_and_everything_that_was_made(
    released: Released, root: Path, node: Node
) -> None:
    said = json.loads((root.parent / "out" / PROVENANCE).read_text())
    assert said["_type"] == "https://in-toto.io/Statement/v1"
    assert said["predicateType"] == "https://slsa.dev/provenance/v1"
    build, run = said["predicate"]["buildDefinition"], said["predicate"]["runDetails"]
    source, base = build["resolvedDependencies"][:2]
    assert source == {"digest": {"gitCommit": git(root, "rev-parse", "HEAD")}}
    assert base == {"name": BASE_IMAGE, "digest": {"sha256": node.buildah.digest(BASE_IMAGE)[7:]}}
    assert build["externalParameters"]["version"] == VERSION
    assert run["metadata"]["startedOn"] == "2030-01-01T12:00:00Z"
    subjects = {one["name"]: one["digest"]["sha256"] for one in said["subject"]}
    for image in released.images.values():
        assert f"sha256:{subjects[image.repository]}" == image.digest
    for file in released.files:
        if file.name not in (CHECKSUMS, PROVENANCE) and ".sigstore." not in file.name:
            assert subjects[file.name] == hashlib.sha256(file.read_bytes()).hexdigest()


def test_with_cosign_all_that_was_pushed_is_signed_by_digest(
    released: Released, tools: Path, root: Path
) -> None:
    pushed, *files = [line.split() for line in (tools / "cosign.log").read_text().splitlines()[:3]]
    assert pushed[:4] == ["sign", "--yes", "--key", "k.key"]
    images = [f"{one.repository}@{one.digest}" for one in released.images.values()]
    charts = [f"{one.digest}" for one in released.charts]
    assert pushed[4 : 4 + len(images)] == images
    assert [name.partition("@")[2] for name in pushed[4 + len(images) :]] == charts
    out = root.parent / "out"
    for line, name in zip(files, (CHECKSUMS, PROVENANCE), strict=True):
        bundle = out / f"{name}.sigstore.json"
        assert line[-3:] == ["--bundle", str(bundle), str(out / name)]
        assert bundle in released.files


def test_the_wheels_install_together_and_the_plugin_runs(
    released: Released, tmp_path: Path
) -> None:
    wheels = [str(file) for file in released.files if file.suffix == ".whl"]
    # Unpacked is installed, for wheels of pure Python.
    for wheel in wheels:
        shutil.unpack_archive(wheel, tmp_path / "site", "zip")
    names = {path.name for path in (tmp_path / "site").glob("*.dist-info")}
    assert names == {
        f"kotatsu_demo_mode-{VERSION}.dist-info",
        f"kotatsu_operator-{VERSION}.dist-info",
    }
    entry = (
        tmp_path / "site" / f"kotatsu_demo_mode-{VERSION}.dist-info/entry_points.txt"
    ).read_text()
    assert "kubectl-demo_mode = kotatsu_demo_mode.__main__:main" in entry
    assert "kubectl_complete-demo_mode = kotatsu_demo_mode.__main__:complete" in entry
    done = subprocess.run(
        [sys.executable, "-P", "-m", "kotatsu_demo_mode", "--help"],
        env={"PYTHONPATH": str(tmp_path / "site")}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.startswith("usage: kubectl demo-mode"), done.stderr


def test_the_same_release_again_changes_nothing(make: Make, released: Released, root: Path) -> None:
    sums = (root.parent / "out" / CHECKSUMS).read_text()
    again = make(root, "first")
    assert again.images == released.images
    assert again.charts == released.charts
    assert (root.parent / "out" / CHECKSUMS).read_text() == sums


def test_another_commit_cannot_take_a_version_that_is_published(
    make: Make, released: Released, checkout: Path, registry: str
) -> None:
    (checkout / "LICENSE").write_text("another")
    commit(checkout)
    with pytest.raises(ReleaseError, match="is published already, made from commit") as caught:
        make(checkout, "first")
    assert "release the next one" in caught.value.hint
    operator = released.images["operator"]
    assert pull(operator.repository, "manifests", operator.digest)


def test_a_chart_of_other_content_cannot_take_a_version_that_is_published(
    released: Released, helm: str, registry: str, root: Path, tmp_path: Path
) -> None:
    with tarfile.open(released.charts[0].file) as tar:
        unpack(tar, tmp_path)
    (tmp_path / "kotatsu/README.md").write_text("another")
    plan = Plan(VERSION, f"{registry}/first", plain_http=True)
    mine = Helm(helm, plan).package(tmp_path / "kotatsu", tmp_path)
    with pytest.raises(ReleaseError, match="already, with other content"):
        Helm(helm, plan).push(mine)


def test_a_dry_run_makes_everything_and_pushes_nothing(
    make: Make, checkout: Path, registry: str
) -> None:
    made = make(checkout, "dry", dry_run=True)
    assert {file.name for file in made.files} >= {CHECKSUMS, PROVENANCE, "demo-mode.yaml"}
    assert all(image.digest.startswith("sha256:") for image in made.images.values())
    assert tags(registry, "dry/kotatsu-operator") == tags(registry, "dry/charts/kotatsu") == []
    plan = Plan(VERSION, f"{registry}/dry", is_dry_run=True)
    assert "nothing was pushed" in summary(made, plan)
    assert "oci://" in summary(made, replace(plan, is_dry_run=False))


def test_a_version_without_a_section_in_the_changelog_pushes_nothing(
    make: Make, checkout: Path, registry: str
) -> None:
    (checkout / "CHANGELOG.md").write_text("# Changelog\n\n## [Unreleased]\n")
    commit(checkout)
    with pytest.raises(ReleaseError, match="no section for"):
        make(checkout, "unwritten")
    assert tags(registry, "unwritten/kotatsu-operator") == []
