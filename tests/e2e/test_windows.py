"""Windows: Ready before they open, gone after they close, nothing in flight cut."""

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from e2e.kit import eventually, wall

pytestmark = pytest.mark.e2e


async def test_both_replicas_are_ready_before_the_window_opens_and_gone_after_it_closes(
    make_app, http, home, team, recorder
):
    app = await make_app("window", idleAfter="5s")
    await app.asleep()
    await app.send(http)  # one warm-up to learn the lead from
    await app.asleep()

    opens = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=35)
    closes = opens + timedelta(seconds=10)
    window = {"name": "demo", "start": wall(opens), "end": wall(closes), "replicas": 2}
    team.patch("warmpool", app.name, {"spec": {"windows": [window]}})

    await eventually("lead learned", lambda: app.status().get("nextTransition"))
    lead = timedelta(seconds=_seconds(app.status()["lead"]))
    assert timedelta(seconds=5) < lead < timedelta(seconds=35), lead
    if datetime.now(UTC) < opens - lead - timedelta(seconds=1):
        assert app.replicas() == 0

    await eventually("both Ready", lambda: len(app.ready_pods()) == 2, within=40)
    early = await eventually(
        "opening recorded", lambda: (app.status().get("lastOpening") or {}).get("early")
    )
    assert not early.startswith("-")
    assert _metric(home, "kotatsu_pool_prewarm_lead_seconds", app.name) >= 5
    # The operator's page follows its write of the status.
    early_metric = "kotatsu_pool_window_ready_early_seconds"
    await eventually("told on its page", lambda: _metric(home, early_metric, app.name) > 0)

    # Nobody asks anything in the window, so idleAfter has long run out when it closes.
    await asyncio.sleep(max(0, (closes - datetime.now(UTC)).total_seconds() - 1))
    assert len(app.ready_pods()) == 2
    await eventually("scale at 0", lambda: app.replicas() == 0, within=90)
    assert datetime.now(UTC) > closes
    assert not app.conditions()["Accepted"]["message"].startswith("spec.")


def _seconds(text):
    minutes, _, seconds = text.rpartition("m")
    return int(minutes or 0) * 60 + int(seconds.removesuffix("s") or 0)


def _metric(kubectl, metric, name):
    pod = kubectl.items("pods", **{"app.kubernetes.io/component": "operator"})[0]
    page = httpx.get(f"http://{pod['status']['podIP']}:8080/metrics", trust_env=False).text
    lines = [x for x in page.splitlines() if x.startswith(metric) and f'name="{name}"' in x]
    return float(lines[0].split()[-1]) if lines else 0.0
