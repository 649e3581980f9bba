"""The app's chart."""

from pathlib import Path

import pytest
from chart.kit import (
    CHARTS,
    Object,
    Rendered,
    annotations,
    containers,
    default_values,
    environment,
    notes,
    render,
    template,
)

from kotatsu_auth.settings import AuthSettings
from kotatsu_common.settings import ServiceSettings, load
from kotatsu_feed.settings import FeedSettings
from kotatsu_operator.core.decide.isolation import Shared, check_isolation, ingress_policy
from kotatsu_operator.core.objects import container_ports, pod_labels, selects
from kotatsu_operator.core.pool.parse import parse
from kotatsu_voice.settings import VoiceSettings

CI = CHARTS / "pet" / "ci"
DEMO, POSTGRES, INGRESS = CI / "demo.yaml", CI / "postgres-httproute.yaml", CI / "ingress.yaml"
ALL = pytest.mark.parametrize("values", [None, DEMO, POSTGRES, INGRESS], ids=lambda v: v and v.stem)


@ALL
@pytest.mark.parametrize(
    ("name", "settings"),
    [("voice", VoiceSettings), ("auth", AuthSettings), ("feed", FeedSettings)],
)
def test_each_service_reads_its_environment(
    name: str, settings: type[ServiceSettings], values: Path | None
) -> None:
    env = environment(_pod(render("pet", values), name))
    if env.get("KOTATSU_DATABASE_URL") == "placeholder":
        env["KOTATSU_DATABASE_URL"] = "postgresql://user:password@host:5432/feed"

    loaded = load(settings, env)

    known = {f"KOTATSU_{field.upper()}" for field in settings.model_fields}
    assert set(env) - {"TMPDIR"} <= known
    assert loaded.port == 8080


def test_the_github_stub_reads_its_environment() -> None:
    stub = pytest.importorskip("kotatsu_github_stub.settings")
    env = environment(_pod(render("pet", DEMO), "github-stub"))

    assert load(stub.StubSettings, env).stub_public_url == "http://localhost:8080"


def test_the_voice_refuses_strangers_unless_told_otherwise() -> None:
    assert environment(_pod(render("pet"), "voice"))["KOTATSU_VOICE_ANONYMOUS"] == "false"
    assert environment(_pod(render("pet", DEMO), "voice"))["KOTATSU_VOICE_ANONYMOUS"] == "true"


def test_a_pod_may_hold_as_many_as_an_activator_sends_it() -> None:
    settings = load(VoiceSettings, environment(_pod(render("pet"), "voice")))

    assert settings.voice_queue >= default_values("kotatsu")["activator"]["maxHeld"]


def test_services_go_on_accepting_before_they_end() -> None:
    for name in ("voice", "auth", "feed"):
        [container] = containers(_pod(render("pet"), name))
        command = container["lifecycle"]["preStop"]["exec"]["command"]
        assert command == ["/bin/sh", "-c", "kill -USR1 1; sleep 6"]
        assert container["readinessProbe"]["periodSeconds"] == 1


def test_services_accept_for_longer_than_the_route_settles() -> None:
    pod = _pod(render("pet", CI / "enterprise.yaml"), "voice")
    assert "kill -USR1 1; sleep 11" in str(containers(pod)[0]["lifecycle"])
    assert pod["spec"]["terminationGracePeriodSeconds"] == 80


def test_windows_reach_the_pool() -> None:
    spec = render("pet", DEMO).one("WarmPool", "voice")["spec"]

    assert [window["name"] for window in spec["windows"]] == ["final-pitch", "rehearsal"]
    assert spec["timeZone"] == "Asia/Tokyo"
    assert spec["idleAfter"] == "30s"


def test_a_service_that_is_no_pool_keeps_its_pods() -> None:
    rendered = render("pet", INGRESS)

    assert rendered.of("WarmPool") == []
    assert rendered.names("Deployment") == ["auth", "feed", "gateway", "voice"]


