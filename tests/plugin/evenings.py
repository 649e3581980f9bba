"""An evening as the operator has recorded it: a rehearsal, judges that come back, a request."""

from typing import Any

from plugin.kit import PITCH, Cluster, Ran, demo_mode, manifest

START = "2026-10-31T15:00:00Z"  # the month begins in Tokyo
PAID = {"currency": "JPY", "periodStart": START}
WINDOW = {
    "from": "2026-11-24T09:00:00.25Z",
    "to": "2026-11-24T10:30:00Z",
    "reason": "Window",
    "name": "rehearsal",
    "replicas": 2,
    "podSeconds": 10800.0,
    "opened": 1,
    "cost": "5.531250",
    **PAID,
}
OVERRIDE = {
    "from": "2026-11-24T10:30:00Z",
    "to": "2026-11-24T11:00:00Z",
    "reason": "Override",
    "name": "<b>judges",
    "replicas": 3,
    "podSeconds": 5400.0,
    "cost": "2.765625",
    **PAID,
}
RUNNING = {
    "from": "2026-11-24T20:59:00Z",
    "reason": "Request",
    "replicas": 1,
    "podSeconds": 30.0,
    "wakes": 1,
    "cost": "0.015365",
    **PAID,
}
COST = {
    "currency": "JPY",
    "accrued": "8.312240",
    "podPerHour": "1.843750",
    "periodStart": START,
    "periodEnd": "2026-11-30T15:00:00Z",
    "at": "2026-11-24T20:59:30Z",
}
STATUS = {
    "cost": COST,
    "history": {"since": START, "episodes": [WINDOW, OVERRIDE], "running": RUNNING},
}


def evening(**status: Any) -> dict[str, Any]:
    """A pool with this evening in its status."""
    return manifest(windows=[PITCH]) | {"status": {**STATUS, **status}}


def said(*words: str, pools: list[dict[str, Any]]) -> Ran:
    """Run a command in a cluster of these pools."""
    return demo_mode(*words, cluster=Cluster(*pools))
