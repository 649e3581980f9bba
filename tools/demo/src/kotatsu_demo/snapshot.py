"""What there is to see of a pool at one moment, read from the API's objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

Object = Mapping[str, Any]


@dataclass(frozen=True)
class Cost:
    """What the pool's status says of money; amounts are in `currency`."""

    currency: str = ""
    accrued: Decimal = Decimal(0)
    per_hour: Decimal = Decimal(0)


@dataclass(frozen=True)
class Snapshot:
    """The pool as it says it is, beside the pods that are really there."""

    phase: str = ""
    ready: int = 0
    """Pods that are Ready and not ending."""
    desired: int = 0
    """Replicas the Deployment asks for."""
    pods: int = 0
    """Pods there are, ending ones included."""
    opens_at: datetime | None = None
    ready_at: datetime | None = None
    """When every replica of the window that opens at `opens_at` was Ready."""
    prewarm_at: datetime | None = None
    wake_at: datetime | None = None
    wake_seconds: float | None = None
    warm_ups: int = 0
    refusal: str = ""
    """Why the pool's spec is not accepted; empty when it is."""
    cost: Cost = Cost()

    @property
    def is_asleep(self) -> bool:
        """Whether the pool says so, and nothing of it is left."""
        return self.phase == "Asleep" and self.desired == 0 and self.pods == 0


def snapshot(pool: Object, deployment: Object, pods: Sequence[Object]) -> Snapshot:
    """Read a WarmPool, its Deployment and the Deployment's pods."""
    status: Object = pool.get("status") or {}
    opening: Object = status.get("lastOpening") or {}
    coming: Object = status.get("nextTransition") or {}
    wake: Object = status.get("lastWake") or {}
    return Snapshot(
        phase=str(status.get("phase", "")),
        ready=sum(map(_is_ready, pods)),
        desired=int(deployment.get("spec", {}).get("replicas", 1)),
        pods=len(pods),
        opens_at=_moment(opening.get("at")),
        ready_at=_moment(((status.get("internal") or {}).get("opening") or {}).get("readyAt")),
        prewarm_at=_moment(coming.get("at")) if coming.get("kind") == "prewarm" else None,
        wake_at=_moment(wake.get("at")),
        wake_seconds=float(wake["duration"].removesuffix("s")) if "duration" in wake else None,
        warm_ups=_warm_ups(status),
        refusal=_refusal(pool, status),
        cost=_cost(status.get("cost") or {}),
    )


def _is_ready(pod: Object) -> bool:
    if "deletionTimestamp" in pod["metadata"]:
        return False
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _refusal(pool: Object, status: Object) -> str:
    for condition in status.get("conditions") or ():
        is_current = condition.get("observedGeneration") == pool["metadata"].get("generation")
        if condition["type"] == "Accepted" and condition["status"] == "False" and is_current:
            return str(condition["message"])
    return ""


def _cost(cost: Object) -> Cost:
    return Cost(
        currency=str(cost.get("currency", "")),
        accrued=Decimal(cost.get("accrued", "0")),
        per_hour=Decimal(cost.get("ratePerHour", "0")),
    )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _warm_ups(status: Mapping[str, Any]) -> int:
    rows = (status.get("internal") or {}).get("warmUps") or ()
    return sum(isinstance(row, list) for row in rows)
