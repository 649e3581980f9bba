"""What the policies of WarmPoolSets permit the operator, and what they keep from everybody else.

In the names of the accounts, with the permissions of the chart and of Kubernetes' roles.
"""

import time
from collections.abc import Callable
from typing import Any

import pytest
from apiserver.asked import (
    SETS,
    Api,
    Place,
    installed,
    make_set,
    namespaces,
    pool_of_set,
    pool_set,
    set_owner,
    until_accepted,
    until_refused,
    warm_pool,
)
from apiserver.keeper import Plane
from e2e.rights import HERE, OPERATOR, THERE

from kotatsu_operator.core.protocol import INSTALL_LABEL, SET_LABEL

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(600)]

POOLS = "apis/kotatsu.dev/v1beta1/namespaces/{}/warmpools"
TENANT = "tenant"
SET = f"set-{HERE}"
NOT_OF_A_SET = "The operator may only write WarmPools that a WarmPoolSet owns"
OWNERS = "The operator may not change the owners or finalizers of a WarmPool"
NOT_SERVED = "The operator may only create WarmPools in namespaces that its release serves"
LABEL = "Only the operator labels a WarmPool kotatsu.dev/set"
OWNER = "Only the operator makes a WarmPoolSet the owner of a WarmPool"
Body = dict[str, Any]
Change = Callable[[Body], Any]


def metadata(**fields: Any) -> Body:
    return {"metadata": fields}


@pytest.fixture(scope="module")
def place(plane: Plane) -> Place:
    """Namespaces with the chart's policies, two sets, and a tenant who may edit the second."""
    found = installed(plane, "sets")
    rbac = "rbac.authorization.k8s.io"
    found.apply(
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": TENANT, "namespace": THERE},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "edit"},
            "subjects": [{"apiGroup": rbac, "kind": "User", "name": TENANT}],
        }
    )
    admin = Api(found)
    for name in (SET, f"{SET}-2"):
        make_set(admin, name)
    dry = f"{POOLS.format(THERE)}?dryRun=All"
    until_refused(lambda: Api(found, OPERATOR)("POST", dry, warm_pool("early")))
    until_refused(lambda: admin("POST", dry, pool_of_set("early", SET)))
    # A controller adds the chart's rules to the roles of Kubernetes.
    until_accepted(lambda: Api(found, TENANT)("POST", dry, warm_pool("early")))
    return found


@pytest.fixture
def tenant(place: Place) -> Api:
    return Api(place, TENANT)


def path(name: str = "", namespace: str = THERE, *, dry: bool = False) -> str:
    where = POOLS.format(namespace) + (f"/{name}" if name else "")
    return f"{where}?dryRun=All" if dry else where


# --- the operator ---


def test_the_operator_makes_changes_and_deletes_a_pool_of_a_set(operator: Api) -> None:
    operator.accepts("POST", path(), pool_of_set("one", SET))
    operator.accepts("PATCH", path("one"), {"spec": {"idleAfter": "5m"}})
    operator.accepts(
        "PATCH", path("one"), metadata(labels={"team": "shop"}, annotations={"a": "b"})
    )
    operator.accepts("DELETE", path("one"))


@pytest.mark.parametrize(
    "change",
    [
        lambda meta: meta.pop("labels"),
        lambda meta: meta["labels"].update({SET_LABEL: f"{SET}-2"}),
        lambda meta: meta.pop("ownerReferences"),
        lambda meta: meta["ownerReferences"][0].update(controller=False),
        lambda meta: meta["ownerReferences"][0].update(kind="WarmPool"),
        lambda meta: meta["ownerReferences"][0].update(name=f"{SET}-2"),
    ],
    ids=["no label", "another label", "no owner", "no controller", "another kind", "another owner"],
)
def test_the_operator_makes_no_pool_without_label_and_owner_of_one_set(
    operator: Api, change: Change
) -> None:
    pool = pool_of_set("two", SET)
    change(pool["metadata"])
    operator.refuses(NOT_OF_A_SET, "POST", path(dry=True), pool)


def test_the_operator_changes_and_deletes_no_pool_of_a_person(admin: Api, operator: Api) -> None:
    admin.accepts("POST", path(), warm_pool("theirs"))
    for method, body in (
        ("PATCH", {"spec": {"idleAfter": "5m"}}),
        ("PATCH", {"metadata": pool_of_set("theirs", SET)["metadata"]}),
        ("DELETE", None),
    ):
        operator.refuses(NOT_OF_A_SET, method, path("theirs"), body)


def test_the_operator_lets_no_pool_out_of_a_set_and_into_no_other(operator: Api) -> None:
    operator.accepts("POST", path(), pool_of_set("kept", SET))
    second = f"{SET}-2"
    for labels in ({SET_LABEL: None}, {SET_LABEL: second}):
        operator.refuses(NOT_OF_A_SET, "PATCH", path("kept"), metadata(labels=labels))
    moved = metadata(labels={SET_LABEL: second}, ownerReferences=[set_owner(second)])
    operator.refuses(OWNERS, "PATCH", path("kept"), moved)
    both = [set_owner(SET), set_owner(second, controller=False)]
    operator.refuses(OWNERS, "PATCH", path("kept"), metadata(ownerReferences=both))
    operator.refuses(OWNERS, "PATCH", path("kept"), metadata(finalizers=["example.com/never"]))


