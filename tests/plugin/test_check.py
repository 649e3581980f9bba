"""`check` names what is broken and what mends it, and is quiet about what is good."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from plugin.apiserver import CRD, ROOT
from plugin.broken import BROKEN
from plugin.kit import demo_mode
from plugin.setups import (
    GAUGE,
    LABELS,
    ROLLOUTS,
    Objects,
    Recorded,
    Setup,
    autoscaler,
    changed,
    container,
    deployment,
    good,
    operator,
    plus,
    pod,
    service,
    warm_pool,
    with_service,
    without,
)
from rows import each

from kotatsu_demo_mode.check import CHAIN
from kotatsu_demo_mode.checks.found import Level
from tests.gauges.real import served

PLUGIN = ROOT / "operator/plugin/src/kotatsu_demo_mode"
MODULES = [PLUGIN / "check.py", *sorted((PLUGIN / "checks").glob("*.py"))]
PAGES = {"web-1:8080/metrics": GAUGE}


def check(
    objects: Objects,
    *words: str,
    pages: Any = PAGES,
    denied: tuple[str, ...] = (),
    greetings: Mapping[str, bytes | None] | None = None,
) -> dict[str, Any]:
    """The answer as JSON."""
    cluster = Recorded(objects, pages, denied, greetings)
    given = words or ("deployment/web",)
    answer: dict[str, Any] = demo_mode("check", *given, "-o", "json", cluster=cluster).json
    return answer


def bad(answer: dict[str, Any]) -> list[tuple[str, str]]:
    """What is to be mended."""
    return [
        (f["check"], f["reason"])
        for f in answer["findings"]
        if f["level"] in (Level.WARNING, Level.REFUSED)
    ]


def finding(answer: dict[str, Any], reason: str) -> dict[str, Any]:
    return next(f for f in answer["findings"] if f["reason"] == reason)


def test_a_good_set_up_has_nothing_to_mend():
    answer = check(good())
    assert bad(answer) == []
    assert answer["verdict"] == "ok"
    assert {f["level"] for f in answer["findings"]} == {"ok"}


@each("setup", BROKEN, name=lambda setup: setup.reason)
def test_what_is_broken_is_named_with_what_mends_it_and_nothing_else_is(setup: Setup):
    answer = check(setup.objects, *setup.words, pages=setup.pages)
    assert bad(answer) == [(setup.check, setup.reason)]
    said = finding(answer, setup.reason)
    assert setup.remedy in said["message"]
    assert said["level"] == ("refused" if setup.refused else "warning")
    assert answer["verdict"] == said["level"]


@each(
    "status, says",
    [
        ({"lastWake": {"duration": "50s"}}, "a start took 50s, and requests that wake"),
        ({"lastWake": {"duration": "40s"}}, "wait up to 45s for a pod, and a start took 40s"),
        (
            # A start for a window is of more pods, and one of an earlier template shows nothing.
            {
                "internal": {
                    "template": {"hash": "a1"},
                    "warmUps": ["a0", [70, 1, 0], "a1", [80, 9, 1], [30, 1, 0]],
                }
            },
            "a start took 30s at most",
        ),
    ],
)
def test_the_hold_timeout_is_compared_with_the_starts_that_were_measured(status, says):
    pool = warm_pool() | {"status": {"phase": "Asleep", **status}}
    said = [f["message"] for f in check(plus(pool))["findings"] if f["check"] == "wakes"]
    assert len(said) == 1
    assert says in said[0]


@each(
    "words, objects, code",
    [
        ((), good(), 0),
        (("--strict",), good(), 0),
        ((), changed(lambda o: container(o).pop("readinessProbe")), 0),
        (("--strict",), changed(lambda o: container(o).pop("readinessProbe")), 1),
        ((), without("Service"), 1),
    ],
)
def test_the_exit_code_is_1_if_something_is_refused_or_with_strict_a_warning(
    words: tuple[str, ...], objects: Objects, code: int
):
    assert (
        demo_mode("check", "deployment/web", *words, cluster=Recorded(objects, PAGES)).code == code
    )


@each("words", ["-A", "--all", "-l team=pet"])
def test_several_pools_are_checked_and_one_that_is_refused_fails_them(words: str):
    missing = warm_pool("auth", targetRef={"name": "auth"})
    pools = [warm_pool(), missing]
    for made in pools:
        made["metadata"]["labels"] = {"team": "pet"}
    cluster = Recorded([*good(), *pools], PAGES)
    ran = demo_mode("check", *words.split(), "-o", "json", cluster=cluster)
    assert [(one["warmPool"], one["verdict"]) for one in ran.json] == [
        ("auth", "refused"),
        ("web", "ok"),
    ]
    assert ran.code == 1
    shown = demo_mode("check", *words.split(), cluster=cluster).out
    assert shown.startswith("Deployment auth in demo\n")
    assert "\n\nDeployment web in demo\n" in shown
    assert (
        demo_mode("check", *words.split(), cluster=Recorded([*good(), pools[0]], PAGES)).code == 0
    )


@each(
    "words, said",
    [
        ("check", "name one workload, as in `kubectl demo-mode check deployment/web`, or choose"),
        ("check web -A", "name one workload"),
        ("check -A", "this cluster has no WarmPool; see"),
    ],
)
def test_what_is_checked_must_be_clear(words: str, said: str):
    ran = demo_mode(*words.split(), cluster=Recorded(good(), PAGES))
    assert ran.code == 1
    assert said in ran.err


def test_the_lines_have_level_check_reason_and_message():
    objects = changed(lambda o: container(o).pop("readinessProbe"))
    ran = demo_mode("check", "web", cluster=Recorded(objects, PAGES))
    lines = ran.out.splitlines()
    assert "ok       service     requests to Service web (80 → http) wake it" in lines
    assert any(
        line.startswith("warning  probes      ReadinessMissing: container") for line in lines
    )
    assert lines[-1] == (
        "Deployment web: 1 warning; a WarmPool works; correct the warnings first: `kubectl "
        "demo-mode create deployment/web -n demo` writes it"
    )


# --- what is good ---


def scaled_by(manager: str, replicas: int) -> Objects:
    """The good set-up, where a client has set the replicas."""
    objects = good()
    fields = {"f:spec": {"f:replicas": {}}}
    entry = {"manager": manager, "operation": "Update", "fieldsV1": fields}
    objects[0]["metadata"]["managedFields"] = [entry]
    objects[0]["spec"]["replicas"] = replicas
    return objects


def kubectl_applied(**spec: Any) -> Objects:
    """As kubectl leaves it: the API server fills in replicas and counts them as kubectl's."""
    objects = scaled_by("kubectl-client-side-apply", 1)
    applied = json.dumps({"spec": spec})
    objects[0]["metadata"]["annotations"] = {
        "kubectl.kubernetes.io/last-applied-configuration": applied
    }
    return objects


