"""What people may do with the chart in their namespace, on a real API server without nodes."""

import json
import time
from collections.abc import Callable, Iterator

import needs
import pytest
from chart.kit import render
from e2e import rights
from e2e.kit import Kubectl
from e2e.rights import HERE, THERE

from kotatsu_node.cluster.control_plane import control_plane
from kotatsu_node.layout import Layout

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PEOPLE = {"viewer": "view", "editor": "edit", "owner": "admin"}
"""Each has the ClusterRole of Kubernetes in one namespace."""
READ = {"get", "list", "watch"}
WRITE = {"create", "update", "patch", "delete", "deletecollection"}

May = Callable[..., bool]


@pytest.fixture(scope="module")
def kubectl() -> Iterator[Kubectl]:
    needs.kubernetes()
    with control_plane(Layout.from_environment()) as plane:
        admin = rights.install(plane)
        for person, role in PEOPLE.items():
            admin("create", "rolebinding", person, f"--clusterrole={role}", f"--user={person}")
        yield admin


@pytest.fixture(scope="module")
def may(kubectl: Kubectl) -> May:
    def ask(person: str, verb: str, *options: str) -> bool:
        asking = ("auth", "can-i", verb, "warmpools.kotatsu.dev", f"--as={person}", *options)
        return kubectl(*asking, check=False).startswith("yes")

    # A controller adds the chart's rules to the roles of Kubernetes.
    for _ in range(300):
        if all(ask(person, "list") for person in PEOPLE):
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
    assert not may(person, "patch", "--subresource=status")
    assert not may(person, "list", f"--namespace={THERE}")


def test_the_owner_of_a_namespace_cannot_install_because_of_what_the_roles_grant(
    kubectl: Kubectl,
) -> None:
    for name in ("kotatsu-operator", "kotatsu-activator"):
        role = render("kotatsu").one("Role", name)
        role = role | {"metadata": role["metadata"] | {"namespace": HERE, "name": f"my-{name}"}}
        apply = ("create", "--dry-run=server", "-f", "-")
        said = kubectl(*apply, "--as=owner", stdin=json.dumps(role), check=False)
        assert "is attempting to grant RBAC permissions not currently held" in said
        assert kubectl(*apply, stdin=json.dumps(role))
