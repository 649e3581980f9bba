"""The examples on a real API server: accepted as they are; and a pool without a metric."""

from pathlib import Path

import pytest
import yaml
from apiserver.kit import eventually
from e2e.example import of
from e2e.kit import App, acted_once

pytestmark = pytest.mark.apiserver

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_api_server_accepts_every_object(namespace, example):
    """A cluster without Argo has no Rollout: of that example, the others."""
    for obj in yaml.safe_load_all(example.read_text()):
        if obj["kind"] != "Rollout":
            assert namespace.judged(obj) == [], obj["kind"]


async def test_the_activators_are_endpoints_beside_the_pods_of_an_unmetered_pool(
    platform, recorder, http
):
    """The pods keep serving, and the activators see a share of the connections."""
    made, service, pool = of(EXAMPLES / "web.yaml", idleAfter="30s")
    for obj in (made, service, pool):
        obj["metadata"]["name"] = "beside"
    labels = {"app": "beside"}
    made["spec"]["selector"]["matchLabels"] = service["spec"]["selector"] = labels
    made["spec"]["template"]["metadata"]["labels"] = labels
    pool["spec"]["targetRef"]["name"] = "beside"
    (container,) = made["spec"]["template"]["spec"]["containers"]
    container["env"] = [{**e, "value": "beside"} if e["name"] == "APP_NAME" else e
                        for e in container["env"]]  # fmt: skip
    made["spec"]["replicas"] = 0
    platform.apply(made, service, pool)
    app = App("beside", platform, address=f"beside.{platform.namespace}")
    await app.asleep()
    # It was found asleep: its activators hear of it as the test does.
    await eventually("reachable", lambda: platform.endpoints("beside"))
    await app.send(http)
    await eventually("unmetered", lambda: app.status()["route"].get("counted"))
    # The activators are sure of a pod before the kubelet is.
    await eventually("pod and activator", lambda: _ends(app) == (1, 1))
    assert app.status()["route"]["target"] == "Activator"
    await acted_once(app, recorder)


def _ends(app):
    """How many pods and activators are endpoints."""
    found = app.endpoints()
    return len(found["pods"]), len(found["activator"])
