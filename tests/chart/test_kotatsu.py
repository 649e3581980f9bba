"""The platform's chart."""

import json
import re
from decimal import Decimal
from pathlib import Path

import pytest
from chart.kit import (
    CHARTS,
    NAMESPACE,
    Object,
    Rendered,
    annotations,
    environment,
    load_yaml,
    render,
    template,
)
from rows import each

from kotatsu_common.settings import ServiceSettings, load
from kotatsu_operator.core.pool.spec import NO_PRICES
from kotatsu_operator.core.protocol import LEASE_NAME, shared_set
from kotatsu_operator.runtime.settings import ActivatorSettings, OperatorSettings, UninstallSettings

CI = CHARTS / "kotatsu" / "ci"
Right = tuple[str, str, str]


def test_the_operator_reads_its_environment() -> None:
    operator = render("kotatsu", CI / "own-activators.yaml").one("Deployment", "kotatsu-operator")
    env = environment(operator["spec"]["template"])

    settings = load(OperatorSettings, env)

    assert settings.own == ("here", "team-a", "team-b")
    assert settings.log_level == "debug"
    assert settings.runtime == "auto"
    assert _known(env, OperatorSettings)


def test_the_console_is_one_value() -> None:
    on = render("kotatsu")
    operator = on.one("Deployment", "kotatsu-operator")["spec"]["template"]
    assert environment(operator)["KOTATSU_CONSOLE_PORT"] == "8081"
    assert on.one("Service", "kotatsu-console")["spec"]["ports"][0]["targetPort"] == "console"

    off = render("kotatsu", None, "--set=console.enabled=false")
    operator = off.one("Deployment", "kotatsu-operator")["spec"]["template"]
    assert "KOTATSU_CONSOLE_PORT" not in environment(operator)
    assert off.names("Service") == ["kotatsu-activators"]
    assert "8081" not in str(off.objects)


CONSOLE = ("kotatsu-console", "kotatsu-console.here", "kotatsu-console.here.svc",
           "kotatsu-console.here.svc.cluster.local")  # fmt: skip

KARPENTER = ("--api-versions=karpenter.sh/v1/NodePool",)


@each(
    "values, arguments, setting, value",
    [
        (None, (), "console_hosts", CONSOLE),
        (CI / "production.yaml", (), "console_hosts", (*CONSOLE, "console.example.com")),
        (None, (), "prices", NO_PRICES),
        (None, (), "first_start", 60),
        (None, ("--set=operator.firstStart=6m40s",), "first_start", 400),
        (None, KARPENTER, "first_start", 240),  # a node autoscaler
        (None, (*KARPENTER, "--set=operator.firstStart=20s"), "first_start", 20),
        (None, ("--set=knative.enabled=false",), "runtime", "native"),
    ],
)
def test_the_operator_gets_what_the_values_say(
    values: Path | None, arguments: tuple[str, ...], setting: str, value: object
) -> None:
    operator = render("kotatsu", values, *arguments).one("Deployment", "kotatsu-operator")
    settings = load(OperatorSettings, environment(operator["spec"]["template"]))
    assert getattr(settings, setting) == value


def test_the_operator_gets_the_receivers_of_notifications_as_a_file() -> None:
    with_secret = "--set=notifications.secretName=receivers"
    template = render("kotatsu", None, with_secret).one("Deployment", "kotatsu-operator")
    pod = template["spec"]["template"]["spec"]
    settings = load(OperatorSettings, environment(template["spec"]["template"]))
    (mount,) = [m for m in pod["containers"][0]["volumeMounts"] if m["name"] == "notifications"]
    (volume,) = [v for v in pod["volumes"] if v["name"] == "notifications"]

    assert settings.notifications.startswith(f"{mount['mountPath']}/")
    assert "subPath" not in mount  # or changes of the Secret would not get there
    assert volume["secret"]["secretName"] == "receivers"
    assert volume["secret"]["optional"] is True
    default = render("kotatsu").one("Deployment", "kotatsu-operator")["spec"]["template"]
    assert "notifications" not in str(default)


def test_the_operator_gets_the_price_table() -> None:
    operator = render("kotatsu", CI / "production.yaml").one("Deployment", "kotatsu-operator")
    settings = load(OperatorSettings, environment(operator["spec"]["template"]))

    assert settings.prices.currency == "JPY"
    assert settings.prices.per_hour == {
        "cpu": Decimal("6.5"),
        "memory": Decimal("0.7"),
        "nvidia.com/gpu": 110,
    }


