"""The examples on a real API server: accepted as they are; and a pool without a metric."""

from pathlib import Path

import pytest
import yaml
from apiserver.conftest import MakeNamespace
from apiserver.kit import Namespace, eventually
from e2e.example import of
from e2e.kit import App, acted_once

pytestmark = pytest.mark.apiserver

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def team(platform: Namespace, make_namespace: MakeNamespace) -> Namespace:
    """A namespace beside the release's own, in which the operator changes no Service."""
    return make_namespace("team", home=platform)


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_api_server_accepts_every_object(namespace, example):
    """A cluster without Argo has no Rollout: of that example, the others."""
    for obj in yaml.safe_load_all(example.read_text()):
        if obj["kind"] != "Rollout":
            assert namespace.judged(obj) == [], obj["kind"]


async def test_the_service_of_pods_without_a_gauge_leads_to_the_activators_alone(
    team, recorder, http
):
    made, service, pool = of(EXAMPLES / "web.yaml", idleAfter="30s")
    for obj in (made, service, pool):
        obj["metadata"]["name"] = "through"
    labels = {"app": "through"}
    made["spec"]["selector"]["matchLabels"] = service["spec"]["selector"] = labels
    made["spec"]["template"]["metadata"]["labels"] = labels
    pool["spec"]["targetRef"]["name"] = "through"
    (container,) = made["spec"]["template"]["spec"]["containers"]
    container["env"] = [{**e, "value": "through"} if e["name"] == "APP_NAME" else e
                        for e in container["env"]]  # fmt: skip
    made["spec"]["replicas"] = 0
    team.apply(made, service, pool)
    app = App("through", team, address=f"through.{team.namespace}")
    await app.asleep()
    # It was found asleep: its activators hear of it as the test does.
    await eventually("reachable", lambda: team.endpoints("through"))
    await app.send(http)
    await eventually(
        "decided", lambda: app.status()["internal"]["template"].get("metered") is False
    )
    await eventually("the activator alone", lambda: _ends(app) == (0, 1))
    assert app.status()["route"]["target"] == "Activator"
    await acted_once(app, recorder)


def _ends(app):
    """How many pods and activators are endpoints."""
    found = app.endpoints()
    return len(found["pods"]), len(found["activator"])
