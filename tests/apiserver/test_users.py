"""What people may do with the chart in their namespace."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from apiserver.asked import Api, Place, installed
from apiserver.keeper import Plane
from e2e import rights

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(600)]

PEOPLE = {"viewer": "view", "editor": "edit", "owner": "admin"}
"""Each has the ClusterRole of Kubernetes in one namespace."""
READ = {"get", "list", "watch"}
PLATFORM, HELPER = (f"{name}-{rights.HERE}" for name in ("platform", "helper"))
EVERYWHERE = {PLATFORM: "admin", HELPER: "edit"}
"""Each has it in all namespaces."""
WRITE = {"create", "update", "patch", "delete", "deletecollection"}
RBAC = "rbac.authorization.k8s.io"

SETS = {"namespace": "", "resource": "warmpoolsets"}
"""WarmPoolSets are cluster-scoped."""

May = Callable[..., bool]


@pytest.fixture(scope="module")
def place(plane: Plane) -> Place:
    """Namespaces with the chart's roles; in the first, each person has one of Kubernetes'."""
    made = installed(plane, "users")
    bindings = [("RoleBinding", *person) for person in PEOPLE.items()]
    bindings += [("ClusterRoleBinding", *person) for person in EVERYWHERE.items()]
    for kind, person, role in bindings:
        made.apply(
            {
                "apiVersion": f"{RBAC}/v1",
                "kind": kind,
                "metadata": {"name": person},
                "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
                "subjects": [{"apiGroup": RBAC, "kind": "User", "name": person}],
            }
        )
    return made


@pytest.fixture(scope="module")
def may(place: Place) -> May:
    def ask(person: str, verb: str, namespace: str = "here", **more: Any) -> bool:
        pools = {"group": "kotatsu.dev", "resource": "warmpools"}
        asked = {"namespace": namespace, "verb": verb, **pools, **more}
        review = {"spec": {"user": person, "resourceAttributes": asked}}
        answer = Api(place).accepts(
            "POST", "apis/authorization.k8s.io/v1/subjectaccessreviews", review
        )
        return bool(answer["status"]["allowed"])

    # A controller adds the chart's rules to the roles of Kubernetes.
    for _ in range(300):
        written = (ask(person, "deletecollection") for person in ("editor", "owner"))
        if ask("viewer", "watch") and all(written) and ask(PLATFORM, "create", **SETS):
            break
        time.sleep(0.2)
    return ask


def test_who_may_view_a_namespace_may_read_its_pools(may: May) -> None:
    assert {verb for verb in READ | WRITE if may("viewer", verb)} == READ


@pytest.mark.parametrize("person", ["editor", "owner"])
def test_who_may_edit_a_namespace_may_write_its_pools(may: May, person: str) -> None:
    assert {verb for verb in READ | WRITE if may(person, verb)} == READ | WRITE


@pytest.mark.parametrize("person", PEOPLE)
def test_the_status_is_nobodys_to_write_and_other_namespaces_are_not_theirs(
    may: May, person: str
) -> None:
    assert not may(person, "patch", subresource="status")
    assert not may(person, "list", "there")


@pytest.mark.parametrize("person", [*PEOPLE, HELPER])
def test_a_role_in_one_namespace_and_edit_in_all_write_no_warm_pool_sets(
    may: May, person: str
) -> None:
    allowed = {verb for verb in READ | WRITE if may(person, verb, **SETS)}
    assert allowed == (READ if person == HELPER else set())


def test_an_admin_of_all_namespaces_writes_warm_pool_sets_but_not_their_status(may: May) -> None:
    expected = READ | WRITE - {"deletecollection"}
    assert {verb for verb in READ | WRITE if may(PLATFORM, verb, **SETS)} == expected
    assert not may(PLATFORM, "patch", **SETS, subresource="status")


def test_the_owner_of_a_namespace_cannot_make_the_role_of_its_own_activators(
    place: Place,
) -> None:
    chart = rights.chart("--set-json=activator.own.there={}")
    role = chart.one("Role", "kotatsu-activator", "there")
    role = role | {"metadata": {"name": "mine"}}
    path = f"apis/{RBAC}/v1/namespaces/here/roles?dryRun=All"
    answer = Api(place, "owner")("POST", path, role)
    assert answer.status_code == 403
    assert "is attempting to grant RBAC permissions not currently held" in answer.text
    Api(place).accepts("POST", path, role)
