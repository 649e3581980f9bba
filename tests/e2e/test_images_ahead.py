"""A placeholder pulls the image of its pool's pods, and these start without pulling it again."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from e2e import registry
from e2e.conftest import install_platform, start_app
from e2e.kit import APP_IMAGE, Kubectl, eventually, wall
from e2e.registry import quiet_node

from kotatsu_node.layout import PAUSE_IMAGE

pytestmark = [pytest.mark.e2e, pytest.mark.nightly]


async def test_the_image_of_a_window_is_pulled_by_the_placeholder_and_not_again(
    make_namespace: Callable[[str], Kubectl], on_node: bool, tmp_path: Path
) -> None:
    if not on_node:
        pytest.skip("the cluster has to know the registry (tools/node does)")
    with registry.running(tmp_path) as to:
        image = f"{to.address}/team/app:1"
        node = quiet_node()
        recipe = tmp_path / "Dockerfile"
        recipe.write_text(f"FROM {APP_IMAGE}\nRUN head -c 200000000 /dev/urandom > /tmp/large\n")
        node.build(image, recipe, load=False)
        node.buildah.call("push", "--tls-verify=false", image)
        node.buildah.call("rmi", image)
        kubectl = make_namespace("ahead")
        restricted = "pod-security.kubernetes.io/enforce=restricted"
        kubectl("label", "namespace", kubectl.namespace, restricted)
        install_platform(
            kubectl,
            "capacityAhead.enabled=true",
            f"capacityAhead.image={PAUSE_IMAGE}",
            f"capacityAhead.pullImages={{{to.address}/team/}}",
        )
        app = await start_app(kubectl, "ahead", recorder="", idleAfter="5s", timeZone="UTC")
        await app.asleep()
        [container] = kubectl.get("deployment", "ahead")["spec"]["template"]["spec"]["containers"]
        kubectl("set", "image", "deployment/ahead", f"{container['name']}={image}")
        opens = datetime.now(UTC) + timedelta(seconds=70)
        window = {"name": "demo", "start": wall(opens), "end": wall(opens + timedelta(minutes=5))}
        spec = {"windows": [window | {"replicas": 1}], "lead": "10s", "capacityAhead": "40s"}
        kubectl.patch("warmpool", "ahead", {"spec": spec})

        def pulled(pod: str) -> list[str]:
            return [
                event["message"]
                for event in kubectl.items("events")
                if event["involvedObject"]["name"].startswith(pod) and event["reason"] == "Pulled"
            ]

        await eventually(
            "pulled by the placeholder",
            lambda: any(
                m.startswith(f'Successfully pulled image "{image}"')
                for m in pulled("ahead-capacity-0")
            ),
            within=90,
        )
        await eventually("open", lambda: app.status().get("readyReplicas") == 1, within=90)
        [pod] = app.pods()
        assert [m for m in pulled(pod["metadata"]["name"]) if "already present" in m]