def test_sqlite_has_one_writer_and_a_volume_that_outlives_the_release() -> None:
    rendered = render("pet")
    feed = rendered.one("Deployment", "feed")
    claim = rendered.one("PersistentVolumeClaim", "feed")

    assert feed["spec"]["strategy"] == {"type": "Recreate"}
    assert rendered.one("WarmPool", "feed")["spec"]["maxReplicas"] == 1
    assert environment(_pod(rendered, "feed"))["KOTATSU_DATABASE_URL"].startswith(
        "sqlite:////data/"
    )
    assert annotations(claim)["helm.sh/resource-policy"] == "keep"
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert annotations(render("pet", DEMO).one("PersistentVolumeClaim", "feed")) == {}


def test_what_wakes_waits_for_no_volume_but_the_one_with_the_pets() -> None:
    rendered = render("pet")
    pods = {name: _pod(rendered, name) for name in ("voice", "auth", "feed")}

    volumes = {name: pod["spec"].get("volumes", []) for name, pod in pods.items()}
    assert [v["name"] for v in volumes.pop("feed")] == ["data"]
    assert volumes == {"voice": [], "auth": []}
    assert {environment(pod)["TMPDIR"] for pod in pods.values()} == {"/dev/shm"}  # noqa: S108


def test_postgresql_comes_by_a_secret_and_lets_feed_grow() -> None:
    rendered = render("pet", POSTGRES)
    feed = rendered.one("Deployment", "feed")
    [url] = [e for e in containers(feed["spec"]["template"])[0]["env"]
             if e["name"] == "KOTATSU_DATABASE_URL"]  # fmt: skip

    assert url["valueFrom"] == {"secretKeyRef": {"name": "feed-database", "key": "url"}}
    assert rendered.of("PersistentVolumeClaim") == []
    assert "volumes" not in feed["spec"]["template"]["spec"]
    assert "strategy" not in feed["spec"]
    assert rendered.one("WarmPool", "feed")["spec"]["maxReplicas"] == 8


def test_a_claim_of_ones_own_is_used() -> None:
    rendered = render("pet", None, "--set", "feed.storage.existingClaim=mine")
    volumes = _pod(rendered, "feed")["spec"]["volumes"]

    assert rendered.of("PersistentVolumeClaim") == []
    assert {"name": "data", "persistentVolumeClaim": {"claimName": "mine"}} in volumes


def test_the_github_stub_is_never_part_of_a_default_install() -> None:
    assert "github-stub" not in render("pet").names("Deployment")
    for name in ("auth", "feed"):
        assert "KOTATSU_GITHUB_API_URL" not in environment(_pod(render("pet"), name))


def test_the_github_stub_stands_in_for_github() -> None:
    rendered = render("pet", DEMO)

    for name in ("auth", "feed"):
        env = environment(_pod(rendered, name))
        assert env["KOTATSU_GITHUB_API_URL"] == "http://github-stub"
    assert environment(_pod(rendered, "auth"))["KOTATSU_GITHUB_OAUTH_URL"] == "http://github-stub"
    assert rendered.one("Service", "github-stub")["spec"]["ports"][0]["port"] == 80


def test_the_oauth_app_comes_from_a_secret() -> None:
    [container] = containers(_pod(render("pet"), "auth"))
    keys = {e["name"]: e["valueFrom"]["secretKeyRef"] for e in container["env"] if "valueFrom" in e}

    assert keys == {
        "KOTATSU_GITHUB_CLIENT_ID": {"name": "pet-github", "key": "client-id"},
        "KOTATSU_GITHUB_CLIENT_SECRET": {"name": "pet-github", "key": "client-secret"},
    }