def test_dashboards_are_config_maps_that_grafanas_sidecar_finds() -> None:
    boards = [m for m in render("kotatsu").of("ConfigMap") if "dashboard" in m["metadata"]["name"]]
    assert len(boards) == 4
    for board in boards:
        assert board["metadata"]["labels"]["grafana_dashboard"] == "1"
        [text] = board["data"].values()
        assert json.loads(text)["panels"]
    off = render("kotatsu", None, "--set=dashboards.enabled=false")
    assert "grafana_dashboard" not in str(off.objects)


def test_alerts_are_a_prometheus_rule_where_its_api_is() -> None:
    assert render("kotatsu").of("PrometheusRule") == []
    api = "--api-versions=monitoring.coreos.com/v1/PrometheusRule"
    [rule] = render("kotatsu", None, api).of("PrometheusRule")
    [rules] = load_yaml((CHARTS / "kotatsu/rules/kotatsu.yaml").read_text())
    assert rule["spec"]["groups"] == rules["groups"]
    assert (
        render("kotatsu", None, api, "--set=prometheusRule.enabled=false").of("PrometheusRule")
        == []
    )


def test_the_activator_reads_its_environment() -> None:
    activator = render("kotatsu").one("Deployment", "kotatsu-activator-0")
    env = environment(activator["spec"]["template"])

    settings = load(ActivatorSettings, env)

    assert settings.drain_timeout == 60
    assert settings.activators == shared_set(NAMESPACE, 0)
    assert _known(env, ActivatorSettings)


def test_one_operator_ends_before_the_next_begins() -> None:
    rendered = render("kotatsu")
    operator = rendered.one("Deployment", "kotatsu-operator")

    assert operator["spec"]["replicas"] == 1
    assert operator["spec"]["strategy"] == {"type": "Recreate"}
    assert rendered.names("PodDisruptionBudget") == ["kotatsu-activator-0"]


def test_of_two_operators_one_is_always_there_and_they_share_no_node_without_need() -> None:
    rendered = render("kotatsu", None, "--set", "operator.replicas=2")
    operator = rendered.one("Deployment", "kotatsu-operator")
    spec = operator["spec"]["template"]["spec"]

    assert operator["spec"]["replicas"] == 2
    assert operator["spec"]["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
    }
    [spread] = spec["topologySpreadConstraints"]
    assert spread["topologyKey"] == "kubernetes.io/hostname"
    assert spread["labelSelector"]["matchLabels"] == operator["spec"]["selector"]["matchLabels"]
    assert (
        rendered.one("PodDisruptionBudget", "kotatsu-operator")["spec"]["maxUnavailable"] == "25%"
    )


