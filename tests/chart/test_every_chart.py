"""What holds for both charts, whatever the values."""

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from chart.kit import (
    NAMESPACE,
    ROOT,
    SCENARIOS,
    Object,
    Rendered,
    Scenario,
    annotations,
    containers,
    crd,
    environment,
    lint,
    load_yaml,
    notes,
    render,
    template,
    validator,
)
from rows import each

from kotatsu_operator.core.formats import parse_duration

each_scenario = each("scenario", SCENARIOS, lambda scenario: str(scenario.name))
"""Each chart with each of its ci/ values files."""


def made(scenario: Scenario) -> Rendered:
    """What the chart makes of the scenario."""
    return render(scenario.chart, scenario.values)


@each_scenario
def test_lint_is_clean(scenario: Scenario) -> None:
    done = lint(scenario.chart, scenario.values)

    assert done.returncode == 0, done.stdout
    assert "[WARNING]" not in done.stdout


@each_scenario
def test_every_container_has_requests_and_a_memory_limit_but_no_cpu_limit(
    scenario: Scenario,
) -> None:
    rendered = made(scenario)
    for owner, pod in rendered.pods():
        for container in containers(pod):
            where = f"{owner['metadata']['name']}/{container['name']}"
            assert set(container["resources"]["requests"]) == {"cpu", "memory"}, where
            assert set(container["resources"]["limits"]) == {"memory"}, where


FILLED = {
    "kotatsu": ["operator.resources", "activator.resources"],
    "pet": ["budget", "voice.pool.budget"],
}
"""Maps whose default is not empty."""


def empty_ones(values: Object, at: str = "") -> Iterator[str]:
    """The names of the values that are empty lists and maps."""
    for name, value in values.items():
        if value in ([], {}):
            yield f"{at}{name}"
        elif isinstance(value, dict):
            yield from empty_ones(value, f"{at}{name}.")


@each("chart", list(FILLED))
def test_a_list_or_map_may_be_given_without_anything_in_it(chart: str) -> None:
    [values] = load_yaml((ROOT / "charts" / chart / "values.yaml").read_text())
    names = [*empty_ones(values), *FILLED[chart]]
    assert "imagePullSecrets" in names
    console = "--set=console.enabled=true" if chart == "kotatsu" else "--set=ingress.enabled=true"
    assert render(chart, None, console, *(f"--set-json={name}=null" for name in names)).objects


@each(
    "chart, words",
    [
        ("kotatsu", ["podMonitor.enabled=true", 'podMonitor.labels={"team": "b"}']),
        ("kotatsu", ["serviceMonitor.enabled=true", 'serviceMonitor.labels={"team": "b"}']),
        ("kotatsu", ["prometheusRule.enabled=true", 'prometheusRule.labels={"team": "b"}']),
        (
            "kotatsu",
            ["dashboards.enabled=true", 'dashboards.label="team"', 'dashboards.labelValue="b"'],
        ),
        ("pet", ["podMonitor.enabled=true", 'podMonitor.labels={"team": "b"}']),
    ],
)
def test_a_label_that_is_common_and_of_its_own_is_there_once_and_its_own(
    chart: str, words: list[str]
) -> None:
    given = ['commonLabels={"team": "a"}', *words]
    found = render(chart, None, *(f"--set-json={word}" for word in given))
    assert "b" in {obj["metadata"]["labels"]["team"] for obj in found.objects}


DIGEST = f"sha256:{'0123456789abcdef' * 4}"
IMAGES = {
    "kotatsu": ("image",),
    "pet": tuple(f"{k}.image" for k in ("voice", "auth", "feed", "gateway", "githubStub")),
}


@pytest.mark.parametrize("chart", IMAGES)
def test_images_are_pulled_by_their_digests_where_these_are_given(chart: str) -> None:
    sets = [f"--set={image}.digest={DIGEST}" for image in IMAGES[chart]]
    pods = list(render(chart, None, *sets).pods())
    assert pods
    for _, pod in pods:
        for container in containers(pod):
            assert container["image"].endswith(f"@{DIGEST}"), container["name"]


