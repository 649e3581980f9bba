"""docs/reference/warmpool.md says what the CRD says."""

from typing import Any

import yaml

from kotatsu_docs.__main__ import CRD, ROOT, stale
from kotatsu_docs.warmpool import reference

PAGE = (ROOT / "docs/reference/warmpool.md").read_text()


def made_of(spec: dict[str, Any]) -> str:
    schema = {"properties": {"spec": spec, "status": {"type": "object", "properties": {}}}}
    return reference({"spec": {"versions": [{"schema": {"openAPIV3Schema": schema}}]}})


def test_the_page_is_up_to_date() -> None:
    assert list(stale()) == [], "make pages"


def test_every_field_of_the_spec_stands_in_it() -> None:
    version = yaml.safe_load((ROOT / CRD).read_text())["spec"]["versions"][0]
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    assert len(spec) > 10
    assert [name for name in spec if f"| `{name}` |" not in PAGE] == []


def test_a_field_is_shown_with_type_limits_and_default() -> None:
    replicas = {"type": "integer", "minimum": 1, "maximum": 1000, "default": 5}
    page = made_of({"properties": {"replicas": replicas | {"description": "how many"}}})
    assert "| `replicas` | integer, 1 to 1,000 | `5` | How many. |" in page


def test_a_required_field_says_so() -> None:
    page = made_of({"required": ["name"], "properties": {"name": {"type": "string"}}})
    assert "| `name` | string | required |  |" in page


def test_a_list_of_objects_has_a_table_of_its_own() -> None:
    window = {"type": "object", "properties": {"name": {"type": "string"}}}
    page = made_of({"properties": {"windows": {"type": "array", "items": window}}})
    assert "| `windows` | list of objects |" in page
    assert "### spec.windows[]" in page


def test_what_the_api_server_checks_stands_below_the_object() -> None:
    rules = [{"rule": "self.a > 0", "message": "a must be above 0"}]
    nested = {"type": "object", "properties": {"a": {"type": "integer"}}}
    page = made_of({"properties": {"nested": nested | {"x-kubernetes-validations": rules}}})
    assert page.count("- a must be above 0") == 1
    assert page.index("### spec.nested") < page.index("- a must be above 0")