def test_an_old_activator_stays_until_the_new_one_has_published() -> None:
    activator = render("kotatsu").one("Deployment", "kotatsu-activator-0")
    [container] = activator["spec"]["template"]["spec"]["containers"]

    assert activator["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["readinessProbe"]["periodSeconds"] == 1


def test_a_native_operator_may_nothing_of_knative() -> None:
    rendered = render("kotatsu", None, "--set=knative.enabled=false")
    assert "serving.knative.dev" not in str(rendered.of("ClusterRole"))


def test_the_operator_reads_knatives_defaults_where_there_is_a_knative_and_nothing_else_there() -> (
    None
):
    found = "--api-versions=serving.knative.dev/v1/Service"
    for how in (found, "--set=knative.enabled=true"):
        rendered = render("kotatsu", None, how)
        operator = rendered.one("Deployment", "kotatsu-operator")
        env = environment(operator["spec"]["template"])
        assert env["KOTATSU_KNATIVE_NAMESPACE"] == "knative-serving"
        [role] = [r for r in rendered.of("Role") if _namespace(r) == "knative-serving"]
        assert role["rules"] == [
            {
                "apiGroups": [""],
                "resources": ["configmaps"],
                "resourceNames": ["config-autoscaler"],
                "verbs": ["get"],
            }
        ]
        [binding] = [b for b in rendered.of("RoleBinding") if _namespace(b) == "knative-serving"]
        assert binding["roleRef"]["name"] == role["metadata"]["name"]
        assert [s["name"] for s in binding["subjects"]] == ["kotatsu-operator"]
    for how in ((), (found, "--set=knative.enabled=false"), (found, "--set=knative.namespace=")):
        rendered = render("kotatsu", None, *how)
        operator = rendered.one("Deployment", "kotatsu-operator")
        assert "KOTATSU_KNATIVE_NAMESPACE" not in environment(operator["spec"]["template"])
        assert {_namespace(r) for r in rendered.of("Role")} == {"here"}


def test_the_operator_may_write_its_lease_and_no_other_in_its_own_namespace_alone() -> None:
    rendered = render("kotatsu", CI / "own-activators.yaml")

    assert _rights(rendered, "kotatsu-operator-leader") == {
        ("coordination.k8s.io", f"leases/{LEASE_NAME}", "get update"),
        ("coordination.k8s.io", "leases", "create"),
    }
    leases = [r for r in rendered.of("Role") if "leases" in str(r)]
    assert {_namespace(r) for r in leases} == {"here"}
    assert len(leases) == 2  # also of the Job before an uninstall


def test_what_runs_before_an_uninstall_goes_with_it() -> None:
    hooks = [o for o in render("kotatsu").objects if "pre-delete" in str(annotations(o))]

    assert sorted(obj["kind"] for obj in hooks) == [
        "ClusterRole", "ClusterRoleBinding", "Job", "NetworkPolicy",
        "Role", "Role", "RoleBinding", "RoleBinding", "ServiceAccount",
    ]  # fmt: skip
    for obj in hooks:
        assert obj["metadata"]["name"].startswith("kotatsu-uninstall")
        assert annotations(obj)["helm.sh/hook-delete-policy"] == (
            "before-hook-creation,hook-succeeded"
        )


def test_the_job_before_an_uninstall_reads_its_environment() -> None:
    values = "uninstall.timeout=99s,uninstall.overrideManifests=true"
    job = render("kotatsu", None, "--set", values).one("Job", "kotatsu-uninstall")
    env = environment(job["spec"]["template"])

    settings = load(UninstallSettings, env)

    assert (settings.timeout, settings.override_manifests) == (99, True)
    assert job["spec"]["activeDeadlineSeconds"] > 99
    assert _known(env, UninstallSettings)


def test_an_uninstall_can_be_told_to_leave_sleeping_targets_alone() -> None:
    rendered = render("kotatsu", None, "--set", "uninstall.restore=false")

    assert not [o for o in rendered.objects if "pre-delete" in str(annotations(o))]


def test_the_crd_job_runs_only_while_upgrading_and_cleans_up() -> None:
    hooks = [obj for obj in render("kotatsu").objects if "pre-upgrade" in str(annotations(obj))]

    assert sorted(obj["kind"] for obj in hooks) == [
        "ClusterRole", "ClusterRoleBinding", "ConfigMap", "Job", "NetworkPolicy", "ServiceAccount",
    ]  # fmt: skip
    for obj in hooks:
        assert "hook-succeeded" in annotations(obj)["helm.sh/hook-delete-policy"]


def test_the_crd_job_carries_the_packaged_crds() -> None:
    packaged = render("kotatsu").one("ConfigMap", "kotatsu-crds")["data"]

    plurals = ("warmpoolhistories", "warmpools", "warmpoolsets")
    assert [*packaged] == [f"{plural}.kotatsu.dev.json" for plural in plurals]
    for text in packaged.values():
        assert json.loads(text)["kind"] == "CustomResourceDefinition"


def test_the_hooks_policies_go_with_the_policies() -> None:
    off = render("kotatsu", None, "--set=networkPolicy.enabled=false")

    assert off.of("NetworkPolicy") == []
    assert off.names("Job") == ["kotatsu-crds", "kotatsu-uninstall"]


def test_a_prometheus_operator_is_noticed() -> None:
    api = "--api-versions=monitoring.coreos.com/v1/PodMonitor"

    assert render("kotatsu").of("PodMonitor") == []
    assert render("kotatsu", None, api).names("PodMonitor") == [
        "kotatsu",
        "kotatsu-activator",
    ]
    assert render("kotatsu", CI / "small.yaml", api).of("PodMonitor") == []


def test_placement_reaches_the_pods() -> None:
    operator = render("kotatsu", CI / "production.yaml").one("Deployment", "kotatsu-operator")
    spec = operator["spec"]["template"]["spec"]

    assert spec["containers"][0]["image"] == "images.example.com/kotatsu:1.2.3"
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert spec["priorityClassName"] == "system-cluster-critical"
    assert spec["nodeSelector"] == {"kubernetes.io/os": "linux"}
    assert spec["tolerations"]
    assert spec["affinity"]


@pytest.mark.parametrize("version", ["1.29.9", "1.20.0"])
def test_an_old_kubernetes_is_refused(version: str) -> None:
    done = template("kotatsu", None, "--kube-version", version)

    assert done.returncode != 0
    assert "kubeVersion" in done.stderr


def _rights(rendered: Rendered, name: str) -> set[Right]:
    rules = rendered.one("Role", name)["rules"]
    return {
        (group, "/".join([resource, *rule.get("resourceNames", ())]), _verbs(rule))
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def _verbs(rule: Object) -> str:
    return " ".join(sorted(rule["verbs"]))


def _namespace(obj: Object) -> str:
    return str(obj["metadata"]["namespace"])


def _known(env: dict[str, str], settings: type[ServiceSettings]) -> bool:
    known = {f"KOTATSU_{field.upper()}" for field in settings.model_fields}
    return {name for name in env if re.match("KOTATSU_", name)} <= known
