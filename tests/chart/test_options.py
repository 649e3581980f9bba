"""What production users set in the platform's chart: absent unless set, and where it belongs."""

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import pytest
from chart.kit import (
    CHARTS,
    Object,
    Rendered,
    annotations,
    containers,
    environment,
    load_yaml,
    render,
    render_anew,
)
from chart.kit import (
    template as attempt,
)
from rows import each

from kotatsu_common.settings import load
from kotatsu_operator.core.protocol import ACTIVATOR_LABELS
from kotatsu_operator.runtime.settings import OperatorSettings, SmokeSettings

SHARD = {"activator": "-0"}
PARTS = pytest.mark.parametrize("part", ["operator", "activator"])


def rendered(**values: object) -> Rendered:
    """The chart with values; the name of a nested one is written with two underscores."""
    sets = [f"--set-json={key.replace('__', '.')}={json.dumps(v)}" for key, v in values.items()]
    return render("kotatsu", None, *sets)


def deployment(part: str, chart: Rendered) -> Object:
    """The Deployment of the operator, or of the first shard of activators."""
    return chart.one("Deployment", f"kotatsu-{part}{SHARD.get(part, '')}")


def pod(part: str, chart: Rendered) -> Object:
    """The pod template of the operator or of the activators."""
    template: Object = deployment(part, chart)["spec"]["template"]
    return template


def test_another_name_is_the_prefix_of_every_object_but_what_no_two_releases_may_have() -> None:
    chart = rendered(fullnameOverride="platform", knative__enabled=True, operator__replicas=2)

    names = {obj["metadata"]["name"] for obj in chart.objects}
    other = {name for name in names if not name.startswith("platform")}
    assert other == {"kotatsu-owns-the-record", "kotatsu-serves-unlabeled-namespaces"}
    activator = chart.one("Deployment", "platform-activator-0")["spec"]
    assert activator["selector"]["matchLabels"].items() >= ACTIVATOR_LABELS.items()
    assert ",platform-console.here.svc," in str(chart.one("Deployment", "platform-operator"))
    policies = json.dumps(chart.of("ValidatingAdmissionPolicy"))
    assert "system:serviceaccount:here:platform-operator'" in policies
    assert "system:serviceaccount:here:platform-activator'" in policies
    assert "['platform-operator', 'platform-activator-0']" in policies
    assert "kotatsu-operator" not in policies


@pytest.mark.parametrize("monitor", ["podMonitor", "serviceMonitor"])
def test_common_labels_and_annotations_are_on_every_object_and_replace_none(monitor: str) -> None:
    labels = {"team": "demo", "app.kubernetes.io/name": "other"}
    notes = {"example.com/audited": True, "argocd.argoproj.io/hook": "other"}
    on = (monitor, "prometheusRule", "parked", "networkPolicy__cilium", "knative")
    values = {name if "__" in name else f"{name}__enabled": True for name in on}
    chart = rendered(
        commonLabels=labels, commonAnnotations=notes, operator__replicas=2, **values, **PLACEHOLDERS
    )

    for obj in chart.objects:
        assert obj["metadata"]["labels"]["team"] == "demo", obj["metadata"]["name"]
        assert obj["metadata"]["labels"]["app.kubernetes.io/name"] == "kotatsu"
        assert annotations(obj)["example.com/audited"] == "true", obj["metadata"]["name"]
    assert annotations(chart.one("Job", "kotatsu-crds"))["argocd.argoproj.io/hook"] == "Skip"
    for _, template in chart.pods():
        if template["metadata"].get("name") is None:
            assert "team" not in template["metadata"]["labels"]


@PARTS
def test_pod_labels_and_annotations_are_added_and_replace_no_selector(part: str) -> None:
    labels = {"team": "demo", "app.kubernetes.io/component": "other"}
    chart = rendered(
        **{f"{part}__podLabels": labels, f"{part}__podAnnotations": {"example.com/x": "1"}}
    )

    found = pod(part, chart)["metadata"]
    assert found["labels"]["team"] == "demo"
    assert found["labels"]["app.kubernetes.io/component"] == part
    assert found["annotations"]["example.com/x"] == "1"


@PARTS
def test_a_service_account_of_the_cluster_is_used_everywhere(part: str) -> None:
    account = {"create": False, "name": "mine"}
    chart = rendered(**{f"{part}__serviceAccount": account})

    assert f"kotatsu-{part}" not in chart.names("ServiceAccount")
    assert pod(part, chart)["spec"]["serviceAccountName"] == "mine"
    subjects = [s["name"] for b in chart.of("ClusterRoleBinding") for s in b["subjects"]]
    assert "mine" in subjects
    assert f"kotatsu-{part}" not in subjects
    policies = json.dumps(chart.of("ValidatingAdmissionPolicy"))
    assert f":kotatsu-{part}'" not in policies
    assert ":mine'" in policies


