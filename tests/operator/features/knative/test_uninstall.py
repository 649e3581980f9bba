"""Before an uninstall, Revisions get their own min-scale back."""

from tests.operator.cluster import revision, warm_pool
from tests.operator.jobs.test_uninstall import Cluster

SAVED = {"name": "voice-1", "minScale": "1", "written": ["5"]}


async def test_the_revisions_of_a_knative_service_get_their_min_scale_back():
    pool = warm_pool(status={"internal": {"knative": {"revisions": [SAVED]}}})
    pool["spec"]["targetRef"]["kind"] = "Service"
    cluster = Cluster(pool, revision("voice-1", min_scale="5"))
    await cluster.uninstall()
    annotations = cluster.kube.stored("Revision", "voice-1")["metadata"]["annotations"]
    assert annotations["autoscaling.knative.dev/min-scale"] == "1"
    assert "knative" not in cluster.pool()["status"]["internal"]
