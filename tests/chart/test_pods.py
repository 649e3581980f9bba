"""Every pod of both charts, in every scenario and with each option that adds or changes one.

Pod Security "restricted" as the API server judges it (the end-to-end tests let it), and more than
that: a root filesystem nobody writes to, no token of a service account where none is needed, no
address of the cluster in the environment.
"""

from pathlib import Path

from chart.kit import (
    CHARTS,
    MAKES_PODS,
    SCENARIOS,
    Object,
    Rendered,
    containers,
    kind_of,
    render,
)
from rows import each

# The only pods that talk to the API server.
WITH_TOKEN = {
    "kotatsu-operator", "kotatsu-activator", "kotatsu-activator-0", "kotatsu-activator-1",
    "kotatsu-crds", "kotatsu-uninstall", "kotatsu-test",
}  # fmt: skip
USER = 65532
VOLUMES = {"/tmp", "/data"}  # noqa: S108

Case = tuple[str, Path | None, str]
"""A chart, one of its ci/ files, and settings beside it."""

PET = CHARTS / "pet" / "ci"
OPTIONS: list[Case] = [
    ("kotatsu", None, "console.enabled=false,dashboards.enabled=false"),
    ("kotatsu", None, "operator.replicas=2,knative.enabled=false,uninstall.restore=false"),
    ("kotatsu", None, "prices.currency=JPY,prices.cpuHour=6.5,logLevel=debug"),
    ("pet", None, "githubStub.enabled=true,feed.storage.existingClaim=mine"),
    ("pet", None, "voice.engine=voicevox,voice.gemini.existingSecret=gemini,voice.anonymous=true"),
    ("pet", PET / "knative.yaml", "githubStub.enabled=true,voice.pool.enabled=false"),
    ("pet", PET / "postgres-httproute.yaml", "gateway.enabled=true,gateway.ipv6=true"),
]
ALL = [(s.chart, s.values, "") for s in SCENARIOS] + OPTIONS


def name_of(case: Case) -> str:
    """Shown where a test fails."""
    chart, values, settings = case
    return "-".join(part for part in (chart, values.stem if values else "", settings) if part)


everywhere = each("case", ALL, name_of)


def made(case: Case) -> Rendered:
    """What the chart makes of it."""
    chart, values, settings = case
    return render(chart, values, *([f"--set={settings}"] if settings else []))


def security(template: Object, container: Object, field: str) -> object:
    """A field of the security context in force: the container's, else the pod's."""
    pod = template["spec"].get("securityContext") or {}
    own = container.get("securityContext") or {}
    return own.get(field, pod.get(field))


@everywhere
def test_every_pod_is_restricted(case: Case) -> None:
    rendered = made(case)
    seen = 0
    for owner, template in rendered.pods():
        spec, where = template["spec"], owner["metadata"]["name"]
        for shared in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"):
            assert shared not in spec, where
        assert "sysctls" not in (spec.get("securityContext") or {}), where
        for container in containers(template):
            seen += 1
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False, where
            assert own["capabilities"] == {"drop": ["ALL"]}, where
            assert not {"privileged", "procMount", "seLinuxOptions", "windowsOptions"} & set(own)
            assert security(template, container, "runAsNonRoot") is True, where
            assert security(template, container, "runAsUser") == USER, where
            assert security(template, container, "runAsGroup") == USER, where
            profile = security(template, container, "seccompProfile")
            assert profile == {"type": "RuntimeDefault"}, where
            assert not any("hostPort" in port for port in container.get("ports", ())), where
            for hook in (container.get("lifecycle") or {}).values():
                assert "httpGet" not in hook, where
            for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
                assert "host" not in (container.get(probe) or {}).get("httpGet", {}), where
    assert seen


@everywhere
def test_nothing_is_written_but_to_its_own_volumes(case: Case) -> None:
    rendered = made(case)
    for owner, template in rendered.pods():
        where = owner["metadata"]["name"]
        for volume in template["spec"].get("volumes", ()):
            [kind] = set(volume) - {"name"}
            assert kind in {"emptyDir", "configMap", "persistentVolumeClaim", "image"}, where
            assert kind != "emptyDir" or "sizeLimit" in volume["emptyDir"], where
        for container in containers(template):
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, where
            mounts = container.get("volumeMounts", ())
            writable = {m["mountPath"] for m in mounts if not m.get("readOnly")}
            assert writable <= VOLUMES, where


@everywhere
def test_only_what_asks_the_api_server_gets_a_token(case: Case) -> None:
    rendered = made(case)
    for owner, template in rendered.pods():
        spec, name = template["spec"], owner["metadata"]["name"]
        assert spec["automountServiceAccountToken"] is (name in WITH_TOKEN), name
        if name in WITH_TOKEN:
            own = "kotatsu-operator" if name == "kotatsu-test" else name.rstrip("-01")
            assert spec["serviceAccountName"] == own, name
    for account in rendered.of("ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


@everywhere
def test_no_pod_is_told_the_addresses_of_services(case: Case) -> None:
    rendered = made(case)
    for owner, template in rendered.pods():
        assert template["spec"]["enableServiceLinks"] is False, owner["metadata"]["name"]


@everywhere
def test_a_secret_reaches_a_pod_by_reference_alone(case: Case) -> None:
    rendered = made(case)
    assert rendered.of("Secret") == []
    for owner, template in rendered.pods():
        for container in containers(template):
            for entry in container.get("env", ()):
                if any(word in entry["name"] for word in ("SECRET", "API_KEY", "PASSWORD")):
                    is_demo = entry.get("value") == "demo"
                    assert is_demo or "secretKeyRef" in entry["valueFrom"], owner["metadata"]
            assert "envFrom" not in container


@everywhere
def test_no_other_kind_makes_pods(case: Case) -> None:
    rendered = made(case)
    for obj in rendered.objects:
        has_pods = "containers" in str(obj.get("spec", {}).get("template", {}).get("spec", {}))
        assert has_pods is (kind_of(obj) in MAKES_PODS), kind_of(obj)
