"""What production users set in the app's chart: absent unless set, and where it belongs."""

import json
from pathlib import Path

import pytest
from chart.kit import (
    CHARTS,
    Object,
    Rendered,
    annotations,
    containers,
    environment,
    render,
    spec_validator,
)
from rows import each

KNATIVE = CHARTS / "pet/ci/knative.yaml"
SERVICES = ("voice", "auth", "feed")
EACH = pytest.mark.parametrize("name", SERVICES)


def rendered(values: Path | None = None, **settings: object) -> Rendered:
    """The chart with values; the name of a nested one is written with two underscores."""
    sets = [f"--set-json={key.replace('__', '.')}={json.dumps(v)}" for key, v in settings.items()]
    return render("pet", values, *sets)


def pod(name: str, chart: Rendered, kind: str = "Deployment") -> Object:
    """The pod template of a service."""
    found: Object = chart.one(kind, name)["spec"]["template"]
    return found


def spec(name: str, chart: Rendered) -> Object:
    """The spec of a service's pool, which fits the CRD."""
    found: Object = chart.one("WarmPool", name)["spec"]
    spec_validator().validate(found)
    return found


def test_a_budget_has_a_limit_a_period_and_a_policy() -> None:
    budget = {
        "limit": "500",
        "period": "Week",
        "onExhausted": "Sleep",
    }

    for name in SERVICES:
        assert spec(name, rendered(budget=budget))["budget"] == budget
        assert "budget" not in spec(name, rendered())


def test_a_pools_own_budget_replaces_parts_of_the_common_one() -> None:
    chart = rendered(budget={"period": "Week", "limit": "500"}, voice__pool__budget={"limit": "9"})

    assert spec("voice", chart)["budget"] == {"period": "Week", "limit": "9"}
    assert spec("auth", chart)["budget"] == {"period": "Week", "limit": "500"}


def test_a_limit_may_be_a_number() -> None:
    assert spec("voice", rendered(budget={"limit": 2500.5}))["budget"] == {"limit": "2500.5"}


@each(
    "url, rest, graphql",
    [
        ("https://git.example/api/v3", "https://git.example/api/v3", "https://git.example/api"),
        ("https://git.example/api/v3/", "https://git.example/api/v3", "https://git.example/api"),
        ("https://api.tenant.ghe.com", "https://api.tenant.ghe.com", "https://api.tenant.ghe.com"),
    ],
)
def test_on_github_enterprise_auth_asks_rest_and_feed_asks_graphql(
    url: str, rest: str, graphql: str
) -> None:
    """auth adds /user to its address and feed adds /graphql."""
    chart = rendered(
        github__apiUrl=url,
        github__oauthUrl="https://git.example",
        github__avatarOrigins=["https://avatars.git.example"],
    )

    auth, feed = (environment(pod(name, chart)) for name in ("auth", "feed"))
    assert auth["KOTATSU_GITHUB_API_URL"] == rest
    assert feed["KOTATSU_GITHUB_API_URL"] == graphql
    assert auth["KOTATSU_GITHUB_OAUTH_URL"] == "https://git.example"
    assert feed["KOTATSU_GITHUB_OAUTH_URL"] == "https://git.example"
    assert feed["KOTATSU_AVATAR_ORIGINS"] == "https://avatars.git.example"
    assert "KOTATSU_AVATAR_ORIGINS" not in environment(pod("feed", rendered()))


@each("name", [*SERVICES, "gateway"])
def test_what_a_pod_gets_is_absent_unless_set(name: str) -> None:
    plain = pod(name, rendered())["spec"]
    assert not {"priorityClassName", "serviceAccountName"} & set(plain)
    zone = {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone",
            "whenUnsatisfiable": "DoNotSchedule"}  # fmt: skip

    chart = rendered(
        **{
            "priorityClassName": "high",
            "podLabels": {"team": "demo", "app.kubernetes.io/name": "other"},
            f"{name}__podAnnotations": {"example.com/x": 1},
            "topologySpreadConstraints": [zone],
            "nodeSelector": {"example.com/fast": True},
        }
    )

    found, selector = pod(name, chart), chart.one("Deployment", name)["spec"]["selector"]
    assert found["spec"]["priorityClassName"] == "high"
    assert found["spec"]["nodeSelector"] == {"example.com/fast": "true"}
    assert found["spec"]["automountServiceAccountToken"] is False
    assert found["metadata"]["labels"]["team"] == "demo"
    assert found["metadata"]["labels"]["app.kubernetes.io/name"] == name
    assert annotations(found)["example.com/x"] == "1"
    assert found["spec"]["topologySpreadConstraints"] == [zone | {"labelSelector": selector}]


