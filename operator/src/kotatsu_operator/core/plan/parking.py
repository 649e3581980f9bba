"""How many pods of a pool stay parked once it is idle, and what they request."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from kotatsu_operator.core.formats import parse_quantity
from kotatsu_operator.core.pool.decision import Observation
from kotatsu_operator.core.pool.memory import Memory, Phase, changed
from kotatsu_operator.core.pool.spec import Parked, PoolSpec

SHOWN_AFTER = timedelta(seconds=30)
"""Full requests count as restored this long after the pool was parked: by then the watch of pods
has shown every resize."""


def parked_pods(
    spec: PoolSpec, seen: Observation, memory: Memory, floor: int, now: datetime
) -> int:
    """The pods that stay while the pool is idle; 0: it goes to sleep.

    `floor` are those that a window with mode Parked asks for. Without one, the pods that are there
    stay, up to parked.replicas, until parked.for is over.
    """
    if spec.parked is None or seen.parking.reason:
        return 0
    if floor > 0:
        return floor
    end = parked_until(spec, memory)
    lasts = now < end if end is not None else spec.parked.lasting > timedelta()
    return min(max(seen.replicas, 1), spec.parked.replicas) if lasts else 0


def parked_until(spec: PoolSpec, memory: Memory) -> datetime | None:
    """When an idle pool that is parked goes to sleep; None if it is not parked."""
    if spec.parked is None or memory.phase is not Phase.PARKED or memory.since is None:
        return None
    return memory.since + spec.parked.lasting


def remember_reduced(memory: Memory, seen: Observation, now: datetime) -> Memory:
    """Store whether pods may still have smaller requests than their template's."""
    if not memory.reduced or memory.phase is Phase.PARKED or memory.since is None:
        return memory
    gone = memory.phase is Phase.ASLEEP and seen.pods == 0
    shown = now - memory.since >= SHOWN_AFTER
    restored = not memory.phase.is_asleep and shown and not seen.parking.reduced
    return changed(memory, reduced=not (gone or restored))


def parked_requests(stated: Mapping[str, Any], parked: Parked) -> dict[str, Decimal]:
    """What a container requests while its pod is parked (base units).

    `stated` is what its template requests; a limit stands in for a request that is missing. A
    request that the template does not state is not reduced.
    """
    known = {name: parse_quantity(str(text)) for name, text in stated.items()}
    return {name: min(amount, parked.requests.get(name, amount)) for name, amount in known.items()}


def parked_template(pod: Mapping[str, Any], parked: Parked) -> Mapping[str, Any]:
    """The PodSpec of a template with the requests of a parked pod."""
    return {
        **pod,
        "containers": [_reduced(c, parked) for c in pod.get("containers") or ()],
        "initContainers": [
            # Only a sidecar runs beside the containers, so only it can be reduced.
            _reduced(c, parked) if c.get("restartPolicy") == "Always" else c
            for c in pod.get("initContainers") or ()
        ],
    }


def _reduced(container: Mapping[str, Any], parked: Parked) -> Mapping[str, Any]:
    resources = container.get("resources") or {}
    stated = (resources.get("limits") or {}) | (resources.get("requests") or {})
    requests = parked_requests(stated, parked)
    return {**container, "resources": {**resources, "requests": requests}}
