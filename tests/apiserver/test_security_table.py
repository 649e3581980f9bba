"""What SECURITY.md says of a stolen token, cell by cell: each clause is tried on the API server.

A clause that has no test here fails, and so has one here that the page does not say.
"""

import contextlib
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from apiserver.asked import (
    REVISIONS,
    SETS,
    Api,
    autoscaler,
    deployment,
    make_set,
    pod,
    pool_of_set,
    pool_set,
    revision,
    revision_crd,
    scale_to,
    service,
    slice_of_a_controller,
    status_of,
    until_refused,
    warm_pool,
    with_replicas,
)
from apiserver.keeper import Plane
from apiserver.shared_release import (
    NOT_SELECTED,
    SCALE,
    SLICES,
    UIDS,
    WEB,
    dry,
    keep,
    shared_release,
    slice_of,
    stolen,
    withdrawn,
)
from chart.kit import Object
from e2e.rights import HERE, OPERATOR, THERE

from kotatsu_operator.core.protocol import (
    ACTIVATOR_ANNOTATION,
    COST,
    MARK,
    SET_ANNOTATION,
    own_set,
)

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
OWN = f"system:serviceaccount:{THERE}:kotatsu-activator"
KUBE = "kube-public"
PODS = "api/v1/namespaces/{}/pods"
STRATEGIC = "application/strategic-merge-patch+json"
SECRETS = "api/v1/namespaces/{}/secrets"
HPAS = "apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers"
POOLS = "apis/kotatsu.dev/v1beta1/namespaces/{}/warmpools"
EVENTS = "api/v1/namespaces/{}/events?dryRun=All"
LEASES = f"apis/coordination.k8s.io/v1/namespaces/{HERE}/leases"
READ = (
    PODS,
    "api/v1/namespaces/{}/services",
    "apis/apps/v1/namespaces/{}/deployments",
    POOLS,
)
RAISE = "An activator may only scale a workload from 0 to 1"
OTHERS = "Kotatsu may only write EndpointSlices that are labeled"
NOT_OF_A_SET = "The operator may only write WarmPools that a WarmPoolSet owns"
SET = f"table-{HERE}"
IN_KUBE = "Kotatsu changes nothing in the namespaces of Kubernetes"


EVERYWHERE = (HERE, THERE, NOT_SELECTED, KUBE)


@dataclass(frozen=True)
class World:
    """An administrator, and who has stolen which token."""

    admin: Api
    shared: Api
    own: Api
    operator: Api


Attempt = Callable[[World], None]
TABLES = {
    "own": "A compromised activator of one namespace",
    "shared": "A compromised shared activator",
    "operator": "A compromised operator",
}
TRIED: dict[tuple[str, str], Attempt] = {}
ELSEWHERE = {
    "see what is sent to sleeping pools, and to pools that activators stay in front of, unless it "
    "is encrypted": "tests/e2e/test_route_activator.py",
    "with capacityAhead and placeholders, create pods of that one image and priority, and have "
    "nodes pull images whose names begin as capacityAhead.pullImages says, with the pull secrets "
    "of the namespace": "tests/apiserver/test_placeholder_policy.py",
    "with parked.enabled, set the CPU and memory requests of any pod, up to its limits": (
        "tests/apiserver/test_requests_policy.py"
    ),
    "read the receivers of notifications and the addresses of calendars, if there are any": (
        "tests/apiserver/test_notifications.py"
    ),
}
"""Clauses that need other values of the chart, or no API server: the file that tries them."""


def said(row: str) -> list[str]:
    """The clauses of a table, one a row, without their marks."""
    section = (ROOT / "SECURITY.md").read_text().split(f"### {TABLES[row]}")[1].split("\n#")[0]
    clauses = re.findall(r"^\| (?:can|cannot) \| (.+) \|$", section, re.MULTILINE)
    return [re.sub(r"\*\*|`", "", clause) for clause in clauses]


def clause(text: str, *rows: str) -> Callable[[Attempt], Attempt]:
    """What a test shows, in the words of the page."""

    def note(attempt: Attempt) -> Attempt:
        for row in rows:
            TRIED[row, text] = attempt
        return attempt

    return note


