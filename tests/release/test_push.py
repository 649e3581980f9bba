"""Images for a cloud cluster: pushed, and the values with which the charts take them."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from chart.kit import CHARTS
from release.conftest import silent

from kotatsu_demo.images import IMAGES
from kotatsu_release import cli
from kotatsu_release.builders import Build, Published
from kotatsu_release.push import push, write_values

PREFIX = "registry.example/me"


class Notes:
    """A builder that only notes what it was asked for."""

    name = "notes"
    platforms: Sequence[str] = ("linux/arm64",)

    def __init__(self) -> None:
        self.pushed: list[str] = []

    def published(self, reference: str) -> Published | None:
        raise AssertionError("a push of a checkout replaces what is there")

    def base(self, name: str) -> str:
        raise AssertionError("a push of a checkout is built from what Docker has")

    def make(self, build: Build, *, push: bool) -> str:
        assert push
        self.pushed.append(build.reference)
        return f"sha256:{len(self.pushed):064x}"


@pytest.fixture
def named(tmp_path: Path) -> dict:
    return push(tmp_path, PREFIX, Notes(), tmp_path, silent())


def test_every_image_is_pushed_under_the_prefix(tmp_path: Path) -> None:
    notes = Notes()
    push(tmp_path, PREFIX, notes, tmp_path, silent())
    assert notes.pushed == [f"{PREFIX}/kotatsu-{image.name}:dev" for image in IMAGES]


@pytest.mark.parametrize("chart", ["kotatsu", "pet"])
def test_the_values_make_a_chart_use_what_was_pushed(
    named: dict, helm: str, tmp_path: Path, chart: str
) -> None:
    commands = write_values(named, tmp_path)
    file = tmp_path / f"{chart}-images.yaml"
    assert f"helm install {chart} charts/{chart} --values {file}" in commands
    done = subprocess.run(
        [helm, "template", "x", CHARTS / chart, "--values", file, "--kube-version", "1.34.0"],
        capture_output=True,
        text=True,
        check=True,
    )
    images = {
        container["image"]
        for found in yaml.safe_load_all(done.stdout)
        if found and found["kind"] == "Deployment"
        for container in found["spec"]["template"]["spec"]["containers"]
    }
    assert images
    assert all(f"{PREFIX}/kotatsu-" in image and ":dev@sha256:" in image for image in images)


def test_a_push_without_a_place_says_how_to_name_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["push", ""], {}) == 1
    assert "IMAGE_PREFIX=registry.example/me" in capsys.readouterr().err


def test_a_release_without_version_or_registry_says_how_to_give_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.run(["release", "", ""], {}) == 1
    assert "make release VERSION=1.4.0" in capsys.readouterr().err
    assert cli.run(["release", "1.4.0", ""], {}) == 1
    assert "REGISTRY=registry.example/me" in capsys.readouterr().err
