"""From v1alpha1 to v1beta1 on a real API server: what it drops, refuses and stores.

The CRD of v1alpha1 (v1alpha1.yaml) is that of the last version which had it. Each test has it under
an API group of its own, because the control plane is shared.
"""

import asyncio
import copy
import json
import os
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from apiserver.keeper import Plane
from apiserver.kit import Namespace, eventually
from chart import kit as chart
from e2e import api
from e2e.kit import Object
from lightkube import AsyncClient, KubeConfig

from kotatsu_operator.core.formats import instant, internal
from kotatsu_operator.core.pool.memory import Memory, Original, Tally
from kotatsu_operator.core.pool.parse import parse
from kotatsu_operator.core.pool.v1alpha1 import status_from
from kotatsu_operator.core.report.status import read_ledger, read_memory
from kotatsu_operator.jobs import crds
from kotatsu_operator.jobs.from_v1alpha1 import ConversionError
from kotatsu_operator.kube.client import Kube

pytestmark = pytest.mark.apiserver

CRDS = "apis/apiextensions.k8s.io/v1/customresourcedefinitions"
MERGE = "application/merge-patch+json"
AT = "2030-01-01T00:00:00Z"
SETTLE = 1.0


def crd_of(path: Path, group: str) -> Object:
    """A CRD under another group. The plural stays: the Job's Role names it."""
    crd: Object = yaml.safe_load(
        path.read_text().replace("warmpools.kotatsu.dev", f"warmpools.{group}")
    )
    crd["spec"]["group"] = group
    crd["spec"]["names"] = {"kind": "WarmPool", "plural": "warmpools", "singular": "warmpool"}
    return crd


class Cluster:
    """The CRD of one group, and the pools of one namespace."""

    def __init__(self, plane: Plane, namespace: str) -> None:
        self.group = f"g{uuid.uuid4().hex[:8]}.kotatsu.dev"
        self.namespace = namespace
        self.name = f"warmpools.{self.group}"
        self.old = crd_of(Path(__file__).parent / "v1alpha1.yaml", self.group)
        self.old["spec"]["versions"][0]["name"] = "v1alpha1"
        self.new = crd_of(chart.CHARTS / "kotatsu/crds/warmpools.kotatsu.dev.yaml", self.group)
        self.plane = plane
        self._server = api.connect(plane.kubeconfig)

    async def stores_v1alpha1(self) -> None:
        """Install the old CRD."""
        self.send("POST", CRDS, self.old)
        await self.serves("v1alpha1")

    async def serves(self, version: str) -> None:
        """Wait until the API server does."""
        path = self._path(version, "")
        await eventually(version, lambda: self._server.send("GET", path).is_success)

    def crd(self) -> Any:
        return self._server.get(f"{CRDS}/{self.name}")

    def make(
        self, name: str, spec: Object, status: Object | None = None, version: str = "v1alpha1"
    ) -> None:
        """Create a pool with a status."""
        kind = {"apiVersion": f"{self.group}/{version}", "kind": "WarmPool"}
        self.send(
            "POST", self._path(version, ""), {**kind, "metadata": {"name": name}, "spec": spec}
        )
        if status:
            self.patch(name, {"status": status}, version, "/status")

    def patch(self, name: str, patch: Object, version: str, of: str = "") -> None:
        """Merge a patch into a pool, or into its status."""
        self.send("PATCH", self._path(version, name) + of, patch, MERGE)

    def pool(self, name: str, version: str = "v1beta1") -> Any:
        return self._server.get(self._path(version, name))

    def send(self, method: str, path: str, body: Object, of: str = "application/json") -> Any:
        """Write something. AssertionError with the refusal."""
        answer = self._server.send(method, path, body, of)
        assert answer.is_success, answer.json()["message"]
        return answer.json()

    def refusal(self, method: str, path: str, body: Object, of: str = "application/json") -> str:
        """Why a write is refused; empty if it is not."""
        answer = self._server.send(method, path, body, of)
        return "" if answer.is_success else str(answer.json()["message"])

    def _path(self, version: str, name: str) -> str:
        return f"apis/{self.group}/{version}/namespaces/{self.namespace}/warmpools" + (
            f"/{name}" if name else ""
        )

    async def upgrade(self, packaged: Object | None = None, dies_at: int = 0) -> list[str]:
        """Run the Job in this process; what it says. With `dies_at` it is killed at that write."""
        said: list[str] = []
        client = AsyncClient(
            KubeConfig.from_file(self.plane.kubeconfig),
            field_manager="kotatsu-crds",
            trust_env=False,
        )
        kube = Dying(client, dies_at)
        try:
            await crds.upgrade(kube, packaged or self.new, said.append, SETTLE)
        finally:
            await kube.close()
        return said


