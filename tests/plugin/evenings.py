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
    "periodStart": START,
}
HISTORY = {"since": START, "episodes": [WINDOW, OVERRIDE]}
"""What the WarmPoolHistory has."""

INNER = {
    "podPerHour": "1.843750",
    "periodEnd": "2026-11-30T15:00:00Z",
    "at": "2026-11-24T20:59:30Z",
}


def evening(
    history: Any = HISTORY, running: Any = RUNNING, cost: Any = COST, waits: Any = ()
) -> dict[str, Any]:
    """A pool with this evening in its status and WarmPoolHistory; `waits` for the latter."""
    outbox = {"running": running, "episodes": list(waits)}
    status = {"cost": cost, "internal": {"cost": INNER, "history": outbox}}
    return manifest(windows=[PITCH]) | {"status": status, "past": history}


def said(*words: str, pools: list[dict[str, Any]]) -> Ran:
    """Run a command in a cluster of these pools."""
    cluster = Cluster(*({k: v for k, v in pool.items() if k != "past"} for pool in pools))
    named = {pool["metadata"]["name"]: pool.get("past") for pool in pools}
    cluster.histories = {n: {"record": past} for n, past in named.items() if past is not None}
    return demo_mode(*words, cluster=cluster)
