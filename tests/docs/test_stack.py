"""docs/how-to/monitoring.md for kube-prometheus-stack: its values make what the stack looks for."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from chart.kit import Rendered, render, require_helm
from docs.pages import ROOT, blocks, section

SECTION = section("docs/how-to/monitoring.md", "kube-prometheus-stack")
OURS, STACK = blocks(SECTION, "yaml")
STACK_VALUES: dict[str, Any] = yaml.safe_load(STACK)
RELEASE = {"release": "kube-prometheus-stack"}


@pytest.fixture(scope="module", autouse=True)
def _needs_helm() -> None:
    require_helm()


@pytest.fixture(scope="module")
def kotatsu(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    values: Path = tmp_path_factory.mktemp("values") / "stack-values.yaml"
    values.write_text(OURS)
    return render("kotatsu", values)


def _labels(rendered: Rendered, kind: str) -> list[dict[str, str]]:
    return [obj["metadata"]["labels"] for obj in rendered.of(kind)]


@pytest.mark.parametrize("kind", ["PodMonitor", "PrometheusRule"])
def test_the_stack_selects_what_the_platform_is_monitored_by(kotatsu: Rendered, kind: str) -> None:
    found = [RELEASE.items() <= labels.items() for labels in _labels(kotatsu, kind)]
    assert found == [True] * (2 if kind == "PodMonitor" else 1)


def test_the_stack_selects_what_the_pet_is_monitored_by() -> None:
    settings = re.findall(r"--set (\S+)", SECTION)
    assert len(settings) == 2
    pet = render("pet", None, *(f"--set={setting}" for setting in settings))
    assert [RELEASE.items() <= labels.items() for labels in _labels(pet, "PodMonitor")] == [True]


def test_grafanas_sidecar_finds_each_dashboard(kotatsu: Rendered) -> None:
    sidecar = STACK_VALUES["grafana"]["sidecar"]["dashboards"]
    wanted = {sidecar["label"]: sidecar["labelValue"]}
    found = [labels for labels in _labels(kotatsu, "ConfigMap") if wanted.items() <= labels.items()]
    assert len(found) == len(list((ROOT / "charts/kotatsu/dashboards").glob("*.json")))
