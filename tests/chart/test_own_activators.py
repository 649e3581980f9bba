"""The value `activator.own`: namespaces with activators of their own."""

import json

import pytest
from chart.flows import Peer, Policies
from chart.kit import CHARTS, NAMESPACE, Object, Rendered, containers, environment, render
from chart.test_options import MONITORED, OWN, arrives, rendered
from rows import each

from kotatsu_common.settings import load
from kotatsu_operator.core.protocol import ACTIVATOR_LABELS, HOME_LABEL, own_set, set_of_pod
from kotatsu_operator.runtime.settings import ActivatorSettings, OperatorSettings, SmokeSettings

VALUES = CHARTS / "kotatsu/ci/own-activators.yaml"
TEAMS = ("team-a", "team-b", "team-c")
ALL = (NAMESPACE, *TEAMS)
each_namespace = each("namespace", ALL)
POOL_PORT = 32768


def chart() -> Rendered:
    return render("kotatsu", VALUES)


def deployment(namespace: str) -> Object:
    return chart().one("Deployment", "kotatsu-activator", namespace)


def pod(namespace: str) -> Object:
    template: Object = deployment(namespace)["spec"]["template"]
    return template


@each_namespace
def test_they_know_their_set_and_their_labels_say_it(namespace: str) -> None:
    labels = pod(namespace)["metadata"]["labels"]

    assert labels == ACTIVATOR_LABELS | {HOME_LABEL: NAMESPACE}
    assert deployment(namespace)["spec"]["selector"]["matchLabels"] == labels
    activators = load(ActivatorSettings, environment(pod(namespace))).activators
    assert activators == own_set(NAMESPACE, namespace) == set_of_pod(namespace, labels)


def test_their_values_replace_those_of_the_shared_activators_and_of_no_other_namespace() -> None:
    replicas = {name: deployment(name)["spec"]["replicas"] for name in ALL}
    assert replicas == {NAMESPACE: 3, "team-a": 1, "team-b": 3, "team-c": 3}
    drain = {name: environment(pod(name))["KOTATSU_DRAIN_TIMEOUT"] for name in ALL}
    assert drain == {NAMESPACE: "30s", "team-a": "30s", "team-b": "20s", "team-c": "30s"}
    [one], [other] = containers(pod("team-a")), containers(pod("team-b"))
    assert one["resources"]["limits"] == {"memory": "256Mi"}
    assert other["resources"]["limits"] == {"memory": "300Mi"}
    assert other["resources"]["requests"] == one["resources"]["requests"]
    shared = chart().one("Deployment", "kotatsu-activator-0")["spec"]
    assert shared["replicas"] == 3
    assert environment(shared["template"])["KOTATSU_DRAIN_TIMEOUT"] == "30s"


OF_PODS = {
    "podLabels": {"team": "a"},
    "podAnnotations": {"example.com/x": "1"},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "dedicated", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "high",
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    ],
    "maxHeld": 7,
}


def test_every_value_of_a_namespace_reaches_its_pods_alone() -> None:
    found = rendered(activator__own={"a": OF_PODS, "b": {}})
    one = found.one("Deployment", "kotatsu-activator", "a")["spec"]
    template, spec = one["template"], one["template"]["spec"]
    assert template["metadata"]["labels"]["team"] == "a"
    assert template["metadata"]["annotations"]["example.com/x"] == "1"
    for name in ("nodeSelector", "tolerations", "affinity", "priorityClassName"):
        assert spec[name] == OF_PODS[name]
    [spread] = spec["topologySpreadConstraints"]
    assert spread["labelSelector"] == one["selector"]
    assert environment(template)["KOTATSU_MAX_HELD"] == "7"
    other = found.one("Deployment", "kotatsu-activator", "b")["spec"]["template"]
    assert "nodeSelector" not in other["spec"]
    assert environment(other)["KOTATSU_MAX_HELD"] == "1000"


def test_an_empty_list_of_a_namespace_replaces_one_of_the_shared_activators() -> None:
    clients = [{"podSelector": {}}]
    found = rendered(
        activator__allowedClients=clients, activator__own={"a": {"allowedClients": []}}
    )
    for name, namespace, peers in (
        ("kotatsu-activators", NAMESPACE, clients),
        ("kotatsu-activator", "a", None),
    ):
        ingress = found.one("NetworkPolicy", name, namespace)["spec"]["ingress"]
        assert ingress[0].get("from") == peers


