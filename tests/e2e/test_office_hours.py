"""The pool of docs/how-to/office-hours.md behind what ingress-nginx does: day, night, a visitor."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from e2e.conftest import ROOT, add_recorder, cluster_ip, served_by, start_app
from e2e.ingress_nginx import ingress_nginx
from e2e.kit import Kubectl, acted_once, eventually, sleep_now, wall
from e2e.prometheus import from_docs
from e2e.stream import (
    Stream,
    over_a_kept_connection,
    over_a_websocket,
    over_connections_of_its_own,
)

pytestmark = [pytest.mark.e2e, pytest.mark.nightly]

PAGE = ROOT / "docs/how-to/office-hours.md"
WAYS = (over_a_kept_connection, over_connections_of_its_own, over_a_websocket)


async def test_no_request_is_lost_through_days_and_nights(
    home: Kubectl, make_namespace: Callable[[str], Kubectl], on_node: bool, tmp_path: Path
) -> None:
    if not on_node:
        pytest.skip("this machine cannot reach pods by their address (it can on tools/node)")
    spec = yaml.safe_load(from_docs(PAGE, "kind: WarmPool"))["spec"]
    ingress = yaml.safe_load(from_docs(PAGE, "kind: Ingress"))
    del spec["targetRef"], spec["windows"]
    kubectl = served_by(home, make_namespace("office"))
    add_recorder(kubectl)
    app = await start_app(kubectl, "shop", **spec)
    with ingress_nginx(app, tmp_path, ingress["metadata"]["annotations"]) as address:
        async with Stream(app, clients=3, pause=0.1, address=address, ways=WAYS) as visitors:
            for _ in range(2):
                await eventually("awake", lambda: app.phase() == "Warm")
                await sleep_now(app)
            opens = datetime.now(UTC) + timedelta(seconds=40)
            day = {"start": wall(opens), "end": wall(opens + timedelta(seconds=30)), "replicas": 2}
            windows = {"timeZone": "UTC", "windows": [{"name": "office", **day}]}
            kubectl.patch("warmpool", "shop", {"spec": windows | {"override": None}})
            await eventually("two pods", lambda: app.status().get("readyReplicas") == 2)
            await eventually("night", lambda: "activeWindow" not in app.status())
            await sleep_now(app)
            await eventually("awake again", lambda: app.phase() == "Warm")
            await asyncio.sleep(10)
        assert not visitors.failures, visitors.failures[:5]
        assert visitors.done > 200
    await acted_once(app, cluster_ip(kubectl, "recorder"))
