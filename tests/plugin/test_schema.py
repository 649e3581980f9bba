"""The schema that goes with the plugin, and how it is applied."""

import runpy
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import yaml
from fuzz.edits import edited
from fuzz.pools import specs
from hypothesis import HealthCheck, given, settings
from plugin.apiserver import CRD, ROOT
from plugin.ends import ACCEPTED, REFUSED
from plugin.kit import cron, manifest
from rows import each

from kotatsu_demo_mode.errors import DemoModeError
from kotatsu_demo_mode.pools import read_pool
from kotatsu_demo_mode.schema import defaulted, faults, spec_schema
from kotatsu_operator.core.pool.spec import PoolSpec


def nodes(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield schema
    for inner in schema.get("properties", {}).values():
        yield from nodes(inner)
    for name in ("items", "additionalProperties"):
        if name in schema:
            yield from nodes(schema[name])


def test_it_is_the_crds() -> None:
    made = runpy.run_path(str(ROOT / "operator/plugin/schema.py"))["text"]
    written = (ROOT / "operator/plugin/src/kotatsu_demo_mode/schema.json").read_text()
    assert written == made(yaml.safe_load(CRD.read_text())), "run `make schema`"


def test_every_keyword_of_the_schema_is_known_here() -> None:
    # Rules are the API server's, and dates that do not exist are refused by `parse`.
    assert {keyword for node in nodes(spec_schema()) for keyword in node} == {
        *("type", "properties", "required", "items", "default", "enum"),
        *("minimum", "maximum", "minLength", "maxLength", "maxItems", "pattern"),
        *("format", "x-kubernetes-int-or-string", "x-kubernetes-validations"),
        *("x-kubernetes-list-type", "x-kubernetes-list-map-keys"),
    }


def _read(**spec: Any) -> PoolSpec:
    return read_pool(manifest(**spec), strict=True).spec


@each("until", ACCEPTED)
def test_a_time_that_the_api_server_accepts_is_read(until: str) -> None:
    assert _read(override={"mode": "Warm", "until": until}).override is not None


@each("until", REFUSED)
def test_a_time_that_the_api_server_refuses_the_plugin_refuses(until: str) -> None:
    with pytest.raises(DemoModeError, match=r"spec\.override\.until"):
        _read(override={"mode": "Warm", "until": until})


@each("day", ["2030-02-30", "2030-13-01", "9999-01-01"])
def test_a_date_that_no_calendar_has_is_refused(day: str) -> None:
    with pytest.raises(DemoModeError, match=r"not a date like 2030-12-31"):
        _read(windows=[cron("w", "0 18 * * *", "1h") | {"excludeDates": [day]}])


def test_no_pattern_is_asked_of_a_long_text() -> None:
    patterns = [node for node in nodes(spec_schema()) if "pattern" in node]
    assert all(
        node.get("maxLength", 0) in range(1, 257) for node in patterns if "{3}" not in str(node)
    )
    long = {"targetRef": {"name": "a"}, "idleAfter": "1" * 10**6}
    assert faults(defaulted(long, spec_schema()), strict=True) == [
        "spec.idleAfter must have at most 16 characters"
    ]


def test_defaults_are_filled_in_and_nulls_left_out_as_the_api_server_does() -> None:
    spec = {"targetRef": {"name": "a"}, "windows": None, "maxReplicas": 3.0}
    made = defaulted(spec, spec_schema())
    assert made["targetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "a"}
    assert (made["timeZone"], made["route"], made["holdTimeout"]) == ("UTC", "Auto", "45s")
    assert "windows" not in made
    assert type(made["maxReplicas"]) is int


@pytest.mark.slow
@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(edited(specs()))
def test_what_a_json_schema_validator_refuses_is_refused(spec: Any) -> None:
    made = defaulted(spec, spec_schema())
    if not jsonschema.Draft7Validator(spec_schema()).is_valid(made):
        assert faults(made, strict=False)
