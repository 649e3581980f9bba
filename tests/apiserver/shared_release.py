"""A release whose activators are shared, with a tenant, and the tokens of its accounts.

The release is in `here`, the tenant in `there`, and a namespace that is not selected beside it.
"""

import uuid

from apiserver.asked import (
    Api,
    Place,
    deployment,
    installed,
    pod,
    service,
    until_accepted,
    until_refused,
    with_replicas,
)
from apiserver.keeper import Plane
from chart.kit import Object
from e2e.rights import ACTIVATOR, HERE, THERE

from kotatsu_operator.core.protocol import (
    ACTIVATOR_ANNOTATION,
    ACTIVATOR_LABELS,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    SERVICE_LABEL,
    SET_ANNOTATION,
)

NOT_SELECTED = f"{THERE}-unselected"
SLICES = "apis/discovery.k8s.io/v1/namespaces/{}/endpointslices"
SCALE = "apis/apps/v1/namespaces/{}/deployments/web/scale"
TEAM = {"team": HERE}
"""The label that is selected: of this test's namespaces alone. They have no other."""
SELECTOR = '--set-json=namespaceSelector={"matchLabels":{"team":"here"}}'
UIDS: dict[int, str] = {}
"""The pod of each activator of the release that was made last, by the activator's number."""


def address(number: int) -> str:
    """The address of an activator's pod."""
    return f"10.7.0.{number}"


def make_activator(admin: Api, number: int) -> None:
    """Make the pod of an activator that has no address yet."""
    made = pod(f"activator-{number}")
    made["metadata"]["labels"] = ACTIVATOR_LABELS
    UIDS[number] = admin.accepts("POST", f"api/v1/namespaces/{HERE}/pods", made)["metadata"]["uid"]


def give_address(admin: Api, number: int) -> None:
    """Write the address of an activator's pod, as its kubelet does."""
    ip = address(number)
    status = {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}
    path = f"api/v1/namespaces/{HERE}/pods/activator-{number}/status"
    admin.accepts("PATCH", path, {"status": status})


def shared_release(plane: Plane) -> Place:
    """The install, two activators with addresses, and what they may serve."""
    made = installed(plane, "shared", SELECTOR)
    admin = Api(made)
    for name, labels in ((HERE, TEAM), (THERE, TEAM), (NOT_SELECTED, {})):
        kind = {"apiVersion": "v1", "kind": "Namespace"}
        made.apply({**kind, "metadata": {"name": name, "labels": labels}})
    numbers = 1, 2
    for number in numbers:
        make_activator(admin, number)
        give_address(admin, number)
    for namespace in (THERE, NOT_SELECTED):
        path = f"apis/apps/v1/namespaces/{namespace}/deployments"
        admin.accepts("POST", path, deployment("web", 0))
        admin.accepts("POST", f"api/v1/namespaces/{namespace}/services", service("web"))
    # Each policy is there when it refuses; the parameters are when each own address is accepted.
    activator = stolen(made)
    for changed in (
        slice_of(address="10.9.9.9"),
        slice_of(family="IPv6", address="fd00::1"),
        slice_of(owner=None),
    ):
        until_refused(lambda changed=changed: activator("POST", dry(THERE), changed))
    until_refused(lambda: activator("POST", dry(NOT_SELECTED), slice_of()))
    until_refused(lambda: activator("PATCH", f"{SCALE.format(THERE)}?dryRun=All", with_replicas(2)))
    for number in numbers:
        by = stolen(made, number)
        until_accepted(lambda by=by, number=number: by("POST", dry(THERE), slice_of(number)))
    return made


def stolen(place: Place, number: int = 1) -> Api:
    """The API server, asked with the token that the kubelet gives the activator of this number."""
    extra = {"pod-name": f"activator-{number}", "pod-uid": UIDS[number]}
    return Api(place, ACTIVATOR, {f"authentication.kubernetes.io/{k}": v for k, v in extra.items()})


def dry(namespace: str) -> str:
    return f"{SLICES.format(namespace)}?dryRun=All"


WEB = {"apiVersion": "v1", "kind": "Service", "name": "web", "uid": "none"}


def slice_of(number: int = 1, owner: Object | None = WEB, **changed: str) -> Object:
    """A slice as the shared activator of this number makes it, or with something else in it."""
    ref = {"kind": "Pod", "namespace": HERE, "name": f"activator-{number}", "uid": UIDS[number]}
    endpoint = {
        "addresses": [changed.get("address", address(number))],
        "conditions": {"ready": True, "serving": True, "terminating": False},
        "targetRef": ref,
    }
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"kotatsu-web-{uuid.uuid4().hex[:8]}",
            "labels": {SERVICE_LABEL: "web", MANAGED_BY_LABEL: MANAGED_BY},
            "annotations": {
                ACTIVATOR_ANNOTATION: f"{HERE}/activator-{number}/{UIDS[number]}",
                SET_ANNOTATION: f"{HERE}/0",
            },
            "ownerReferences": [] if owner is None else [dict(owner)],
        },
        "addressType": changed.get("family", "IPv4"),
        "endpoints": [endpoint],
        "ports": [{"name": "http", "port": 32000, "protocol": "TCP"}],
    }


def withdrawn(made: Object) -> Object:
    """The slice with its endpoint no longer ready."""
    [endpoint] = made["endpoints"]
    conditions = {"ready": False, "serving": False, "terminating": False}
    return made | {"endpoints": [endpoint | {"conditions": conditions}]}


def keep(admin: Api, made: Object, namespace: str = THERE) -> str:
    """The path of a slice that lasts, because its owner is there."""
    owner = admin.accepts("GET", f"api/v1/namespaces/{namespace}/services/web")["metadata"]["uid"]
    made["metadata"]["ownerReferences"][0]["uid"] = owner
    return f"{SLICES.format(namespace)}/{made['metadata']['name']}"