@pytest.fixture(scope="module")
def world(plane: Plane) -> World:
    place = shared_release(plane)
    place.apply(revision_crd())
    admin = Api(place)
    admin.accepts("POST", POOLS.format(THERE), warm_pool("web"))
    admin.accepts("POST", f"apis/apps/v1/namespaces/{THERE}/deployments", deployment("busy", 5))
    admin.accepts("POST", HPAS.format(NOT_SELECTED), autoscaler("auto"))
    for name in ("own-1", "own-2"):
        made = admin.accepts("POST", PODS.format(THERE), pod(name))
        OWN_UIDS[name] = made["metadata"]["uid"]
    extra = {"pod-name": "own-1", "pod-uid": OWN_UIDS["own-1"]}
    bound = {f"authentication.kubernetes.io/{k}": v for k, v in extra.items()}
    make_set(admin, SET)
    operator, web = Api(place, OPERATOR), f"{POOLS.format(THERE)}/web?dryRun=All"
    until_refused(lambda: operator("PATCH", web, {"spec": {"idleAfter": "5m"}}))
    return World(admin, stolen(place), Api(place, OWN, bound), operator)


OWN_UIDS: dict[str, str] = {}


def own_slice(address: str, name: str = "own-1") -> Object:
    """A slice as an activator of `there` alone makes it."""
    made = slice_of(address=address)
    made["metadata"]["annotations"] = {
        ACTIVATOR_ANNOTATION: f"{THERE}/{name}/{OWN_UIDS[name]}",
        SET_ANNOTATION: own_set(HERE, THERE),
    }
    ref = {"kind": "Pod", "namespace": THERE, "name": name, "uid": OWN_UIDS[name]}
    made["endpoints"][0]["targetRef"] = ref
    return made


def reads(api: Api, *namespaces: str) -> None:
    """Read all that the page names."""
    for namespace in namespaces:
        for path in READ:
            api.accepts("GET", path.format(namespace))


@contextlib.contextmanager
def deployed_in_kube(admin: Api) -> Iterator[None]:
    """A sleeping Deployment in a namespace of Kubernetes."""
    where = f"apis/apps/v1/namespaces/{KUBE}/deployments"
    admin.accepts("POST", where, deployment("web", 0))
    try:
        yield
    finally:
        admin.accepts("DELETE", f"{where}/web")


def forbids(api: Api, method: str, path: str, body: Object | None = None) -> None:
    """Make a request that RBAC has to refuse."""
    answer = api(method, path, body)
    assert answer.status_code == 403, answer.text


@pytest.mark.parametrize("row", TABLES)
def test_each_clause_of_the_page_is_tried_and_none_that_it_does_not_say(row: str) -> None:
    tried = {text for where, text in TRIED if where == row}
    assert tried == set(said(row)) - ELSEWHERE.keys()
    assert all((ROOT / file).exists() for file in ELSEWHERE.values())


# --- activators ---


@clause(
    "read pods (with literal values in their env), Services, Deployments and WarmPools of its "
    "namespace",
    "own",
)
def _(world: World) -> None:
    reads(world.own, THERE)


@clause("read the same in every namespace", "shared")
def _(world: World) -> None:
    reads(world.shared, *EVERYWHERE)


@clause(
    "redirect the clients of every Service there to an address of its choice, also in another "
    "namespace or a node, but not loopback or link-local",
    "own",
)
def _(world: World) -> None:
    for address in ("10.9.9.9", "192.168.0.10"):
        world.own.accepts("POST", dry(THERE), own_slice(address))
    for address in ("127.0.0.1", "169.254.169.254"):
        assert world.own("POST", dry(THERE), own_slice(address)).status_code == 422


@clause(
    "put itself in front of any Service of a selected namespace and answer in its place", "shared"
)
def _(world: World) -> None:
    world.shared.accepts("POST", dry(THERE), slice_of())


@clause(
    "mark the endpoints of other activators as not ready and delete their slices", "own", "shared"
)
def _(world: World) -> None:
    for account, made in (
        (world.own, own_slice("10.9.9.9", "own-2")),
        (world.shared, slice_of(2)),
    ):
        path = keep(world.admin, made)
        world.admin.accepts("POST", SLICES.format(THERE), made)
        account.accepts("PUT", path, withdrawn(made))
        account.accepts("DELETE", path)


@clause("raise any Deployment from 0 to 1", "own")
def _(world: World) -> None:
    world.own.accepts("PATCH", f"{SCALE.format(THERE)}?dryRun=All", with_replicas(1))


@clause("raise any Deployment of a selected namespace from 0 to 1", "shared")
def _(world: World) -> None:
    world.shared.accepts("PATCH", f"{SCALE.format(THERE)}?dryRun=All", with_replicas(1))


@clause("report demand for any pool", "own", "shared")
def _(world: World) -> None:
    at = "2026-01-01T00:00:00Z"
    for account in (world.own, world.shared):
        path = f"{POOLS.format(THERE)}/web/status?dryRun=All"
        written = account.accepts("PATCH", path, status_of(demand={"at": at}))
        assert written["status"]["demand"]["at"] == at


