"""The chart of docs/how-to/helm.md: with Kotatsu, and on a cluster that has none."""

from pathlib import Path
from typing import Any

import pytest
from chart.kit import render_anew, require_helm
from docs.pages import ROOT, blocks

PAGE = (ROOT / "docs/how-to/helm.md").read_text()
POOLED = "--set=warmPool.enabled=true"

POD = "{metadata: {labels: {app: shop}}, spec: {containers: [{name: shop, image: shop}]}}"
DEPLOYMENT = f"""\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: shop}}
%s  selector: {{matchLabels: {{app: shop}}}}
  template: {POD}
"""
SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: shop}
%s  ports: [{port: 80}]
"""


def write_chart(folder: Path) -> Path:
    """The templates of the page, in a chart of their own."""
    helpers, pool, deployment, service = blocks(PAGE, "text")
    [values] = blocks(PAGE, "yaml")
    app = f"{DEPLOYMENT % deployment}---\n{SERVICE % service}"
    templates = folder / "templates"
    templates.mkdir()
    for name, text in {"_helpers.tpl": helpers, "warmpool.yaml": pool, "app.yaml": app}.items():
        (templates / name).write_text(text)
    (folder / "Chart.yaml").write_text("{apiVersion: v2, name: shop, version: 0.1.0}\n")
    (folder / "values.yaml").write_text(values)
    return folder


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    require_helm()
    return write_chart(tmp_path)


def rendered(chart: Path, *arguments: str) -> dict[str, dict[str, Any]]:
    """What comes out, by kind."""
    objects = render_anew(chart, None, *arguments).objects
    return {found["kind"]: found["spec"] for found in objects}


def test_with_kotatsu_the_pool_sets_replicas_and_the_route(chart: Path) -> None:
    found = rendered(chart, POOLED)
    assert found["WarmPool"]["targetRef"] == {"name": "shop"}
    assert "replicas" not in found["Deployment"]
    assert found["Service"]["selector"]["kotatsu.dev/route"] == "Activator"


@pytest.mark.parametrize("on", ["auto", "false"])
def test_without_kotatsu_or_a_pool_the_app_is_as_any_other(chart: Path, on: str) -> None:
    """`helm template` sees no cluster; the CRD is not enough."""
    crd = ("--api-versions", "kotatsu.dev/v1beta1/WarmPool")
    found = rendered(chart, *crd, f"--set=warmPool.enabled={on}")
    assert set(found) == {"Deployment", "Service"}
    assert found["Deployment"]["replicas"] == 2
    assert found["Service"]["selector"] == {"app": "shop"}