def test_more_environment_and_volumes_are_added_at_the_end() -> None:
    volume = {"name": "ca", "configMap": {"name": "ca"}}
    mount = {"name": "ca", "mountPath": "/etc/ca", "readOnly": True}
    chart = rendered(
        operator__extraEnv=[{"name": "HTTPS_PROXY", "value": "http://proxy"}],
        operator__extraVolumes=[volume],
        operator__extraVolumeMounts=[mount],
    )

    spec, plain = pod("operator", chart)["spec"], pod("operator", rendered())["spec"]
    [container], [before] = spec["containers"], plain["containers"]
    assert spec["volumes"] == [*plain["volumes"], volume]
    assert container["volumeMounts"] == [*before["volumeMounts"], mount]
    assert container["env"] == [*before["env"], {"name": "HTTPS_PROXY", "value": "http://proxy"}]


def test_a_global_registry_replaces_that_of_the_image() -> None:
    for repository, name in (
        ("localhost/kotatsu-operator", "kotatsu-operator"),
        ("ghcr.io/team/kotatsu-operator", "team/kotatsu-operator"),
        ("registry:5000/kotatsu-operator", "kotatsu-operator"),
        ("team/kotatsu-operator", "team/kotatsu-operator"),
    ):
        chart = rendered(image__repository=repository, global__imageRegistry="mirror.example:8443")
        for _, template in chart.pods():
            [container] = containers(template)
            assert container["image"].rsplit(":", 1)[0] == f"mirror.example:8443/{name}"


def test_pull_secrets_of_a_parent_chart_come_before_ones_own() -> None:
    chart = rendered(
        global__imagePullSecrets=["of-all", {"name": "of-some"}], imagePullSecrets=[{"name": "own"}]
    )

    for owner, template in chart.pods():
        names = [secret["name"] for secret in template["spec"]["imagePullSecrets"]]
        assert names == ["of-all", "of-some", "own"], owner["metadata"]["name"]
    assert all("imagePullSecrets" not in t["spec"] for _, t in rendered().pods())


@PARTS
def test_a_pod_is_restarted_only_after_a_minute_without_an_answer(part: str) -> None:
    [container] = containers(pod(part, rendered()))
    probe = container["livenessProbe"]
    assert probe["httpGet"] == {"path": "/livez", "port": "metrics"}
    assert probe["periodSeconds"] * probe["failureThreshold"] == 60


@PARTS
def test_constraints_on_the_spread_select_the_parts_own_pods(part: str) -> None:
    zone = {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone",
            "whenUnsatisfiable": "DoNotSchedule"}  # fmt: skip
    chart = rendered(**{f"{part}__topologySpreadConstraints": [zone]})

    [found] = pod(part, chart)["spec"]["topologySpreadConstraints"]
    selector = deployment(part, chart)["spec"]["selector"]
    assert found == zone | {"labelSelector": selector}


def test_a_service_monitor_comes_in_place_of_the_pod_monitor() -> None:
    assert rendered().of("ServiceMonitor") == []
    chart = rendered(serviceMonitor__enabled=True, podMonitor__enabled=True, **OWN)

    monitors = chart.of("ServiceMonitor")
    assert chart.of("PodMonitor") == []
    assert not [t for _, t in chart.pods() if "prometheus.io/scrape" in annotations(t)]
    services = [s for s in chart.of("Service") if s["metadata"]["name"].endswith("-metrics")]
    assert sorted(s["metadata"]["namespace"] for s in services) == ["a", "b", "here", "here"]
    found = {
        (service["metadata"]["namespace"], service["metadata"]["name"])
        for monitor in monitors
        for service in chart.of("Service")
        if service["metadata"]["namespace"] in monitor["spec"]["namespaceSelector"]["matchNames"]
        and monitor["spec"]["selector"]["matchLabels"].items()
        <= service["metadata"]["labels"].items()
    }
    assert found == {(s["metadata"]["namespace"], s["metadata"]["name"]) for s in services}
    ports = {port["name"] for s in services for port in s["spec"]["ports"]}
    assert {monitor["spec"]["endpoints"][0]["port"] for monitor in monitors} <= ports


