"""The manifests for Argo CD and Flux install a chart that accepts their values."""

import json
from typing import Any

import jsonschema
import pytest
import yaml
from docs.pages import ROOT, blocks

from kotatsu_operator.core.formats import parse_duration

OBJECTS: list[dict[str, Any]] = [
    document
    for block in blocks((ROOT / "docs/how-to/gitops.md").read_text(), "yaml")
    for document in yaml.safe_load_all(block)
]
SCHEMA = json.loads((ROOT / "charts/kotatsu/values.schema.json").read_text())
CHART = yaml.safe_load((ROOT / "charts/kotatsu/Chart.yaml").read_text())


def of(kind: str) -> dict[str, Any]:
    return next(o["spec"] for o in OBJECTS if o["kind"] == kind)


@pytest.mark.parametrize(
    "values",
    [of("HelmRelease")["values"], of("Application")["source"]["helm"]["valuesObject"]],
    ids=["Flux", "Argo CD"],
)
def test_the_chart_accepts_the_values(values: dict[str, Any]) -> None:
    jsonschema.validate(values, SCHEMA)


def test_both_install_the_chart_of_this_version() -> None:
    versions = (of("OCIRepository")["ref"]["tag"], of("Application")["source"]["targetRevision"])
    assert set(versions) == {CHART["version"]}
    assert of("OCIRepository")["url"].endswith(f"/charts/{CHART['name']}")


def test_flux_waits_longer_than_the_uninstall_job() -> None:
    values = yaml.safe_load((ROOT / "charts/kotatsu/values.yaml").read_text())
    job, flux = values["uninstall"]["timeout"], of("HelmRelease")["uninstall"]["timeout"]
    assert parse_duration(job) < parse_duration(flux)
