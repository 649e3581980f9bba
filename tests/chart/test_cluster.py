"""Which namespaces the platform's chart serves, and by which activators."""

import json
from pathlib import Path

import pytest
from chart.kit import (
    CHARTS,
    NAMESPACE,
    Object,
    Rendered,
    containers,
    environment,
    render,
    template,
)
from chart.test_options import MONITORED, arrives
from rows import each

from kotatsu_common.settings import load
from kotatsu_operator.core.protocol import (
    ACTIVATOR_LABELS,
    SHARD_LABEL,
    record_part,
    set_of_pod,
    shared_set,
)
from kotatsu_operator.runtime.settings import (
    ActivatorSettings,
    OperatorSettings,
)

SHARDED = CHARTS / "kotatsu/ci/sharded.yaml"
SELECTOR = {
    "matchLabels": {"kotatsu": "true"},
    "matchExpressions": [
        {"key": "stage", "operator": "NotIn", "values": ["production", "staging"]}
    ],
}
"""The one of `SHARDED`, as Kubernetes wants it."""


def activators(chart: Rendered) -> list[Object]:
    found = chart.of("Deployment")
    return [d for d in found if d["metadata"]["name"].startswith("kotatsu-activator")]


def test_a_plain_install_serves_all_namespaces_from_its_own() -> None:
    chart = render("kotatsu").kept()

    spaces = {obj["metadata"].get("namespace", "") for obj in chart.objects}
    assert spaces == {NAMESPACE, ""}
    env = environment(chart.one("Deployment", "kotatsu-operator")["spec"]["template"])
    settings = load(OperatorSettings, env)
    assert (settings.serve_unlabeled, settings.namespace_selector) == (True, {})
    assert (settings.shards, settings.own) == (1, ())
    assert settings.pod_namespace
    for binding in chart.of("ClusterRoleBinding"):
        assert [s["namespace"] for s in binding["subjects"]] == [NAMESPACE]


def test_each_shard_has_activators_that_know_its_name() -> None:
    chart = render("kotatsu", SHARDED)
    names = ["kotatsu-activator-0", "kotatsu-activator-1"]
    assert [d["metadata"]["name"] for d in activators(chart)] == names
    assert set(names) <= set(chart.names("PodDisruptionBudget"))
    for number, deployment in enumerate(activators(chart)):
        labels = ACTIVATOR_LABELS | {SHARD_LABEL: str(number)}
        assert deployment["metadata"]["labels"][SHARD_LABEL] == str(number)
        assert deployment["spec"]["selector"]["matchLabels"] == labels
        pod = deployment["spec"]["template"]
        assert pod["metadata"]["labels"] == labels
        name = load(ActivatorSettings, environment(pod)).activators
        assert name == shared_set(NAMESPACE, number) == set_of_pod(NAMESPACE, labels)
        budget = chart.one("PodDisruptionBudget", f"kotatsu-activator-{number}")
        assert budget["spec"]["selector"]["matchLabels"] == labels
    operator = environment(chart.one("Deployment", "kotatsu-operator")["spec"]["template"])
    assert load(OperatorSettings, operator).shards == 2
    assert json.loads(operator["KOTATSU_NAMESPACE_SELECTOR"]) == SELECTOR


def test_kubernetes_writes_the_addresses_of_all_activators_down() -> None:
    service = render("kotatsu", SHARDED).one("Service", "kotatsu-activators")["spec"]

    assert service["clusterIP"] == "None"
    assert service["publishNotReadyAddresses"] is True
    assert service["selector"] == ACTIVATOR_LABELS


def test_the_record_is_in_no_release_and_so_outlives_an_uninstall() -> None:
    chart, parts = render("kotatsu"), {record_part(str(n)) for n in range(1000)}
    assert not parts & set(chart.names("ConfigMap"))
    [rule] = chart.one("Role", "kotatsu-operator-record")["rules"]
    assert (set(rule["resourceNames"]), "create" in rule["verbs"]) == (parts, True)


def resources(chart: Rendered, part: str) -> Object:
    name = f"kotatsu-{part}"
    owner = next(o for o in chart.of("Deployment") if o["metadata"]["name"].startswith(name))
    [container] = containers(owner["spec"]["template"])
    found: Object = container["resources"]
    return found


@pytest.mark.parametrize(("part", "memory"), [("activator", "1Gi"), ("operator", "768Mi")])
def test_memory_limits_fit_what_is_served_and_ones_own_win(part: str, memory: str) -> None:
    assert resources(render("kotatsu"), part)["limits"] == {"memory": memory}
    mine = f"--set={part}.resources.limits.memory=300Mi"
    assert resources(render("kotatsu", None, mine), part)["limits"] == {"memory": "300Mi"}
    none = f"--set={part}.resources.limits.memory=null"
    found = resources(render("kotatsu", None, none), part)
    assert "limits" not in {key for key, value in found.items() if value}