@clause("act in another namespace", "own")
def _(world: World) -> None:
    for namespace in (HERE, NOT_SELECTED):
        for path in READ:
            forbids(world.own, "GET", path.format(namespace))
        forbids(world.own, "POST", dry(namespace), own_slice("10.9.9.9"))
        forbids(world.own, "PATCH", SCALE.format(namespace), with_replicas(1))
        forbids(world.own, "PATCH", f"{POOLS.format(namespace)}/web/status", status_of(demand={}))


@clause(
    "lead clients to an address that is not an activator's, while the Service kotatsu-activators "
    "exists",
    "shared",
)
def _(world: World) -> None:
    for address in ("10.9.9.9", "192.168.0.10", "127.0.0.1"):
        assert world.shared("POST", dry(THERE), slice_of(address=address)).status_code == 422


@clause("publish or wake in a namespace that is not selected, or in kube-*", "shared")
def _(world: World) -> None:
    with deployed_in_kube(world.admin):
        for namespace in (NOT_SELECTED, KUBE):
            for method, path, body in (
                ("POST", dry(namespace), slice_of()),
                ("PATCH", SCALE.format(namespace), with_replicas(1)),
            ):
                assert world.shared(method, path, body).status_code == 422


@clause("scale to anything but 1", "own")
def _(world: World) -> None:
    for count in (2, 5):
        world.own.refuses(RAISE, "PATCH", SCALE.format(THERE), with_replicas(count))
    for count in (0, 1, 6):
        world.own.refuses(RAISE, "PATCH", BUSY.format(THERE), with_replicas(count))


@clause("write the operator's decisions into a status", "own")
def _(world: World) -> None:
    for status in ({"phase": "Warm"}, {"internal": {}}, {"cost": {"accrued": "0"}}):
        answer = world.own("PATCH", f"{POOLS.format(THERE)}/web/status", status_of(**status))
        assert answer.status_code == 422, answer.text


@clause("publish another pod under its name", "own")
def _(world: World) -> None:
    posing = own_slice("10.9.9.9")
    posing["endpoints"][0]["targetRef"]["uid"] = UIDS[1]
    world.own.refuses("An activator may only publish its own pod", "POST", dry(THERE), posing)


@clause("all else that an activator of one namespace cannot", "shared")
def _(world: World) -> None:
    world.shared.refuses(RAISE, "PATCH", SCALE.format(THERE), with_replicas(2))
    world.shared.refuses(RAISE, "PATCH", BUSY.format(THERE), with_replicas(1))
    status = f"{POOLS.format(THERE)}/web/status"
    assert world.shared("PATCH", status, status_of(phase="Warm")).status_code == 422
    sentence = "An activator may only publish its own pod"
    world.shared.refuses(sentence, "POST", dry(THERE), slice_of(2))
    _changes_no_slice_of_others(world.admin, world.shared)


# --- the operator ---


@clause(
    "read pods (with literal values in their env), Services, Deployments and WarmPools of every "
    "namespace",
    "operator",
)
def _(world: World) -> None:
    reads(world.operator, *EVERYWHERE)


@clause(
    "in every namespace but kube-*, also those that it does not serve, scale any Deployment but "
    "Kotatsu's own to any number",
    "operator",
)
def _(world: World) -> None:
    for namespace in (THERE, NOT_SELECTED):
        world.operator.accepts("PUT", f"{SCALE.format(namespace)}?dryRun=All", scaled(namespace, 9))
    with deployed_in_kube(world.admin):
        world.operator.refuses(IN_KUBE, "PUT", SCALE.format(KUBE), scaled(KUBE, 9))
    for name in ("kotatsu-operator", "kotatsu-activator-0"):
        where = f"apis/apps/v1/namespaces/{HERE}/deployments"
        world.admin.accepts("POST", where, deployment(name, 0))
        path = f"{where}/{name}/scale?dryRun=All"
        whole = scaled(HERE, 9) | {"metadata": {"namespace": HERE, "name": name}}
        assert world.operator("PUT", path, whole).status_code == 422


@clause(
    "set any HPA's minReplicas (at most to its maxReplicas) and any Revision's min-scale",
    "operator",
)
def _(world: World) -> None:
    path = f"{HPAS.format(NOT_SELECTED)}/auto?dryRun=All"
    world.operator.accepts("PATCH", path, {"spec": {"minReplicas": 10}})
    assert world.operator("PATCH", path, {"spec": {"minReplicas": 11}}).status_code == 422
    world.admin.accepts("POST", REVISIONS, revision("one"))
    scale = {"metadata": {"annotations": {"autoscaling.knative.dev/min-scale": "3"}}}
    world.operator.accepts("PATCH", f"{REVISIONS}/one", scale)