@dataclass(frozen=True)
class Converted:
    """A cluster that the Job has converted, its pools before, and what the Job said."""

    cluster: Cluster
    before: dict[str, Any]
    said: str


class Killed(BaseException):
    """The Job was killed."""


class Dying(Kube):
    """A client whose process is killed at its nth write; 0: never."""

    def __init__(self, client: AsyncClient, dies_at: int) -> None:
        super().__init__(client)
        self.writes, self._dies_at = 0, dies_at

    async def _write(self, call: Callable[[], Any]) -> Object:
        self.writes += 1
        if self.writes == self._dies_at:
            raise Killed
        return await super()._write(call)


SPECS: dict[str, Object] = {
    "sleeping": {
        "targetRef": {"name": "sleeping"},
        "prewarm": {"lead": "auto", "capacityAhead": "10m"},
        "scaling": {"maxReplicas": 7, "idleAfter": "45s"},
        "wake": {"holdTimeout": "30s", "ignorePaths": ["/up"], "page": "default", "maxHeld": 5},
        "drain": {"timeout": "20s", "routeSettle": "1s"},
        "calendars": [{"name": "team", "replicas": 2, "match": {"text": "pitch"}}],
        "closedOn": ["holidays"],
        "budget": {"currency": "JPY", "prices": {"cpuHour": "6.5"}, "limit": "100"},
        "metrics": {"port": 9000, "lastRequestName": "mine"},
    },
    "parked": {
        "targetRef": {"name": "parked"},
        "parked": {"replicas": 2, "requests": {"cpu": "10m", "memory": "64Mi"}},
        "route": "Always",
        "windows": [
            {
                "name": "talk", "replicas": 2, "mode": "Parked", "start": "2030-01-02T10:00",
                "end": "2030-01-02T11:00", "from": {"calendar": "team", "uid": "1@x"},
            }
        ],
    },
    "overridden": {
        "targetRef": {"name": "overridden"},
        "prewarm": {"lead": "90s"},
        "override": {
            "mode": "Warm", "until": "2030-01-01T12:00:00Z", "by": "ann", "reason": "demo",
        },
    },
    "knative": {
        "targetRef": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "k"},
    },
}  # fmt: skip

