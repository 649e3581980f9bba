"""The commit that is released, and the tree with its version."""

import re
import tarfile
import tomllib
from pathlib import Path

import pytest
import yaml
from chart.kit import ROOT
from release.conftest import BASE, commit

from kotatsu_demo.images import IMAGES
from kotatsu_release import tree
from kotatsu_release.errors import ReleaseError

pytestmark = pytest.mark.slow  # each makes a repository of its own


@pytest.mark.parametrize("change", ["new.txt", "LICENSE"])
def test_a_checkout_with_changes_is_refused(checkout: Path, change: str) -> None:
    tree.clean_commit(checkout)
    (checkout / change).write_text("changed")
    with pytest.raises(ReleaseError) as caught:
        tree.clean_commit(checkout)
    assert change in caught.value.report()
    assert "git stash --include-untracked" in caught.value.hint


def test_the_tree_has_the_version_wherever_one_stands(checkout: Path, tmp_path: Path) -> None:
    made = tree.stage(checkout, commit_of(checkout), "7.1.0-rc.1", tmp_path / "tree")
    for chart in tree.CHARTS:
        found = yaml.safe_load((made / "charts" / chart / "Chart.yaml").read_text())
        assert (found["version"], found["appVersion"]) == ("7.1.0-rc.1", "7.1.0-rc.1")
    for package in tree.PACKAGES:
        project = tomllib.loads((made / package / "pyproject.toml").read_text())["project"]
        assert project["version"] == "7.1.0-rc.1"
    assert "kotatsu-operator==7.1.0-rc.1" in project["dependencies"]


SOURCE = "https://git.example/me/kotatsu"
ADDRESS = re.compile(r"https?://[^\s)\]>\"']+")


@pytest.mark.parametrize("source", [SOURCE, ""])
def test_a_released_chart_names_the_repository_or_none(
    checkout: Path, tmp_path: Path, source: str
) -> None:
    made = tree.stage(checkout, commit_of(checkout), "7.1.0", tmp_path / "tree", source)
    for chart in tree.CHARTS:
        about = yaml.safe_load((made / "charts" / chart / "Chart.yaml").read_text())
        assert about.get("home", "") == source
        assert about.get("sources", [""]) == [source]
        assert about.get("icon", "").startswith(source)


def test_each_address_of_a_released_chart_leads_to_a_file_of_its_version(
    checkout: Path, tmp_path: Path
) -> None:
    made = tree.stage(checkout, commit_of(checkout), "7.1.0", tmp_path / "tree", SOURCE)
    files = ["charts/kotatsu/rules/kotatsu.yaml"]
    files += [
        f"charts/{chart}/{name}" for chart in tree.CHARTS for name in ("README.md", "Chart.yaml")
    ]
    told = {address for file in files for address in ADDRESS.findall((made / file).read_text())}
    ours = {address.partition("#")[0] for address in told if address.startswith(f"{SOURCE}/")}
    paths = {re.sub(rf"^{SOURCE}/(blob|raw)/v7\.1\.0/", "", address) for address in ours}
    assert len(paths) > 20
    assert [path for path in paths if not (made / path).exists()] == []
    alerts = [
        rule
        for group in yaml.safe_load((made / files[0]).read_text())["groups"]
        for rule in group["rules"]
    ]
    for alert in alerts:
        page = f"{SOURCE}/blob/v7.1.0/docs/runbooks/{alert['alert']}.md"
        assert alert["annotations"]["runbook_url"] == page


def test_a_link_to_a_file_that_is_not_in_the_commit_ends_the_release(
    checkout: Path, tmp_path: Path
) -> None:
    with (checkout / "charts/pet/README.md").open("a") as readme:
        readme.write("[gone](../../docs/gone.md)\n")
    with pytest.raises(ReleaseError, match=r"links to docs/gone\.md"):
        tree.stage(checkout, commit(checkout), "7.1.0", tmp_path / "tree", SOURCE)


def test_a_checkout_names_no_address_of_its_own() -> None:
    for file in (
        *(ROOT / "charts").rglob("Chart.yaml"),
        ROOT / "charts/kotatsu/rules/kotatsu.yaml",
    ):
        assert not re.search(r"https?://", file.read_text()), file


def test_each_image_of_the_tree_says_its_version_and_commit(checkout: Path, tmp_path: Path) -> None:
    commit = commit_of(checkout)
    made = tree.stage(checkout, commit, "7.1.0", tmp_path / "tree")
    for image in IMAGES:
        last = (made / image.dockerfile).read_text().splitlines()[-1]
        assert last == tree.labels("7.1.0", commit).strip()


def test_each_image_of_a_release_starts_from_one_digest_and_says_from_which(
    checkout: Path, tmp_path: Path
) -> None:
    made = tree.stage(checkout, commit_of(checkout), "7.1.0", tmp_path / "tree")
    assert tree.base_image(made) == BASE
    tree.pin(made, f"{BASE}@sha256:{'a' * 64}")
    for image in IMAGES:
        lines = (made / image.dockerfile).read_text().splitlines()
        assert f"ARG BASE_IMAGE={BASE}@sha256:{'a' * 64}" in lines
        assert lines[-1] == (
            f'LABEL org.opencontainers.image.base.name="{BASE}"'
            f' org.opencontainers.image.base.digest="sha256:{"a" * 64}"'
        )


def test_the_tree_is_the_commits_and_not_what_lies_around(checkout: Path, tmp_path: Path) -> None:
    first = commit_of(checkout)
    (checkout / "LICENSE").write_text("another one")
    commit(checkout)
    made = tree.stage(checkout, first, "7.1.0", tmp_path / "tree")
    assert (made / "LICENSE").read_text() != "another one"


def commit_of(checkout: Path) -> str:
    return tree.clean_commit(checkout)


@pytest.mark.skipif(not hasattr(tarfile, "data_filter"), reason="needs Python 3.11.4")
def test_a_member_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("../outside"))
    with tarfile.open(tmp_path / "evil.tar") as archive, pytest.raises(tarfile.FilterError):
        tree.unpack(archive, tmp_path / "inside")
    assert not (tmp_path / "outside").exists()