@pytest.mark.parametrize("kind", ["Deployment", "KnativeService"])
@EACH
def test_volumes_are_added_and_none_is_there_otherwise(name: str, kind: str) -> None:
    values = KNATIVE if kind == "KnativeService" else None
    volume = {"name": "ca", "configMap": {"name": "ca"}}
    mount = {"name": "ca", "mountPath": "/etc/ca", "readOnly": True}
    plain = pod(name, rendered(values), kind)["spec"]

    given = {f"{name}__extraVolumes": [volume], f"{name}__extraVolumeMounts": [mount]}
    found = pod(name, rendered(values, **given), kind)["spec"]

    [before], [after] = plain["containers"], found["containers"]
    assert found["volumes"] == [*plain.get("volumes", ()), volume]
    assert after["volumeMounts"] == [*before.get("volumeMounts", ()), mount]


@pytest.mark.parametrize("values", [None, KNATIVE], ids=["native", "knative"])
def test_a_model_that_loads_slowly_gets_more_time_to_start(values: Path | None) -> None:
    chart = rendered(values, voice__livenessProbe={"initialDelaySeconds": 120})

    kind = "KnativeService" if values else "Deployment"
    [container] = containers(pod("voice", chart, kind))
    assert container["livenessProbe"]["initialDelaySeconds"] == 120
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert container["livenessProbe"]["failureThreshold"] == 6


@pytest.mark.parametrize("values", [None, KNATIVE], ids=["native", "knative"])
def test_common_labels_and_annotations_are_on_every_object_and_replace_none(
    values: Path | None,
) -> None:
    labels = {"team": "demo", "app.kubernetes.io/name": "other"}
    notes = {"example.com/audited": True, "helm.sh/resource-policy": "other"}
    exposed = {f"{name}__enabled": True for name in ("podMonitor", "ingress", "githubStub")}
    chart = rendered(values, commonLabels=labels, commonAnnotations=notes, **exposed)

    for obj in chart.objects:
        assert obj["metadata"]["labels"]["team"] == "demo", obj["metadata"]["name"]
        assert obj["metadata"]["labels"].get("app.kubernetes.io/name") != "other"
        assert annotations(obj)["example.com/audited"] == "true", obj["metadata"]["name"]
    for claim in chart.of("PersistentVolumeClaim"):
        assert annotations(claim)["helm.sh/resource-policy"] == "keep"


@pytest.mark.parametrize("values", [None, KNATIVE], ids=["native", "knative"])
def test_on_openshift_its_scc_chooses_the_ids_and_dns_has_its_port(values: Path | None) -> None:
    chart = rendered(values, openshift=True)

    for owner, found in chart.pods():
        text = json.dumps(found["spec"])
        assert "65532" not in text, owner["metadata"]["name"]
        assert '"runAsNonRoot": true' in text
    policies = json.dumps(chart.of("NetworkPolicy"))
    assert '"port": 5353' in policies
    assert '"port": 53}' not in policies


def test_a_pod_monitor_is_where_prometheus_looks_and_scrapes_this_namespace() -> None:
    [monitor] = rendered(
        podMonitor__enabled=True,
        podMonitor__namespace="monitoring",
        podMonitor__labels={"release": "stack"},
        podMonitor__interval="30s",
    ).of("PodMonitor")

    [endpoint] = monitor["spec"]["podMetricsEndpoints"]
    assert monitor["metadata"]["namespace"] == "monitoring"
    assert monitor["metadata"]["labels"]["release"] == "stack"
    assert monitor["spec"]["namespaceSelector"] == {"matchNames": ["here"]}
    assert endpoint == {"port": "http", "path": "/metrics", "interval": "30s"}


def test_a_voice_for_everybody_without_auth_does_not_look_for_it() -> None:
    alone = render("pet", CHARTS / "pet" / "ci" / "voice-only.yaml")
    assert "KOTATSU_AUTH_URL" not in environment(pod("voice", alone))