@clause("delete activators' slices, so that sleeping Services have no endpoint", "operator")
def _(world: World) -> None:
    made = slice_of()
    path = keep(world.admin, made)
    world.admin.accepts("POST", SLICES.format(THERE), made)
    world.operator.accepts("DELETE", path)


@clause(
    "write any WarmPool's status, and so put activators behind any Service there that selects pods",
    "operator",
)
def _(world: World) -> None:
    status = status_of(phase="Asleep", route={"target": "Activator", "epoch": 1})
    world.operator.accepts("PATCH", f"{POOLS.format(THERE)}/web/status?dryRun=All", status)


@clause(
    "with rbac.patchServices, take the pods of any Service outside kube-* and the release's "
    "namespace from it, so that it has no endpoint",
    "operator",
)
def _(world: World) -> None:
    term = {"spec": {"selector": {"kotatsu.dev/route": "Activator"}}}
    services = "api/v1/namespaces/{}/services"
    for namespace in (THERE, NOT_SELECTED):
        world.operator.accepts("PATCH", f"{services.format(namespace)}/web?dryRun=All", term)
    for namespace in (HERE, KUBE):
        where = services.format(namespace)
        world.admin.accepts("POST", where, service("table"))
        try:
            answer = world.operator("PATCH", f"{where}/table?dryRun=All", term)
            assert answer.status_code == 422, answer.text
        finally:
            world.admin.accepts("DELETE", f"{where}/table")


@clause("choose which pods of a ReplicaSet end first, outside of kube-*", "operator")
def _(world: World) -> None:
    mark = {"metadata": {"annotations": {COST: MARK}}}
    for namespace in (THERE, NOT_SELECTED):
        world.admin.accepts("POST", PODS.format(namespace), pod("chosen"))
        world.operator.accepts("PATCH", f"{PODS.format(namespace)}/chosen", mark)
    world.admin.accepts("POST", PODS.format(KUBE), pod("chosen"))
    world.operator.refuses(IN_KUBE, "PATCH", f"{PODS.format(KUBE)}/chosen", mark)


@clause("change anything else of a Service", "operator")
def _(world: World) -> None:
    path = f"api/v1/namespaces/{THERE}/services/web?dryRun=All"
    for change in (
        {"spec": {"selector": {"app": "theirs"}}},
        {"spec": {"externalIPs": ["10.9.9.9"]}},
        {"metadata": {"annotations": {"a": "b"}}},
        {"metadata": {"ownerReferences": [WEB | {"name": "gone"}]}},
    ):
        assert world.operator("PATCH", path, change).status_code == 422


@clause("write events", "operator")
def _(world: World) -> None:
    for namespace in (THERE, NOT_SELECTED):
        event = {
            "metadata": {"name": "said", "namespace": namespace},
            "involvedObject": {"kind": "Pod", "name": "none", "namespace": namespace},
        }
        world.operator.accepts("POST", EVENTS.format(namespace), event)


@clause("hold the Lease", "operator")
def _(world: World) -> None:
    lease = {"metadata": {"name": "kotatsu-operator"}, "spec": {"holderIdentity": "thief"}}
    made = world.operator.accepts("POST", LEASES, lease)
    made["spec"]["holderIdentity"] = "another"
    world.operator.accepts("PUT", f"{LEASES}/kotatsu-operator", made)


@clause(
    "with sets.enabled, create WarmPools that name a WarmPoolSet as their owner in namespaces that "
    "it serves, and so choose which workloads sleep there",
    "operator",
)
def _(world: World) -> None:
    world.operator.accepts("POST", POOLS.format(THERE), pool_of_set("more", SET))
    sentence = "The operator may only create WarmPools in namespaces that its release serves"
    made = pool_of_set("more", SET)
    world.operator.refuses(sentence, "POST", POOLS.format(NOT_SELECTED), made)
    world.operator.refuses(IN_KUBE, "POST", f"{POOLS.format(KUBE)}?dryRun=All", made)


@clause(
    "with sets.enabled, change and delete the WarmPools of WarmPoolSets, and write the status of "
    "any WarmPoolSet",
    "operator",
)
def _(world: World) -> None:
    path = f"{POOLS.format(THERE)}/made"
    world.operator.accepts("POST", POOLS.format(THERE), pool_of_set("made", SET))
    world.operator.accepts("PATCH", path, {"spec": {"idleAfter": "24h"}})
    world.operator.accepts("DELETE", path)
    world.operator.accepts("PATCH", f"{SETS}/{SET}/status?dryRun=All", status_of(made=0))