@pytest.mark.parametrize("chart", IMAGES)
def test_what_is_no_digest_is_refused(chart: str) -> None:
    done = template(chart, None, f"--set={IMAGES[chart][0]}.digest=sha256:12")
    assert done.returncode != 0
    assert "digest" in done.stderr


@each_scenario
def test_every_long_running_pod_is_probed(scenario: Scenario) -> None:
    rendered = made(scenario)
    for deployment in rendered.of("Deployment"):
        for container in containers(deployment["spec"]["template"]):
            ports = {port["name"] for port in container["ports"]}
            for probe in ("readinessProbe", "livenessProbe"):
                assert container[probe]["httpGet"]["port"] in ports, deployment["metadata"]["name"]


@each_scenario
def test_operator_and_activator_may_take_five_minutes_to_start(scenario: Scenario) -> None:
    rendered = made(scenario)
    for deployment in rendered.of("Deployment"):
        if deployment["metadata"]["name"].startswith("kotatsu-"):
            (container,) = containers(deployment["spec"]["template"])
            probe = container["startupProbe"]
            assert probe["periodSeconds"] * probe["failureThreshold"] >= 300


@each_scenario
def test_the_grace_period_covers_the_end_of_the_longest_request(scenario: Scenario) -> None:
    rendered = made(scenario)
    for deployment in rendered.of("Deployment"):
        spec = deployment["spec"]["template"]["spec"]
        env = environment(deployment["spec"]["template"])
        drain, shutdown = env.get("KOTATSU_DRAIN_TIMEOUT"), env.get("KOTATSU_SHUTDOWN_TIMEOUT")
        longest = shutdown if drain is None else parse_duration(drain).total_seconds()
        if longest is not None and deployment["metadata"]["name"] != "github-stub":
            assert spec["terminationGracePeriodSeconds"] >= int(longest) + 6


@each_scenario
def test_selectors_pick_the_pods_of_their_own_chart(scenario: Scenario) -> None:
    rendered = made(scenario)
    labels = [template["metadata"]["labels"] for _, template in rendered.pods()]
    for deployment in rendered.of("Deployment"):
        wanted = deployment["spec"]["selector"]["matchLabels"]
        assert _matches(wanted, deployment["spec"]["template"]["metadata"]["labels"])
    for obj in rendered.of("NetworkPolicy", "PodDisruptionBudget"):
        selector = obj["spec"].get("podSelector") or obj["spec"]["selector"]
        assert any(_matches(selector["matchLabels"], some) for some in labels), obj["metadata"]


@each_scenario
def test_two_deployments_never_share_a_pod(scenario: Scenario) -> None:
    rendered = made(scenario)
    deployments = rendered.of("Deployment")
    for one in deployments:
        for other in deployments:
            if one is not other and one["metadata"]["namespace"] == other["metadata"]["namespace"]:
                labels = other["spec"]["template"]["metadata"]["labels"]
                assert not _matches(one["spec"]["selector"]["matchLabels"], labels)


@each_scenario
def test_services_lead_to_named_ports_of_pods(scenario: Scenario) -> None:
    rendered = made(scenario)
    for service in rendered.of("Service"):
        pods = [t for _, t in rendered.pods()
                if _matches(service["spec"]["selector"], t["metadata"]["labels"])]  # fmt: skip
        is_of_all = service["metadata"]["name"] == "kotatsu-activators"
        assert len(pods) == 1 or is_of_all, service["metadata"]["name"]
        for pod in pods:
            names = {port["name"] for c in containers(pod) for port in c["ports"]}
            assert {port["targetPort"] for port in service["spec"]["ports"]} <= names


@each_scenario
def test_a_disruption_budget_exists_exactly_where_there_are_several_replicas(
    scenario: Scenario,
) -> None:
    rendered = made(scenario)
    several = {_key(d) for d in rendered.of("Deployment") if d["spec"].get("replicas", 1) > 1}

    assert {_key(budget) for budget in rendered.of("PodDisruptionBudget")} == several
    for budget in rendered.of("PodDisruptionBudget"):
        assert budget["spec"]["maxUnavailable"] == "25%"  # Kubernetes rounds it up
        assert budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow"


