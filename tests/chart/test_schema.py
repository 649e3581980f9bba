"""values.yaml and values.schema.json say the same, and a typo is refused with its name."""

import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import yaml
from chart.kit import CHARTS, Object, default_values, schema, template
from rows import each

BOTH = pytest.mark.parametrize("chart", ["kotatsu", "pet"])
# Objects whose keys are Kubernetes' or the user's.
OPEN = {
    "resources", "podAnnotations", "podLabels", "commonLabels", "commonAnnotations",
    "nodeSelector", "affinity", "labels", "annotations", "global", "budget", "extended",
    "livenessProbe", "namespaceSelector", "own",
}  # fmt: skip
# Set by a parent chart alone, or refused.
WITHOUT_DEFAULT = {"global", "enabled", "namespaces"}


@BOTH
def test_the_defaults_fit_the_schema(chart: str) -> None:
    jsonschema.validate(default_values(chart), schema(chart))


@BOTH
def test_every_value_is_in_the_schema_and_described(chart: str) -> None:
    for path, node in _leaves(default_values(chart), schema(chart), schema(chart)):
        assert node is not None, f"{path} is not in the schema"
        assert node.get("description"), f"{path} has no description"


@BOTH
def test_everything_in_the_schema_has_a_default(chart: str) -> None:
    values = default_values(chart)
    for path in _paths(schema(chart), schema(chart)):
        found: Any = values
        for key in path:
            assert key in found, f"{'.'.join(path)} is not in values.yaml"
            found = found[key]


@BOTH
def test_every_object_refuses_what_it_does_not_know(chart: str) -> None:
    validator = jsonschema.Draft7Validator(schema(chart))
    values = default_values(chart)
    for path in list(_objects(values)):
        place: Any = values
        for key in path:
            place = place[key]
        place["nonsense"] = 1
        assert any("nonsense" in error.message for error in validator.iter_errors(values)), path
        del place["nonsense"]


@BOTH
def test_helm_refuses_an_unknown_value_by_name(chart: str) -> None:
    done = template(chart, None, "--set", "idelAfter=5m")

    assert done.returncode != 0
    assert "idelAfter" in done.stderr


@each(
    "chart, wrong, named",
    [
        ("kotatsu", "activator.replicas=0", "/activator/replicas"),
        ("kotatsu", "activator.own.team-a.shards=2", "/activator/own/team-a"),
        (
            "kotatsu",
            "namespaceSelector.matchLabels.team=a b",
            "/namespaceSelector/matchLabels/team",
        ),
        ("kotatsu", "prices.cpuHour=6.5", "/prices/currency"),
        ("kotatsu", "prices.cpuHour=much,prices.currency=JPY", "/prices/cpuHour"),
        ("kotatsu", "prices.extended.gpu=1x,prices.currency=JPY", "/prices/extended/gpu"),
        ("kotatsu", "prometheusRule.runbookUrl=docs/runbooks", "/prometheusRule/runbookUrl"),
        ("kotatsu", "fullnameOverride=Not A Name", "/fullnameOverride"),
        ("pet", "gateway.anonymousVoice.rate=60", "/gateway/anonymousVoice/rate"),
        ("pet", "gateway.web.path=/home/", "/gateway/web/path"),
        ("pet", "gateway.web.volume.hostPath.path=/etc", "/gateway/web/volume"),
        ("pet", "voice.pool.windows[0].name=pitch", "/voice/pool/windows/0"),
    ],
)
def test_a_wrong_value_is_refused_by_its_place(chart: str, wrong: str, named: str) -> None:
    done = template(chart, None, "--set", wrong)

    assert done.returncode != 0
    assert f"at '{named}" in done.stderr


@each("name", ["Not_A_Name", "kube-system"])
def test_activators_of_their_own_are_for_namespaces_that_can_be_served(name: str) -> None:
    done = template("kotatsu", None, "--set", f"activator.own.{name}.replicas=1")

    assert done.returncode != 0
    assert f"invalid propertyName '{name}'" in done.stderr


@BOTH
def test_every_top_level_value_has_a_comment(chart: str) -> None:
    text = (CHARTS / chart / "values.yaml").read_text()
    for key in default_values(chart):
        block = text.split(f"\n{key}:")[0].rsplit("\n\n", 1)[-1] + text.split(f"{key}:", 1)[1][:200]
        assert "#" in block, key


@BOTH
def test_the_examples_of_the_readme_fit_the_schema(chart: str) -> None:
    examples = re.findall(
        r"^```yaml\n(.*?)^```", (CHARTS / chart / "README.md").read_text(), re.MULTILINE | re.DOTALL
    )
    assert len(examples) == 3
    for example in examples:
        jsonschema.validate(yaml.safe_load(example), schema(chart))


def _resolve(node: Object, root: Object) -> Object:
    if "$ref" in node:
        found: Object = root["definitions"][node["$ref"].rsplit("/", 1)[-1]]
        return found
    return node


def _leaves(
    values: Object, node: Object, root: Object, path: str = ""
) -> Iterator[tuple[str, Object | None]]:
    for key, value in values.items():
        child = node.get("properties", {}).get(key)
        yield f"{path}{key}", None if child is None else _resolve(child, root)
        if isinstance(value, dict) and value and key not in OPEN and child is not None:
            yield from _leaves(value, _resolve(child, root), root, f"{path}{key}.")


def _paths(node: Object, root: Object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, child in node.get("properties", {}).items():
        if not path and key in WITHOUT_DEFAULT:
            continue
        yield (*path, key)
        if key not in OPEN:
            yield from _paths(_resolve(child, root), root, (*path, key))


def _objects(values: Object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for key, value in values.items():
        if isinstance(value, dict) and key not in OPEN:
            yield from _objects(value, (*path, key))