OWN = {"activator__own": {"a": {}, "b": {}}}
MONITORED = [
    ("PodMonitor", "podMetricsEndpoints", {"podMonitor__enabled": True}),
    ("ServiceMonitor", "endpoints", {"serviceMonitor__enabled": True}),
]


def arrives(
    endpoint: Object, series: Mapping[str, str], namespace: str
) -> Mapping[str, str] | None:
    """What Prometheus stores of a series of a target in a namespace; None if it drops it."""
    assert not endpoint.get("honorLabels")
    found = {"namespace": namespace} | {
        "exported_namespace" if name == "namespace" else name: value
        for name, value in series.items()
    }
    for rule in endpoint["metricRelabelings"]:
        action = rule.get("action", "replace")
        if action == "labeldrop":
            found = {k: v for k, v in found.items() if not re.fullmatch(rule["regex"], k)}
            continue
        [source] = rule["sourceLabels"]
        match = re.fullmatch(rule["regex"], found.get(source, ""))
        if action == "keep" and match is None:
            return None
        if action == "replace" and match is not None:
            found[rule["targetLabel"]] = match[1]
    return found


@pytest.mark.parametrize(("kind", "field", "on"), MONITORED)
def test_a_monitor_scrapes_as_told(kind: str, field: str, on: dict[str, object]) -> None:
    plain = rendered(**on).one(kind, "kotatsu")
    assert set(plain["spec"][field][0]) == {"port", "path", "interval", "metricRelabelings"}
    assert plain["metadata"]["namespace"] == "here"
    relabeling = {"action": "labeldrop", "regex": "pod"}
    told = {
        "namespace": "monitoring",
        "labels": {"release": "stack"},
        "interval": "30s",
        "scrapeTimeout": "9s",
        "relabelings": [relabeling],
        "metricRelabelings": [relabeling],
    }
    values = {f"{kind[0].lower()}{kind[1:]}__{key}": value for key, value in told.items()}

    for monitor in rendered(**on, **values).of(kind):
        [endpoint] = monitor["spec"][field]
        assert monitor["metadata"]["namespace"] == "monitoring"
        assert monitor["metadata"]["labels"]["release"] == "stack"
        assert (endpoint["interval"], endpoint["scrapeTimeout"]) == ("30s", "9s")
        assert endpoint["relabelings"] == [relabeling]
        assert endpoint["metricRelabelings"][-1] == relabeling


def test_dashboards_have_the_label_the_folder_and_the_namespace_that_grafana_wants() -> None:
    def boards(**settings: object) -> list[Object]:
        values = {f"dashboards__{key}": value for key, value in settings.items()}
        maps = rendered(**values).of("ConfigMap")
        return [m for m in maps if "-dashboard-" in m["metadata"]["name"]]

    for board in boards():
        assert annotations(board) == {}
        assert board["metadata"]["namespace"] == "here"
    given = boards(
        label="dashboards",
        labelValue="yes",
        annotations={"grafana_folder": "Kotatsu"},
        namespace="monitoring",
    )
    assert len(given) == 4
    for board in given:
        assert board["metadata"]["labels"]["dashboards"] == "yes"
        assert "grafana_dashboard" not in board["metadata"]["labels"]
        assert annotations(board) == {"grafana_folder": "Kotatsu"}
        assert board["metadata"]["namespace"] == "monitoring"


def test_every_alert_leads_to_a_runbook_under_the_address_given() -> None:
    chart = rendered(
        prometheusRule__enabled=True,
        prometheusRule__runbookUrl="https://wiki.example/{alert}.md",
        prometheusRule__namespace="monitoring",
        prometheusRule__labels={"release": "stack"},
    )
    [rule] = chart.of("PrometheusRule")

    assert rule["metadata"]["namespace"] == "monitoring"
    assert rule["metadata"]["labels"]["release"] == "stack"
    for group in rule["spec"]["groups"]:
        for alert in group["rules"]:
            url = alert["annotations"]["runbook_url"]
            assert url == f"https://wiki.example/{alert['alert']}.md"


SCC = "security.openshift.io/v1/SecurityContextConstraints"


@pytest.mark.parametrize("how", ["--set=openshift=true", f"--api-versions={SCC}"])
def test_on_openshift_its_scc_chooses_the_ids_and_dns_has_its_port(how: str) -> None:
    chart = render("kotatsu", None, how)

    for owner, template in chart.pods():
        context = template["spec"]["securityContext"]
        assert set(context) == {"runAsNonRoot", "seccompProfile"}, owner["metadata"]["name"]
    ports = [
        port["port"]
        for policy in chart.of("NetworkPolicy")
        for rule in policy["spec"]["egress"]
        for port in rule["ports"]
        if port["protocol"] == "UDP"
    ]
    assert set(ports) == {5353}
    assert (
        render("kotatsu", None, how, "--set=networkPolicy.dnsPorts={53}").objects != chart.objects
    )