def test_a_manifest_without_replicas_is_no_contest_and_one_with_replicas_is():
    assert bad(check(kubectl_applied())) == []
    assert bad(check(kubectl_applied(replicas=1))) == [("replicas", "ReplicasContested")]


def test_argo_cd_is_told_to_ignore_the_replicas():
    objects = kubectl_applied(replicas=2)
    objects[0]["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"] = "shop"
    said = finding(check(objects), "ReplicasContested")["message"]
    assert "`ignoreDifferences` for /spec/replicas" in said


@each(
    "objects",
    [
        plus(autoscaler()),
        plus(warm_pool()),
        plus(warm_pool(inFlightMetric={"port": "http", "path": "/metrics"})),
        [*with_service(selector=None), warm_pool(route="Activator")],
        plus(warm_pool(route="Activator")),
        with_service(type="LoadBalancer", ports=[{"port": 80, "targetPort": 8080}]),
        scaled_by("kubectl-scale", 4),
    ],
)
def test_other_good_set_ups_have_nothing_to_mend_either(objects: Objects):
    assert bad(check(objects)) == []


EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
KOTATSU = [o for o in good() if "kotatsu" in o["metadata"]["name"]]


@each("path", EXAMPLES, name=lambda path: path.stem)
def test_the_examples_are_good(path: Path):
    objects = [o for o in yaml.safe_load_all(path.read_text()) if o]
    pools = [o["metadata"]["name"] for o in objects if o["kind"] == "WarmPool"]
    assert pools
    for pool in pools:
        kotatsu = [*KOTATSU[:-1], operator(targets=ROLLOUTS, parked=True)]
        assert bad(check([*objects, *kotatsu], f"warmpool/{pool}")) == []


