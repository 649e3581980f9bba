"""Set-ups that are broken in one way each, with the reason that names it and what mends it."""

from typing import Any

from plugin.setups import (
    LABELS,
    ROLLOUTS,
    Objects,
    Setup,
    activator,
    around,
    autoscaler,
    changed,
    container,
    deployment,
    elsewhere,
    operator,
    plus,
    pod,
    policy,
    service,
    shared,
    warm_pool,
    with_service,
    without,
)


def _applied(manager: str, objects: Objects, field: str = "replicas") -> Objects:
    """With a server-side apply of a field of the first object."""
    entry = {
        "manager": manager,
        "operation": "Apply",
        "fieldsV1": {"f:spec": {f"f:{field}": {}}},
    }
    if field == "replicas":
        objects[0]["spec"]["replicas"] = 3
    objects[0]["metadata"]["managedFields"] = [entry]
    return objects


def _service_applied(manager: str) -> Objects:
    """A program applies the Service, and so its selector."""
    made = service()
    fields = {"f:spec": {"f:selector": {}}}
    entry = {"manager": manager, "operation": "Apply", "fieldsV1": fields}
    made["metadata"]["managedFields"] = [entry]
    return [made if o["kind"] == "Service" else o for o in plus(warm_pool(route="Activator"))]


def _stateful_set() -> dict[str, Any]:
    policy = {"whenDeleted": "Retain", "whenScaled": "Delete"}
    more = {"serviceName": "web", "persistentVolumeClaimRetentionPolicy": policy}
    return deployment(**more) | {"kind": "StatefulSet"}


def _with_own_disk() -> Objects:
    """A pool without maxReplicas of a StatefulSet whose pods have a disk each."""
    claim: dict[str, Any] = {"accessModes": ["ReadWriteOnce"]}
    claim["resources"] = {"requests": {"storage": "1Gi"}}
    templates = [{"metadata": {"name": "data"}, "spec": claim}]
    made = deployment(serviceName="web", volumeClaimTemplates=templates, replicas=1)
    target = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web"}
    return [made | {"kind": "StatefulSet"}, *plus(warm_pool(targetRef=target))[1:]]


def _with_shared_disk() -> Objects:
    """A pool without maxReplicas of a Deployment whose pods may all have its claim."""
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "files"},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    volume = {"name": "files", "persistentVolumeClaim": {"claimName": "files"}}
    objects = changed(lambda o: o[0]["spec"]["template"]["spec"].update(volumes=[volume]))
    return [*objects, warm_pool(), claim]


def _rollout(**spec: Any) -> dict[str, Any]:
    return deployment(**spec) | {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout"}


def _quota(hard: dict[str, str], used: dict[str, str] | None = None) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "team"},
        "spec": {"hard": hard},
        "status": {"hard": hard, "used": used or {}},
    }


def _limit_range(**limit: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "team"},
        "spec": {"limits": [{"type": "Container", **limit}]},
    }


def _disruption_budget(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": LABELS}},
    }


def _ends_early(objects: Objects) -> None:
    """The API server rejects this itself for a `sleep` action, and knows nothing of commands."""
    container(objects)["lifecycle"] = {"preStop": {"exec": {"command": ["sleep", "6"]}}}
    objects[0]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 5


_CRASHING = {
    "name": "web",
    "image": "registry.example/web:1.2",
    "imageID": "",
    "ready": False,
    "restartCount": 7,
    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}},
}


def _with_status(**status: Any) -> dict[str, Any]:
    """A pool as the operator has written it, with 45 s until a 503."""
    return warm_pool() | {"status": {"phase": "Asleep", **status}}


def _misfit(reason: str) -> dict[str, Any]:
    fit = {"type": "DurationsFit", "status": "False", "reason": reason, "message": "see why"}
    return {"conditions": [fit]}


_UDP = [{"name": "dns", "port": 53, "targetPort": 53, "protocol": "UDP"}]
_KEDA = {
    "labels": {"app.kubernetes.io/managed-by": "keda-operator"},
    "ownerReferences": [
        {
            "apiVersion": "keda.sh/v1alpha1",
            "kind": "ScaledObject",
            "name": "web",
            "uid": "5f3a6b1e-7a54-4b52-9a8c-0f0c9d2f1a11",
            "controller": True,
        }
    ],
}
_SLICE = {
    "apiVersion": "discovery.k8s.io/v1",
    "kind": "EndpointSlice",
    "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
    "addressType": "IPv4",
    "endpoints": [{"addresses": ["10.0.0.9"]}],
}