def test_who_may_edit_a_namespace_may_use_pools_and_the_switch_unless_that_is_off() -> None:
    roles = {
        label: role["rules"]
        for role in rendered().of("ClusterRole")
        for label in role["metadata"]["labels"]
        if label.startswith("rbac.authorization.k8s.io/aggregate-to-")
    }
    verbs = {label.rsplit("-", 1)[1]: rules[0]["verbs"] for label, rules in roles.items()}

    assert verbs["view"] == ["get", "list", "watch"]
    assert {"create", "patch", "delete"} <= set(verbs["edit"])
    assert verbs["admin"] == verbs["edit"]
    assert not [rule for rules in roles.values() for rule in rules if "status" in str(rule)]
    assert "aggregate-to" not in str(rendered(rbac__aggregate=False).objects)


def test_helm_test_runs_a_pod_that_reads_its_environment() -> None:
    test = rendered(activator__own={"b": {}, "a": {"leaving": True}}).one("Pod", "kotatsu-test")

    settings = load(SmokeSettings, environment(test))

    assert annotations(test)["helm.sh/hook"] == "test"
    assert settings.own == ("a", "b"), "also those that are leaving"
    assert settings.shards == 1
    assert test["spec"]["activeDeadlineSeconds"] > settings.timeout


def test_its_log_is_printed_once() -> None:
    """`helm test --logs` prints the log of the pod with the name of a hook, for each hook."""
    chart = render("kotatsu", None, "--api-versions=cilium.io/v2/CiliumNetworkPolicy")
    hooks = [o for o in chart.objects if annotations(o).get("helm.sh/hook") == "test"]
    assert [(o["kind"], o["metadata"]["name"]) for o in hooks] == [("Pod", "kotatsu-test")]


def test_cilium_gets_a_rule_for_the_api_server_for_each_pod_that_needs_it() -> None:
    assert rendered().of("CiliumNetworkPolicy") == []
    assert rendered(networkPolicy__enabled=False, networkPolicy__cilium=True).of(
        "CiliumNetworkPolicy"
    ) == []  # fmt: skip
    chart = render("kotatsu", None, "--api-versions=cilium.io/v2/CiliumNetworkPolicy")

    selected = []
    for policy in chart.of("CiliumNetworkPolicy"):
        assert policy["spec"]["egress"] == [{"toEntities": ["kube-apiserver"]}]
        selected.append(policy["spec"]["endpointSelector"]["matchLabels"])
    for owner, template in chart.pods():
        labels = template["metadata"]["labels"]
        assert [s for s in selected if s.items() <= labels.items()], owner["metadata"]["name"]
    hooks = {p["metadata"]["name"] for p in chart.of("CiliumNetworkPolicy")} - {
        p["metadata"]["name"] for p in chart.kept().of("CiliumNetworkPolicy")
    }
    assert hooks == {"kotatsu-crds", "kotatsu-uninstall"}


def test_under_a_quota_on_cpu_limits_every_pod_can_have_one() -> None:
    limits = {"cpu": "500m"}
    parts = ("operator", "activator", "jobs")
    chart = rendered(**{f"{part}__resources__limits": limits for part in parts})

    for owner, template in chart.pods():
        for container in containers(template):
            assert container["resources"]["limits"]["cpu"] == "500m", owner["metadata"]["name"]
            assert "memory" in container["resources"]["limits"], owner["metadata"]["name"]


def test_numbers_and_booleans_become_the_texts_that_kubernetes_wants() -> None:
    chart = rendered(
        commonLabels={"number": 1000000, "share": 0.5},
        commonAnnotations={"flag": True},
        operator__nodeSelector={"example.com/fast": True},
        operator__podAnnotations={"example.com/port": 8080},
        operator__extraEnv=[{"name": "LIMIT", "value": 20}],
    )

    operator = chart.one("Deployment", "kotatsu-operator")
    labels = operator["metadata"]["labels"]
    assert (labels["number"], labels["share"]) == ("1000000", "0.5")
    assert annotations(operator)["flag"] == "true"
    assert pod("operator", chart)["spec"]["nodeSelector"] == {"example.com/fast": "true"}
    assert annotations(pod("operator", chart))["example.com/port"] == "8080"
    assert environment(pod("operator", chart))["LIMIT"] == "20"