@ALL
def test_its_policies_admit_the_activators_of_an_install_for_all_namespaces(
    values: Path | None,
) -> None:
    """As the operator checks it, which otherwise refuses these pools (reason Isolated)."""
    chart = render("pet", values)
    shared = Shared("kotatsu", {"kubernetes.io/metadata.name": "kotatsu"}, is_accepted=False)
    found = [p for p in map(ingress_policy, chart.of("NetworkPolicy")) if p is not None]
    for pool in chart.of("WarmPool"):
        spec = parse(pool["spec"])
        workload = chart.one("Deployment", spec.target.name)
        of = [policy for policy in found if selects(policy.pods, pod_labels(workload))]
        assert of
        ports = container_ports(workload["spec"]["template"]["spec"])
        service = chart.one("Service", spec.service)
        assert check_isolation(spec, of, service, ports, shared) is None


def test_its_clients_may_reach_activators_in_any_namespace() -> None:
    for policy in render("pet", DEMO).of("NetworkPolicy"):
        peers = [peer for rule in policy["spec"]["egress"] for peer in rule.get("to", ())]
        activators = [p for p in peers if "kotatsu" in p["podSelector"]["matchLabels"].values()]
        assert all(peer["namespaceSelector"] == {} for peer in activators)
        assert activators or policy["metadata"]["name"] in ("github-stub", "auth")


def test_the_gateway_is_never_a_pool() -> None:
    rendered = render("pet", DEMO)

    assert rendered.names("WarmPool") == ["auth", "feed", "voice"]
    assert rendered.one("Deployment", "gateway")["spec"]["replicas"] == 2


def test_an_ingress_leads_to_the_gateway() -> None:
    ingress = render("pet", INGRESS).one("Ingress", "pet")

    assert _backends(ingress) == [("/", "Prefix", "gateway")]
    assert ingress["spec"]["rules"][0]["host"] == "pet.example.com"


def test_an_ingress_leads_to_the_services_where_there_is_no_gateway() -> None:
    ingress = render("pet", INGRESS, "--set", "gateway.enabled=false").one("Ingress", "pet")

    assert sorted(_backends(ingress)) == [
        ("/", "Prefix", "feed"),
        ("/authorize", "Prefix", "auth"),
        ("/talk", "Prefix", "voice"),
        ("/token", "Prefix", "auth"),
        ("/voice", "Prefix", "voice"),
        ("/voices", "Prefix", "voice"),
    ]


def test_a_route_leads_to_the_services_and_strips_claims_of_identity() -> None:
    route = render("pet", POSTGRES).one("HTTPRoute", "pet")

    backends = [rule["backendRefs"][0]["name"] for rule in route["spec"]["rules"]]
    assert sorted(backends) == ["auth", "feed", "voice"]
    [voice] = [r for r in route["spec"]["rules"] if r["backendRefs"][0]["name"] == "voice"]
    paths = [match["path"]["value"] for match in voice["matches"]]
    assert paths == ["/voice", "/voice/", "/voices", "/talk"]
    for rule in route["spec"]["rules"]:
        [header] = rule["filters"]
        removed = header["requestHeaderModifier"]["remove"]
        assert removed == ["X-User-Id", "X-User-Login", "X-User-Avatar"]
        assert rule["timeouts"] == {"request": "150s", "backendRequest": "150s"}


def test_a_route_needs_a_gateway_to_belong_to() -> None:
    done = template("pet", None, "--set", "httpRoute.enabled=true")

    assert done.returncode != 0
    assert "httpRoute.parentRefs: name the Gateway" in done.stderr


def test_notes_warn_of_what_is_not_for_real_users(tmp_path: Path) -> None:
    text = notes("pet", DEMO, tmp_path)

    assert "A stub takes the place of GitHub" in text
    assert "kubectl create secret" not in text


def test_notes_say_how_to_make_the_missing_secret(tmp_path: Path) -> None:
    text = notes("pet", None, tmp_path)

    assert "kubectl create secret generic pet-github -n here" in text


def _pod(rendered: Rendered, name: str) -> Object:
    pod: Object = rendered.one("Deployment", name)["spec"]["template"]
    return pod


def _backends(ingress: Object) -> list[tuple[str, str, str]]:
    return [
        (path["path"], path["pathType"], path["backend"]["service"]["name"])
        for rule in ingress["spec"]["rules"]
        for path in rule["http"]["paths"]
    ]
