"""What `helm test` finds: an installed Kotatsu works, or which part does not and where to look."""

import pytest
from rows import each

from kotatsu_operator.core.protocol import LEASE_NAME, SHARD_LABEL
from kotatsu_operator.jobs.smoke import Smoke, run
from tests.operator.cluster import NAMESPACE, FakeKube, activator_pod, forbidden, pod


def lease(renewed="2026-11-25T01:00:00.000000Z", holder="kotatsu-operator-1"):
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": LEASE_NAME, "namespace": NAMESPACE},
        "spec": {"holderIdentity": holder, "renewTime": renewed},
    }


class Cluster:
    """A namespace whose operator renews its Lease whenever it is read, unless told not to."""

    def __init__(self, *objects):
        self.kube = FakeKube(*objects)
        self.renews, self.said, self._beats = True, [], 0
        self.kube.on("get", self._renew)

    def _renew(self, kind, *_):
        if self.renews and self.kube.all("Lease"):
            self._beats += 1
            [now] = self.kube.all("Lease")
            renewed = f"2026-11-25T01:{self._beats:02}:00.000000Z"
            self.kube.edit("Lease", LEASE_NAME, spec=now["spec"] | {"renewTime": renewed})

    async def test(self, namespaces=(NAMESPACE,), shards=1):
        checks = Smoke(self.kube, namespaces, NAMESPACE, shards).checks
        return await run(checks, 60, self.said.append)

    def failed(self):
        return [line.removeprefix("FAILED: ") for line in self.said if "FAILED" in line]


async def test_a_platform_that_works_passes_each_check():
    cluster = Cluster(lease(), activator_pod())

    assert await cluster.test()

    assert set(cluster.said) == {
        "ok: an operator leads",
        f"ok: {NAMESPACE}: WarmPools are served",
        f"ok: {NAMESPACE}: an activator is Ready",
    }


async def test_an_operator_that_does_not_renew_its_lease_does_not_lead():
    cluster = Cluster(lease(), activator_pod())
    cluster.renews = False

    assert not await cluster.test()

    [line] = cluster.failed()
    assert line == "an operator leads: kotatsu-operator-1 does not renew its Lease: see its logs"


@pytest.mark.parametrize("objects", [(), (lease(holder=""),)], ids=["none", "released"])
async def test_without_a_leader_it_names_the_operators_logs(objects):
    cluster = Cluster(*objects, activator_pod())
    cluster.renews = False

    assert not await cluster.test()

    [line] = cluster.failed()
    assert line.endswith("see the logs of the operator")


@each(
    "others",
    [(), (activator_pod(ready=False),), (activator_pod(terminating=True),), (pod(ready=True),)],
)
async def test_without_a_ready_activator_it_says_where_to_look(others):
    cluster = Cluster(lease(), *others)

    assert not await cluster.test()

    [line] = cluster.failed()
    assert line.startswith(f"{NAMESPACE}: an activator is Ready: see kubectl get pods")


async def test_without_the_crd_it_says_how_to_install_it():
    cluster = Cluster(lease(), activator_pod())
    cluster.kube.has_knative = False  # nothing but Kubernetes' own kinds

    assert not await cluster.test()

    [line] = cluster.failed()
    assert line.endswith("the CRD is not installed: kubectl apply --server-side -f crds/")


async def test_permissions_that_come_a_moment_late_are_waited_for():
    cluster = Cluster(lease(), activator_pod())
    refusals = iter([forbidden()])

    def refuse(*_):
        for error in refusals:
            raise error

    cluster.kube.on("find", refuse)

    assert await cluster.test()


def of_shard(number, **how):
    made = activator_pod(f"activator-{number}", **how)
    made["metadata"]["labels"] = made["metadata"]["labels"] | {SHARD_LABEL: str(number)}
    return made


async def test_an_install_for_the_cluster_has_activators_in_each_shard():
    cluster = Cluster(lease(), of_shard(0), of_shard(1))
    assert await cluster.test((), 2)
    assert set(cluster.said) == {
        "ok: an operator leads",
        "ok: WarmPools are served",
        "ok: an activator of shard 0 is Ready",
        "ok: an activator of shard 1 is Ready",
    }


async def test_a_shard_without_a_ready_activator_is_named():
    cluster = Cluster(lease(), activator_pod(), of_shard(0), of_shard(1, ready=False))
    assert not await cluster.test((), 2)
    [line] = cluster.failed()
    assert line.startswith("an activator of shard 1 is Ready: see kubectl get pods -n demo -l ")
    assert line.endswith("kotatsu.dev/shard=1")