@clause("write a WarmPoolSet, or a WarmPool that no WarmPoolSet owns", "operator")
def _(world: World) -> None:
    forbids(world.operator, "POST", SETS, pool_set("more"))
    forbids(world.operator, "PATCH", f"{SETS}/{SET}", {"spec": {"optOut": "Ignored"}})
    forbids(world.operator, "DELETE", f"{SETS}/{SET}")
    path, longer = f"{POOLS.format(THERE)}/web", {"spec": {"idleAfter": "24h"}}
    world.operator.refuses(NOT_OF_A_SET, "POST", POOLS.format(THERE), warm_pool("more"))
    world.operator.refuses(NOT_OF_A_SET, "PATCH", path, longer)
    world.operator.refuses(NOT_OF_A_SET, "DELETE", path)


@clause("grant itself a permission", "operator")
def _(world: World) -> None:
    where = f"apis/rbac.authorization.k8s.io/v1/namespaces/{THERE}/roles"
    role = {"metadata": {"name": "more"}, "rules": []}
    forbids(world.operator, "POST", where, role)
    forbids(world.operator, "POST", where.replace("roles", "rolebindings"), role)


@clause("read another Secret", "operator")
@clause("read a Secret", "own", "shared")
def _(world: World) -> None:
    for account in (world.own, world.shared, world.operator):
        for namespace in (HERE, THERE):
            forbids(account, "GET", SECRETS.format(namespace))
            forbids(account, "GET", f"{SECRETS.format(namespace)}/any")


@clause("run another pod", "operator")
@clause("change anything else of a pod", "operator")
@clause("run or change a pod", "own", "shared")
def _(world: World) -> None:
    image = {"spec": {"containers": [{"name": "activator", "image": "localhost/other:1"}]}}
    for account in (world.own, world.shared, world.operator):
        for namespace in (HERE, THERE):
            answer = account("POST", f"{PODS.format(namespace)}?dryRun=All", pod("more"))
            assert answer.status_code in (403, 422), answer.text
        answer = account("PATCH", f"{PODS.format(HERE)}/activator-1?dryRun=All", image, STRATEGIC)
        assert answer.status_code in (403, 422), answer.text
        forbids(account, "POST", f"{PODS.format(HERE)}/activator-1/exec?command=id")
        where = f"apis/apps/v1/namespaces/{THERE}/deployments"
        forbids(account, "POST", where, deployment("more", 1))
        forbids(account, "PATCH", f"{where}/web", {"metadata": {"labels": {"a": "b"}}})


@clause("change an HPA's target, maxReplicas or metrics", "operator")
def _(world: World) -> None:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    for change in ({"scaleTargetRef": target}, {"maxReplicas": 99}, {"metrics": []}):
        path = f"{HPAS.format(NOT_SELECTED)}/auto?dryRun=All"
        assert world.operator("PATCH", path, {"spec": change}).status_code == 422


@clause("change anything else of a Revision", "operator")
def _(world: World) -> None:
    world.admin.accepts("POST", REVISIONS, revision("two"))
    for change in ({"spec": {"image": "other"}}, {"metadata": {"labels": {"a": "b"}}}):
        assert world.operator("PATCH", f"{REVISIONS}/two", change).status_code == 422


@clause("change an EndpointSlice that no activator made", "own", "operator")
def _(world: World) -> None:
    _changes_no_slice_of_others(world.admin, world.own)
    _changes_no_slice_of_others(world.admin, world.operator, "DELETE")


BUSY = "apis/apps/v1/namespaces/{}/deployments/busy/scale?dryRun=All"


def scaled(namespace: str, replicas: int) -> Object:
    made = scale_to("web", replicas)
    made["metadata"]["namespace"] = namespace
    return made


def _changes_no_slice_of_others(admin: Api, account: Api, *methods: str) -> None:
    name = f"theirs-{uuid.uuid4().hex[:8]}"
    theirs = admin.accepts("POST", SLICES.format(THERE), slice_of_a_controller(name))
    for method in methods or ("PUT", "DELETE"):
        body = theirs | {"endpoints": []} if method == "PUT" else None
        account.refuses(OTHERS, method, f"{SLICES.format(THERE)}/{name}", body)


@pytest.mark.parametrize(("row", "text"), TRIED, ids=lambda part: part[:60])
def test_it_is_as_the_page_says(world: World, row: str, text: str) -> None:
    TRIED[row, text](world)
