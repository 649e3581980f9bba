"""Steps 4 to 6 of the way down: check, mark, lower (docs/protocol.md).

They are one attempt. It reads everything again, and both writes name the versions that were read
*before* the check. So any change in between makes one of the writes fail.
"""

import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from kotatsu_operator.core.decide.phases import asleep_after
from kotatsu_operator.core.formats import instant
from kotatsu_operator.core.pool.decision import Demand
from kotatsu_operator.core.pool.memory import Memory, Phase
from kotatsu_operator.core.pool.spec import PoolSpec
from kotatsu_operator.core.report.status import memory_status
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.errors import ConflictError, NotFoundError
from kotatsu_operator.kube.objects import Key, Object, WarmPool, ref


class SleepStep(enum.StrEnum):
    """The points between the steps at which tests send requests."""

    BEFORE_LOOKING = "before looking"
    BEFORE_ANNOUNCING = "before announcing"
    BEFORE_LOWERING = "before lowering"


Hook = Callable[[Key, SleepStep], Awaitable[None]]

Remember = Callable[[Object], Awaitable[None]]
"""Records what a target gets back."""


async def no_record(_pool: Object) -> None:
    """Record nothing."""


async def no_hook(_pool: Key, _step: SleepStep) -> None:
    """Do nothing between the steps."""


@dataclass(frozen=True)
class Attempt:
    """The result of an attempt: whether the pool is `asleep`, and why (not)."""

    asleep: bool
    why: str
    pool: Object | None = None
    """The newest version of the pool that was read or written."""
    memory: Memory | None = None


@dataclass(frozen=True)
class ScaleDown:
    """Steps 4 to 6 for one pool."""

    kube: Kube
    key: Key
    spec: PoolSpec
    clock: Callable[[], datetime]
    hook: Hook = no_hook
    remember: Remember = no_record

    async def attempt(
        self,
        memory: Memory,
        generation: int,
        look: Callable[[], Awaitable[Demand]],
        *,
        force: bool,
    ) -> Attempt:
        """Take the steps. `look` asks for the demand; `force` ignores requests in flight."""
        kube, spec = self.kube, self.spec
        target = self.key[0], ref(spec.target.kind, spec.target.name)
        await self.hook(self.key, SleepStep.BEFORE_LOOKING)
        try:
            pool = await kube.get(WarmPool, *self.key)
            scale = await kube.get_scale(*target)
        except NotFoundError as error:
            return Attempt(False, str(error))
        stale = _changed(pool, memory, generation)
        if stale:
            return Attempt(False, stale, pool)
        await self.remember(pool)

        demand = await look()
        if not force and (not demand.known or demand.concurrency > 0):
            return Attempt(False, f"{demand.concurrency} requests in flight", pool)

        await self.hook(self.key, SleepStep.BEFORE_ANNOUNCING)
        asleep = asleep_after(memory, spec, self.clock())
        status = memory_status(asleep, spec)
        try:
            version = pool["metadata"]["resourceVersion"]
            pool = await kube.patch_status(*self.key, status, version)
        except ConflictError:
            return Attempt(False, "a request was announced or the pool was edited meanwhile")
        except NotFoundError as error:
            return Attempt(False, str(error))

        await self.hook(self.key, SleepStep.BEFORE_LOWERING)
        try:
            await kube.put_scale(*target, 0, scale.version)
        except (ConflictError, NotFoundError) as error:
            # The decision sees Sleeping with replicas above 0 and starts again from step 1.
            return Attempt(False, f"the target changed: {error}", pool, asleep)
        return Attempt(True, "asleep", pool, asleep.here(lowered=True))


def _changed(pool: Object, memory: Memory, generation: int) -> str:
    """Why the decision to sleep is outdated; empty if it is not."""
    status = pool.get("status") or {}
    if pool["metadata"]["generation"] != generation:
        return "the spec was edited"
    if status.get("phase") != Phase.DRAINING or status["route"]["epoch"] != memory.route.epoch:
        return "another client has changed the phase"
    ticket = instant((status.get("demand") or {}).get("at"))
    if ticket is not None and ticket != memory.announced.seen:
        return "a request was announced"
    return ""