REFUSED = [
    Setup(plus()[1:], "workload", "TargetNotFound", "create it"),
    Setup(
        plus(),
        "workload",
        "TargetIsKotatsu",
        "name another Deployment",
        words=("deployment/kotatsu-operator",),
    ),
    Setup(
        plus(warm_pool("a-first"), warm_pool("b-second")),
        "workload",
        "TargetClaimed",
        "delete one of the two",
        words=("warmpool/b-second",),
    ),
    Setup(
        plus(warm_pool(dependsOn=["db"])),
        "workload",
        "DependencyNotFound",
        "correct spec.dependsOn",
    ),
    Setup(
        plus(
            warm_pool(dependsOn=["db"]),
            warm_pool("db", targetRef={"name": "db"}, service="db", dependsOn=["web"]),
        ),
        "workload",
        "DependencyCycle",
        "remove one of them",
    ),
    Setup(
        plus(warm_pool("other", targetRef={"name": "other"}, service="web")),
        "service",
        "ServiceClaimed",
        "name another Service",
    ),
    Setup(without("Service"), "service", "ServiceNotFound", "create it"),
    Setup(
        with_service(clusterIP="None"),
        "service",
        "ServiceHeadless",
        "name a Service with a cluster IP",
    ),
    Setup(
        [
            service() | {"spec": {"type": "ExternalName", "externalName": "web.example"}}
            if o["kind"] == "Service"
            else o
            for o in plus()
        ],
        "service",
        "ServiceExternalName",
        "name a ClusterIP Service",
    ),
    Setup(
        with_service(selector={"app": "shop"}),
        "service",
        "ServiceSelectsOthers",
        "correct the selector",
    ),
    Setup(with_service(ports=_UDP), "service", "ServiceWithoutTCP", "add one"),
    Setup(
        around(*shared(), policy()),
        "isolation",
        "Isolated",
        "admit every client to the ports of its Service",
        recorded_only=True,
    ),
    Setup(
        [*with_service(selector=None), warm_pool()],
        "service",
        "ServiceHasNoSelector",
        "set route: Activator",
    ),
    Setup(
        _service_applied("argocd-controller"),
        "service",
        "SelectorContested",
        "add `kotatsu.dev/route: Activator` to spec.selector in its manifest",
    ),
    Setup(
        around(*elsewhere(operator(patches=False), activator(1)), warm_pool(route="Activator")),
        "service",
        "SelectorNotPermitted",
        "set the chart value `rbac.patchServices`",
        recorded_only=True,
    ),
    Setup(
        [*with_service(selector=None), warm_pool(route="Activator"), _SLICE],
        "service",
        "ServiceHasEndpoints",
        "delete that EndpointSlice",
    ),
    Setup(
        with_service(publishNotReadyAddresses=True),
        "service",
        "ServicePublishesNotReady",
        "remove the field",
    ),
    Setup(
        [_stateful_set(), *plus()[1:]],
        "workload",
        "ClaimsDeleted",
        "whenScaled to Retain",
        words=("statefulset/web",),
    ),
    Setup(
        [_rollout(), *plus()[1:]],
        "workload",
        "KindNotPermitted",
        "to the chart value `targets`",
        words=("rollout.argoproj.io/web",),
        recorded_only=True,
    ),
    Setup(
        [_rollout(selector=None), *plus()[1:-1], operator(targets=ROLLOUTS)],
        "workload",
        "TargetHasNoSelector",
        "name a workload that has one",
        words=("rollout.argoproj.io/web",),
        recorded_only=True,
    ),
    Setup(
        plus(autoscaler("a"), autoscaler("b")), "autoscaler", "TwoAutoscalers", "delete all but one"
    ),
    Setup(
        plus(autoscaler("keda-hpa-web", metadata=_KEDA)),
        "autoscaler",
        "ForeignAutoscaler",
        "pause it (kubectl annotate scaledobject web",
    ),
    Setup(_with_own_disk(), "disk", "OneDisk", "set spec.maxReplicas to 1", words=("sts/web",)),
    Setup(
        [
            *[o for o in plus() if "operator" not in o["metadata"]["name"]],
            *elsewhere(operator(unlabeled=False)),
        ],
        "operator",
        "NamespaceNotServed",
        "label it `kotatsu.dev/install: kotatsu`",
        recorded_only=True,
    ),
]

