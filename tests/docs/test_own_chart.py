"""The chart of docs/how-to/helm.md: with Kotatsu, and on a cluster that has none."""

from pathlib import Path
from typing import Any

import pytest
from chart.kit import render_anew, require_helm
from docs.pages import ROOT, blocks

PAGE = (ROOT / "docs/how-to/helm.md").read_text()
KOTATSU = ("--api-versions", "kotatsu.dev/v1beta1/WarmPool")


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """The templates of the page, in a chart of their own."""
    require_helm()
    helpers, pool, deployment, service = blocks(PAGE, "text")
    [values] = blocks(PAGE, "yaml")
    app = "kind: Deployment\nmetadata: {name: shop}\n" + deployment
    app += "---\nkind: Service\nmetadata: {name: shop}\n" + service
    templates = tmp_path / "templates"
    templates.mkdir()
    for name, text in {"_helpers.tpl": helpers, "warmpool.yaml": pool, "app.yaml": app}.items():
        (templates / name).write_text(text)
    (tmp_path / "Chart.yaml").write_text("{apiVersion: v2, name: shop, version: 0.1.0}\n")
    (tmp_path / "values.yaml").write_text(values)
    return tmp_path


def rendered(chart: Path, *arguments: str) -> dict[str, dict[str, Any]]:
    """What comes out, by kind."""
    objects = render_anew(chart, None, *arguments).objects
    return {found["kind"]: found["spec"] for found in objects}


def test_with_kotatsu_the_pool_sets_replicas_and_the_route(chart: Path) -> None:
    found = rendered(chart, *KOTATSU)
    assert found["WarmPool"]["targetRef"] == {"name": "shop"}
    assert not found["Deployment"]
    assert found["Service"]["selector"]["kotatsu.dev/route"] == "Activator"


@pytest.mark.parametrize("off", [(), (*KOTATSU, "--set=warmPool.enabled=false")])
def test_without_a_pool_the_app_is_as_any_other(chart: Path, off: tuple[str, ...]) -> None:
    found = rendered(chart, *off)
    assert set(found) == {"Deployment", "Service"}
    assert found["Deployment"] == {"replicas": 2}
    assert found["Service"]["selector"] == {"app": "shop"}
