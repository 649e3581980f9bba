"""A placeholder pulls the image of its pool's pods, and these start without pulling it again."""

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from e2e import registry
from e2e.conftest import install_platform, start_app
from e2e.kit import APP_IMAGE, Kubectl, eventually, wall

from kotatsu_node import Node
from kotatsu_node.layout import PAUSE_IMAGE
from kotatsu_node.progress import Progress

pytestmark = [pytest.mark.e2e, pytest.mark.nightly]


async def test_the_image_of_a_window_is_pulled_by_the_placeholder_and_not_again(
    make_namespace: Callable[[str], Kubectl], on_node: bool, tmp_path: Path
) -> None:
    if not on_node:
        pytest.skip("the cluster has to know the registry (tools/node does)")
    with registry.running(tmp_path) as to:
        image = f"{to.address}/team/app:1"
        node = Node.open(progress=Progress(io.StringIO(), live=False))
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
        new = {"template": {"spec": {"containers": [{"name": container["name"], "image": image}]}}}
        kubectl(
            "patch", "deployment", "ahead", "--type=strategic", f"-p={json.dumps({'spec': new})}"
        )
        opens = datetime.now(UTC) + timedelta(seconds=70)
        window = {"name": "demo", "start": wall(opens), "end": wall(opens + timedelta(minutes=5))}
        spec = {"windows": [window | {"replicas": 1}], "lead": "10s", "capacityAhead": "40s"}
        kubectl.patch("warmpool", "ahead", {"spec": spec})

        def pulled(pod: str) -> list[str]:
            found = kubectl.items("events")
            return [
                event["message"]
                for event in found
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
