"""The statuses of WarmPools during and after an uninstall, from which a later install continues."""

from datetime import UTC, datetime

from kotatsu_operator.core.formats import stamp
from kotatsu_operator.core.pool.memory import Phase, Route
from kotatsu_operator.core.report.record import OWED, owed_status
from kotatsu_operator.core.schema import joined
from kotatsu_operator.kube.objects import Object


def native_status(old: Object, text: str = "the target runs on its own") -> Object:
    """The status of a pool whose pods alone answer; a later install continues from there."""
    now = stamp(datetime.now(UTC))
    if "phase" not in old:
        return {}
    stays = {
        "phase": Phase.WARM.value,
        "phaseSince": now if old["phase"] != Phase.WARM else old.get("phaseSince"),
        "route": (old.get("route") or {}) | {"target": Route.NATIVE.value},
        "lastActive": now,
        "nextTransition": None,
        "activeWindow": None,
        "conditions": unknown(old, f"Kotatsu was uninstalled; {text}"),
        "internal": {"shown": {"next": None}},
    }
    # Without a set of activators, none of them publishes the pool again.
    return joined(stays, owed_status(dict.fromkeys((*OWED, "keepsOne", "activators"))))


def waiting_status(old: Object, text: str) -> Object:
    """The status of a pool that the uninstall waits for."""
    conditions = unknown(old, f"the uninstall of Kotatsu waits: {text}")
    for one in conditions:
        if one["type"] != "Accepted":
            one |= {"reason": "Uninstalling"}
    return {"conditions": conditions}


def unknown(status: Object, message: str) -> list[Object]:
    made = {
        "status": "Unknown",
        "reason": "Uninstalled",
        "message": message,
        "lastTransitionTime": stamp(datetime.now(UTC)),
    }
    return [c if c["type"] == "Accepted" else c | made for c in status.get("conditions") or ()]