_ROUTE = {"target": "Activator", "epoch": 3, "service": "web"}
STATUSES: dict[str, Object] = {
    "sleeping": {
        "phase": "Asleep", "phaseSince": AT, "reason": "Idle", "route": _ROUTE,
        "target": {"kind": "Deployment", "name": "sleeping"},
        "restoreReplicas": 3, "foundReplicas": 3, "lead": "42s",
        "hpa": {"name": "web", "minReplicas": 2},
        "warmUps": [{"seconds": 30.5, "replicas": 2, "template": "abc", "window": True}],
        "windows": {"ready": 4, "cold": 1, "late": 1},
        "lastOpening": {
            "window": "talk", "at": AT, "readyAt": "2029-12-31T23:59:30Z", "early": "30s",
            "cold": False, "replicas": 2,
        },
        "demand": {"at": AT, "by": "activator-1", "seen": AT, "seenAt": AT},
        "cost": {
            "currency": "JPY", "periodStart": "2029-12-31T15:00:00Z", "accrued": "12.500000",
            "at": AT, "period": "Month", "periodEnd": "2030-01-31T15:00:00Z", "podPerHour": "1.8",
            "limit": "100", "exhausted": False,
            "previous": {
                "currency": "JPY", "periodStart": "2029-11-30T15:00:00Z", "accrued": "9.000000",
            },
        },
        "history": {
            "since": "2029-12-01T00:00:00Z",
            "episodes": [
                {
                    "from": "2029-12-31T20:00:00Z", "to": "2029-12-31T21:00:00Z",
                    "reason": "Window", "name": "talk", "replicas": 2, "podSeconds": 7200,
                    "wakes": 0, "opened": 1, "cold": 0, "cost": "3.680000", "currency": "JPY",
                    "periodStart": "2029-12-31T15:00:00Z",
                }
            ],
        },
    },
    "parked": {
        "phase": "Parked", "phaseSince": AT, "parkedSince": AT, "reason": "Idle", "reduced": True,
        "route": _ROUTE, "takenService": "web", "restoreReplicas": 1,
        "target": {"kind": "Deployment", "name": "parked"},
        "template": {"hash": "abc", "proven": True, "metered": True},
    },
    "overridden": {
        "phase": "Warm", "phaseSince": AT, "reason": "Override", "route": _ROUTE,
        "target": {"kind": "Deployment", "name": "overridden"},
        "override": {
            "key": "Warm/None/2030-01-01T12:00:00+00:00/ann/demo", "seenAt": AT,
            "endsAt": "2030-01-01T12:00:00Z", "reported": "Ending",
        },
        "reported": {"unused": AT},
        "notices": [{"id": "1", "reason": "Warm", "message": "warm", "warning": False, "at": AT}],
    },
    "knative": {
        "phase": "Asleep", "phaseSince": AT, "reason": "Idle", "route": {"target": "Native"},
        "target": {"kind": "Service", "name": "k"},
        "knative": {"revisions": [{"name": "k-1", "minScale": "2", "uid": "u", "written": ["0"]}]},
    },
}  # fmt: skip


@contextmanager
def cluster_of_v1alpha1(plane: Plane, namespace: Namespace) -> Iterator[Cluster]:
    """A cluster of v1alpha1 with a pool of each kind."""
    made = Cluster(plane, namespace.namespace)
    asyncio.run(made.stores_v1alpha1())
    for name, spec in SPECS.items():
        made.make(name, spec, STATUSES[name])
    yield made
    api.connect(plane.kubeconfig).send("DELETE", f"{CRDS}/{made.name}")


@pytest.fixture
def cluster(plane: Plane, namespace: Namespace) -> Iterator[Cluster]:
    with cluster_of_v1alpha1(plane, namespace) as made:
        yield made


@pytest.fixture(scope="module")
def converted(plane: Plane, namespace: Namespace, tmp_path_factory: Any) -> Iterator[Converted]:
    """A cluster after the Job, which nothing changes any more."""
    with cluster_of_v1alpha1(plane, namespace) as made:
        before = {name: made.pool(name, "v1alpha1") for name in SPECS}
        said = asyncio.run(as_the_chart_runs_it(made, tmp_path_factory.mktemp("crds")))
        yield Converted(made, before, said)


def test_the_job_says_what_it_does_with_no_more_than_its_role(converted: Converted) -> None:
    group = converted.cluster.group
    assert f"warmpools.{group}: revision" in converted.said
    assert f"warmpoolhistories.{group}: created" in converted.said
    assert "WarmPool default/sleeping: converted to v1beta1" in converted.said
    assert "WarmPool default/sleeping: spec.wake.maxHeld: 5 is not kept" in converted.said


