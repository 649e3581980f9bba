"""The API server asked in the names of accounts, and the objects that it is asked about."""

import json
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx2
from apiserver.keeper import Plane
from apiserver.kit import Namespace, one_each
from chart.kit import Object
from e2e import api, rights
from e2e.rights import HERE, THERE

from kotatsu_operator.activator.pool import PodIdentity, pool_view
from kotatsu_operator.activator.slices import make_slice
from kotatsu_operator.core.protocol import INSTALL_LABEL, SET_LABEL, own_set
from kotatsu_operator.kube.views import PodView, pod_view

SCALE = "apis/apps/v1/namespaces/there/deployments/{}/scale"
STATEFUL_SCALE = "apis/apps/v1/namespaces/there/statefulsets/{}/scale"
SERVICES = "api/v1/namespaces/there/services"
HPAS = "apis/autoscaling/v2/namespaces/there/horizontalpodautoscalers"
SLICES = "apis/discovery.k8s.io/v1/namespaces/there/endpointslices"
POOLS = "apis/kotatsu.dev/v1beta1/namespaces/there/warmpools"
SETS = "apis/kotatsu.dev/v1beta1/warmpoolsets"
REVISIONS = "apis/serving.knative.dev/v1/namespaces/there/revisions"
MERGE = "application/merge-patch+json"
UIDS: dict[str, str] = {}
"""Of what owns other objects: one without a living owner is garbage."""


@dataclass(frozen=True)
class Place:
    """Namespaces of a test's own on the shared API server.

    The chart, the accounts and the paths call them `here` and `there`. The release is in the first.
    """

    plane: Plane
    here: str
    there: str

    def __call__(self, text: str) -> str:
        """A text with the names of these namespaces."""
        text = re.sub(r"\bhere\b", self.here, re.sub(r"\bthere\b", self.there, text))
        return one_each(text, self.here)

    def apply(self, *objects: Object) -> None:
        """Apply objects, in the first namespace unless they say otherwise."""
        for obj in objects:
            Namespace(self.here, self.plane).apply(json.loads(self(json.dumps(obj))))


def namespaces(plane: Plane, purpose: str) -> Place:
    """Make the namespaces of a test, both for the release. They go with the control plane."""
    number = uuid.uuid4().hex[:5]
    place = Place(plane, f"{purpose}-{number}", f"{purpose}-{number}-other")
    for name in (HERE, THERE):
        meta = {"name": name, "labels": {INSTALL_LABEL: HERE}}
        place.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
    return place


def installed(plane: Plane, purpose: str, *arguments: str) -> Place:
    """Namespaces with what gives rights in the chart, and what limits them.

    `arguments` are helm's. What is cluster-scoped has the namespace in its name, and concerns
    nobody else's: unless they select namespaces, only those that the label gives to the release.
    """
    place = namespaces(plane, purpose)
    selects = any("namespaceSelector" in argument for argument in arguments)
    chart = rights.chart(*arguments, *(() if selects else ("--set=serveUnlabeled=false",)))
    kinds = ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "PriorityClass")
    of_knative = {"namespace": rights.KNATIVE}
    for obj in (*chart.of(*kinds, *rights.POLICIES), chart.one("Service", "kotatsu-activators")):
        if not of_knative.items() <= obj["metadata"].items():
            place.apply(obj)
    return place


class Api:
    """The API server, asked as an account; `extra` is what its token says beside the name."""

    def __init__(self, place: Place, user: str = "", extra: Object | None = None) -> None:
        self.place = place
        self._server = api.connect(place.plane.kubeconfig)
        self._headers = {"Impersonate-User": place(user)} if user else {}
        for key, value in (extra or {}).items():
            self._headers[f"Impersonate-Extra-{key.replace('/', '%2f')}"] = value

    def __call__(
        self, method: str, path: str, body: Object | None = None, content_type: str = ""
    ) -> httpx2.Response:
        said = None if body is None else json.loads(self.place(json.dumps(body)))
        kind = content_type or (MERGE if method == "PATCH" else "application/json")
        return self._server.send(method, self.place(path), said, kind, self._headers)

    def accepts(self, method: str, path: str, body: Object | None = None) -> Object:
        """The answer to a request that has to pass."""
        answer = self(method, path, body)
        assert answer.is_success, answer.text
        found: Object = answer.json()
        return found

    def refuses(self, sentence: str, method: str, path: str, body: Object | None = None) -> None:
        """Make a request that a policy has to refuse with this sentence."""
        answer = self(method, path, body)
        assert answer.status_code == 422, answer.text
        said = answer.json()["message"]
        assert f"denied request: {sentence}" in said, said


Attempt = Callable[[], httpx2.Response]


def until(attempt: Attempt, holds: Callable[[httpx2.Response], bool]) -> None:
    """Try until an answer is right: the API server reads what it decides by from watches."""
    for _ in range(300):
        answer = attempt()
        if holds(answer):
            return
        time.sleep(0.2)
    raise AssertionError(answer.text)


def until_refused(attempt: Attempt) -> None:
    """Wait until a policy refuses."""
    until(attempt, lambda answer: answer.status_code == 422)


def until_accepted(attempt: Attempt) -> None:
    """Wait until policies and rights permit it."""
    until(attempt, lambda answer: answer.is_success)


