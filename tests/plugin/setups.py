"""Set-ups of a workload: a good one, and what can be wrong with it. Each is a list of objects.

A set-up is applied to a real API server, or served from memory by `Recorded`.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Self, cast
from urllib.parse import unquote

from kotatsu_demo_mode.errors import (
    ConflictError,
    DemoModeError,
    ForbiddenError,
    NotFoundError,
    NotServedError,
)
from kotatsu_operator.core.protocol import HOME_LABEL, SHARD_LABEL

Object = dict[str, Any]
Objects = list[Object]

LABELS = {"app": "web"}
GAUGE = "# TYPE kotatsu_requests_in_flight gauge\nkotatsu_requests_in_flight 0\n"
_KINDS = (
    *("Deployment", "StatefulSet", "Rollout", "Service", "Pod", "WarmPool", "Revision"),
    *("HorizontalPodAutoscaler", "ScaledObject", "PodDisruptionBudget", "ResourceQuota"),
    *("LimitRange", "EndpointSlice", "Node", "ConfigMap", "Lease", "NetworkPolicy"),
    *("CustomResourceDefinition", "PersistentVolumeClaim"),
)


def plural(kind: str) -> str:
    """The name of a kind's resources in a path."""
    lower = kind.lower()
    return f"{lower[:-1]}ies" if lower.endswith("y") else f"{lower}s"


def deployment(name: str = "web", **spec: Any) -> Object:
    """A Deployment that does everything right."""
    container = {
        "name": name,
        "image": "registry.example/web:1.2",
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}, "periodSeconds": 1},
        "lifecycle": {"preStop": {"sleep": {"seconds": 6}}},
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
        "securityContext": {"readOnlyRootFilesystem": True},
    }
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 40},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": template, **spec},
    }


def service(name: str = "web", **spec: Any) -> Object:
    """A Service that selects the Deployment's pods."""
    ports = [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": LABELS, "ports": ports, **spec},
    }


def pod(name: str, labels: Mapping[str, str], *, ready: bool = True, **status: Any) -> Object:
    """A pod; Ready twelve seconds after it was scheduled."""
    conditions = [
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2030-01-01T00:00:00Z"},
        {
            "type": "Ready",
            "status": str(ready),
            "lastTransitionTime": "2030-01-01T00:00:12Z",
        },
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": dict(labels)},
        "spec": {"containers": [{"name": "web", "image": "registry.example/web:1.2"}]},
        "status": {"phase": "Running", "conditions": conditions, **status},
    }


def activator(number: int, *, ready: bool = True, home: str = "") -> Object:
    """A pod of the activators that namespaces share; with a home, of those of its namespace."""
    labels = {"app.kubernetes.io/name": "kotatsu", "app.kubernetes.io/component": "activator"}
    labels |= {HOME_LABEL: home} if home else {SHARD_LABEL: "0"}
    return pod(f"kotatsu-activator-{number}", labels, ready=ready)


ROLLOUTS = "argoproj.io/v1alpha1/Rollout/rollouts"


def operator(
    selector: str = "{}",
    prices: str = "",
    ready: int = 1,
    targets: str = "",
    own: str = "",
    *,
    parked: bool = False,
    patches: bool = True,
    unlabeled: bool = True,
) -> Object:
    """The operator's Deployment, in the namespace of the set-up."""
    made = deployment("kotatsu-operator")
    labels = {"app.kubernetes.io/name": "kotatsu", "app.kubernetes.io/component": "operator"}
    made["metadata"]["labels"] = labels | {"app.kubernetes.io/version": "0.1.0"}
    made["spec"]["selector"]["matchLabels"] = labels
    made["spec"]["template"]["metadata"]["labels"] = labels
    made["spec"]["template"]["spec"]["containers"][0]["env"] = [
        {"name": "KOTATSU_NAMESPACE_SELECTOR", "value": selector},
        {"name": "KOTATSU_SERVE_UNLABELED", "value": str(unlabeled).lower()},
        {"name": "KOTATSU_SHARDS", "value": "1"},
        {"name": "KOTATSU_OWN", "value": own},
        {"name": "KOTATSU_PRICES", "value": prices},
        {"name": "KOTATSU_TARGETS", "value": targets},
        *([{"name": "KOTATSU_PARKED", "value": "true"}] if parked else []),
        *([] if patches else [{"name": "KOTATSU_PATCH_SERVICES", "value": "false"}]),
    ]
    return made | {"status": {"replicas": 1, "readyReplicas": ready, "availableReplicas": ready}}


def elsewhere(*objects: Object, namespace: str = "kotatsu") -> Objects:
    """These objects in another namespace."""
    return [o | {"metadata": o["metadata"] | {"namespace": namespace}} for o in objects]


def shared() -> Objects:
    """The operator and the activators of an install in another namespace."""
    return elsewhere(operator(), activator(1), activator(2))


def around(*kotatsu: Object) -> Objects:
    """A Deployment with its Service, and these objects of Kotatsu."""
    return [deployment(), service(), pod("web-1", LABELS), *kotatsu]