def test_every_pool_has_the_fields_of_v1beta1(converted: Converted) -> None:
    sleeping, parked, overridden = (converted.cluster.pool(name) for name in list(SPECS)[:3])
    assert_is_in(sleeping["spec"], SLEEPING)
    assert "lead" not in sleeping["spec"]
    assert (parked["spec"]["parkedFor"], parked["spec"]["parkedReplicas"]) == ("1h", 2)
    imported = json.loads(parked["metadata"]["annotations"]["kotatsu.dev/imported"])
    assert imported == {"talk": {"calendar": "team", "uid": "1@x"}}
    assert overridden["spec"]["lead"] == "90s"
    assert overridden["metadata"]["annotations"]["kotatsu.dev/override-by"] == "ann"
    assert overridden["metadata"]["annotations"]["kotatsu.dev/override-reason"] == "demo"


def test_the_cluster_stores_no_v1alpha1_any_more(converted: Converted) -> None:
    assert converted.cluster.crd()["status"]["storedVersions"] == ["v1beta1"]


SLEEPING = {
    "capacityAhead": "10m", "maxReplicas": 7, "idleAfter": "45s", "holdTimeout": "30s",
    "ignorePaths": ["/up"], "waitingPage": True, "drainTimeout": "20s",
    "calendars": [
        {"name": "team", "replicas": 2, "match": "pitch"},
        {"name": "holidays", "mode": "Closed"},
    ],
}  # fmt: skip


def assert_is_in(spec: Object, fields: Object) -> None:
    """Of one reading: two may differ while the API server changes to another CRD."""
    assert spec | fields == spec


def test_what_the_old_operator_remembered_is_read_through_v1beta1(converted: Converted) -> None:
    for name, status in STATUSES.items():
        assert converted.cluster.pool(name)["status"] == status


def test_the_new_operator_remembers_what_the_old_one_did(converted: Converted) -> None:
    pools = {name: converted.cluster.pool(name) for name in SPECS}
    sleeping, parked, overridden, knative = (status_from(p["status"]) for p in pools.values())

    assert [up.seconds for up in read_memory(sleeping, Memory()).warm_ups] == [30.5]
    assert read_memory(sleeping, Memory()).windows == Tally(ready=4, cold=1, late=1)
    assert read_memory(sleeping, Memory()).original == Original("web", 2)
    assert sleeping["restoreReplicas"] == 3
    ledger = read_ledger(sleeping)
    assert (ledger.currency, ledger.accrued, ledger.at) == ("JPY", Decimal("12.5"), instant(AT))
    assert ledger.previous is not None
    assert ledger.previous.accrued == 9
    assert parked["reduced"] is True
    assert internal(parked)["takenService"] == "web"
    assert read_memory(parked, Memory()).parked_since == instant(AT)
    override = read_memory(overridden, Memory()).override
    assert override.key == parse(pools["overridden"]["spec"]).override_key
    assert override.seen_at == instant(AT)
    assert internal(knative)["knative"] == STATUSES["knative"]["knative"]


def test_the_old_operator_finds_what_it_wrote_after_the_conversion_too(
    converted: Converted,
) -> None:
    for name, before in converted.before.items():
        pool = converted.cluster.pool(name, "v1alpha1")
        spec = {n: v for n, v in before["spec"].items() if n != "calendars"}  # it has one form
        assert pool["spec"] | spec == pool["spec"]
        assert pool["status"] == STATUSES[name]


async def test_operators_of_both_versions_lose_nothing_of_each_other(cluster: Cluster) -> None:
    before = {name: cluster.pool(name, "v1alpha1")["spec"] for name in SPECS}
    with pytest.raises(Killed):
        await cluster.upgrade(dies_at=2)  # before the first pool is converted
    await asyncio.sleep(SETTLE)
    for name in SPECS:
        cluster.patch(name, {"status": {"wokenSoon": 1}}, "v1alpha1", "/status")
    for name in SPECS.keys() - {"parked"}:
        cluster.patch(name, {"status": {"internal": {"version": 1}}}, "v1beta1", "/status")

    for name, spec in before.items():
        pool = cluster.pool(name, "v1alpha1")
        pool["status"].pop("internal", None)
        assert pool["spec"] | spec == pool["spec"]
        assert pool["status"] == STATUSES[name] | {"wokenSoon": 1}
    # Its window breaks a rule of v1beta1 until it is converted. A refused write loses nothing.
    with pytest.raises(AssertionError, match="mode: Parked needs parkedFor"):
        cluster.patch("parked", {"status": {"reduced": False}}, "v1beta1", "/status")


