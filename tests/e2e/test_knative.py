"""Pools with a Knative target, on a real API server that has Knative's CRDs and no Knative.

The tests write what Knative's controllers would write. That a real Knative follows a changed
min-scale is not shown here.
"""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import needs
import pytest
import pytest_asyncio
import yaml
from chart.kit import CHARTS, kind_of, render, require_helm
from e2e import rights
from e2e.kit import Kubectl, Object, eventually, wall
from e2e.knative import CRDS, MIN_SCALE, Played, crd_files

from kotatsu_node.cluster.control_plane import ControlPlane, control_plane, free_ports
from kotatsu_node.layout import Layout
from kotatsu_operator.core.formats import is_true

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("knative")]


def knative_pool(name: str, **spec: Any) -> Object:
    """A WarmPool for the Knative Service of its name."""
    target = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": name}
    return {
        "apiVersion": "kotatsu.dev/v1beta1",
        "kind": "WarmPool",
        "metadata": {"name": name},
        "spec": {"targetRef": target, **spec},
    }


def status(kubectl: Kubectl, name: str) -> Object:
    """The pool's status."""
    found: Object = kubectl.get("warmpool", name).get("status", {})
    return found


def phase(kubectl: Kubectl, name: str) -> str:
    """The pool's phase."""
    return str(status(kubectl, name).get("phase", ""))


def accepted(kubectl: Kubectl, name: str) -> Object:
    """The pool's condition Accepted."""
    conditions = status(kubectl, name).get("conditions", ())
    return next((c for c in conditions if c["type"] == "Accepted"), {})


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    """An API server of its own: other tests' operators would notice Knative as well."""
    needs.kubernetes()
    with control_plane(Layout.from_environment(), rights.USERS) as plane:
        yield plane


@pytest.fixture(scope="module")
def kubectl(plane: ControlPlane) -> Kubectl:
    """A namespace on a cluster without Knative so far."""
    return rights.install(plane)


@pytest.fixture(scope="module")
def operator(
    plane: ControlPlane, kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """The operator as a process with the rights that the chart gives it."""
    port, console = free_ports(2)
    with rights.process(
        *(plane, rights.OPERATOR, "kotatsu-operator"),
        log=tmp_path_factory.mktemp("knative") / "operator.log",
        pod_namespace=rights.HERE,
        pod_name="operator-1",
        port=port,
        console_port=console,
        knative_namespace=rights.KNATIVE,
    ):
        yield


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def knative(kubectl: Kubectl, operator: None) -> Kubectl:
    """The same with Knative's CRDs, which the running operator has noticed."""
    files = crd_files()
    if isinstance(files, str):
        needs.missing("Knative's CRDs", files)
    kubectl.apply(knative_pool("early"))
    missing = await eventually("refused", lambda: accepted(kubectl, "early").get("message"))
    assert "no Knative Serving" in missing
    assert accepted(kubectl, "early")["reason"] == "KnativeNotFound"

    for file in files:
        kubectl("apply", "--server-side", "-f", str(file))
    kubectl("wait", "--for=condition=Established", *(f"crd/{name}" for name in CRDS))
    early = Played(kubectl, "early")
    early.create()
    await eventually("taken up", lambda: is_true(accepted(kubectl, "early")))
    return kubectl


@pytest.fixture
def service(knative: Kubectl) -> Played:
    """A Knative Service with one Revision that has all traffic, asleep."""
    played = Played(knative, f"voice-{uuid.uuid4().hex[:4]}")
    played.create()
    first = played.add_revision(**{MIN_SCALE: "0"})
    played.route(**{first: 100})
    return played


async def test_knative_that_is_installed_later_is_noticed(knative: Kubectl) -> None:
    assert phase(knative, "early") == "Asleep"


async def test_the_floor_is_set_before_the_window_opens_and_what_was_there_comes_back(
    knative: Kubectl, service: Played
) -> None:
    name, [first] = service.name, service.revisions
    opens = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=28)

    def window(closes: datetime) -> Object:
        return {"name": "demo", "start": wall(opens), "end": wall(closes), "replicas": 2}

    windows = [window(opens + timedelta(minutes=10))]
    knative.apply(knative_pool(name, windows=windows, lead="20s"))
    await eventually("asleep", lambda: phase(knative, name) == "Asleep")
    assert service.min_scale(first) == "0"

    await eventually("floor set", lambda: service.min_scale(first) == "2")
    assert timedelta(0) < opens - datetime.now(UTC) <= timedelta(seconds=20)
    assert phase(knative, name) == "Warming"
    [kept] = status(knative, name)["internal"]["knative"]["revisions"]
    uid = kept.pop("uid")
    assert uid == knative.get("revisions.serving.knative.dev", first)["metadata"]["uid"]
    assert kept == {"name": first, "minScale": "0", "written": ["2"]}
    service.scale(first, 2)
    await eventually("warm", lambda: phase(knative, name) == "Warm")
    assert status(knative, name)["reason"] == "Window"
    opening = status(knative, name)["lastOpening"]
    assert not opening["early"].startswith("-")
    assert not opening["cold"]

    second = service.add_revision()
    service.scale(second, 1)
    service.route(**{second: 100})
    await eventually("moved", lambda: service.min_scale(second) == "2")
    await eventually("given back", lambda: service.min_scale(first) == "0")
    service.scale(second, 2)
    service.scale(first, 0)
    await eventually(
        "only the new one is remembered",
        lambda: (
            [r["name"] for r in status(knative, name)["internal"]["knative"]["revisions"]]
            == [second]
        ),
    )

    closes = max(opens, datetime.now(UTC).replace(microsecond=0)) + timedelta(seconds=5)
    knative.patch("warmpool", name, {"spec": {"windows": [window(closes)]}})
    await eventually("closed", lambda: service.min_scale(second) is None)
    assert datetime.now(UTC) >= closes
    await eventually("forgotten", lambda: "knative" not in status(knative, name))
    assert phase(knative, name) == "Draining"
    service.scale(second, 0)
    await eventually("asleep", lambda: phase(knative, name) == "Asleep")
    assert status(knative, name)["internal"]["warmUps"]


async def test_the_apps_services_fit_knatives_api(knative: Kubectl) -> None:
    require_helm()
    services = render("pet", CHARTS / "pet" / "ci" / "knative.yaml").of("KnativeService")
    for obj in services:
        obj["metadata"]["namespace"] = knative.namespace

    said = knative(
        *("apply", "--dry-run=server", "--validate=strict", "--warnings-as-errors", "-f", "-"),
        stdin=yaml.safe_dump_all(services),
    )

    assert said.count("created (server dry run)") == 3
    assert {kind_of(obj) for obj in services} == {"KnativeService"}