def with_container(**fields: Any) -> Objects:
    return changed(lambda o: container(o).update(fields))


def with_probe(**fields: Any) -> Objects:
    return changed(lambda o: container(o)["readinessProbe"].update(fields))


def on_a_node(size: int) -> Objects:
    """The pod runs on a node that has its image."""
    objects = good()
    objects[2]["spec"]["nodeName"] = "n1"
    image = {"names": ["registry.example/web@sha256:0", "registry.example/web:1.2"]}
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "spec": {}}
    return [*objects, node | {"status": {"images": [image | {"sizeBytes": size}]}}]


BUDGET = {
    "apiVersion": "policy/v1",
    "kind": "PodDisruptionBudget",
    "metadata": {"name": "web"},
    "spec": {"minAvailable": "50%", "selector": {"matchLabels": LABELS}},
}
DNS = {"name": "dns", "port": 53, "targetPort": 53, "protocol": "UDP"}


@each(
    "reason, objects",
    [
        ("NoPod", without("Pod")[:2] + KOTATSU),
        ("OneActivator", [o for o in good() if o["metadata"]["name"] != "kotatsu-activator-2"]),
        ("SessionAffinity", with_service(sessionAffinity="ClientIP")),
        ("PortsThatDoNotWake", with_service(ports=[*service()["spec"]["ports"], DNS])),
        ("ServiceAmbiguous", plus(service("front"))),
        ("SlowReadiness", with_probe(initialDelaySeconds=30)),
        ("SlowReadiness", with_probe(periodSeconds=10)),
        (
            "ProbeByKubelet",
            with_container(readinessProbe={"grpc": {"port": 1}, "periodSeconds": 1}),
        ),
        ("PulledEachStart", with_container(imagePullPolicy="Always")),
        ("PulledEachStart", with_container(imagePullPolicy=None, image="registry:5000/web")),
        ("NeverPulled", with_container(imagePullPolicy="Never")),
        ("LargeImage", on_a_node(2 * 10**9)),
        ("DrainBlocked", plus(BUDGET)),
        ("NoRequests", with_container(resources=None)),
    ],
)
def test_what_works_and_is_good_to_know_is_a_note(reason: str, objects: Objects):
    answer = check(objects)
    assert bad(answer) == []
    assert finding(answer, reason)["level"] == "note"


@each(
    "objects",
    [
        on_a_node(10**8),
        with_container(imagePullPolicy=None, image="registry:5000/web:1"),
        with_container(imagePullPolicy=None, image="registry/web@sha256:0"),
        plus(BUDGET | {"spec": BUDGET["spec"] | {"minAvailable": 0}}),
        with_container(lifecycle={"preStop": {"httpGet": {"path": "/drain", "port": "http"}}}),
    ],
)
def test_what_is_usual_is_not_worth_a_note(objects: Objects):
    assert {f["level"] for f in check(objects)["findings"]} == {"ok"}


def test_a_worker_without_a_service_is_asked_for_no_probe_and_no_pre_stop():
    objects = changed(lambda o: (container(o).pop("readinessProbe"), container(o).pop("lifecycle")))
    worker = [o for o in objects if o["kind"] != "Service"]
    answer = check(worker)
    assert bad(answer) == [("service", "ServiceNotFound")]
    said = finding(answer, "Worker")
    assert said["level"] == "note"
    assert "no Service selects its pods, so no request wakes it: only windows" in said["message"]
    assert "Each sleep ends its job: SIGTERM, and SIGKILL 40 s later" in said["message"]
    unread = check(objects, denied=("services",))
    assert bad(unread) == [("probes", "ReadinessMissing"), ("shutdown", "PreStopMissing")]


def unknowns(answer: dict[str, Any]) -> dict[str, str]:
    """What is not known, by its check."""
    return {f["check"]: f["message"] for f in answer["findings"] if f["level"] == "unknown"}


def with_pod(**how: Any) -> Objects:
    """The good set-up with another pod."""
    others = [o for o in good() if o["metadata"]["name"] != "web-1"]
    return [*others, pod("web-1", LABELS, **how)] if how else others


