"""The right to patch Services cannot be taken from an operator that has to give some back."""

import pytest
from apiserver.asked import Api, Place, namespaces, status_of, warm_pool
from apiserver.keeper import Plane
from apiserver.test_api_server_port import COMMAND, asked
from e2e.rights import THERE

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(600)]

POOLS = f"apis/kotatsu.dev/v1beta1/namespaces/{THERE}/warmpools"
OFF = "--set=rbac.patchServices=false"


@pytest.fixture(scope="module")
def place(plane: Plane) -> Place:
    return namespaces(plane, "taken")


@pytest.mark.parametrize(
    ("activators", "taken", "is_refused"),
    [("here/0", "web", True), ("here/0", None, False), ("another/0", "web", False)],
    ids=["taken", "given back", "of another release"],
)
def test_helm_refuses_to_remove_the_right_while_pools_have_services(
    place: Place, admin: Api, activators: str, taken: str | None, is_refused: bool
) -> None:
    answer = admin("POST", POOLS, warm_pool("web"))
    assert answer.status_code in (201, 409)
    internal = {"activators": activators, "takenService": taken}
    admin.accepts("PATCH", f"{POOLS}/web/status", status_of(internal=internal))
    assert asked(place, *COMMAND).returncode == 0
    done = asked(place, *COMMAND, OFF)
    pools = (
        f"could not give back the Services of these WarmPools: {place.there}/web. Delete them, or"
    )
    assert (done.returncode != 0, pools in done.stderr) == (is_refused, is_refused), done.stderr