@pytest.mark.parametrize(("part", "parks"), [("activator", "50m"), ("operator", "100m")])
def test_more_cpu_is_requested_where_pods_are_parked_and_ones_own_wins(
    part: str, parks: str
) -> None:
    def cpu(*settings: str) -> object:
        return resources(render("kotatsu", None, *settings), part)["requests"]["cpu"]

    parked = "--set=parked.enabled=true"
    assert (cpu(), cpu(parked)) == ("20m", parks)
    assert cpu(parked, f"--set={part}.resources.requests.cpu=30m") == "30m"


@each("value", ["{a}", ""])
def test_the_value_of_the_former_isolated_mode_is_refused_with_what_to_do(value: str) -> None:
    done = template("kotatsu", None, f"--set=namespaces={value}")

    assert done.returncode != 0
    assert "The value namespaces is gone: uninstall this release" in done.stderr
    assert "activator.own" in done.stderr


@pytest.mark.parametrize(("kind", "field", "on"), MONITORED)
@pytest.mark.parametrize("name", ["kotatsu", "kotatsu-activator"])
def test_the_series_of_both_programs_are_about_the_namespaces_of_their_pools(
    kind: str, field: str, on: dict[str, object], name: str
) -> None:
    sets = [f"--set-json={key.replace('__', '.')}={json.dumps(v)}" for key, v in on.items()]
    monitor = render("kotatsu", None, *sets).one(kind, name)
    assert monitor["spec"]["namespaceSelector"]["matchNames"] == [NAMESPACE]
    [endpoint] = monitor["spec"][field]
    series = "kotatsu_activator_held" if name.endswith("activator") else "kotatsu_pool_phase"
    told = {"__name__": series, "namespace": "team", "name": "voice"}
    assert arrives(endpoint, told, NAMESPACE) == told
    bare = {"__name__": series}
    assert arrives(endpoint, bare, NAMESPACE) == bare | {"namespace": NAMESPACE}


def test_the_api_server_gives_each_namespace_its_turn() -> None:
    [schema] = render("kotatsu").of("FlowSchema")

    assert schema["spec"]["distinguisherMethod"] == {"type": "ByNamespace"}
    [rule] = schema["spec"]["rules"]
    accounts = [s["serviceAccount"] for s in rule["subjects"]]
    assert {(a["namespace"], a["name"]) for a in accounts} == {
        (NAMESPACE, "kotatsu-operator"),
        (NAMESPACE, "kotatsu-activator"),
    }
    assert schema["metadata"]["name"].endswith(f"-{NAMESPACE}")


def wide(*arguments: str) -> set[tuple[str, str]]:
    """The cluster-scoped objects of a release."""
    found = render("kotatsu", None, *arguments).objects
    return {
        (obj["kind"], obj["metadata"]["name"])
        for obj in found
        if "namespace" not in obj["metadata"]
    }


def test_helm_refuses_a_second_release_for_namespaces_without_a_label_and_no_other() -> None:
    one, two = wide("--namespace=one"), wide("--namespace=two")
    other = wide("--namespace=two", "--set=serveUnlabeled=false")

    assert len(one) > 20
    assert one & two == {("ClusterRole", "kotatsu-serves-unlabeled-namespaces")}
    assert one & other == set()
    assert two - other == one & two


def test_helm_refuses_a_second_release_in_a_namespace_whatever_its_name() -> None:
    one, other = (
        {
            (obj["kind"], obj["metadata"]["name"])
            for obj in render("kotatsu", None, *named).kept().objects
        }
        for named in ((), ("--set=fullnameOverride=other,serveUnlabeled=false",))
    )

    assert one & other == {("Role", "kotatsu-owns-the-record")}


def served(*arguments: str, values: Path | None = None) -> str:
    """CEL of the admission policy: when activators wake and publish in a namespace."""
    policy = render("kotatsu", values, *arguments).one(
        "ValidatingAdmissionPolicy", "kotatsu-namespaces-here"
    )
    return str(policy["spec"]["validations"][-1]["expression"])


def test_the_policy_says_as_the_operator_does_which_namespaces_are_served() -> None:
    named = (
        "('kotatsu.dev/install' in variables.labels ? "
        "variables.labels['kotatsu.dev/install'] == 'here' : "
    )
    assert served().endswith(f"{named}true)")
    assert served("--set=serveUnlabeled=false").endswith(f"{named}false)")
    text = served(values=SHARDED)
    assert named in text
    assert 'labels[?"kotatsu"] == optional.of("true")' in text
    assert '!("stage" in variables.labels && variables.labels["stage"] in ["production","' in text
    unlabeled = served("--set=serveUnlabeled=false", values=SHARDED)
    assert f"{named}false && variables.labels" in unlabeled
    operator = render("kotatsu", None, "--set=serveUnlabeled=false")
    env = environment(operator.one("Deployment", "kotatsu-operator")["spec"]["template"])
    assert load(OperatorSettings, env).serve_unlabeled is False
