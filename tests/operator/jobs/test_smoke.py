"""What `helm test` finds: an installed Kotatsu works, or which part does not and where to look."""

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

    async def test(self, shards=0, own=(NAMESPACE,)):
        checks = Smoke(self.kube, NAMESPACE, shards, own).checks
        return await run(checks, 60, self.said.append)

    def failed(self):
        return [line.removeprefix("FAILED: ") for line in self.said if "FAILED" in line]


async def test_a_platform_that_works_passes_each_check():
    cluster = Cluster(lease(), activator_pod())
    assert await cluster.test()
    assert set(cluster.said) == {
        "ok: an operator leads",
        "ok: WarmPools are served",
        f"ok: an activator of namespace {NAMESPACE} is Ready",
    }


STALE = "kotatsu-operator-1 does not renew its Lease: see its logs"
LOGS = "see the logs of the operator"
ACTIVATOR = f"no activator of namespace {NAMESPACE} is Ready: see `kubectl get pods"


@each(
    "objects, renews, begins, ends",
    {
        "not renewed": ([lease(), activator_pod()], False, STALE, STALE),
        "no lease": ([activator_pod()], False, "there is no Lease", LOGS),
        "released": ([lease(holder=""), activator_pod()], False, "no operator holds", LOGS),
        "no pod": ([lease()], True, ACTIVATOR, ""),
        "not Ready": ([lease(), activator_pod(ready=False)], True, ACTIVATOR, ""),
        "ending": ([lease(), activator_pod(terminating=True)], True, ACTIVATOR, ""),
        "another pod": ([lease(), pod(ready=True)], True, ACTIVATOR, ""),
    },
)
async def test_what_does_not_work_is_named_with_where_to_look(objects, renews, begins, ends):
    cluster = Cluster(*objects)
    cluster.renews = renews
    assert not await cluster.test()
    [line] = cluster.failed()
    assert line.startswith(begins)
    assert line.endswith(ends)


async def test_without_the_crd_it_says_how_to_install_it():
    cluster = Cluster(lease(), activator_pod())
    cluster.kube.has_knative = False  # nothing but Kubernetes' own kinds
    assert not await cluster.test()
    [line] = cluster.failed()
    assert line.endswith("is not installed: `helm upgrade` of this release makes it")


async def test_what_keeps_each_check_from_the_api_server_is_said_once():
    cluster = Cluster(lease(), of_shard(0), of_shard(1))
    for call in ("get", "find", "serves"):
        cluster.kube.on(call, TimeoutError("no connection to it within 10 s"))
    assert not await cluster.test(2, ())
    assert cluster.failed() == ["cannot ask the API server: no connection to it within 10 s"]


async def test_permissions_that_come_a_moment_late_are_waited_for():
    cluster = Cluster(lease(), activator_pod())
    cluster.kube.on("find", forbidden(), times=1)
    assert await cluster.test()


def of_shard(number, **how):
    made = activator_pod(f"activator-{number}", **how)
    made["metadata"]["labels"] = made["metadata"]["labels"] | {SHARD_LABEL: str(number)}
    return made


async def test_each_shard_has_activators():
    cluster = Cluster(lease(), of_shard(0), of_shard(1))
    assert await cluster.test(2, ())
    assert set(cluster.said) == {
        "ok: an operator leads",
        "ok: WarmPools are served",
        "ok: an activator of shard 0 is Ready",
        "ok: an activator of shard 1 is Ready",
    }


async def test_a_shard_without_a_ready_activator_is_named():
    cluster = Cluster(lease(), activator_pod(), of_shard(0), of_shard(1, ready=False))
    assert not await cluster.test(2, ())
    [line] = cluster.failed()
    assert line.startswith("no activator of shard 1 is Ready: see `kubectl get pods -n demo -l ")
    assert line.endswith("kotatsu.dev/shard=1`")
