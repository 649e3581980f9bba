"""Each connection that there must be has a rule in the NetworkPolicies, and others have none.

What must be is read off the charts themselves: the addresses in the pods' environment, nginx's
targets, the pools, the probes and the pages that Prometheus reads.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chart.flows import Peer, Policies
from chart.kit import CHARTS, NAMESPACE, Object, Rendered, annotations, containers, render
from rows import each

PLATFORM, PET = CHARTS / "kotatsu" / "ci", CHARTS / "pet" / "ci"
POOL_PORT = 32768
"""Where an activator may listen for a pool: any port from 1024 on."""

API_SERVER = [Peer("API server", ip="172.30.0.2"), Peer("API server", ip="fd00::2")]
GITHUB = Peer("github.com", ip="140.82.112.3")
DNS = Peer("DNS", "kube-system", {"k8s-app": "kube-dns"})
DNS_CACHE = Peer("DNS cache of the node", ip="169.254.20.10")
DATABASES = [Peer("PostgreSQL", "databases", {"app": "postgres"}), Peer("managed", ip="10.9.0.5")]
PROMETHEUS = Peer("Prometheus", "monitoring", {"app": "prometheus"})
BALANCER = Peer("load balancer", ip="203.0.113.9")
METADATA = Peer("the cloud's metadata", ip="169.254.169.254")
STRANGER = Peer("somebody's pod", "theirs", {"app": "web"})
NEIGHBOR = Peer("another pod of the namespace", NAMESPACE, {"app": "web"})


@dataclass(frozen=True)
class Flow:
    """A connection, and what it is for."""

    source: Peer
    target: Peer
    port: int
    why: str
    protocol: str = "TCP"

    def __str__(self) -> str:
        ends = f"{self.source.name} → {self.target.name}:{self.port}/{self.protocol}"
        return f"{ends} ({self.why})"


class Installed:
    """The platform and the app in one namespace."""

    def __init__(self, pet: Path | None, platform: Path | None = None, *settings: str) -> None:
        self.platform = render("kotatsu", platform)
        self.pet = render("pet", pet, *settings)
        both = self.platform.objects + self.pet.objects
        self.all = Rendered(both)
        self.policies = Policies(self.all.of("NetworkPolicy"))
        self.pods = {
            owner["metadata"]["name"]: Peer(
                owner["metadata"]["name"],
                owner["metadata"]["namespace"],
                _labels(template, owner),
            )
            for owner, template in self.all.pods()
        }

    def template(self, name: str) -> Object:
        """The pod template of this name."""
        return next(t for o, t in self.all.pods() if o["metadata"]["name"] == name)

    def reached(self, service: str) -> Iterator[tuple[Peer, int]]:
        """Whom a connection to a Service ends at: its pods, or an activator while they sleep."""
        yield self.pods[service], 8080
        if service in self.pet.names("WarmPool"):
            yield self.pods["kotatsu-activator-0"], POOL_PORT

    def needed(self) -> Iterator[Flow]:
        """Every connection that there must be."""
        yield from self._to_the_cluster()
        yield from self._between_services()
        yield from self._to_the_outside()
        yield from self._of_the_pools()
        yield from self._from_the_outside()

    def _to_the_cluster(self) -> Iterator[Flow]:
        for name, pod in self.pods.items():
            if self.template(name)["spec"]["automountServiceAccountToken"]:
                for server in API_SERVER:
                    yield Flow(pod, server, 6443, "it has a token")
            if name != "github-stub":
                for dns in (DNS, DNS_CACHE):
                    for protocol in ("UDP", "TCP"):
                        yield Flow(pod, dns, 53, "names", protocol)

    def _between_services(self) -> Iterator[Flow]:
        for name, pod in self.pods.items():
            for host in self._asked_by(name) & self.pods.keys():
                for target, port in self.reached(host):
                    yield Flow(pod, target, port, "an address in its settings")

    def _asked_by(self, name: str) -> set[str]:
        text = str([c.get("env", ()) for c in containers(self.template(name))])
        if name == "gateway":
            text = str(self.pet.one("ConfigMap", "gateway")["data"])
            assert "proxy_pass" in text
        return set(re.findall(r"http://([a-z-]+)", text))

    def _to_the_outside(self) -> Iterator[Flow]:
        for name in ("auth", "feed"):
            if name in self.pods and "github-stub" not in self.pods:
                yield Flow(self.pods[name], GITHUB, 443, "GitHub")
        for name, pod in self.pods.items():
            for entry in containers(self.template(name))[0].get("env", ()):
                if entry["name"] == "KOTATSU_GEMINI_API_KEY":
                    yield Flow(pod, Peer("Gemini", ip="142.250.0.1"), 443, "Gemini")
                if entry["name"] == "KOTATSU_DATABASE_URL" and "valueFrom" in entry:
                    for database in DATABASES:
                        yield Flow(pod, database, 5432, "PostgreSQL")

    def _of_the_pools(self) -> Iterator[Flow]:
        operator = self.pods["kotatsu-operator"]
        activator = self.pods["kotatsu-activator-0"]
        yield Flow(operator, activator, 8080, "what it holds")
        for pool in self.pet.of("WarmPool"):
            target = self.pods[pool["spec"]["targetRef"]["name"]]
            yield Flow(operator, target, 8080, "requests in flight")
            yield Flow(activator, target, 8080, "what it passes on")
            yield Flow(STRANGER, activator, POOL_PORT, "a client of a sleeping pool")

    def _from_the_outside(self) -> Iterator[Flow]:
        front = ["gateway"] if "gateway" in self.pods else ["auth", "feed", "voice"]
        for name in set(front) & self.pods.keys():
            for client in (STRANGER, NEIGHBOR, BALANCER):
                yield Flow(client, self.pods[name], 8080, "a client")
        for name, pod in self.pods.items():
            scraped = annotations(self.template(name)).get("prometheus.io/port")
            if scraped:
                yield Flow(PROMETHEUS, pod, int(scraped), "its metrics")


def _labels(template: Object, owner: Object) -> dict[str, str]:
    labels = dict(template["metadata"]["labels"])
    if owner["apiVersion"].startswith("serving.knative.dev"):
        labels["serving.knative.dev/service"] = owner["metadata"]["name"]
    return labels


WITH_POLICIES = [p for p in sorted(PET.glob("*.yaml")) if p.stem not in ("ingress", "knative")]


@each("pet", WITH_POLICIES, name=lambda path: path.stem)
def test_what_must_be_connected_is(pet: Path) -> None:
    it = Installed(pet)
    flows = list(it.needed())
    blocked = [
        str(f) for f in flows if not it.policies.passes(f.source, f.target, f.port, f.protocol)
    ]
    assert len(flows) > 30
    assert blocked == []


@each("pet", [*WITH_POLICIES, PET / "knative.yaml"], name=lambda path: path.stem)
def test_every_pod_is_denied_by_default_in_both_directions(pet: Path) -> None:
    it = Installed(pet)
    for pod in it.pods.values():
        for direction in ("Ingress", "Egress"):
            assert len(it.policies.selecting(pod, direction)) == 1, f"{pod.name} {direction}"


def test_without_policies_everything_passes() -> None:
    it = Installed(PET / "ingress.yaml", PLATFORM / "small.yaml")
    assert it.all.of("NetworkPolicy") == []


def forbidden() -> Iterator[tuple[Path | None, str, Peer | str, int]]:
    """(values, from, to, port): connections that nobody needs."""
    demo, postgres = PET / "demo.yaml", PET / "postgres-httproute.yaml"
    for name in ("auth", "feed", "voice", "gateway", "kotatsu-operator", "kotatsu-activator-0"):
        yield None, name, METADATA, 80
        yield None, name, GITHUB, 80
        yield None, name, GITHUB, 22
    for name in ("auth", "feed", "voice", "gateway"):
        yield None, name, STRANGER, 8080
        yield None, name, STRANGER, 10250
        yield None, name, API_SERVER[0], 6443
        yield None, name, NEIGHBOR, 8080
        yield None, name, DATABASES[0], 5432
        yield None, name, "kotatsu-operator", 8080
        yield None, name, "kotatsu-operator", 8081
    for name in ("voice", "gateway"):
        yield None, name, GITHUB, 443
    for name in ("auth", "feed"):
        yield demo, name, GITHUB, 443  # the stub plays GitHub
    for source, target in (
        ("auth", "feed"), ("auth", "voice"), ("voice", "feed"), ("feed", "voice"),
        ("auth", "gateway"), ("feed", "gateway"), ("voice", "gateway"),
    ):  # fmt: skip
        yield demo, source, target, 8080
    for name in ("auth", "voice"):
        yield postgres, name, DATABASES[0], 5432
    for target, port in ((DNS, 53), (GITHUB, 443), ("auth", 8080), (NEIGHBOR, 8080)):
        yield demo, "github-stub", target, port
    for name in ("kotatsu-crds", "kotatsu-uninstall"):
        yield None, name, "kotatsu-operator", 8080
        yield None, name, "feed", 8080
        yield None, name, NEIGHBOR, 8080


@each("pet, source, target, port", forbidden())
def test_what_nobody_needs_is_not(
    pet: Path | None, source: str, target: Peer | str, port: int
) -> None:
    it = Installed(pet)
    end = it.pods[target] if isinstance(target, str) else target
    for protocol in ("TCP", "UDP"):
        assert not it.policies.passes(it.pods[source], end, port, protocol)


@each(
    "target, port",
    [
        ("kotatsu-operator", 8081),  # the console has no login
        ("kotatsu-operator", 443),
        ("kotatsu-activator-0", 443),
        ("kotatsu-crds", 8080),
        ("kotatsu-uninstall", 8080),
        ("gateway", 8081),  # for the kubelet
        ("auth", 22),
        ("feed", 5432),
        ("voice", 1),
    ],
)
def test_nobody_gets_in_anywhere_else(target: str, port: int) -> None:
    it = Installed(None)
    for source in (STRANGER, NEIGHBOR, PROMETHEUS, BALANCER):
        assert not it.policies.passes(source, it.pods[target], port)


def test_the_console_is_for_those_who_are_named() -> None:
    peer = "namespaceSelector.matchLabels.kubernetes\\.io/metadata\\.name=ingress"
    platform = render("kotatsu", None, f"--set=networkPolicy.consoleFrom[0].{peer}")
    policies = Policies(platform.of("NetworkPolicy"))
    [template] = [t for o, t in platform.pods() if o["metadata"]["name"] == "kotatsu-operator"]
    operator = Peer("operator", NAMESPACE, template["metadata"]["labels"])
    controller = Peer("controller", "ingress", {})
    assert policies.passes(controller, operator, 8081)
    assert not policies.passes(STRANGER, operator, 8081)
    off = render(
        "kotatsu", None, f"--set=networkPolicy.consoleFrom[0].{peer},console.enabled=false"
    )
    assert "8081" not in str(off.objects)


def test_sleeping_pools_are_for_the_allowed_clients_if_any_are_named() -> None:
    def passes(*settings: str) -> dict[str, bool]:
        platform = render("kotatsu", None, *settings)
        policies = Policies(platform.of("NetworkPolicy"))
        [template] = [
            t for o, t in platform.pods() if o["metadata"]["name"] == "kotatsu-activator-0"
        ]
        activator = Peer("activator", NAMESPACE, template["metadata"]["labels"])
        gateway = Peer("gateway", NAMESPACE, {"app": "gateway"})
        return {
            peer.name: policies.passes(peer, activator, POOL_PORT) for peer in (gateway, STRANGER)
        } | {"Prometheus": policies.passes(PROMETHEUS, activator, 8080)}

    assert set(passes().values()) == {True}
    named = "--set=activator.allowedClients[0].podSelector.matchLabels.app=gateway"
    assert passes(named) == {"gateway": True, STRANGER.name: False, "Prometheus": True}


def test_notifications_go_where_the_values_say_and_nowhere_else() -> None:
    rule = (
        "--set=networkPolicy.notificationsTo[0].to[0].ipBlock.cidr=198.51.100.0/24,"
        "networkPolicy.notificationsTo[0].ports[0].port=8443"
    )
    receiver = Peer("a receiver", ip="198.51.100.7")
    for secret, is_open in (("receivers", True), ("", False)):
        platform = render("kotatsu", None, rule, f"--set=notifications.secretName={secret}")
        policies = Policies(platform.of("NetworkPolicy"))
        pods = {o["metadata"]["name"]: t["metadata"]["labels"] for o, t in platform.pods()}
        operator = Peer("operator", NAMESPACE, pods["kotatsu-operator"])
        activator = Peer("activator", NAMESPACE, pods["kotatsu-activator-0"])
        assert policies.passes(operator, receiver, 8443) is is_open
        assert not policies.passes(operator, GITHUB, 8443)
        assert not policies.passes(activator, receiver, 8443)


POLICED = [
    *("kotatsu-operator", "kotatsu-activators"),
    *("kotatsu-crds", "kotatsu-uninstall", "kotatsu-test"),
]
"""The policies of the pods that have a token."""


def api_server_ports(platform: Rendered, name: str, namespace: str = NAMESPACE) -> set[int]:
    """The ports at which a policy permits the API server."""
    policy = platform.one("NetworkPolicy", name, namespace)
    return {entry["port"] for entry in policy["spec"]["egress"][0]["ports"]}


@each("name", POLICED)
def test_without_a_cluster_to_ask_the_api_server_is_reached_at_its_usual_ports(name: str) -> None:
    assert api_server_ports(render("kotatsu"), name) == {443, 6443}
    set_to = render("kotatsu", None, "--set=networkPolicy.apiServerPorts={16443}")
    assert api_server_ports(set_to, name) == {16443}


def test_narrower_addresses_of_the_api_server_are_kept_to() -> None:
    it = Installed(None, PLATFORM / "production.yaml")
    operator = it.pods["kotatsu-operator"]
    assert it.policies.passes(operator, Peer("API server", ip="10.1.2.3"), 6443)
    assert not it.policies.passes(operator, API_SERVER[0], 6443)


def test_dns_is_asked_where_its_pods_listen() -> None:
    ports = "networkPolicy.dnsPorts={5353}"
    platform, pet = render("kotatsu", None, f"--set={ports}"), render("pet", None, f"--set={ports}")
    policies = Policies(platform.of("NetworkPolicy") + pet.of("NetworkPolicy"))
    for owner, template in [*platform.pods(), *pet.pods()]:
        pod = Peer(owner["metadata"]["name"], NAMESPACE, template["metadata"]["labels"])
        for protocol in ("UDP", "TCP"):
            assert policies.passes(pod, DNS, 5353, protocol)
        assert not policies.passes(pod, DNS, 53, "UDP")


def test_on_knative_services_reach_each_other_through_its_ingress() -> None:
    it = Installed(PET / "knative.yaml")
    ingress = Peer("Kourier", "kourier-system", {"app": "3scale-kourier-gateway"})
    activator = Peer("Knative's activator", "knative-serving", {"app": "activator"})
    for name in ("gateway", "feed", "voice"):
        assert it.policies.passes(it.pods[name], ingress, 8081)
    for port in (8012, 8013, 8022, 9090):
        assert it.policies.passes(activator, it.pods["voice"], port)
    assert not it.policies.passes(it.pods["auth"], ingress, 8081)


def test_an_engine_of_voicevox_is_reached_here_or_where_a_rule_leads() -> None:
    it = Installed(PET / "postgres-httproute.yaml")
    engines = Peer("engine", "engines", {"app": "voicevox"})
    assert it.policies.passes(it.pods["voice"], NEIGHBOR, 50021)
    assert it.policies.passes(it.pods["voice"], engines, 50021)
    assert not it.policies.passes(it.pods["voice"], STRANGER, 50021)