async def test_a_job_that_is_killed_anywhere_goes_on_in_the_next_one(cluster: Cluster) -> None:
    for write in range(1, len(SPECS) + 3):
        with pytest.raises(Killed):
            await cluster.upgrade(dies_at=write)
    assert cluster.crd()["status"]["storedVersions"] == ["v1alpha1", "v1beta1"]

    await cluster.upgrade()

    assert cluster.crd()["status"]["storedVersions"] == ["v1beta1"]
    assert_is_in(cluster.pool("sleeping")["spec"], SLEEPING)
    for name, status in STATUSES.items():
        assert cluster.pool(name)["status"] == status


async def test_a_second_job_changes_nothing(cluster: Cluster) -> None:
    await cluster.upgrade()
    cluster.patch("sleeping", {"spec": {"maxReplicas": 3}}, "v1beta1")
    before = [cluster.pool(name) for name in SPECS]

    said = await cluster.upgrade()

    assert [cluster.pool(name) for name in SPECS] == before
    assert said[-1].startswith("0 WarmPools converted")


async def test_an_edit_in_v1alpha1_is_taken_by_the_next_job(cluster: Cluster) -> None:
    await cluster.upgrade()
    edit = {"scaling": {"maxReplicas": 9}, "calendars": SPECS["sleeping"]["calendars"]}
    cluster.patch("sleeping", {"spec": edit}, "v1alpha1")
    cluster.make("late", {"targetRef": {"name": "late"}, "prewarm": {"lead": "5s"}})

    await cluster.upgrade()

    assert_is_in(cluster.pool("sleeping")["spec"], SLEEPING | {"maxReplicas": 9})
    assert cluster.pool("late")["spec"]["lead"] == "5s"
    # Without these no operator could read it.
    assert cluster.pool("late", "v1alpha1")["spec"]["targetRef"]["apiVersion"] == "apps/v1"


async def test_a_later_release_ends_v1alpha1(cluster: Cluster) -> None:
    await cluster.upgrade()
    later = copy.deepcopy(cluster.new)
    later["metadata"]["annotations"][crds.REVISION] = "1000"

    await cluster.upgrade(later)

    assert [v["name"] for v in cluster.crd()["spec"]["versions"]] == ["v1beta1"]
    await eventually("pruned", lambda: "scaling" not in cluster.pool("sleeping")["spec"])
    assert_is_in(cluster.pool("sleeping")["spec"], SLEEPING)
    assert cluster.pool("parked")["status"] == STATUSES["parked"]
    assert "newer than the packaged" in (await cluster.upgrade())[0]


async def test_a_release_that_skips_the_conversion_makes_it_first(cluster: Cluster) -> None:
    later = copy.deepcopy(cluster.new)
    later["metadata"]["annotations"][crds.REVISION] = "1000"

    await cluster.upgrade(later)

    assert_is_in(cluster.pool("sleeping")["spec"], SLEEPING)


async def test_the_file_of_the_crd_alone_is_refused_and_nothing_is_lost(cluster: Cluster) -> None:
    path = f"{CRDS}/{cluster.name}"
    applied = f"{path}?fieldManager=argocd&force=true"
    replaced = cluster.new | {"metadata": cluster.crd()["metadata"]}

    for refusal in (
        cluster.refusal("PATCH", applied, cluster.new, "application/apply-patch+yaml"),
        cluster.refusal("PUT", path, replaced),
    ):
        assert "status.storedVersions[0]" in refusal
        assert "until a storage migration ensures no data remains persisted in v1alpha1" in refusal
    for name in SPECS:
        assert cluster.pool(name, "v1alpha1")["status"] == STATUSES[name]


