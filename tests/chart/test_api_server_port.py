"""The port of the API server that NetworkPolicies permit, as Helm finds it on a real API server.

MicroK8s listens on 16443 and minikube on 8443. A policy is applied to the address of the endpoint,
so the port 443 of the Service `kubernetes` does not help.
"""

import subprocess
from collections.abc import Iterator

import needs
import pytest
from chart.kit import CHARTS, NAMESPACE, RELEASE, Rendered, helm, load_yaml
from chart.test_flows import POLICED, api_server_ports
from e2e.kit import Kubectl, Object

from kotatsu_node.cluster.control_plane import ControlPlane, control_plane
from kotatsu_node.layout import Layout

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PORT = 16443
ENDPOINT: Object = {
    "apiVersion": "discovery.k8s.io/v1",
    "kind": "EndpointSlice",
    "metadata": {
        "name": "kubernetes",
        "namespace": "default",
        "labels": {"kubernetes.io/service-name": "kubernetes"},
    },
    "addressType": "IPv4",
    "ports": [{"name": "https", "port": PORT, "protocol": "TCP"}],
    "endpoints": [{"addresses": ["192.0.2.1"]}],
}
NOTHING_CLUSTER_WIDE = (
    "--skip-crds",
    "--set=crds.upgrade=false,rbac.aggregate=false,admissionPolicies.enabled=false",
)
OWNER, DEPLOYER = "owner", "deployer"
"""May do everything in the release's namespace; and also create what is cluster-scoped."""


def kubectl_of(plane: ControlPlane, namespace: str) -> Kubectl:
    """kubectl of the administrator, in a namespace."""
    return Kubectl(namespace, str(plane.kubectl), f"--kubeconfig={plane.admin}")


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    needs.kubernetes()
    with control_plane(Layout.from_environment()) as plane:
        admin = kubectl_of(plane, NAMESPACE)
        admin("create", "namespace", NAMESPACE)
        kubectl_of(plane, "default").apply(ENDPOINT)
        everything = ("--verb=*", "--resource=*.*")
        admin("create", "role", "everything", *everything)
        for user in (OWNER, DEPLOYER):
            admin("create", "rolebinding", user, "--role=everything", f"--user={user}")
        scoped = (
            "clusterroles.rbac.authorization.k8s.io",
            "clusterrolebindings.rbac.authorization.k8s.io",
            "customresourcedefinitions.apiextensions.k8s.io",
            "validatingadmissionpolicies.admissionregistration.k8s.io",
            "validatingadmissionpolicybindings.admissionregistration.k8s.io",
        )
        admin("create", "clusterrole", DEPLOYER, "--verb=*", f"--resource={','.join(scoped)}")
        admin(
            "create",
            "clusterrolebinding",
            DEPLOYER,
            f"--clusterrole={DEPLOYER}",
            f"--user={DEPLOYER}",
        )
        yield plane


def asked(plane: ControlPlane, *arguments: str, user: str = "") -> subprocess.CompletedProcess[str]:
    """`helm` against the API server, as a user or as its administrator."""
    account = [f"--kube-as-user={user}"] if user else []
    return helm(*arguments, f"--namespace={NAMESPACE}", f"--kubeconfig={plane.admin}", *account)


def rendered(plane: ControlPlane, *values: str, user: str = "") -> Rendered:
    """The chart as an installation by this user would render it."""
    command = ("template", RELEASE, str(CHARTS / "kotatsu"), "--dry-run=server")
    done = asked(plane, *command, *values, user=user)
    assert done.returncode == 0, done.stderr
    return Rendered(load_yaml(done.stdout))


@pytest.mark.parametrize("name", POLICED)
def test_each_pod_reaches_the_port_that_helm_finds(plane: ControlPlane, name: str) -> None:
    assert api_server_ports(rendered(plane), name) == {443, 6443, PORT}


def test_a_port_that_is_set_is_the_only_one(plane: ControlPlane) -> None:
    found = rendered(plane, "--set=networkPolicy.apiServerPorts={7443}")
    assert api_server_ports(found, "kotatsu-operator") == {7443}


def test_the_owner_of_a_namespace_installs_and_upgrades_without_reading_another_one(
    plane: ControlPlane,
) -> None:
    admin = kubectl_of(plane, NAMESPACE)
    admin("apply", "--server-side", "-f", str(CHARTS / "kotatsu/crds"))
    asking = ("auth", "can-i", "get", "endpointslices", "-n", "default", f"--as={OWNER}")
    assert admin(*asking, check=False).startswith("no")
    for step in ("install", "upgrade"):
        command = (step, RELEASE, str(CHARTS / "kotatsu"), *NOTHING_CLUSTER_WIDE)
        done = asked(plane, *command, user=OWNER)
        assert done.returncode == 0, done.stderr
        assert "kubectl get endpointslices kubernetes -n default" in done.stdout
    policy = admin.get("networkpolicy", "kotatsu-operator")
    assert api_server_ports(Rendered([policy]), "kotatsu-operator") == {443, 6443}


def test_an_account_that_may_create_all_but_not_read_sets_the_values(plane: ControlPlane) -> None:
    command = ("template", RELEASE, str(CHARTS / "kotatsu"), "--dry-run=server")
    node = "--set=operator.firstStart=60"
    done = asked(plane, *command, node, user=DEPLOYER)
    assert 'endpointslices.discovery.k8s.io "kubernetes" is forbidden' in done.stderr
    found = rendered(plane, node, "--set=networkPolicy.apiServerPorts={6443}", user=DEPLOYER)
    assert api_server_ports(found, "kotatsu-operator") == {6443}