def with_replicas(count: int) -> Object:
    return {"spec": {"replicas": count}}


def scale_to(name: str, replicas: int) -> Object:
    """A whole Scale, of no version: controllers write to the Deployment at the same time."""
    metadata = {"namespace": THERE, "name": name}
    kind = {"apiVersion": "autoscaling/v1", "kind": "Scale"}
    return kind | {"metadata": metadata} | with_replicas(replicas)


def status_of(**fields: Any) -> Object:
    return {"status": fields}


def example_of(schema: Object) -> Any:
    """A value that a schema of the CRD admits."""
    if "enum" in schema:
        return schema["enum"][0]
    if schema["type"] == "object":
        return {name: example_of(inner) for name, inner in schema.get("properties", {}).items()}
    if schema["type"] == "array":
        return [example_of(schema["items"])]
    if schema.get("format") == "date-time":
        return "2026-01-01T00:00:00Z"
    return {"string": "1", "integer": 1, "number": 1, "boolean": True}[schema["type"]]


def deployment(name: str, replicas: int) -> Object:
    labels = {"app": name}
    container = {"name": "app", "image": "localhost/none:1"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def pod(name: str) -> Object:
    spec = {"containers": [{"name": "activator", "image": "localhost/none:1"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def service(name: str) -> Object:
    """A Service of pods."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
    }


def autoscaler(name: str) -> Object:
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "busy"},
            "minReplicas": 1,
            "maxReplicas": 10,
            "metrics": [{"type": "Resource", "resource": cpu}],
        },
    }


def warm_pool(name: str, service: str = "web") -> Object:
    spec = {"targetRef": {"name": name}, "service": service, "timeZone": "UTC"}
    kind = {"apiVersion": "kotatsu.dev/v1beta1", "kind": "WarmPool"}
    return {**kind, "metadata": {"name": name}, "spec": spec}


def make_set(admin: Api, name: str) -> None:
    """Make a WarmPoolSet that selects nothing, since no operator runs here."""
    made = pool_set(name)
    UIDS[name] = admin.accepts("POST", SETS, made)["metadata"]["uid"]


def pool_set(name: str) -> Object:
    spec = {"namespaceSelector": {"matchLabels": {"a": "b"}}, "template": {"spec": {}}}
    kind = {"apiVersion": "kotatsu.dev/v1beta1", "kind": "WarmPoolSet"}
    return {**kind, "metadata": {"name": name}, "spec": spec}


def set_owner(name: str, **fields: Any) -> Object:
    """The entry of ownerReferences of the pools of a set."""
    kind = {"apiVersion": "kotatsu.dev/v1beta1", "kind": "WarmPoolSet"}
    return {**kind, "name": name, "uid": UIDS[name], "controller": True, **fields}


def pool_of_set(name: str, of: str) -> Object:
    """A pool as the operator makes it for a set."""
    pool = warm_pool(name)
    pool["metadata"] |= {"labels": {SET_LABEL: of}, "ownerReferences": [set_owner(of)]}
    return pool


def activator_pod(number: int) -> PodIdentity:
    """One of the activators that `there` has of its own."""
    name = f"activator-{number}"
    its_set = own_set(HERE, THERE)
    return PodIdentity(THERE, name, UIDS[name], (f"10.0.0.{number}",), "node", its_set)


def slice_of(pool: str, service: str = "web", number: int = 1, state: str = "serving") -> Object:
    """A slice as the activator of this number makes it."""
    return make_slice(
        pool_view(warm_pool(pool, service)),
        {
            "metadata": {"namespace": THERE, "name": service, "uid": UIDS[service]},
            "spec": {"ports": [{"name": "http", "port": 80}], "ipFamilies": ["IPv4"]},
        },
        activator_pod(number),
        "IPv4",
        {"http": 32000},
        state=state,
    )


def lost_pod(*, terminating: bool) -> PodView:
    """Another activator's pod that is lost: its node, or that it ends."""
    ready = {"type": "Ready", "status": "True" if terminating else "Unknown"}
    meta = {"namespace": THERE, "name": "activator-2", "uid": UIDS["activator-2"]}
    if terminating:
        meta["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    status = {"phase": "Running", "conditions": [ready]}
    return pod_view({"metadata": meta, "spec": {"containers": []}, "status": status})


def slice_of_a_controller(name: str) -> Object:
    """One that stays: in the name of a Service, its controller deletes what it did not make."""
    labels = {"kubernetes.io/service-name": "none"}
    labels["endpointslice.kubernetes.io/managed-by"] = "endpointslice-controller.k8s.io"
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": labels},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.9"]}],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }


def revision(name: str) -> Object:
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Revision",
        "metadata": {"name": name, "labels": {"serving.knative.dev/service": "kn"}},
        "spec": {"image": "one"},
    }


def revision_crd() -> Object:
    """A kind of this name, with as much of a schema as the policy reads."""
    names = {
        "kind": "Revision",
        "listKind": "RevisionList",
        "plural": "revisions",
        "singular": "revision",
    }
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "revisions.serving.knative.dev"},
        "spec": {
            "group": "serving.knative.dev",
            "names": names,
            "scope": "Namespaced",
            "versions": [version],
        },
    }