async def test_after_the_job_the_file_of_the_crd_is_accepted(cluster: Cluster) -> None:
    await cluster.upgrade()

    cluster.send(
        "PUT", f"{CRDS}/{cluster.name}", cluster.new | {"metadata": cluster.crd()["metadata"]}
    )

    assert [v["name"] for v in cluster.crd()["spec"]["versions"]] == ["v1beta1"]
    assert_is_in(cluster.pool("sleeping")["spec"], SLEEPING)
    for name, status in STATUSES.items():
        assert cluster.pool(name)["status"] == status


async def test_a_pool_that_v1beta1_rejects_is_named_and_the_others_are_converted(
    cluster: Cluster,
) -> None:
    strict = copy.deepcopy(cluster.new)
    schema = strict["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"]["properties"]["capacityAhead"]["maxLength"] = 2

    with pytest.raises(ConversionError, match=r"default/sleeping: .*capacityAhead"):
        await cluster.upgrade(strict)

    assert cluster.pool("overridden")["spec"]["lead"] == "90s"
    assert cluster.crd()["status"]["storedVersions"] == ["v1alpha1", "v1beta1"]
    assert cluster.pool("sleeping", "v1alpha1")["spec"]["scaling"]["maxReplicas"] == 7


STRANGE: dict[str, tuple[Object, str]] = {
    "no spec": ({}, "spec: Required"),
    "no target": ({"spec": {}}, "targetRef: Required"),
    "a target without a name": ({"spec": {"targetRef": {"kind": "Deployment"}}}, "name: Required"),
    "a name that is none": ({"spec": {"targetRef": {"name": "../web"}}}, "should match"),
    "a number of pools": ({"spec": {"targetRef": {"name": "a"}, "dependsOn": 5}}, "type array"),
}


async def test_what_an_operator_reads_of_any_pool_has_its_type_in_v1alpha1_too(
    cluster: Cluster,
) -> None:
    await cluster.upgrade()
    kind = {"apiVersion": f"{cluster.group}/v1alpha1", "kind": "WarmPool"}
    for what, (pool, why) in STRANGE.items():
        made = {**kind, "metadata": {"name": "strange"}, **pool}
        refused = cluster.refusal("POST", cluster._path("v1alpha1", ""), made)
        assert why in refused, what


async def as_the_chart_runs_it(cluster: Cluster, folder: Path) -> str:
    """Run the Job as a process, with the Role and the files that the chart gives it."""
    kubectl = Namespace(cluster.namespace, cluster.plane)
    rendered = chart.render("kotatsu")
    name = f"crds-{cluster.group}"
    account: Object = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
    (role,) = (
        r for r in rendered.of("ClusterRole") if r["metadata"]["name"] == "kotatsu-crds-here"
    )
    role = json.loads(json.dumps(role).replace("kotatsu.dev", cluster.group))
    role["metadata"] = {"name": name}
    group = "rbac.authorization.k8s.io"
    binding: Object = {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": cluster.namespace}],
    }
    kubectl.apply(account, role, binding)
    config = yaml.safe_load(kubectl("config", "view", "--raw"))
    config["users"][0]["user"] = {"token": kubectl("create", "token", name).strip()}
    (folder / "kubeconfig").write_text(json.dumps(config))
    files = folder / "crds"
    files.mkdir()
    packaged = rendered.one("ConfigMap", "kotatsu-crds")["data"]
    for file, text in packaged.items():
        (files / file).write_text(text.replace("kotatsu.dev", cluster.group))
    (files / "warmpools.kotatsu.dev.json").write_text(json.dumps(cluster.new))
    done = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "kotatsu_operator.jobs.crds", str(files)),
        env=os.environ | {"KUBECONFIG": str(folder / "kubeconfig")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await done.communicate()
    assert done.returncode == 0, output.decode()
    return output.decode()