def policy(*ingress: Object) -> Object:
    """A NetworkPolicy that limits the clients of all pods."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "limits"},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": list(ingress)},
    }


def warm_pool(name: str = "web", **spec: Any) -> Object:
    """A WarmPool."""
    return {
        "apiVersion": "kotatsu.dev/v1beta1",
        "kind": "WarmPool",
        "metadata": {"name": name},
        "spec": {"targetRef": {"name": "web"}, **spec},
    }


def autoscaler(name: str = "web", **more: Any) -> Object:
    """A HorizontalPodAutoscaler of the Deployment."""
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, **more.pop("metadata", {})},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 1,
            "maxReplicas": 10,
            **more,
        },
    }


def good() -> Objects:
    """A Deployment with its Service, and Kotatsu around it."""
    return [
        deployment(),
        service(),
        pod("web-1", LABELS),
        activator(1),
        activator(2),
        operator(),
    ]


@dataclass(frozen=True)
class Setup:
    """A set-up that is wrong, or good, in one way."""

    objects: Objects
    check: str = ""
    reason: str = ""
    remedy: str = ""
    """Words of the message that say what to do."""
    refused: bool = False
    """Whether it is refused; otherwise it is a warning."""
    words: tuple[str, ...] = ("deployment/web",)
    pages: Mapping[str, str] = field(default_factory=lambda: {"web-1:8080/metrics": GAUGE})
    recorded_only: bool = False
    """Whether an API server without nodes and other operators cannot have it."""


def container(objects: Objects) -> Object:
    """The container of the Deployment."""
    return cast(Object, objects[0]["spec"]["template"]["spec"]["containers"][0])


def changed(change: Callable[[Objects], object]) -> Objects:
    """The good set-up with a change."""
    objects = good()
    change(objects)
    return objects


def with_service(**spec: Any) -> Objects:
    """The good set-up with another Service."""
    return [service(**spec) if o["kind"] == "Service" else o for o in good()]


def plus(*more: Object) -> Objects:
    """The good set-up and more objects."""
    return [*good(), *more]


def without(*kinds: str) -> Objects:
    """The good set-up without some kinds."""
    return [o for o in good() if o["kind"] not in kinds]


class Session:
    """A session with an API server that is pretended, in the namespace demo."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def namespace(self) -> str:
        return "demo"


class Recorded(Session):
    """An API server that has these objects in the namespace demo."""

    def __init__(
        self,
        objects: Objects,
        pages: Mapping[str, str] | None = None,
        denied: tuple[str, ...] = (),
        greetings: Mapping[str, bytes | None] | None = None,
    ) -> None:
        self._objects = deepcopy(objects)
        self._greetings = greetings or {}
        """What a pod says at once, by its name and port."""
        self._pages, self._denied = pages or {}, denied
        self.labels: dict[str, dict[str, str]] = {}
        """Of namespaces."""
        self.reads: list[str] = []
        self.made: Objects = []
        for index, o in enumerate(self._objects):
            o["metadata"].setdefault("namespace", "demo")
            o["metadata"].setdefault("creationTimestamp", f"2030-01-01T00:00:{index:02}Z")

    def get(self, path: str, labelSelector: str = "", **_: str) -> Object:  # noqa: N803
        self.reads.append(path)
        assert path.count("/api/") + path.count("/apis/") <= 1, path
        parts = path.split("/")
        if parts[1:] == ["apis", "argoproj.io"]:
            return {"preferredVersion": {"groupVersion": "argoproj.io/v1alpha1"}}
        if parts[1:] == ["apis", "argoproj.io", "v1alpha1"]:
            return {
                "resources": [{"name": "rollouts", "singularName": "rollout", "kind": "Rollout"}]
            }
        if parts[1:-1] == ["api", "v1", "namespaces"] and "namespaces" not in self._denied:
            return {
                "kind": "Namespace",
                "metadata": {"name": parts[-1], "labels": self.labels.get(parts[-1], {})},
            }
        kinds = {plural(kind): kind for kind in _KINDS}
        name = next((p for p in reversed(parts) if p in kinds), "")
        if not name:
            raise NotServedError(f"no API {path}")
        if name in self._denied:
            raise ForbiddenError(f'you have no permission: {name} is forbidden: User "ann"')
        version = "v1" if parts[1] == "api" else f"{parts[2]}/{parts[3]}"
        items = [o for o in self._objects if (o["apiVersion"], o["kind"]) == (version, kinds[name])]
        if "namespaces" in parts:
            here = parts[parts.index("namespaces") + 1]
            items = [o for o in items if o["metadata"]["namespace"] == here]
        if parts[-1] == name:
            for pair in filter(None, labelSelector.split(",")):
                label, equals, value = pair.partition("=")
                found = [(o, _labels(o).get(label.removesuffix("!"))) for o in items]
                if label.endswith("!"):
                    items = [o for o, has in found if has != value]
                    continue
                items = [o for o, has in found if (has == value if equals else has is not None)]
            return {"items": deepcopy(items), "metadata": {}}
        for o in items:
            if o["metadata"]["name"] == unquote(parts[-1]):
                return deepcopy(o)
        raise NotFoundError(f"there is no {path}")

    def page(self, path: str, most: int) -> tuple[int, str]:
        self.reads.append(path)
        if "pods/proxy" in self._denied:
            said = 'pods "web-1:8080" is forbidden: User "ann" cannot get resource "pods/proxy"'
            return 403, f'{{"kind": "Status", "message": "{said}"}}'
        name, _, page = unquote(path.partition("/pods/")[2]).partition("/proxy")
        found = self._pages.get(f"{name}{page}")
        return (404, "not found") if found is None else (200, found[:most])

    def greeting(self, namespace: str, pod: str, port: int) -> bytes | None:
        self.reads.append(f"{namespace}/{pod}:{port}")
        if "pods/portforward" in self._denied:
            raise DemoModeError(
                'pods "web-1" is forbidden: User "ann" cannot create pods/portforward'
            )
        return self._greetings.get(f"{pod}:{port}", b"")

    def create(self, path: str, body: Object, **query: str) -> Object:
        if any(o["metadata"]["name"] == body["metadata"]["name"] for o in self.made):
            raise ConflictError("it exists")
        if "dryRun" not in query:
            self.made.append(body)
        return body


def _labels(o: Object) -> Mapping[str, str]:
    return o["metadata"].get("labels") or {}
