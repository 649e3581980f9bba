"""Images for a cloud cluster: pushed, and the values with which the charts take them."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from chart.kit import containers, render, require_helm
from release.conftest import silent

from kotatsu_release.builders import Build
from kotatsu_release.push import push, write_values

PREFIX = "registry.example/me"


@pytest.mark.parametrize("chart", ["kotatsu", "pet"])
def test_the_values_make_a_chart_use_what_was_pushed(tmp_path: Path, chart: str) -> None:
    require_helm()
    pushed: list[str] = []

    def make(build: Build, *, push: bool) -> str:
        assert push
        pushed.append(f"{build.reference}@sha256:{len(pushed):064x}")
        return pushed[-1].partition("@")[2]

    # Nothing is asked of the registry: a push of a checkout replaces what is there.
    builder = SimpleNamespace(platforms=("linux/arm64",), make=make)
    commands = write_values(push(tmp_path, PREFIX, builder, tmp_path, silent()), tmp_path)
    file = tmp_path / f"{chart}-images.yaml"
    assert f"helm install {chart} charts/{chart} --values {file}" in commands
    deployed = [found["spec"]["template"] for found in render(chart, file).of("Deployment")]
    images = {container["image"] for pod in deployed for container in containers(pod)}
    assert images
    assert all(image.startswith(f"{PREFIX}/kotatsu-") for image in images)
    assert images <= set(pushed)
