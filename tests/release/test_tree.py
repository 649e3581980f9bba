"""The commit that is released, and the tree with its version."""

import re
import shutil
import tarfile
import tomllib
from pathlib import Path

import pytest
import yaml
from chart.kit import ROOT
from release.conftest import BASE, commit, git

from kotatsu_demo.images import IMAGES
from kotatsu_release import tree
from kotatsu_release.errors import ReleaseError

pytestmark = pytest.mark.slow  # each makes a repository of its own

VERSION = "7.1.0-rc.1"
SOURCE = "https://git.example/me/kotatsu"
ADDRESS = re.compile(r"https?://[^\s)\]>\"']+")


@pytest.fixture(scope="module")
def made(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree of a version, made for the address of a repository."""
    where = tmp_path_factory.mktemp("made") / "tree"
    return tree.stage(root, tree.clean_commit(root), VERSION, where, SOURCE)


def about(made: Path, chart: str) -> dict:
    return yaml.safe_load((made / "charts" / chart / "Chart.yaml").read_text())


@pytest.mark.parametrize("change", ["new.txt", "LICENSE"])
def test_a_checkout_with_changes_is_refused(checkout: Path, change: str) -> None:
    tree.clean_commit(checkout)
    (checkout / change).write_text("changed")
    with pytest.raises(ReleaseError) as caught:
        tree.clean_commit(checkout)
    assert change in caught.value.report()
    assert "git stash --include-untracked" in caught.value.hint


def test_the_tree_has_the_version_wherever_one_stands(made: Path) -> None:
    for chart in tree.CHARTS:
        assert {about(made, chart)[key] for key in ("version", "appVersion")} == {VERSION}
    for package in tree.PACKAGES:
        project = tomllib.loads((made / package / "pyproject.toml").read_text())["project"]
        assert project["version"] == VERSION
    assert f"kotatsu-operator=={VERSION}" in project["dependencies"]


def test_a_released_chart_names_the_repository_or_none(
    made: Path, checkout: Path, tmp_path: Path
) -> None:
    without = tree.stage(checkout, tree.clean_commit(checkout), VERSION, tmp_path / "tree")
    for tree_of, source in ((made, SOURCE), (without, "")):
        for chart in tree.CHARTS:
            found = about(tree_of, chart)
            assert found.get("home", "") == source
            assert found.get("sources", [""]) == [source]
            assert found.get("icon", "").startswith(source)


def test_each_address_of_a_released_chart_leads_to_a_file_of_its_version(made: Path) -> None:
    rules = "charts/kotatsu/rules/kotatsu.yaml"
    files = [f"charts/{c}/{name}" for c in tree.CHARTS for name in ("README.md", "Chart.yaml")]
    told = {a for file in (rules, *files) for a in ADDRESS.findall((made / file).read_text())}
    ours = {address.partition("#")[0] for address in told if address.startswith(f"{SOURCE}/")}
    at_version = rf"^{SOURCE}/(blob|raw)/v{re.escape(VERSION)}/"
    paths = {re.sub(at_version, "", address) for address in ours}
    assert len(paths) > 20
    assert [path for path in paths if not (made / path).exists()] == []
    for group in yaml.safe_load((made / rules).read_text())["groups"]:
        for alert in group["rules"]:
            page = f"{SOURCE}/blob/v{VERSION}/docs/runbooks/{alert['alert']}.md"
            assert alert["annotations"]["runbook_url"] == page


def test_a_checkout_names_no_address_of_its_own() -> None:
    for file in (
        *(ROOT / "charts").rglob("Chart.yaml"),
        ROOT / "charts/kotatsu/rules/kotatsu.yaml",
    ):
        assert not re.search(r"https?://", file.read_text()), file


def test_each_image_says_its_version_its_commit_and_the_one_digest_that_it_starts_from(
    made: Path, root: Path, tmp_path: Path
) -> None:
    pinned = shutil.copytree(made, tmp_path / "pinned")
    assert tree.base_image(pinned) == BASE
    tree.pin(pinned, f"{BASE}@sha256:{'a' * 64}")
    revision = f'org.opencontainers.image.revision="{git(root, "rev-parse", "HEAD")}"'
    for image in IMAGES:
        lines = (pinned / image.dockerfile).read_text().splitlines()
        assert f"ARG BASE_IMAGE={BASE}@sha256:{'a' * 64}" in lines
        of_build, of_base = lines[-2:]
        assert of_build == f'LABEL org.opencontainers.image.version="{VERSION}" {revision}'
        assert of_base == (
            f'LABEL org.opencontainers.image.base.name="{BASE}"'
            f' org.opencontainers.image.base.digest="sha256:{"a" * 64}"'
        )


def test_the_tree_is_the_commits_and_not_what_lies_around(checkout: Path, tmp_path: Path) -> None:
    first = tree.clean_commit(checkout)
    (checkout / "LICENSE").write_text("another one")
    commit(checkout)
    made = tree.stage(checkout, first, VERSION, tmp_path / "tree")
    assert (made / "LICENSE").read_text() != "another one"


@pytest.mark.skipif(not hasattr(tarfile, "data_filter"), reason="needs Python 3.11.4")
def test_a_member_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("../outside"))
    with tarfile.open(tmp_path / "evil.tar") as archive, pytest.raises(tarfile.FilterError):
        tree.unpack(archive, tmp_path / "inside")
    assert not (tmp_path / "outside").exists()