def test_the_operator_makes_no_pool_where_its_release_does_not_serve(
    place: Place, admin: Api, operator: Api
) -> None:
    other = f"{THERE}-elsewhere"
    labels = {INSTALL_LABEL: "another"}
    place.apply({"apiVersion": "v1", "kind": "Namespace", **metadata(name=other, labels=labels)})
    operator.refuses(NOT_SERVED, "POST", path(namespace=other), pool_of_set("web", SET))
    # It asks so whether a template is right, in the namespace of the release.
    operator.accepts("POST", path(namespace=other, dry=True), pool_of_set("web", SET))
    made = pool_of_set("web", SET)
    sentence = "Kotatsu changes nothing in the namespaces of Kubernetes"
    operator.refuses(sentence, "POST", path(namespace="kube-public", dry=True), made)


# --- a tenant ---


def test_a_tenant_makes_no_pool_that_of_a_set(tenant: Api) -> None:
    labeled = warm_pool("mine") | {"metadata": {"name": "mine", "labels": {SET_LABEL: "any"}}}
    tenant.refuses(LABEL, "POST", path(), labeled)
    for fields in ({}, {"controller": False}):
        owned = warm_pool("mine")
        owned["metadata"]["ownerReferences"] = [set_owner(SET, **fields)]
        tenant.refuses(OWNER, "POST", path(), owned)
    tenant.accepts("POST", path(), warm_pool("mine"))
    tenant.refuses(LABEL, "PATCH", path("mine"), metadata(labels={SET_LABEL: SET}))
    tenant.refuses(OWNER, "PATCH", path("mine"), metadata(ownerReferences=[set_owner(SET)]))


def test_a_tenant_moves_no_pool_to_another_set(operator: Api, tenant: Api) -> None:
    operator.accepts("POST", path(), pool_of_set("fixed", SET))
    second = f"{SET}-2"
    tenant.refuses(LABEL, "PATCH", path("fixed"), metadata(labels={SET_LABEL: second}))
    tenant.refuses(OWNER, "PATCH", path("fixed"), metadata(ownerReferences=[set_owner(second)]))
    both = [set_owner(SET), set_owner(second, controller=False)]
    tenant.refuses(OWNER, "PATCH", path("fixed"), metadata(ownerReferences=both))


def test_an_administrator_forges_no_pool_of_a_set_either(admin: Api) -> None:
    admin.refuses(LABEL, "POST", path(), pool_of_set("forged", SET))


def test_a_tenant_writes_the_other_fields_of_a_made_pool_and_takes_it_out_of_the_set(
    operator: Api, tenant: Api
) -> None:
    operator.accepts("POST", path(), pool_of_set("edited", SET))
    tenant.accepts("PATCH", path("edited"), {"spec": {"idleAfter": "7m"}})
    tenant.accepts(
        "PATCH", path("edited"), metadata(labels={"team": "shop"}, annotations={"a": "b"})
    )
    tenant.accepts("PATCH", path("edited"), metadata(labels={SET_LABEL: None}))
    tenant.refuses(LABEL, "PATCH", path("edited"), metadata(labels={SET_LABEL: SET}))
    tenant.accepts("PATCH", path("edited"), metadata(ownerReferences=None))
    tenant.refuses(OWNER, "PATCH", path("edited"), metadata(ownerReferences=[set_owner(SET)]))
    tenant.accepts("DELETE", path("edited"))


def test_a_tenant_writes_pools_of_its_own_also_with_other_owners(tenant: Api) -> None:
    its = {"apiVersion": "v1", "kind": "ConfigMap", "name": "any", "uid": "none"}
    pool = warm_pool("own")
    pool["metadata"]["ownerReferences"] = [its]
    tenant.accepts("POST", path(dry=True), pool)
    tenant.accepts("POST", path(), warm_pool("own"))
    tenant.accepts("PATCH", path("own"), {"spec": {"idleAfter": "7m"}})
    tenant.accepts("DELETE", path("own"))


def test_the_namespaces_of_another_release_are_not_concerned(
    plane: Plane, place: Place, admin: Api
) -> None:
    other = namespaces(plane, "another")
    label = {"metadata": {"name": other.there, "labels": {INSTALL_LABEL: other.here}}}
    other.apply({"apiVersion": "v1", "kind": "Namespace", **label})
    dry, made = path(namespace=other.there, dry=True), pool_of_set("web", SET)
    admin.accepts("POST", dry, made)
    # Once the label names this release, they are.
    served = {"metadata": {"labels": {INSTALL_LABEL: place.here}}}
    admin.accepts("PATCH", f"api/v1/namespaces/{other.there}", served)
    until_refused(lambda: admin("POST", dry, made))
    admin.refuses(LABEL, "POST", dry, made)


# --- a deleted set ---


@pytest.mark.parametrize("policy", ["Background", "Foreground", "Orphan"])
def test_the_pools_of_a_deleted_set_go_with_it_or_stay_as_it_is_asked(
    admin: Api, operator: Api, policy: str
) -> None:
    name = f"{SET}-{policy.lower()}"
    make_set(admin, name)
    operator.accepts("POST", path(), pool_of_set(policy.lower(), name))
    admin.accepts("DELETE", f"{SETS}/{name}?propagationPolicy={policy}")

    def is_done() -> bool:
        found = admin("GET", path(policy.lower()))
        if policy == "Orphan":
            return "ownerReferences" not in found.json()["metadata"]
        return found.status_code == 404

    for _ in range(300):
        if is_done() and admin("GET", f"{SETS}/{name}").status_code == 404:
            return
        time.sleep(0.1)
    raise AssertionError(f"{policy}: {admin('GET', path(policy.lower())).text}")


def test_a_name_that_no_label_can_have_is_refused(admin: Api) -> None:
    answer = admin("POST", f"{SETS}?dryRun=All", pool_set("a" * 64))
    assert answer.status_code == 422
    assert "at most 63 characters" in answer.json()["message"]
    admin.accepts("POST", f"{SETS}?dryRun=All", pool_set("a" * 63))