@each(
    "objects, why",
    [
        (with_pod(ready=False), "pod web-1 is not Ready yet; repeat when it is"),
        (with_pod(), "no pod is Ready; start one, for example `kubectl scale deployment web "),
    ],
)
def test_while_a_pod_starts_nobody_is_asked_to_start_one(objects: Objects, why: str):
    said = unknowns(check(objects))
    assert said.keys() == {"metrics", "wakes"}
    assert all(why in message for message in said.values())
    assert said["wakes"].startswith("how long a start takes, and so whether requests wait long en")


def test_how_long_a_start_takes_is_not_known_of_pods_that_have_restarted():
    restarted = with_pod(containerStatuses=[{"name": "web", "restartCount": 1}])
    assert unknowns(check(restarted))["wakes"].endswith("its pods have restarted")


HISTOGRAM = """http_request_duration_seconds_bucket{path="/a",le="1"} 7
http_request_duration_seconds_bucket{path="/a",le="30"} 7
http_request_duration_seconds_bucket{path="/a",le="60"} 9
http_request_duration_seconds_bucket{path="/a",le="+Inf"} 9
http_request_duration_seconds_bucket{path="/b",le="1"} 3
http_request_duration_seconds_bucket{path="/b",le="+Inf"} 3
http_client_request_duration_seconds_bucket{le="600"} 0
http_client_request_duration_seconds_bucket{le="+Inf"} 4
"""
"""The longest request took between 30 s and a minute."""
MICROMETER = 'http_server_requests_seconds_max{method="GET",uri="/report"} 95.5\n'


def graceful(seconds: int, pre_stop: int = 6) -> Objects:
    """A pod that is killed this long after SIGTERM."""
    objects = with_container(lifecycle={"preStop": {"sleep": {"seconds": pre_stop}}})
    objects[0]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = seconds
    return objects


@each(
    "page, grace, needed",
    [
        (HISTOGRAM, 36, "30 s or more, which the end of a pod cuts off: set it above 36 s"),
        (HISTOGRAM, 37, ""),
        (MICROMETER, 60, "95.5 s or more, which the end of a pod cuts off: set it above 101.5 s"),
        (MICROMETER, 120, ""),
        ("http_server_requests_seconds_max NaN\n", 10, ""),
        ('http_request_duration_seconds_bucket{le="x"} 1\n', 10, ""),
        ("", 10, ""),
    ],
)
def test_the_grace_period_is_compared_with_the_longest_request_that_a_page_has(
    page: str, grace: int, needed: str
):
    answer = check(graceful(grace), pages={"web-1:8080/metrics": f"{GAUGE}{page}"})
    assert bad(answer) == ([("shutdown", "GraceTooShort")] if needed else [])
    if needed:
        said = finding(answer, "GraceTooShort")["message"]
        assert f"terminationGracePeriodSeconds is {grace} s, and pod web-1 had a request" in said
        assert needed in said


@each("hold, advised", [("45s", "1m10s"), ("60s", "")])
def test_a_stateful_set_starts_its_pod_once_the_old_one_has_ended(hold: str, advised: str):
    objects = [deployment() | {"kind": "StatefulSet"}, *good()[1:]]
    target = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web"}
    answer = check([*objects, warm_pool(targetRef=target, holdTimeout=hold)], "warmpool/web")
    assert bad(answer) == []
    said = [f["message"] for f in answer["findings"] if f["reason"] == "OldPodFirst"]
    assert len(said) == bool(advised)
    assert all("waits for that, 40s at most" in message for message in said)
    assert all(f"set spec.holdTimeout to {advised}" in message for message in said)


def emptied(path: str) -> Objects:
    """A container that keeps its files in an emptyDir."""
    objects = with_container(volumeMounts=[{"name": "data", "mountPath": path}])
    objects[0]["spec"]["template"]["spec"]["volumes"] = [{"name": "data", "emptyDir": {}}]
    return objects


@each(
    "objects, said",
    [
        (with_container(securityContext=None), "container web (its own files)"),
        (emptied("/var/lib/mysql"), "container web (the emptyDir /var/lib/mysql)"),
        (emptied("/runs"), "container web (the emptyDir /runs)"),
        (emptied("/run"), ""),
        (emptied("/var/cache/nginx"), ""),
    ],
)
def test_files_that_a_sleep_deletes_are_worth_a_note(objects: Objects, said: str):
    answer = check(objects)
    assert bad(answer) == []
    [found] = [f for f in answer["findings"] if f["check"] == "files"]
    assert found["level"] == ("note" if said else "ok")
    assert said in found["message"]


