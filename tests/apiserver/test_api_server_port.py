"""The port of the API server that NetworkPolicies permit, as Helm finds it.

MicroK8s listens on 16443 and minikube on 8443. A policy is applied to the address of the endpoint,
so the port 443 of the Service `kubernetes` does not help.
"""

import subprocess

import pytest
from apiserver.asked import Place, namespaces
from apiserver.keeper import Plane
from apiserver.kit import Namespace
from chart.kit import CHARTS, RELEASE, Rendered, helm, load_yaml
from chart.test_flows import POLICED, api_server_ports
from e2e.kit import Object

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(600)]

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
COMMAND = (
    *("template", RELEASE, str(CHARTS / "kotatsu"), "--dry-run=server"),
    # Helm asks whether the objects are another release's: this one has none that others have.
    "--set=serveUnlabeled=false",
)
DEPLOYER = "deployer-of-here"
"""May do everything in the release's namespace, and create what is cluster-scoped."""


@pytest.fixture(scope="module")
def place(plane: Plane) -> Place:
    """A namespace for the release, and the account. The API server itself has no endpoint."""
    made = namespaces(plane, "port")
    admin = Namespace(made.here, plane)
    admin.apply(ENDPOINT)
    admin("create", "role", "everything", "--verb=*", "--resource=*.*")
    deployer = made(DEPLOYER)
    admin("create", "rolebinding", deployer, "--role=everything", f"--user={deployer}")
    scoped = (
        "clusterroles.rbac.authorization.k8s.io",
        "clusterrolebindings.rbac.authorization.k8s.io",
        "customresourcedefinitions.apiextensions.k8s.io",
        "flowschemas.flowcontrol.apiserver.k8s.io",
        "validatingadmissionpolicies.admissionregistration.k8s.io",
        "validatingadmissionpolicybindings.admissionregistration.k8s.io",
    )
    admin("create", "clusterrole", deployer, "--verb=*", f"--resource={','.join(scoped)}")
    binding = ("create", "clusterrolebinding", deployer)
    admin(*binding, f"--clusterrole={deployer}", f"--user={deployer}")
    return made


def asked(place: Place, *arguments: str, user: str = "") -> subprocess.CompletedProcess[str]:
    """`helm` against the API server, as a user or as its administrator."""
    account = [f"--kube-as-user={place(user)}"] if user else []
    where = (f"--namespace={place.here}", f"--kubeconfig={place.plane.kubeconfig}")
    return helm(*arguments, *where, *account)


def rendered(place: Place, *values: str, user: str = "") -> Rendered:
    """The chart as an installation by this user would render it."""
    done = asked(place, *COMMAND, *values, user=user)
    assert done.returncode == 0, done.stderr
    return Rendered(load_yaml(done.stdout))


@pytest.mark.parametrize("name", POLICED)
def test_each_pod_reaches_the_port_that_helm_finds(place: Place, name: str) -> None:
    assert api_server_ports(rendered(place), name, place.here) == {443, 6443, PORT}


def test_a_port_that_is_set_is_the_only_one(place: Place) -> None:
    found = rendered(place, "--set=networkPolicy.apiServerPorts={7443}")
    assert api_server_ports(found, "kotatsu-operator", place.here) == {7443}


def test_an_account_that_may_create_all_but_not_read_sets_the_values(place: Place) -> None:
    node = "--set=operator.firstStart=60s"
    done = asked(place, *COMMAND, node, user=DEPLOYER)
    assert 'endpointslices.discovery.k8s.io "kubernetes" is forbidden' in done.stderr
    found = rendered(place, node, "--set=networkPolicy.apiServerPorts={6443}", user=DEPLOYER)
    assert api_server_ports(found, "kotatsu-operator", place.here) == {6443}