WARNED = [
    Setup(
        changed(lambda o: container(o).pop("readinessProbe")),
        "probes",
        "ReadinessMissing",
        "add one",
    ),
    Setup(
        changed(lambda o: container(o).pop("lifecycle")),
        "shutdown",
        "PreStopMissing",
        "add `preStop: {sleep: {seconds: 6}}`",
    ),
    Setup(
        changed(
            lambda o: container(o).update(
                lifecycle={"preStop": {"exec": {"command": ["sh", "-c", "sleep 2"]}}}
            )
        ),
        "shutdown",
        "PreStopTooShort",
        "use `preStop: {sleep: {seconds: 6}}`",
    ),
    Setup(changed(_ends_early), "shutdown", "GraceTooShort", "preStop plus the longest request"),
    Setup(
        _applied("kustomize-controller", plus()),
        "replicas",
        "ReplicasContested",
        "remove `replicas` from the manifest",
    ),
    Setup(
        with_service(ports=[{"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP"}]),
        "ports",
        "PortNotFound",
        "correct targetPort",
    ),
    Setup(
        with_service(ports=[{"name": "db", "port": 3306, "targetPort": "http", "protocol": "TCP"}]),
        "greeting",
        "ServerSpeaksFirst",
        "Add windows for its hours",
    ),
    Setup(
        with_service(internalTrafficPolicy="Local"), "service", "TrafficPolicyLocal", "set Cluster"
    ),
    Setup(
        plus(autoscaler(maxReplicas=2)),
        "autoscaler",
        "FloorLimited",
        "raise its maxReplicas",
        words=("deployment/web", "--replicas", "5"),
    ),
    Setup(
        plus(_applied("argocd-controller", [autoscaler()], "minReplicas")[0]),
        "autoscaler",
        "MinReplicasContested",
        "ignore /spec/minReplicas there",
    ),
    Setup(_with_shared_disk(), "disk", "NoMaximum", "set spec.maxReplicas"),
    Setup(
        plus(_quota({"requests.cpu": "300m"}, {"requests.cpu": "100m"})),
        "quota",
        "QuotaTooSmall",
        "raise the quota",
        words=("deployment/web", "--replicas", "5"),
    ),
    Setup(
        plus(_quota({"limits.memory": "8Gi"})),
        "quota",
        "QuotaNeedsResources",
        "add them to the resources",
    ),
    Setup(
        plus(_limit_range(max={"memory": "32Mi"})),
        "limits",
        "LimitRangeRejects",
        "change its resources",
    ),
    Setup(
        plus(_disruption_budget("a"), _disruption_budget("b")),
        "disruption",
        "TwoDisruptionBudgets",
        "delete all but one",
    ),
    Setup(
        [
            *changed(lambda o: container(o).update(resources={"requests": {"memory": "64Mi"}})),
            warm_pool(parkedFor="1h"),
        ],
        "parked",
        "NothingToReduce",
        "set requests",
    ),
    Setup(
        plus(warm_pool(parkedFor="1h")),
        "parked",
        "NotEnabled",
        "parked.enabled",
        recorded_only=True,
    ),
    Setup(
        [
            *[o for o in plus() if o["metadata"]["name"] != "web-1"],
            pod("web-1", LABELS, ready=False, containerStatuses=[_CRASHING]),
        ],
        "pods",
        "PodsFail",
        "see `kubectl describe pod web-1",
    ),
    Setup(
        [
            *[o for o in plus() if "activator" not in o["metadata"]["name"]],
            activator(1, ready=False),
        ],
        "activator",
        "ActivatorNotReady",
        "see `kubectl get pods",
    ),
    Setup(
        [*[o for o in plus() if "operator" not in o["metadata"]["name"]], operator(ready=0)],
        "operator",
        "OperatorNotReady",
        "see `kubectl describe deployment kotatsu-operator",
        recorded_only=True,
    ),
    Setup(
        plus(warm_pool(inFlightMetric={"name": "in_flight"})),
        "metrics",
        "GaugeMissing",
        "correct spec.inFlightMetric",
        recorded_only=True,
    ),
    Setup(
        changed(
            lambda o: o[0]["metadata"].update(
                ownerReferences=[
                    {
                        "apiVersion": "shop.example/v1",
                        "kind": "Shop",
                        "name": "spring",
                        "uid": "5f3a6b1e-7a54-4b52-9a8c-0f0c9d2f1a12",
                        "controller": True,
                    }
                ]
            )
        ),
        "replicas",
        "OwnedByController",
        "let it leave them to the pool",
        recorded_only=True,  # the garbage collector deletes it
    ),
    Setup(
        plus(_with_status(internal={"template": {"hash": "a1"}, "warmUps": ["a1", [61.7, 1, 0]]})),
        "wakes",
        "HoldTimeoutTooShort",
        "set spec.holdTimeout to 2m10s",
        recorded_only=True,
    ),
    Setup(
        plus(
            _with_status(internal={"template": {"hash": "a1"}, "warmUps": ["a1", [150, 1, 0]]})
            | {"spec": warm_pool()["spec"] | {"holdTimeout": "5m"}}
        ),
        "wakes",
        "IdleAfterTooShort",
        "set spec.idleAfter to 5m",
        recorded_only=True,
    ),
    Setup(
        plus(_with_status(**_misfit("RequestsTimedOut"))),
        "wakes",
        "RequestsTimedOut",
        "set a longer holdTimeout",
        recorded_only=True,
    ),
    Setup(
        plus(_with_status(internal={"wokenSoon": 3})),
        "wakes",
        "Flapping",
        "raise idleAfter",
        recorded_only=True,
    ),
]

BROKEN = [
    *(Setup(**(vars(setup) | {"refused": True})) for setup in REFUSED),
    *WARNED,
]