@each(
    "page, reason, said",
    [
        ("", "NoGauge", "route Auto leads all connections through the activators"),
        ("kotatsu_requests_in_flight 1\n", "GaugeIsNeverZero", "in two readings"),
        ("http_server_active_requests 1\n", "NoGauge", "which the Service uses too"),
        (
            "application_ready_time_seconds 1.5\n",
            "NoGauge",
            "appears with the first request: send one and repeat",
        ),
        (f"{GAUGE}{'#' * 2**21}", "NoGauge", "sends more than 2 MiB for /metrics on port 8080"),
        ("\n" * 10**6, "NoGauge", ""),
        ("x" * 10**6, "NoGauge", ""),
        (f"{GAUGE[:-2]} NaN\n", "NoGauge", ""),
        ("kotatsu_requests_in_flight {", "NoGauge", ""),
        ("\x1b[2J", "NoGauge", ""),
    ],
    name=lambda row: row[0][:40],
)
def test_a_page_without_a_usable_gauge_is_no_fault_and_worth_a_note(
    page: str, reason: str, said: str
):
    answer = check(good(), pages={"web-1:8080/metrics": page} if page else {})
    assert bad(answer) == []
    found = finding(answer, reason)
    assert found["level"] == "note"
    assert said in found["message"]


def test_a_new_pool_without_a_gauge_needs_a_selector_that_nobody_else_writes():
    applied = service()
    fields = {"f:spec": {"f:selector": {}}}
    entry = {"manager": "kustomize-controller", "operation": "Apply", "fieldsV1": fields}
    applied["metadata"]["managedFields"] = [entry]
    objects = [applied if o["kind"] == "Service" else o for o in good()]
    found = finding(check(objects, pages={"web-1:8080/metrics": ""}), "SelectorContested")
    assert found["level"] == "refused"
    assert "or name a gauge of the pods in spec.inFlightMetric" in found["message"]
    assert bad(check(objects)) == []


def test_ways_that_pass_no_activator_are_named_where_connections_count():
    headless = service() | {"spec": {"clusterIP": "None", "selector": LABELS}}
    headless["metadata"] = headless["metadata"] | {"name": "web-all"}
    answer = check(plus(warm_pool(route="Activator"), headless))
    found = finding(answer, "PassesNoActivator")
    assert found["level"] == "note"
    assert "headless Service web-all (the pods' own names)" in found["message"]


def test_a_real_spring_boot_app_is_found_on_its_management_port():
    objects = changed(
        lambda o: container(o)["ports"].append({"name": "management", "containerPort": 8081})
    )
    idle, busy = served("spring-boot-3.3")
    page = "web-1:8081/actuator/prometheus"
    (said,) = [f for f in check(objects, pages={page: idle})["findings"] if f["check"] == "metrics"]
    assert said["level"] == "ok"
    assert "reports http_server_requests_active_seconds_count 0" in said["message"]
    assert (
        "_count 3 in two readings"
        in (finding(check(objects, pages={page: busy}), "GaugeIsNeverZero")["message"])
    )


def test_a_service_of_another_name_is_found_by_its_selector():
    objects = [*without("Service"), service("front"), service("peers", clusterIP="None")]
    answer = check(objects)
    assert (bad(answer), answer["service"]) == ([], "front")