@each_scenario
def test_pooled_targets_render_no_replicas(scenario: Scenario) -> None:
    rendered = made(scenario)
    pooled = {_key(pool) for pool in rendered.of("WarmPool")}
    for deployment in rendered.of("Deployment"):
        if _key(deployment) in pooled:
            assert "replicas" not in deployment["spec"], deployment["metadata"]["name"]


@each_scenario
def test_warm_pools_fit_the_crd_and_name_what_is_there(scenario: Scenario) -> None:
    rendered = made(scenario)
    for pool in rendered.of("WarmPool"):
        _closed_validator().validate(pool["spec"])
        name = pool["spec"]["targetRef"]["name"]
        if pool["spec"]["targetRef"]["kind"] == "Service":
            assert rendered.one("KnativeService", name)
            continue
        target = rendered.one("Deployment", name)
        assert rendered.one("Service", pool["spec"]["service"])
        ports = containers(target["spec"]["template"])[0]["ports"]
        assert {"name": "http", "containerPort": 8080} in ports


@each_scenario
def test_only_the_platform_has_a_right_everywhere(scenario: Scenario) -> None:
    rendered = made(scenario)
    kept = rendered.kept()

    is_platform = scenario.chart == "kotatsu"
    assert kept.of("CustomResourceDefinition") == []
    # Neither policies, priorities nor roles that are bound to nobody give a right.
    wide = [obj for obj in kept.objects if "namespace" not in obj["metadata"]]
    rights = ("ClusterRole", "ClusterRoleBinding")
    limits = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "FlowSchema")
    assert wide == kept.of("PriorityClass", *rights, *limits)
    bound = {binding["roleRef"]["name"] for binding in kept.of("ClusterRoleBinding")}
    assert bool(bound) is is_platform
    for role in kept.of("ClusterRole"):
        is_for_users = any("aggregate-to" in label for label in role["metadata"]["labels"])
        assert (is_for_users or role["rules"] == []) is not (role["metadata"]["name"] in bound)


@each_scenario
def test_no_rule_asks_for_everything(scenario: Scenario) -> None:
    rendered = made(scenario)
    for role in rendered.of("Role", "ClusterRole"):
        for rule in role["rules"]:
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert "secrets" not in rule["resources"]


@each_scenario
@pytest.mark.slow
def test_rendering_twice_gives_the_same(scenario: Scenario) -> None:
    first, second = (template(scenario.chart, scenario.values, turn=turn) for turn in (1, 2))

    assert first.returncode == 0, first.stderr
    assert second.stdout == first.stdout


@each_scenario
def test_prometheus_is_told_once(scenario: Scenario) -> None:
    rendered = made(scenario)
    monitored = bool(rendered.of("PodMonitor", "ServiceMonitor"))
    for deployment in rendered.of("Deployment"):
        if deployment["metadata"]["name"] == "gateway":
            continue
        told = annotations(deployment["spec"]["template"])
        assert ("prometheus.io/scrape" in told) is not monitored


@each_scenario
def test_notes_name_the_next_command(scenario: Scenario, tmp_path: Path) -> None:
    text = notes(scenario.chart, scenario.values, tmp_path / scenario.name)

    pools = render(scenario.chart, scenario.values).of("WarmPool")
    if scenario.chart == "kotatsu" or pools:
        assert "kubectl get warmpools -n " in text
    assert "{{" not in text
    assert "<no value>" not in text
    assert "%!" not in text
    assert not any(line != line.rstrip() for line in text.splitlines())
    assert NAMESPACE in text


def _key(obj: Object) -> tuple[str, str]:
    return obj["metadata"]["namespace"], obj["metadata"]["name"]


def _matches(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return selector.items() <= labels.items()


@functools.cache
def _closed_validator() -> jsonschema.protocols.Validator:
    schema = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return validator(_closed(schema["properties"]["spec"]))


def _closed(schema: Any) -> Any:
    """The schema with every object closed: a field that the CRD would drop is a mistake here."""
    if not isinstance(schema, dict):
        return schema
    closed = {
        key: {name: _closed(prop) for name, prop in value.items()} if key == "properties" else value
        for key, value in schema.items()
        if not key.startswith("x-")
    }
    if "items" in closed:
        closed["items"] = _closed(closed["items"])
    if "properties" in closed:
        closed["additionalProperties"] = False
    return closed