@each("price, read", [(0.04, "0.04"), (12, "12"), (1e-5, "0.00001")])
def test_a_price_may_be_a_number(price: float, read: str) -> None:
    prices = {"currency": "USD", "cpuHour": price, "extended": {"nvidia.com/gpu": price}}
    settings = load(OperatorSettings, environment(pod("operator", rendered(prices=prices))))

    assert settings.prices.per_hour == {
        "cpu": Decimal(read),
        "nvidia.com/gpu": Decimal(read),
    }


def test_a_parent_chart_switches_both_charts_and_sets_what_they_share(tmp_path: Path) -> None:
    chart = umbrella(tmp_path)
    both = render_umbrella(chart, kotatsu=True, pet=True)

    assert {"kotatsu-operator", "kotatsu-activator-0", "voice", "gateway"} <= set(
        both.names("Deployment")
    )
    for _, template in both.pods():
        for container in containers(template):
            assert container["image"].startswith("mirror.example/"), container["image"]
        assert template["spec"]["imagePullSecrets"] == [{"name": "of-all"}]
    assert "CustomResourceDefinition" in {obj["kind"] for obj in both.objects}
    alone = render_umbrella(chart, kotatsu=True, pet=False)
    assert set(alone.names("Deployment")) == {"kotatsu-operator", "kotatsu-activator-0"}


def umbrella(folder: Path) -> Path:
    """A parent chart with both charts as its dependencies, each behind a condition."""
    chart = folder / "umbrella"
    (chart / "charts").mkdir(parents=True)
    dependencies = []
    for name in ("kotatsu", "pet"):
        (chart / "charts" / name).symlink_to(CHARTS / name)
        [meta] = load_yaml((CHARTS / name / "Chart.yaml").read_text())
        dependencies.append(
            {"name": name, "version": meta["version"], "condition": f"{name}.enabled"}
        )
    (chart / "Chart.yaml").write_text(
        json.dumps(
            {
                "apiVersion": "v2",
                "name": "umbrella",
                "version": "1.0.0",
                "dependencies": dependencies,
            }
        )
    )
    return chart


def render_umbrella(chart: Path, **enabled: bool) -> Rendered:
    """`helm template` of the parent, with the subcharts switched by its values."""
    values = {
        "global": {"imageRegistry": "mirror.example", "imagePullSecrets": ["of-all"]},
        **{name: {"enabled": on} for name, on in enabled.items()},
    }
    (chart / "values.yaml").write_text(json.dumps(values))
    return render_anew(chart, None, "--include-crds")


def test_pods_are_parked_only_where_the_value_permits_it() -> None:
    off, on = rendered(), rendered(parked__enabled=True)
    assert not load(OperatorSettings, environment(pod("operator", off))).parked
    assert load(OperatorSettings, environment(pod("operator", on))).parked
    names = {obj["metadata"]["name"] for obj in on.objects} - {
        obj["metadata"]["name"] for obj in off.objects
    }
    assert names == {
        "kotatsu-operator-parked-here",
        "kotatsu-uninstall-parked-here",
        "kotatsu-requests-here",
    }


PLACEHOLDERS = {"capacityAhead__enabled": True, "capacityAhead__image": "mirror/pause"}


def test_capacity_ahead_gives_no_permission_unless_it_is_enabled() -> None:
    off, on = rendered(), rendered(**PLACEHOLDERS)
    names = {obj["metadata"]["name"] for obj in on.objects} - {
        obj["metadata"]["name"] for obj in off.objects
    }
    assert names == {
        "kotatsu-operator-capacity-here",
        "kotatsu-capacity-here",
        "kotatsu-placeholders-here",
    }
    settings = load(OperatorSettings, environment(pod("operator", on)))
    assert settings.capacity_image == "mirror/pause"
    assert settings.capacity_priority_class == "kotatsu-capacity-here"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"capacityAhead__enabled": True}, "capacityAhead.enabled needs capacityAhead.image"),
        (PLACEHOLDERS | {"admissionPolicies__enabled": False}, "needs admissionPolicies.enabled"),
    ],
)
def test_placeholders_without_an_image_or_a_policy_are_refused(
    values: dict[str, object], sentence: str
) -> None:
    sets = [f"--set-json={key.replace('__', '.')}={json.dumps(v)}" for key, v in values.items()]
    assert sentence in attempt("kotatsu", None, *sets).stderr
