"""Whether idle pods of the workload can be parked: they stay with smaller requests."""

from collections.abc import Iterator

from kotatsu_demo_mode.operators import settings
from kotatsu_operator.core.formats import table
from kotatsu_operator.core.pool.resize import (
    NOT_ENABLED,
    NOT_SERVED,
    Obstacle,
    is_resizable,
    pod_size,
    unparkable,
)
from kotatsu_operator.core.pool.spec import Parked

from .capacity import scales
from .finding import Finding, Maker
from .found import Case
from .installation import responsible

_PARKED = "KOTATSU_PARKED"


def parked(case: Case) -> Iterator[Finding]:
    """Whether the operator could park its pods. Without spec.parked this is no fault."""
    make, asked = Maker("parked"), case.pool.spec.parked
    why = _why_not(case, asked or Parked(), is_asked=asked is not None)
    if why is None:
        yield make.ok("its idle pods can be parked (spec.parked)")
    elif asked is None:
        yield make.ok(f"its idle pods cannot be parked: {why.message.partition(':')[0]}")
    else:
        then = "until then the pool sleeps when it is idle, and its windows with Parked are warm"
        yield make.warning(why.reason, f"{why.message}; {then}")


def _why_not(case: Case, asked: Parked, *, is_asked: bool) -> Obstacle | None:
    found, target = case.found, case.pool.spec.target
    mine = [a for a in found.autoscalers.items if scales(case, a)]
    template = pod_size(found.pod_spec) if found.pod_spec else None
    why = unparkable(target, template, asked.requests, mine)
    if why is not None:
        return why
    operator = responsible(found)
    if is_asked and operator and _PARKED not in settings(operator):
        return NOT_ENABLED
    served = all(is_resizable(table(pod.get("status"))) for pod in found.pods.items)
    return None if served else NOT_SERVED