def test_of_those_that_are_leaving_the_operator_knows_nothing_and_the_test_does() -> None:
    operator = chart().one("Deployment", "kotatsu-operator")["spec"]["template"]
    assert load(OperatorSettings, environment(operator)).own == (NAMESPACE, "team-a", "team-b")
    smoke = load(SmokeSettings, environment(chart().one("Pod", "kotatsu-test")))
    assert smoke.own == ALL
    for kind in ("Deployment", "Role", "RoleBinding", "ServiceAccount", "NetworkPolicy"):
        assert chart().one(kind, "kotatsu-activator", "team-c"), kind


def test_nothing_else_of_the_release_is_in_their_namespaces() -> None:
    found = chart().objects
    there = {
        (o["kind"], o["metadata"]["name"]) for o in found if o["metadata"].get("namespace") in TEAMS
    }
    kinds = (
        "Deployment",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Role",
        "RoleBinding",
        "ServiceAccount",
    )
    assert there == {(kind, "kotatsu-activator") for kind in kinds}


def peer(namespace: str, name: str = "kotatsu-activator") -> Peer:
    labels = chart().one("Deployment", name, namespace)["spec"]["template"]["metadata"]["labels"]
    return Peer(name, namespace, labels)


@each_namespace
def test_they_connect_to_pods_of_their_own_namespace_alone(namespace: str) -> None:
    policies = Policies(chart().of("NetworkPolicy"))
    activator = peer(namespace)
    assert len(policies.selecting(activator, "Egress")) == 1
    assert policies.passes(activator, Peer("app", namespace, {"app": "web"}), 9000)
    assert not policies.passes(activator, Peer("app", "theirs", {"app": "web"}), 9000)
    shared = peer(NAMESPACE, "kotatsu-activator-0")
    assert len(policies.selecting(shared, "Egress")) == 1
    assert policies.passes(shared, Peer("app", namespace, {"app": "web"}), 9000)


def test_each_namespace_has_its_own_allowed_clients() -> None:
    policies = Policies(chart().of("NetworkPolicy"))
    stranger = Peer("somebody's pod", "theirs", {"app": "web"})
    gateway = Peer("gateway", "team-a", {"app": "gateway"})
    assert policies.passes(gateway, peer("team-a"), POOL_PORT)
    assert not policies.passes(stranger, peer("team-a"), POOL_PORT)
    assert policies.passes(stranger, peer("team-b"), POOL_PORT)
    assert policies.passes(stranger, peer(NAMESPACE, "kotatsu-activator-0"), POOL_PORT)


def policy(what: str, found: Rendered) -> str:
    return json.dumps(found.one("ValidatingAdmissionPolicy", f"kotatsu-{what}-here")["spec"])


def test_policies_are_about_their_accounts_in_their_namespaces() -> None:
    account = "request.userInfo.username == 'system:serviceaccount:' + request.namespace + "
    own = f"request.namespace in ['team-a', 'team-b', 'team-c'] && {account}':kotatsu-activator'"
    for what in ("scales", "endpointslices", "statuses", "namespaces"):
        assert own in policy(what, chart()), what
        assert account not in policy(what, render("kotatsu")), what
    for what in ("addresses", "families"):
        assert account not in policy(what, chart()), what


def test_kotatsu_scales_no_deployment_of_any_set() -> None:
    names = "['kotatsu-operator', 'kotatsu-activator-0', 'kotatsu-activator']"
    assert names in policy("scales", chart())
    assert "['kotatsu-operator', 'kotatsu-activator-0']" in policy("scales", render("kotatsu"))


@pytest.mark.parametrize(("kind", "field", "on"), MONITORED)
def test_their_series_are_about_their_own_namespace_alone(
    kind: str, field: str, on: dict[str, object]
) -> None:
    assert "kotatsu-activator-own" not in rendered(**on).names(kind)
    found = rendered(**on, **OWN)
    monitor = found.one(kind, "kotatsu-activator-own")["spec"]
    assert monitor["namespaceSelector"]["matchNames"] == ["a", "b"]
    [endpoint] = monitor[field]
    told = {"__name__": "kotatsu_activator_held", "namespace": "b", "name": "voice"}
    assert arrives(endpoint, told, "a") == told | {"namespace": "a"}
    for name in ("kotatsu_pool_phase", "kotatsu_operator_leader", "kube_pod_info"):
        assert arrives(endpoint, {"__name__": name, "namespace": "b"}, "a") is None