def test_a_rollout_that_the_operator_may_scale_is_good():
    rollout = deployment() | {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout"}
    objects = [rollout, *good()[1:-1], operator(targets=ROLLOUTS)]
    answer = check(objects, "rollout.argoproj.io/web")
    assert (bad(answer), answer["workload"]["kind"]) == ([], "Rollout")
    (said,) = [
        f
        for f in check(objects, "rollout.argoproj.io/web", denied=("deployments",))["findings"]
        if f["level"] == "unknown" and f["check"] == "workload"
    ]
    assert "the chart value `targets`" in said["message"]


@pytest.mark.parametrize(("number", "reasons"), [("1", []), ("3", ["OrderedStart"])])
def test_an_ordered_start_is_worth_a_note_from_two_pods_on(number: str, reasons: list[str]):
    objects = [deployment() | {"kind": "StatefulSet"}, *good()[1:]]
    answer = check(objects, "sts/web", "--replicas", number)
    assert bad(answer) == []
    assert [f["reason"] for f in answer["findings"] if f["check"] == "workload"][1:] == reasons


KEDA = "autoscaling.keda.sh/"


@each(
    "annotations, refused",
    [
        ({KEDA + "paused": "true"}, []),
        ({KEDA + "paused": "yes"}, []),
        ({}, ["ForeignAutoscaler"]),
        ({KEDA + "paused": "False"}, ["ForeignAutoscaler"]),
        ({KEDA + "paused": "true", KEDA + "paused-replicas": "1"}, ["ForeignAutoscaler"]),
    ],
)
def test_keda_beside_a_pool_has_to_be_paused_without_a_number_of_replicas(
    annotations: dict[str, str], refused: list[str]
):
    scaled = autoscaler() | {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject"}
    scaled["metadata"]["annotations"] = annotations
    assert [reason for _, reason in bad(check(plus(scaled)))] == refused


def test_a_crd_that_lacks_a_field_is_older_than_the_plugin():
    crd = yaml.safe_load(CRD.read_text())
    assert {f["level"] for f in check(plus(crd))["findings"]} == {"ok"}
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    del schema["properties"]["spec"]["properties"]["holdTimeout"]
    said = finding(check(plus(crd)), "CRDIsOlder")
    assert (said["level"], "lacks spec.holdTimeout" in said["message"]) == ("note", True)


# --- permissions and bounds ---

LISTS = (
    "horizontalpodautoscalers",
    "poddisruptionbudgets",
    "resourcequotas",
    "limitranges",
    "pods",
    "services",
    "warmpools",
    "pods/proxy",
)


@each("denied", LISTS)
def test_what_may_not_be_read_is_said_and_the_rest_is_checked(denied: str):
    answer = check(good(), denied=(denied,))
    assert bad(answer) == []
    unknown = [f for f in answer["findings"] if f["level"] == "unknown"]
    assert any(denied in f["message"] for f in unknown)
    assert any(f["check"] == "probes" and f["level"] == "ok" for f in answer["findings"])


def test_a_workload_that_may_not_be_read_is_unknown_and_not_missing():
    answer = check(good(), denied=("deployments",))
    assert bad(answer) == []
    (said,) = [f for f in answer["findings"] if f["check"] == "workload"]
    assert said["level"] == "unknown"


def test_of_many_pods_only_one_is_asked_for_its_page():
    cluster = Recorded([*good(), *(pod(f"web-{n}", LABELS) for n in range(2, 50))], PAGES)
    demo_mode("check", "web", cluster=cluster)
    assert sum("/proxy" in path for path in cluster.reads) == 2


def test_a_workload_is_written_as_kubectl_writes_it():
    cluster = Recorded(good(), PAGES)
    for words in ("web", "deploy/web", "Deployment/web", "deployments/web", "deployment.apps/web"):
        assert demo_mode("check", words, cluster=cluster).code == 0
    for words, said in (
        ("cronjob/web", "is not a known kind"),
        ("deployment/", "is not a workload"),
        ("a/b/c", "is not a workload"),
        ("thing.shop.example/web", "the cluster has no API group shop.example"),
        ("task.argoproj.io/web", "the API group argoproj.io has no resource task"),
        ("warmpool/web", "has no WarmPool web"),
    ):
        ran = demo_mode("check", words, cluster=cluster)
        assert (ran.code, ran.out) == (1, "")
        assert said in ran.err


def test_the_page_has_each_check_with_each_of_its_reasons_and_no_other():
    page = (ROOT / "docs/reference/demo-mode.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| .*? \| (.*) \|$", page, re.MULTILINE)
    assert [check for check, _ in rows] == [check.__name__ for check in CHAIN]
    told = {reason for _, cell in rows for reason in re.findall(r"`(\w+)`", cell)}
    source = "".join(path.read_text() for path in MODULES)
    made = re.findall(r"(?:\b(?:warning|note)|\bRefusal)\(\s*\"(\w+)\"", source)
    of_pools = {"ForeignAutoscaler", "InvalidSpec"}  # on the page about refused pools
    assert told == set(made) - of_pools
